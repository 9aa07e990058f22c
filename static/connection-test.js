// Test Connection and Send test email: runs the test without leaving the page, and what its report offers to change.
import { clearFieldErrors, focusFirstError, setFieldError } from "./field-errors.js";
import { openFoldedField, setBusy, setIdle } from "./forms.js";
import { bringIntoView } from "./into-view.js";
import { madePlain } from "./plain-text.js";
import { whyNotNow } from "./session.js";
import { needsPassword, setPort } from "./smtp-form.js";
import { rememberTested, showStanding } from "./test-freshness.js";
import { begin, cancelled, finish, newest, sayFilledIn, showStep, showWaiting } from "./test-report.js";
import { runTest, TestNotRun } from "./test-stream.js";

const SILENCE = 60_000; // the server says every few seconds that it waits; then something between us and it is broken

const form = document.getElementById("smtp-form");
const panel = document.querySelector("[data-test-panel]");
const cancelButton = document.querySelector("[data-test-cancel]");
const testButton = document.querySelector('[data-test="connection"]');
const sendButton = document.querySelector('[data-test="message"]');
let running = null;

/** Whether a secret was typed here that has odd characters; a stored one never comes to the page. */
function canBeRetyped(name) {
  const typed = form.elements[name].value;
  return madePlain(typed) !== typed;
}

function showResult(result) {
  finish({ ...result, actions: (result.actions ?? []).filter(({ retype }) => !retype || canBeRetyped(retype)) });
  if (result.field && !result.ok) setFieldError(result.field, result.title.replace(/[^.]$/, "$&."));
  if (result.standing) showStanding(result.standing);
  form.elements.proof.value = result.proof ?? "";
}

function showRefusal({ message, errors }) {
  const homeless = Object.entries(errors).filter(([name, texts]) => !setFieldError(name, texts.join(" ")));
  const said = [message, ...homeless.flatMap(([, texts]) => texts)].join(" ");
  finish({ title: "The test was not run", message: said });
  focusFirstError();
}

function giveUpAfterSilence(controller) {
  return setTimeout(() => controller.abort(new TestNotRun("Sealpost has not responded for a minute. Reload the page, then test again.")), SILENCE);
}

async function follow(button, controller) {
  const url = button.formAction.replace(/#.*$/, "");
  const reason = await whyNotNow();
  if (controller.signal.aborted) return;
  if (reason) {
    showRefusal(new TestNotRun(reason));
    return;
  }
  const messages = runTest(url, new FormData(form, button), controller.signal);
  let clock = giveUpAfterSilence(controller);
  try {
    for await (const message of messages) {
      clearTimeout(clock);
      if (controller.signal.aborted) return;
      if (message.type === "step") showStep(message);
      if (message.type === "waiting") showWaiting(message);
      if (message.type === "result") showResult(message);
      clock = giveUpAfterSilence(controller);
    }
  } catch (error) {
    const reason = controller.signal.aborted ? controller.signal.reason : error;
    if (reason instanceof TestNotRun) showRefusal(reason);
    else if (!controller.signal.aborted) throw error;
  } finally {
    clearTimeout(clock);
  }
}

// The button and what came of it stand in the window together, except for somebody who fills in the form meanwhile.
function show(button) {
  const { activeElement } = document;
  const isTypedElsewhere = activeElement.matches("input, select, textarea") && !panel.contains(activeElement);
  if (!isTypedElsewhere) bringIntoView(panel, button, newest());
}

function stop() {
  if (!running) return;
  running.controller.abort();
  setIdle(running.button);
}

async function start(button) {
  if (running?.button === button) return; // a double click
  stop();
  const controller = new AbortController();
  running = { button, controller };
  cancelButton.hidden = false;
  if (document.activeElement.name === "apply") cancelButton.focus(); // the button goes with the former report
  clearFieldErrors();
  begin(button.dataset.test === "message");
  rememberTested();
  setBusy(button, button.dataset.busy);
  show(button);
  try {
    await follow(button, controller);
  } finally {
    if (running.controller === controller) end(button, controller);
  }
}

function end(button, { signal }) {
  running = null;
  if (signal.aborted && !(signal.reason instanceof TestNotRun)) cancelled();
  show(button);
  setIdle(button);
  if (document.activeElement === cancelButton) button.focus();
  cancelButton.hidden = true;
}

// Beside a report of values that are not saved yet stands the Save of the form, named by what it does.
function sayWhatSaveDoes({ currentTarget }) {
  panel.querySelector("[data-save-tested]").textContent = currentTarget.checked ? "Save and use" : "Save";
}

// --- What the report offers to change.

function fillIn(changes) {
  for (const [name, value] of Object.entries(changes)) {
    if (name === "smtp_port") setPort(value);
    else form.elements[name].value = value;
    openFoldedField(name);
  }
  form.dispatchEvent(new Event("input", { bubbles: true })); // as if typed
}

function apply(button) {
  const { send, retype, ...changes } = Object.fromEntries(new URLSearchParams(button.value));
  clearFieldErrors();
  fillIn(retype ? { [retype]: madePlain(form.elements[retype].value) } : changes);
  if (!needsPassword()) {
    start(send ? sendButton : testButton);
    return;
  }
  sayFilledIn(true);
  form.elements.smtp_password.focus();
}

form.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (button?.name === "apply") {
    event.preventDefault();
    apply(button);
  } else if (button?.dataset.test) {
    event.preventDefault();
    start(button);
  } else {
    stop(); // saving: the test must not hold up the page
  }
});
// Enter in this field means the button beside it, not Save.
form.elements.to.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  form.requestSubmit(sendButton);
});
form.addEventListener("input", () => sayFilledIn(false)); // from now on it is a form that was changed
form.elements.is_active?.addEventListener("change", sayWhatSaveDoes); // an account's own server has no such switch
cancelButton.addEventListener("click", stop);
addEventListener("pagehide", stop);
