// A button that copies the text of the element it names. Hidden until script makes it work.
import { copyWith } from "./clipboard.js";

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", () => copyWith(button, document.getElementById(button.dataset.copy).textContent));
}
