// The page of an email that is not settled: asked for again every few seconds, and what has changed is taken over. What
// somebody reads with a screen reader, has opened or goes through by keyboard stays as it is.
import { refreshTimes } from "./times.js";

const SOON = 3_000;
const LATER = 15_000;
const PATIENCE = 10_000;
const parts = () => [...document.querySelectorAll("[data-live-part]")];
let timer;

/** A part without what scripts and readers have made of it. */
function plain(part) {
  const copy = part.cloneNode(true);
  for (const each of copy.querySelectorAll("time")) {
    each.textContent = "";
    each.removeAttribute("title");
  }
  for (const each of copy.querySelectorAll("details")) each.removeAttribute("open");
  for (const each of copy.querySelectorAll("[data-live-refresh], [data-live-note]")) each.remove();
  return copy;
}

function takeOver(page) {
  let hasChanged = false;
  for (const part of parts()) {
    const now = page.querySelector(`[data-live-part="${part.dataset.livePart}"]`);
    if (!now || plain(part).isEqualNode(plain(now))) continue;
    hasChanged = true;
    const next = document.importNode(now, true);
    for (const open of part.querySelectorAll("details[open]")) next.querySelector(`#${open.id}`)?.setAttribute("open", "");
    const reachable = "a, button, summary";
    const place = [...part.querySelectorAll(reachable)].indexOf(document.activeElement);
    part.replaceWith(next);
    if (place >= 0) next.querySelectorAll(reachable)[place]?.focus({ preventScroll: true });
  }
  return hasChanged;
}

function sayThatItIsLive() {
  document.querySelector("[data-live-refresh]")?.setAttribute("hidden", "");
  document.querySelector("[data-live-note]")?.removeAttribute("hidden");
}

function sayThatItIsNot() {
  document.querySelector("[data-live-refresh]")?.removeAttribute("hidden");
  document.querySelector("[data-live-note]")?.setAttribute("hidden", "");
}

async function look() {
  let page;
  try {
    const headers = { Accept: "text/html", "Sealpost-Background": "1" };
    const response = await fetch(location.href, { headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (response.redirected || response.status === 404) return sayThatItIsNot(); // signed out, or deleted
    if (!response.ok) throw new Error(String(response.status));
    page = new DOMParser().parseFromString(await response.text(), "text/html");
  } catch {
    sayThatItIsNot();
    plan(LATER);
    return;
  }
  const before = document.querySelector(".mail-word").textContent.trim();
  const hasChanged = takeOver(page);
  refreshTimes();
  const word = document.querySelector(".mail-word").textContent.trim();
  if (word !== before) document.querySelector("[data-live-said]").textContent = `Now: ${word}.`;
  const live = document.querySelector("[data-live-mail]");
  if (!live) return; // settled
  sayThatItIsLive();
  plan(hasChanged || live.dataset.liveMail === "soon" ? SOON : LATER);
}

function plan(wait) {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(look, wait);
}

document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : plan(SOON)));
addEventListener("pagehide", () => clearTimeout(timer));
addEventListener("pageshow", (event) => event.persisted && plan(SOON));
sayThatItIsLive();
plan(SOON);
