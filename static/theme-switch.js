// The switch in the footer: system, light or dark. Without script it stays hidden and the system's theme holds.
const group = document.querySelector("[data-theme-switch]");

function read() {
  try {
    return localStorage.getItem("theme") ?? "system";
  } catch {
    return "system";
  }
}

function write(choice) {
  try {
    if (choice === "system") localStorage.removeItem("theme");
    else localStorage.setItem("theme", choice);
  } catch {
    return;
  }
  dispatchEvent(new Event("themechange"));
}

function show() {
  for (const radio of group.querySelectorAll("input")) radio.checked = radio.value === read();
}

show();
group.hidden = false;
group.addEventListener("change", (event) => write(event.target.value));
addEventListener("storage", show);
