// Keeps the start page fresh while someone looks at it: the parts that have changed are taken from a newer answer. What
// has the focus, is selected or open stays as it is, and nothing is asked for once nobody has touched the page for a while.
import { refreshTimes } from "./times.js";

const EVERY = 30_000;
const PATIENCE = 15_000;
const LEFT_ALONE = 10 * 60_000; // a page that is left alone must not keep the session
const hour = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const hourAndDay = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

let touchedAt = Date.now();
let isAsking = false;

function showHours() {
  for (const element of document.querySelectorAll("[data-hour]")) {
    const format = "withDay" in element.dataset ? hourAndDay : hour;
    element.textContent = format.format(new Date(element.dataset.hour));
  }
  const zone = document.querySelector("[data-zone]");
  if (zone) zone.textContent = "Hours are in your time zone";
}

function isInUse(region) {
  const selection = getSelection();
  const isSelected = selection && !selection.isCollapsed && region.contains(selection.anchorNode);
  return isSelected || (region.contains(document.activeElement) && !document.activeElement.matches("[data-refresh]"));
}

// Times and hours are in the reader's words by now, so what came is compared with what came before.
const last = new Map();

function takeOver(page) {
  for (const region of document.querySelectorAll("[data-keeps-fresh]")) {
    const newer = page.getElementById(region.id);
    if (!newer || newer.isEqualNode(last.get(region.id) ?? null) || isInUse(region)) continue;
    last.set(region.id, newer);
    const open = [...region.querySelectorAll("details[open][id]")].map((element) => element.id);
    region.replaceChildren(...[...newer.childNodes].map((node) => document.importNode(node, true)));
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  }
  refreshTimes();
  showHours();
}

function sentence(root) {
  return root.querySelector("[data-said]")?.textContent ?? "";
}

async function refresh() {
  if (isAsking) return;
  isAsking = true;
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(PATIENCE) });
    if (!response.ok || response.redirected) return; // the end of the session is told elsewhere
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const before = sentence(document);
    takeOver(page);
    const now = sentence(document);
    if (now !== before) document.querySelector("[data-announced]").textContent = now;
  } catch {
    // It shows when it was refreshed last.
  } finally {
    isAsking = false;
  }
}

function refreshIfWatched() {
  if (document.visibilityState === "visible" && Date.now() - touchedAt < LEFT_ALONE) refresh();
}

for (const event of ["pointermove", "pointerdown", "keydown", "scroll"]) {
  addEventListener(event, () => (touchedAt = Date.now()), { passive: true });
}
document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-refresh]") || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  refresh();
});
document.addEventListener("visibilitychange", refreshIfWatched);
showHours();
setInterval(refreshIfWatched, EVERY);
