// A menu is a <details>: what closes it beside its own button. Which of several is open, their common name decides.

const openMenus = () => document.querySelectorAll("details[data-menu][open]");

function closeOthers({ target }) {
  for (const menu of openMenus()) if (!menu.contains(target)) menu.open = false;
}

document.addEventListener("click", closeOthers);
document.addEventListener("focusin", closeOthers);
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of openMenus()) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
