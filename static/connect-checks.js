// The checks of a connection, made from within the page: at once after one was made, and by the button.
import { setBusy, setIdle } from "./forms.js";
import { TestNotRun, runTest } from "./test-stream.js";

const WORDS = { ok: "OK", warning: "Warning", failed: "Failed", skipped: "Skipped", pending: "Not reached", running: "Checking" };
const OF_TEST = ["sign_in", "from"]; // what only the mail server tells
const form = document.getElementById("check-form");
const list = document.querySelector(".connect-checks");
const said = document.querySelector("[data-check-said]");

function rowOf(name) {
  return list.querySelector(`[data-name="${CSS.escape(name)}"]`);
}

function setStatus(row, status) {
  row.className = `step step-${status}`;
  row.dataset.status = status;
  row.querySelector(".step-word").textContent = WORDS[status] ?? status;
  const use = row.querySelector(".shape use");
  use.setAttribute("href", use.getAttribute("href").replace(/#.*$/, `#${status}`));
}

function show({ name, status, fact = "", remedy = "", step = null }) {
  const row = rowOf(name);
  if (!row) return;
  setStatus(row, status);
  row.querySelector("[data-fact]").textContent = fact;
  const missing = step && document.querySelectorAll(".guide-step")[step - 1];
  const link = row.querySelector("[data-missing]");
  row.querySelector("[data-remedy]").textContent = remedy;
  link.hidden = !missing;
  if (missing) {
    link.hash = missing.id;
    link.textContent = `Go to step ${step}: ${missing.querySelector("[data-title]").textContent}`;
  }
  link.parentElement.hidden = !remedy && !missing;
}

function say(text) {
  said.textContent = text;
  said.hidden = !text;
}

async function check(button) {
  setBusy(button, button.dataset.busy);
  say("");
  for (const name of OF_TEST) show({ name, status: name === OF_TEST[0] ? "running" : "pending" });
  try {
    for await (const message of runTest(form.action, new URLSearchParams(new FormData(form)), new AbortController().signal)) {
      if (message.type === "waiting" && message.label) rowOf(OF_TEST[0]).querySelector("[data-fact]").textContent = `${message.label}…`;
      if (message.type === "result") end(message);
    }
  } catch (error) {
    if (!(error instanceof TestNotRun)) throw error;
    end({ message: error.message });
  } finally {
    setIdle(button);
  }
}

function end({ ok = false, message = "", remedy = "", rows = [] }) {
  for (const name of OF_TEST) show({ name, status: "pending" });
  rows.forEach(show);
  say(`${message} ${remedy}`.trim());
  for (const note of document.querySelectorAll("[data-until-checked]")) note.hidden = ok;
}

if (form) {
  const button = form.querySelector("button");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (button.getAttribute("aria-disabled") !== "true") check(button);
  });
  if (form.hasAttribute("data-check-now")) check(button);
}
