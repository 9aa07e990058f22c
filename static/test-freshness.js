// Whether what was tested still stands in the form: for the report, and for the mark “Verified” of what is saved.
import { markStale } from "./test-report.js";
import { refreshTimes } from "./times.js";

const form = document.getElementById("smtp-form");
const names = form.dataset.tested.split(" "); // what a test exercises
const verified = document.querySelector("[data-verified]"); // absent from the form of a new server
const changed = document.querySelector("[data-changed]");

const isTicked = (control) => ["radio", "checkbox"].includes(control.type);

function typed(control) {
  return isTicked(control) ? control.checked : control.value;
}

function asLoaded(control) {
  if (isTicked(control)) return control.defaultChecked;
  if (!control.options) return control.defaultValue;
  const options = [...control.options]; // of which a browser chooses the first where none is marked
  return (options.find((option) => option.defaultSelected) ?? options[0])?.value;
}

function read(valueOf) {
  return JSON.stringify(names.flatMap((name) => [...form.querySelectorAll(`[name="${name}"]`)]).map(valueOf));
}

const onScreen = () => read(typed);

// What the page came with, whatever was typed before this ran; of a form that was refused that is not what is saved.
let saved = document.querySelector("[data-error-summary], .field-error:not([hidden])") ? null : read(asLoaded);
let tested = saved;

/** To be called when a test begins: its report will be about what stands in the form now. */
export function rememberTested() {
  tested = onScreen();
}

/** Says what the mark of the saved values is, which have just been tested: "everywhere", "own_domain", "unverified". */
export function showStanding(standing) {
  const time = document.createElement("time");
  time.dateTime = new Date().toISOString();
  time.dataset.relative = "";
  if (standing === "everywhere") verified.replaceChildren("Verified ", time);
  else verified.textContent = standing === "own_domain" ? "Verified for your own domain only" : "Not verified";
  verified.dataset.verified = standing === "unverified" ? "" : "1";
  verified.hidden = false;
  changed.hidden = true;
  refreshTimes();
  saved = tested;
  compare();
}

function compare() {
  const now = onScreen();
  markStale(now === tested ? "" : "Changed since the test.");
  if (!verified?.dataset.verified) return;
  verified.hidden = now !== saved;
  changed.hidden = now === saved;
}

for (const event of ["input", "change"]) form.addEventListener(event, compare); // at a change the port has followed
compare();
