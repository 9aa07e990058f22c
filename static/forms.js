// What every form has: the eye goes to the first error, it is sent once and only when it will be taken, whoever leaves
// it changed is asked, a password can be looked at.
import { endOf } from "./form-end.js";
import { holdsSecret, sendInPlace } from "./in-place.js";
import { whyNotNow } from "./session.js";

let leavingWith = null; // the form that is on its way

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
  const button = event.submitter;
  if (button?.formTarget) return; // what is answered in a frame of the page leaves the form as it is
  form.dataset.sending = "1";
  if (button?.dataset.busy) setBusy(button, button.dataset.busy);
  if (form.dataset.mayGo || !isTypedInto(form)) {
    concealPasswords(form);
    leavingWith = form;
    setTimeout(() => release(form), 10_000); // the reader may have stopped the request
  } else {
    event.preventDefault();
    sendWhenItWillBeTaken(form, button);
  }
}

// A button alone loses nothing, and who is a guest has no session that could end.
function isTypedInto(form) {
  const isControl = (control) => control.matches('textarea, select, input:not([type="hidden"])');
  return document.querySelector('meta[name="account"]') !== null && [...form.elements].some(isControl);
}

async function sendWhenItWillBeTaken(form, button) {
  const reason = await whyNotNow();
  const staysHere = !reason && form.hasAttribute("data-in-place") && !button?.hasAttribute("formaction") && holdsSecret(form);
  if (staysHere) {
    await sendFromHere(form, button);
    return;
  }
  release(form);
  sayAtEnd(form, reason);
  if (reason) return;
  form.dataset.mayGo = "1";
  form.requestSubmit(button);
  delete form.dataset.mayGo;
}

async function sendFromHere(form, button) {
  const { next, trouble } = await sendInPlace(form, button, () => release(form));
  if (next) {
    concealPasswords(form);
    leavingWith = form;
    location.assign(next);
    return;
  }
  release(form);
  sayAtEnd(form, trouble);
}

/** Says why a form was not sent, at its end; nothing if there is no reason. */
export function sayAtEnd(form, reason) {
  const end = endOf(form);
  end.querySelector(".form-message")?.remove();
  const template = document.getElementById("form-message");
  if (!reason || !template) return;
  const message = template.content.firstElementChild.cloneNode(true);
  end.append(message);
  message.querySelector("[data-text]").textContent = reason;
}

function release(form) {
  delete form.dataset.sending;
  if (leavingWith === form) leavingWith = null;
  for (const button of form.elements) if (button.matches("button[aria-disabled]")) setIdle(button);
}

// A page that comes back from the back-forward cache must not still say "Saving…".
function wakeUp(event) {
  if (event.persisted) [...document.forms].forEach(release);
}

/** Whether a control stands otherwise than its page had it. */
export const isChanged = (control) => {
  if (control.matches('[type="checkbox"], [type="radio"]')) return control.checked !== control.defaultChecked;
  if (control.matches("select")) return [...control.options].some((option) => option.selected !== option.defaultSelected);
  return control.matches('textarea, input:not([type="hidden"])') && control.value !== control.defaultValue;
};

/** Whether something stands in a form that would be lost with its page. */
export function holdsUnsaved(form) {
  if (form.method !== "post" || form === leavingWith || form.closest("dialog")) return false;
  return form.hasAttribute("data-not-saved") || [...form.elements].some(isChanged);
}

// Only where somebody is signed in: what stands in a sign-in page is quickly typed again.
function askWhoeverLeaves(event) {
  if (document.querySelector('meta[name="account"]') && [...document.forms].some(holdsUnsaved)) event.preventDefault();
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
  for (const button of document.querySelectorAll("[data-reveal]")) {
    const input = document.getElementById(button.dataset.reveal);
    if (input.form !== form) continue;
    input.type = "password";
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
addEventListener("beforeunload", askWhoeverLeaves);
lookAtErrors();
