// Going through a list by keyboard. Arrows work while a row has the focus, so they leave a screen reader's own keys
// alone; "/" goes to the search while no field has it, unless that was turned off in this browser.
const links = () => [...document.querySelectorAll("[data-live-rows] [data-row-link]")];
const STEPS = {
  ArrowDown: (index) => index + 1,
  ArrowUp: (index) => index - 1,
  Home: () => 0,
  End: (_, count) => count - 1,
};

function isTypedInto(element) {
  return element?.matches("input:not([type=checkbox], [type=radio], [type=button]), textarea, select, [contenteditable]");
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || event.isComposing) return;
  const search = document.querySelector("[data-slash-search]");
  if (event.key === "/" && search && !isTypedInto(document.activeElement) && isSlashUsed()) {
    event.preventDefault();
    search.focus();
    search.select();
    return;
  }
  const step = !event.shiftKey && STEPS[event.key];
  const row = document.activeElement?.closest("[data-live-rows] [data-row]");
  if (!step || !row || isTypedInto(document.activeElement)) return;
  const all = links();
  const next = all[step(all.indexOf(row.querySelector("[data-row-link]")), all.length)];
  if (!next) return;
  event.preventDefault();
  next.focus();
});

const help = document.querySelector("[data-live-keys]");
if (help) help.hidden = false;
const choice = document.querySelector("[data-slash-key]");
if (choice) {
  choice.checked = isSlashUsed();
  choice.addEventListener("change", () => useSlash(choice.checked));
}

// A browser may refuse to store anything, even to say what it has.
function isSlashUsed() {
  try {
    return localStorage.getItem("slash") !== "off";
  } catch {
    return true;
  }
}

function useSlash(isUsed) {
  try {
    if (isUsed) localStorage.removeItem("slash");
    else localStorage.setItem("slash", "off");
  } catch {
    choice.checked = true;
  }
}
