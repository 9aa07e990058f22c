// A list that stays current. What changes comes as server-sent events; where there are none, the page is asked for every
// ten seconds. What somebody reads, has ticked or goes through by keyboard does not move: new rows wait behind a button.
import { refreshTimes } from "./times.js";
import "./list-keys.js";

const POLL = 10_000;
const EVENTS_AGAIN = 120_000; // until events are tried again where they failed
const SILENT = 10_000; // from here on a stream, which says something every two seconds, is not there
const QUIET = 20_000; // between two things that are said to a screen reader
const bar = document.querySelector("[data-live-source]");
const { liveSource: source, liveWhat: what } = bar.dataset;
const isFirst = "liveFirst" in bar.dataset;
const newestOf = (element) => element.dataset.liveNewest.split(" ").filter(Boolean);
const knownNewest = new Set(newestOf(bar)); // the rows of the first page, where another is shown
const word = bar.querySelector("[data-live-word]");
const time = bar.querySelector("[data-live-time] time");
const pause = bar.querySelector("[data-live-pause]");
const button = Object.assign(document.createElement("button"), { type: "button", className: "btn btn-secondary" });

const waiting = new Map(); // rows that are not shown yet, by their ids
let order = []; // of the rows, as it should be
let mark = new URL(source, location.href).searchParams.get("seen");
let stream, timer, isPaused = false, heardAt = 0, saidAt = 0;
let turn = 0; // which stream or row of polls it is; what an earlier one still brings starts nothing anew
const unsaid = { added: 0, changed: 0, says: "" };

const container = () => document.querySelector("[data-live-rows]");
const shown = () => [...(container()?.children ?? [])];
const idOf = (row) => row.dataset.row;
const counted = (number, phrase) => `${number} ${phrase} ${what}${number === 1 ? "" : "s"}`;

/** The row that this HTML is of, or what else it holds: as a document of its own, in which nothing runs. */
function parsed(html, isRow) {
  // A row of a table would be dropped outside one; what is none is put before it.
  const page = new DOMParser().parseFromString(isRow ? `<table><tbody>${html}</tbody></table>` : html, "text/html");
  return isRow ? document.importNode(page.querySelector("[data-row]"), true) : document.importNode(page.body, true);
}

/** Whether rows may come and go now without anybody losing what they look at. */
function mayMove() {
  const rows = container();
  if (!rows) return !document.querySelector("[data-live-list]").contains(document.activeElement);
  const isRead = rows.getBoundingClientRect().top < 0;
  return isFirst && !isRead && !rows.contains(document.activeElement) && !rows.querySelector("input:checked");
}

/** The cells of a row that have changed are replaced, so that a link keeps the focus, and a box its tick. */
function renew(row, now) {
  if (row.dataset.version === now.dataset.version) return;
  row.dataset.version = now.dataset.version;
  [...now.children].forEach((cell, index) => {
    const old = row.children[index];
    if (old && !isSame(old, cell)) old.contains(document.activeElement) ? keepFocus(old, cell) : old.replaceWith(cell);
  });
  flash(row);
  unsaid.changed += 1;
  unsaid.says = now.dataset.liveSays ?? "";
}

/** Whether two elements hold the same, but for what scripts make of it: times are in the reader's own words. */
function isSame(one, other) {
  return plain(one.childNodes).isEqualNode(plain(other.childNodes));
}

function plain(nodes) {
  const box = document.createElement("div");
  for (const node of nodes) box.append(node.cloneNode(true));
  for (const each of box.querySelectorAll("time")) {
    each.textContent = "";
    each.removeAttribute("title");
  }
  return box;
}

function keepFocus(old, cell) {
  const links = [...old.querySelectorAll("a, input, button")];
  const index = links.indexOf(document.activeElement);
  old.replaceWith(cell);
  cell.querySelectorAll("a, input, button")[index]?.focus({ preventScroll: true });
}

function flash(row) {
  row.classList.remove("is-new");
  void row.offsetWidth; // so that it begins anew
  row.classList.add("is-new");
}

/** Put the rows into the order of the server: it is that of those that are here, with others between and before. */
function move() {
  for (const row of shown()) if (!order.includes(idOf(row))) row.remove();
  let at = container().firstElementChild;
  for (const id of order) {
    if (at && idOf(at) === id) {
      at = at.nextElementSibling;
      continue;
    }
    const row = waiting.get(id);
    if (!row) continue;
    container().insertBefore(row, at);
    flash(row);
    unsaid.added += 1;
  }
  waiting.clear();
  refreshTimes();
}

/** How many rows there are by now before those that the first page had, where another one is shown. */
function countNewer(newest) {
  const known = newest.findIndex((id) => knownNewest.has(id));
  return isFirst ? 0 : known < 0 ? newest.length : known;
}

/** What has come, and is not shown, is counted on a button. */
function offer(newest) {
  const here = new Set(shown().map(idOf));
  const newer = countNewer(newest);
  const added = order.filter((id) => !here.has(id)).length;
  const isGone = shown().some((row) => !order.includes(idOf(row)));
  const text = newer || added ? counted(newer || added, "new") : isGone ? "Update the list" : "";
  button.dataset.leads = newer ? "away" : "";
  if (!text) button.remove();
  else if (button.textContent !== text || !button.isConnected) {
    button.textContent = text;
    bar.querySelector("[data-live-new]").append(button);
  }
}

button.addEventListener("click", async () => {
  if (button.dataset.leads) {
    location.assign(bar.dataset.liveNewestUrl);
    return;
  }
  if (container() && order.length) move();
  else await poll(true);
  button.remove();
  (container()?.querySelector("[data-row-link]") ?? document.querySelector("h1"))?.focus();
});

/** What has changed: `rows` are elements, of those that changed at least, and `beside` what stands around the list. */
function take({ at, rows, order: now, newest, beside }) {
  sayCurrent(at);
  for (const [name, body] of beside) putBeside(name, body);
  if (!now) return;
  order = now;
  const here = new Map(shown().map((row) => [idOf(row), row]));
  for (const [id, row] of rows) here.has(id) ? renew(here.get(id), row) : waiting.set(id, row);
  for (const id of waiting.keys()) if (!order.includes(id)) waiting.delete(id);
  refreshTimes();
  if (mayMove() && container() && order.length) {
    move();
    button.remove();
  } else if (mayMove() && Boolean(container()) !== Boolean(order.length)) poll(true);
  else offer(newest ?? []);
  speak();
}

function putBeside(name, now) {
  const place = document.querySelector(`[data-live-around="${name}"]`);
  if (!place || isSame(place, now) || place.contains(document.activeElement)) return;
  place.replaceChildren(...now.childNodes);
}

function sayCurrent(at) {
  time.dateTime = at;
  word.textContent = stream ? "Live, as of" : "As of";
  bar.toggleAttribute("data-is-live", Boolean(stream));
  refreshTimes();
}

/** Seldom, and in few words. */
function speak() {
  const wait = saidAt + QUIET - Date.now();
  clearTimeout(speak.timer);
  if (!unsaid.added && !unsaid.changed) return;
  if (wait > 0) {
    speak.timer = setTimeout(speak, wait);
    return;
  }
  const told = [unsaid.added && counted(unsaid.added, "new"), unsaid.changed && counted(unsaid.changed, "changed")];
  const says = unsaid.changed === 1 && !unsaid.added && unsaid.says; // a row that says itself what it is now
  bar.querySelector("[data-live-said]").textContent = says || `${told.filter(Boolean).join(", ")}.`;
  Object.assign(unsaid, { added: 0, changed: 0, says: "" });
  saidAt = Date.now();
}

function listen() {
  const url = new URL(source, location.href);
  url.searchParams.set("seen", mark);
  heardAt = Date.now();
  stream = new EventSource(url);
  stream.addEventListener("message", (event) => {
    const told = JSON.parse(event.data);
    mark = event.lastEventId || mark;
    heardAt = Date.now();
    const rows = Object.entries(told.rows ?? {}).map(([id, html]) => [id, parsed(html, true)]);
    take({ ...told, rows, beside: Object.entries(told.around ?? {}).map(([name, html]) => [name, parsed(html)]) });
  });
  stream.addEventListener("error", () => {
    if (stream?.readyState !== EventSource.CLOSED) return; // it asks again by itself
    stop();
    word.textContent = "As of";
    planPoll(Date.now() + EVENTS_AGAIN);
  });
}

function planPoll(eventsAt) {
  timer = setTimeout(pollOn, POLL, eventsAt, turn);
}

async function pollOn(eventsAt, ours) {
  const goesOn = await poll(false);
  if (!goesOn || ours !== turn) return;
  if (Date.now() > eventsAt && "EventSource" in window) listen();
  else planPoll(eventsAt);
}

function noticeSilence() {
  if (!stream || Date.now() - heardAt < SILENT) return;
  word.textContent = "Sealpost cannot be reached. As of";
  bar.removeAttribute("data-is-live");
}

/** Ask for the page, and take from it what has changed, or all of the list; whether to ask again. */
async function poll(isWhole) {
  let page, at;
  try {
    const headers = { Accept: "text/html", "Sealpost-Background": "1" };
    const response = await fetch(bar.dataset.livePage ?? location.href, { headers, cache: "no-store", signal: AbortSignal.timeout(POLL) });
    if (response.redirected) {
      word.textContent = "You are signed out. As of";
      return false;
    }
    if (!response.ok) throw new Error(String(response.status));
    page = new DOMParser().parseFromString(await response.text(), "text/html");
    at = page.querySelector("[data-live-time] time").dateTime;
  } catch {
    word.textContent = "Sealpost cannot be reached. As of";
    return true;
  }
  const rows = page.querySelector("[data-live-rows]");
  const list = document.querySelector("[data-live-list]");
  const beside = [...page.querySelectorAll("[data-live-around]")].map((each) => [each.dataset.liveAround, document.importNode(each, true)]);
  if (isWhole || !rows || !container()) {
    const now = document.importNode(page.querySelector("[data-live-list]"), true);
    if (isWhole || mayMove()) list.replaceChildren(...now.childNodes);
    order = shown().map(idOf);
    waiting.clear();
    take({ at, beside });
    return true;
  }
  const found = [...rows.children].map((row) => [idOf(row), document.importNode(row, true)]);
  const newest = newestOf(page.querySelector("[data-live-source]"));
  take({ at, rows: found, order: found.map(([id]) => id), newest, beside });
  return true;
}

function stop() {
  turn += 1;
  stream?.close();
  stream = undefined;
  clearTimeout(timer);
  bar.removeAttribute("data-is-live");
}

function start() {
  stop();
  if (isPaused || document.hidden) return;
  if ("EventSource" in window) listen();
  else planPoll(Infinity);
}

pause.hidden = false;
pause.addEventListener("click", () => {
  isPaused = !isPaused;
  pause.textContent = isPaused ? "Go on" : "Pause";
  start();
  if (isPaused) word.textContent = "Paused, as of";
});
// A tab that nobody sees holds no connection: browsers have few for each server.
document.addEventListener("visibilitychange", start);
addEventListener("pagehide", stop);
addEventListener("pageshow", (event) => event.persisted && start());
setInterval(noticeSilence, SILENT / 2);
start();
