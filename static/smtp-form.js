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
for (const radio of form.querySelectorAll('[name="security"]')) radio.addEventListener("change", followSecurity);

/** Puts in the port of a provider; it follows the security again from there. */
export function setPort(number) {
  port.value = String(number);
  portIsOurs = true;
}

// --- A stored password goes only to the server it was entered for.

const saved = {
  smtp_server: form.dataset.savedServer,
  smtp_port: form.dataset.savedPort,
  smtp_username: form.dataset.savedUsername,
  security: form.dataset.savedSecurity,
};

const isForAnotherServer = () => Object.entries(saved).some(([name, value]) => field(name).value.trim() !== value);
const isMissing = (name, removal) => isForAnotherServer() && !field(name).value && !field(removal)?.checked;

/** Whether the password has to be entered again for what stands in the form. */
export function needsPassword() {
  return form.dataset.hasPassword && isMissing("smtp_password", "remove_password");
}

/** Whether the client key has. */
function needsKey() {
  return form.dataset.hasClientKey && isMissing("client_key", "remove_client_certificate");
}

function sayIfNeeded(id, name, isNeeded, sentence) {
  const note = document.getElementById(id);
  const said = field(name).getAttribute("aria-invalid") === "true"; // the error says the same
  const text = isNeeded && !said ? sentence : "";
  if (note.textContent !== text) note.textContent = text;
}

const sayIfPasswordIsNeeded = () =>
  sayIfNeeded("password-note", "smtp_password", needsPassword(), "You changed the server. Enter the password again.");
const sayIfKeyIsNeeded = () =>
  sayIfNeeded("key-note", "client_key", needsKey(), "You changed the server. Paste the key again.");

for (const [id, say] of [["password-note", sayIfPasswordIsNeeded], ["key-note", sayIfKeyIsNeeded]]) {
  if (!document.getElementById(id)) continue; // an account's own server shows no certificate
  form.addEventListener("input", say);
  form.addEventListener("change", say); // after the port has followed
  if (!document.getElementById(id).textContent) say();
}
