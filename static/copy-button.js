// A button that copies the text of the element it names. Hidden until script makes it work.
import { copyWith } from "./clipboard.js";

/** Makes the buttons within an element work. */
export function enableCopying(within) {
  for (const button of within.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", () => copyWith(button, document.getElementById(button.dataset.copy).textContent));
  }
}

enableCopying(document);
