// Help while filling in: the port follows the security, a changed server asks for the password.
const form = document.getElementById("smtp-form");
const field = (name) => form.elements[name];
const port = field("smtp_port");

// --- The port follows the security choice until it was touched by hand.

const USUAL_PORTS = { starttls: "587", tls: "465", none: "25" };
let portIsOurs = port.value === "" || Object.values(USUAL_PORTS).includes(port.value);

function portFor(security) {
  // A relay without encryption listens on 587 as often as on 25: what stands there may stay.
  if (security === "none" && port.value === "587") return "587";
  return USUAL_PORTS[security];
}

function followSecurity() {
  if (portIsOurs) port.value = portFor(field("security").value);
}

port.addEventListener("input", () => {
  portIsOurs = port.value === "";
});
for (const radio of field("security")) radio.addEventListener("change", followSecurity);

/** Puts in the port of a provider; it follows the security again from there. */
export function setPort(number) {
  port.value = String(number);
  portIsOurs = true;
}

// --- A stored password goes only to the server it was entered for.

const saved = {
  smtp_server: form.dataset.savedServer || field("smtp_server").value,
  smtp_port: form.dataset.savedPort || port.value,
  smtp_username: field("smtp_username").defaultValue,
  security: field("security").value,
};

/** Whether the password has to be entered again for what stands in the form. */
export function needsPassword() {
  const changed = Object.entries(saved).some(([name, value]) => field(name).value.trim() !== value);
  return form.dataset.hasPassword && changed && !field("smtp_password").value && !field("remove_password")?.checked;
}

function sayIfPasswordIsNeeded() {
  const note = document.getElementById("password-note");
  const said = field("smtp_password").getAttribute("aria-invalid") === "true"; // the error says the same
  const text = needsPassword() && !said ? "You changed the server. Enter the password again." : "";
  if (note.textContent !== text) note.textContent = text;
}

form.addEventListener("input", sayIfPasswordIsNeeded);
form.addEventListener("change", sayIfPasswordIsNeeded); // after the port has followed

if (!document.getElementById("password-note").textContent) sayIfPasswordIsNeeded();
