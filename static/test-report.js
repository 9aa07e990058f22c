// Shows a connection test: its steps one under the other, its result, and a report to copy.
import { copyWith } from "./clipboard.js";

const WORDS = { ok: "OK", warning: "Warning", failed: "Failed", skipped: "Skipped", pending: "Not reached", running: "Running" };

const panel = document.querySelector("[data-test-panel]");
const list = panel.querySelector("[data-steps]");
const summary = panel.querySelector("[data-summary]");
const stale = panel.querySelector("[data-stale]");
const part = (selector) => panel.querySelector(selector);
const slot = (name) => part(`[data-slot="${name}"]`);

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
  slot(name).textContent = text ?? "";
  (part(`[data-slot-of="${name}"]`) ?? slot(name)).hidden = !text;
}

function runNext() {
  const next = list.querySelector('[data-status="pending"]');
  if (next) setStatus(next, "running");
}

export function inWords(ms) {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** Empties the panel for a new test; only a test message has a step of that name. */
export function begin(withMessage) {
  list.replaceChildren(part("[data-steps-template]").content.cloneNode(true));
  if (!withMessage) list.querySelector('[data-name="message"]').remove();
  summary.hidden = true;
  panel.dataset.outcome = "running";
  runNext();
}

/** A step may come more than once (an address after the other, EHLO before and after STARTTLS): each gets a row. */
export function showStep({ name, label, status, ms, fact }) {
  const rows = [...list.querySelectorAll(`[data-name="${CSS.escape(name)}"]`)];
  const waiting = list.querySelector('[data-status="running"]');
  let row = rows.find((known) => ["pending", "running"].includes(known.dataset.status));
  if (!row) {
    row = list.firstElementChild.cloneNode(true);
    row.dataset.name = name;
    if (rows.length) rows.at(-1).after(row);
    else list.insertBefore(row, waiting);
  }
  if (waiting && waiting !== row) setStatus(waiting, "pending");
  setStatus(row, status);
  row.querySelector(".step-label").textContent = label;
  row.querySelector(".step-ms").textContent = Number.isFinite(ms) && status !== "skipped" ? inWords(ms) : "";
  row.querySelector(".step-fact").textContent = fact ?? "";
  if (status !== "failed") runNext();
}

/** outcome: "ok" or "failed". What the result does not have is hidden. */
export function finish(outcome, { title, message, remedy, server_line, tested, field }) {
  for (const row of list.querySelectorAll('[data-status="running"]')) setStatus(row, "pending");
  panel.dataset.outcome = outcome;
  const heading = part("[data-title-status]");
  heading.className = `status status-${outcome}`;
  draw(heading.querySelector(".shape"), outcome);
  for (const [name, text] of Object.entries({ title, message, remedy, server_line, tested })) fill(name, text);
  const label = field && document.querySelector(`label[for="${CSS.escape(field)}"]`);
  const link = part("[data-field-link]");
  link.hidden = !label;
  if (label) {
    link.hash = field;
    link.textContent = `Go to “${label.textContent}”`;
  }
  stale.hidden = true;
  offerCopy();
  summary.hidden = false;
}

export function cancelled() {
  for (const row of list.querySelectorAll('[data-status="running"]')) setStatus(row, "pending");
  panel.dataset.outcome = "idle";
}

/** Says that what is shown no longer belongs to what stands in the form. */
export function markStale() {
  if (["ok", "failed"].includes(panel.dataset.outcome)) stale.hidden = false;
}

function report() {
  const said = ["title", "message", "remedy", "server_line", "tested"].map((name) => slot(name).textContent).filter(Boolean);
  const steps = [...list.children].map((row) =>
    ["step-word", "step-label", "step-ms", "step-fact"].map((name) => row.querySelector(`.${name}`).textContent.trim()).filter(Boolean).join("  "),
  );
  return [...said, "", ...steps, ""].join("\n");
}

function offerCopy() {
  const button = part("[data-copy-report]");
  button.hidden = false;
  button.textContent = "Copy report";
}

part("[data-copy-report]").addEventListener("click", (event) => copyWith(event.currentTarget, report()));
if (!summary.hidden) offerCopy();
