// Test Connection and Send test message: runs the test without leaving the page and shows each step as it happens.
import { clearFieldErrors, focusFirstError, setFieldError } from "./field-errors.js";
import { setBusy, setIdle } from "./forms.js";
import { begin, cancelled, finish, markStale, showStep } from "./test-report.js";
import { runTest, TestNotRun } from "./test-stream.js";
import { refreshTimes } from "./times.js";

const SILENCE = 60_000; // the server promises an end after 25 s; then something between us and it is broken

const form = document.getElementById("smtp-form");
const panel = document.querySelector("[data-test-panel]");
const cancelButton = document.querySelector("[data-test-cancel]");
const sendButton = document.querySelector('[data-test="message"]');
let running = null;

function markVerified() {
  const place = document.querySelector("[data-verified]");
  if (!place) return;
  const time = document.createElement("time");
  time.dateTime = new Date().toISOString();
  time.dataset.relative = "";
  place.replaceChildren("Verified ", time);
  refreshTimes();
}

function showResult(result) {
  finish(result.ok ? "ok" : "failed", result);
  if (result.field && !result.ok) setFieldError(result.field, result.remedy || result.title);
  if (result.verified) markVerified();
  form.elements.proof.value = result.proof ?? "";
}

function showRefusal({ message, errors }) {
  const homeless = Object.entries(errors).filter(([name, texts]) => !setFieldError(name, texts.join(" ")));
  const said = [message, ...homeless.flatMap(([, texts]) => texts)].join(" ");
  finish("failed", { title: "The test was not run", message: said });
  focusFirstError();
}

function giveUpAfterSilence(controller) {
  return setTimeout(() => controller.abort(new TestNotRun("No answer from Sealpost for a minute. Reload the page, then test again.")), SILENCE);
}

async function follow(button, controller) {
  const url = button.formAction.replace(/#.*$/, "");
  const messages = runTest(url, new FormData(form, button), controller.signal);
  let clock = giveUpAfterSilence(controller);
  try {
    for await (const message of messages) {
      clearTimeout(clock);
      if (controller.signal.aborted) return;
      if (message.type === "step") showStep(message);
      if (message.type === "result") showResult(message);
      clock = giveUpAfterSilence(controller);
    }
  } catch (error) {
    const reason = controller.signal.aborted ? controller.signal.reason : error;
    if (reason instanceof TestNotRun) showRefusal(reason);
    else if (running?.controller === controller) cancelled();
  } finally {
    clearTimeout(clock);
  }
}

function bringIntoView() {
  const { top } = panel.getBoundingClientRect();
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (top < 0 || top > innerHeight * 0.6) panel.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
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
  clearFieldErrors();
  begin(button.dataset.test === "message");
  setBusy(button, button.dataset.busy);
  cancelButton.hidden = false;
  bringIntoView();
  await follow(button, controller);
  if (running.controller !== controller) return; // another test took over
  running = null;
  setIdle(button);
  if (document.activeElement === cancelButton) button.focus();
  cancelButton.hidden = true;
}

form.addEventListener("submit", (event) => {
  if (!event.submitter?.dataset.test) {
    stop(); // saving: the test must not hold up the page
    return;
  }
  event.preventDefault();
  start(event.submitter);
});
// Enter in this field means the button beside it, not Save.
form.elements.to.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  form.requestSubmit(sendButton);
});
document.addEventListener("input", (event) => {
  if (event.target === form || event.target.form === form) markStale();
});
cancelButton.addEventListener("click", stop);
addEventListener("pagehide", stop);
