// Shows a connection test: its steps one under the other, its result, and a report to copy.
import { copyWith } from "./clipboard.js";

const WORDS = { ok: "OK", warning: "Warning", failed: "Failed", skipped: "Skipped", pending: "Not reached", running: "Running" };
const SLOTS = ["tested", "place", "title", "message", "cause", "remedy", "retry", "server_line", "transcript"];
const REPORTED = ["place", "title", "message", "cause", "remedy", "retry", "server_line", "tested"];

const panel = document.querySelector("[data-test-panel]");
const part = (selector) => panel.querySelector(selector);
const slot = (name) => part(`[data-slot="${name}"]`);
const list = part("[data-steps]");
const summary = part("[data-summary]");
const stale = part("[data-stale]");
const filledIn = part("[data-filled-in]");
const looking = part("[data-looking]");
const docsLink = part("[data-docs-link]");
const deliveredLink = part("[data-delivered]"); // to a page of administrators
const saveButton = part("[data-save-tested]");
const activateButton = part("[data-activate-tested]"); // of a server that is saved and not active

function draw(svg, level) {
  const use = svg.querySelector("use");
  use.setAttribute("href", use.getAttribute("href").replace(/#.*$/, `#${level}`));
}

function setStatus(row, status) {
  row.className = `step step-${status}`;
  row.dataset.status = status;
  row.querySelector(".step-word").textContent = WORDS[status] ?? status;
  draw(row.querySelector(".shape"), status);
}

function fill(name, text) {
  slot(name).textContent = text;
  (part(`[data-slot-of="${name}"]`) ?? slot(name)).hidden = !text;
}

/** Says it to a screen reader: the beginning and the end of a test, not each of its steps. */
function announce(text) {
  part("[data-announced]").textContent = text;
}

function runNext() {
  const next = list.querySelector('[data-status="pending"]');
  if (next) setStatus(next, "running");
}

function stopRunning() {
  for (const row of list.querySelectorAll('[data-status="running"]')) {
    setStatus(row, "pending");
    row.querySelector(".step-fact").textContent = "";
  }
  looking.hidden = true;
}

export function inWords(ms) {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** Empties the panel for a new test; only a test message has a step of that name. */
export function begin(withMessage) {
  list.replaceChildren(part("[data-steps-template]").content.cloneNode(true));
  if (!withMessage) list.querySelector('[data-name="message"]').remove();
  summary.hidden = true;
  fill("transcript", "");
  markStale("");
  sayFilledIn(false);
  panel.dataset.outcome = "running";
  announce("Test started.");
  runNext();
}

/** A step may come more than once (an address after the other, a look around after a failure): each gets a row. */
export function showStep({ name, label, status, ms, fact }) {
  const rows = [...list.querySelectorAll(`[data-name="${CSS.escape(name)}"]`)];
  const waiting = list.querySelector('[data-status="running"]');
  const failed = list.querySelector('[data-status="failed"]');
  let row = failed ? null : rows.find((known) => ["pending", "running"].includes(known.dataset.status));
  if (!row) {
    row = list.firstElementChild.cloneNode(true);
    row.dataset.name = name;
    if (failed || rows.length) (failed ?? rows.at(-1)).after(row);
    else list.insertBefore(row, waiting);
  }
  if (waiting && waiting !== row) {
    setStatus(waiting, "pending");
    waiting.querySelector(".step-fact").textContent = "";
  }
  setStatus(row, status);
  row.querySelector(".step-label").textContent = label;
  row.querySelector(".step-ms").textContent = Number.isFinite(ms) && status !== "skipped" ? inWords(ms) : "";
  row.querySelector(".step-fact").textContent = fact ?? "";
  if (status === "failed") looking.hidden = false;
  else if (!failed) runNext();
}

/** A server may be slow: the step says for how long it has been waited for. */
export function showWaiting({ label, seconds }) {
  const row = list.querySelector('[data-status="running"]');
  if (row) row.querySelector(".step-fact").textContent = `${label}: waiting for a reply, ${seconds} s`;
}

function showActions(actions) {
  const buttons = actions.map(({ label, apply, page }) => {
    const button = part(page ? "[data-page-template]" : "[data-action-template]").content.firstElementChild.cloneNode(true);
    if (page) button.href = page;
    else button.value = apply;
    button.textContent = label;
    return button;
  });
  part("[data-actions]").replaceChildren(...buttons);
}

function linkField(id) {
  const box = id && document.getElementById(id)?.closest("[data-field]");
  const link = part("[data-field-link]");
  link.hidden = !box;
  if (!box) return;
  link.hash = id;
  link.textContent = `Go to “${box.querySelector("legend, label").textContent}”`;
}

/** The part of the report that was last added to: its headline, or the step under way. */
export function newest() {
  return summary.hidden ? (list.querySelector('[data-status="running"]') ?? list.firstElementChild) : part("[data-title-status]");
}

function showHeadline(level, texts) {
  const heading = part("[data-title-status]");
  heading.className = `status status-${level}`;
  draw(heading.querySelector(".shape"), level);
  for (const name of SLOTS) fill(name, texts[name] ?? "");
  summary.hidden = false;
}

/** Shows a result. What it does not have is hidden; what may pass by itself is a warning. */
export function finish({ ok = false, level = "failed", actions = [], transcript = [], ...result }) {
  const { field, docs_url, docs_label, habits, delivered, is_ready, is_unsaved, ...texts } = result;
  stopRunning();
  panel.dataset.outcome = ok ? "ok" : "failed";
  showHeadline(level, { ...texts, transcript: transcript.join("\n") });
  showActions(actions);
  linkField(field);
  saveButton.hidden = !is_unsaved;
  if (activateButton) activateButton.hidden = !is_ready;
  docsLink.hidden = !docs_url;
  docsLink.href = docs_url || "#";
  if (docs_label) docsLink.firstChild.textContent = docs_label;
  panel.dataset.habits = habits ?? "";
  if (deliveredLink) deliveredLink.hidden = !delivered;
  stale.hidden = !part("[data-stale-text]").textContent; // the form may have been changed while the test ran
  offerCopy();
  announce([texts.title, texts.message, texts.remedy].filter(Boolean).map((text) => text.replace(/[^.]$/, "$&.")).join(" "));
}

/** Says that the test was cancelled, above the steps that it had come to. */
export function cancelled() {
  stopRunning();
  panel.dataset.outcome = "idle";
  showHeadline("skipped", { title: "Test cancelled" });
  for (const rest of summary.querySelectorAll("[data-field-link], [data-docs-link], [data-delivered], [data-copy-report]")) rest.hidden = true;
  showActions([]);
  announce("Test cancelled.");
}

/** Says why what is shown no longer belongs to what stands in the form; an empty text: it does. */
export function markStale(text) {
  stale.hidden = !text || !["ok", "failed"].includes(panel.dataset.outcome);
  part("[data-stale-text]").textContent = text;
  if (text && activateButton) activateButton.hidden = true; // it would switch on what is saved, not what is on screen
}

/** Says that the form is filled in but for the password, in the place of what is said of a changed form. */
export function sayFilledIn(isSaid) {
  if (isSaid) markStale("");
  filledIn.hidden = !isSaid;
}

function report() {
  const said = REPORTED.map((name) => slot(name).textContent).filter(Boolean);
  const more = docsLink.hidden ? [] : [docsLink.href];
  const steps = [...list.children].map((row) =>
    ["step-word", "step-label", "step-ms", "step-fact"].map((name) => row.querySelector(`.${name}`).textContent.trim()).filter(Boolean).join("  "),
  );
  const habits = panel.dataset.habits ? ["", `Known of the server: ${panel.dataset.habits}`] : [];
  return [`Sealpost ${panel.dataset.version}`, "", ...said, ...more, "", ...steps, ...habits, "", slot("transcript").textContent, ""].join("\n");
}

function offerCopy() {
  const button = part("[data-copy-report]");
  button.hidden = false;
  button.textContent = "Copy report";
}

part("[data-copy-report]").addEventListener("click", (event) => copyWith(event.currentTarget, report()));
if (!summary.hidden) offerCopy();
