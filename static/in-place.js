// A form that holds a password is sent from within its page, since no other place may hold what was typed there. Where
// the answer refuses it, the page takes over from that what has changed: the errors, both versions, whither to send.
import { focusFirstError, setFieldError } from "./field-errors.js";
import { endOf } from "./form-end.js";
import { offerToConfirm } from "./passkeys.js";
import { refreshTimes } from "./times.js";

const PATIENCE = 60_000;
const UNKNOWN = "Sealpost did not respond. What you typed is still here. Check in the list whether it was saved, then try again.";
const REGIONS = ":scope > .error-summary, :scope > .versions";

/** Whether a password or a key stands in the form. */
export function holdsSecret(form) {
  const secret = ':is(input, textarea):not([type="checkbox"], [type="hidden"]):is([name$="password"], [name$="key"])';
  return [...form.elements].some((control) => control.matches(secret) && control.value);
}

/** Sends the form: where the browser is to go on, or why it was not taken. `ready` is called before the page changes. */
export async function sendInPlace(form, button, ready) {
  let response, text;
  try {
    const body = new URLSearchParams(new FormData(form, button));
    const headers = { Accept: "text/html", "Sealpost-In-Place": "1" };
    response = await fetch(form.action, { method: "POST", body, headers, signal: AbortSignal.timeout(PATIENCE) });
    text = await response.text();
  } catch {
    return { trouble: UNKNOWN };
  }
  const next = response.headers.get("Sealpost-Goes-On");
  if (next) return { next };
  const page = new DOMParser().parseFromString(text, "text/html");
  const answered = page.getElementById(form.id);
  if (!answered) return { trouble: inWords(page) };
  ready();
  takeOver(form, answered, page);
  return { trouble: "" };
}

function inWords(page) {
  const said = [page.querySelector("h1"), page.querySelector("h1 + .lede")].map((element) => element?.textContent.trim());
  return `${said[0] ?? "That could not be done"}. ${said[1] ?? ""} What you typed is still here.`;
}

function takeOver(form, answered, page) {
  const panel = form.parentElement;
  for (const old of panel.querySelectorAll(REGIONS)) old.remove();
  panel.prepend(...[...answered.parentElement.querySelectorAll(REGIONS)].map((region) => document.importNode(region, true)));
  const end = endOf(form);
  const answeredEnd = page.querySelector(`[data-form-end="${form.id}"]`);
  addMissingFields(end, answeredEnd);
  for (const note of page.querySelectorAll(`[id="${form.id}"] .field-error, [data-form-end="${form.id}"] .field-error`)) {
    setFieldError(note.id.replace(/-error$/, ""), note.hidden ? "" : note.querySelector("[data-error-text]").textContent);
  }
  for (const name of ["csrf_token", "version"]) form.elements[name].value = answered.elements[name].value;
  form.action = answered.getAttribute("action");
  form.dataset.notSaved = "";
  followToTheTest(form, page);
  end.querySelector(".panel-foot button").textContent = answeredEnd.querySelector(".panel-foot button").textContent;
  document.querySelector("h1").textContent = page.querySelector("h1").textContent;
  document.title = page.title;
  refreshTimes();
  const summary = panel.querySelector("[data-error-summary]");
  if (summary) summary.focus();
  else focusFirstError();
}

// The field for one's own password appears when the last sign-in is no longer recent.
function addMissingFields(end, answeredEnd) {
  const isMissing = (box) => !end.querySelector(`[data-field="${box.dataset.field}"]`);
  for (const part of answeredEnd.querySelectorAll(".panel-part")) {
    const boxes = [...part.querySelectorAll("[data-field]")];
    if (!boxes.length || !boxes.every(isMissing)) continue;
    const added = document.importNode(part, true);
    end.querySelector(".panel-foot").before(added);
    offerToConfirm(added);
  }
}

function followToTheTest(form, page) {
  const selector = `button[form="${form.id}"][formaction]`;
  const address = page.querySelector(selector)?.getAttribute("formaction");
  if (address) for (const button of document.querySelectorAll(selector)) button.setAttribute("formaction", address);
}
