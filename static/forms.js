// What every form has: the eye goes to the first error, a form is sent once, a password can be looked at.

function lookAtErrors() {
  const target =
    document.querySelector("[data-error-summary]") ??
    document.querySelector(':is(input, select, textarea)[aria-invalid="true"]');
  target?.focus();
}

/** The field of this id, with what it is folded away in opened. */
export function openFoldedField(id) {
  const field = document.getElementById(id);
  field?.closest("details")?.setAttribute("open", "");
  return field;
}

function followErrorLink(event) {
  const link = event.target.closest("[data-error-summary] a, [data-field-link]");
  const field = link && openFoldedField(link.hash.slice(1));
  if (!field) return;
  event.preventDefault();
  field.focus();
}

export function setBusy(button, text) {
  button.dataset.label ??= button.textContent;
  button.textContent = text;
  button.setAttribute("aria-disabled", "true");
}

export function setIdle(button) {
  if (button.dataset.label !== undefined) button.textContent = button.dataset.label;
  button.removeAttribute("aria-disabled");
}

function sendOnce(event) {
  const form = event.target;
  if (event.defaultPrevented) return;
  if (form.dataset.sending) {
    event.preventDefault();
    return;
  }
  if (form.method !== "post") return;
  concealPasswords(form);
  form.dataset.sending = "1";
  setTimeout(() => release(form), 10_000); // the reader may have stopped the request
  const button = event.submitter;
  if (button?.dataset.busy) setBusy(button, button.dataset.busy);
}

function release(form) {
  delete form.dataset.sending;
  for (const button of form.querySelectorAll("button[aria-disabled]")) setIdle(button);
}

// A page that comes back from the back-forward cache must not still say "Saving…".
function wakeUp(event) {
  if (event.persisted) [...document.forms].forEach(release);
}

function toggleReveal(event) {
  const button = event.currentTarget;
  const input = document.getElementById(button.dataset.reveal);
  const shown = input.type === "password";
  input.type = shown ? "text" : "password";
  button.querySelector("[data-reveal-text]").textContent = shown ? "Hide" : "Show";
}

// Browsers offer to remember a field that was sent as text.
function concealPasswords(form) {
  for (const button of form.querySelectorAll("[data-reveal]")) {
    document.getElementById(button.dataset.reveal).type = "password";
    button.querySelector("[data-reveal-text]").textContent = "Show";
  }
}

for (const button of document.querySelectorAll("[data-reveal]")) {
  button.hidden = false;
  button.addEventListener("click", toggleReveal);
}
document.addEventListener("click", followErrorLink);
document.addEventListener("submit", sendOnce);
addEventListener("pageshow", wakeUp);
lookAtErrors();
