// The page that leads through a connection: lines to copy are filled in as soon as their values are entered, and a code
// that waits at the provider is asked for. The server alone knows how a value stands in a line.
import { enableCopying } from "./copy-button.js";

const form = document.getElementById("connect-form");
const FILLS_IN = ["client_id", "tenant", "object_id", "cloud", "scope"]; // none of them is secret

// --- Lines.

let asked = null;

async function fillIn() {
  asked?.abort();
  const own = (asked = new AbortController());
  const url = new URL(form.dataset.pageUrl, location.href);
  for (const name of ["provider", "way", ...FILLS_IN]) {
    if (form.elements[name]) url.searchParams.set(name, form.elements[name].value.trim());
  }
  try {
    const response = await fetch(url, { headers: { Accept: "text/html" }, signal: own.signal });
    if (response.ok) showLines(new DOMParser().parseFromString(await response.text(), "text/html"));
  } catch (error) {
    if (error.name !== "AbortError" && !(error instanceof TypeError)) throw error; // saving fills them in as well
  }
}

function showLines(page) {
  for (const lines of document.querySelectorAll("[data-lines]")) {
    const newer = page.getElementById(lines.id);
    if (!newer || newer.isEqualNode(lines)) continue;
    const own = document.importNode(newer, true);
    lines.replaceWith(own);
    enableCopying(own);
  }
}

if (form) {
  for (const name of FILLS_IN) form.elements[name]?.addEventListener("change", fillIn);
  for (const button of document.querySelectorAll("[data-plain-fill]")) button.hidden = true;
}

// --- A code: asked for until the provider has an answer, which the page then shows.

const code = document.querySelector("[data-code]");

async function look() {
  const sent = document.getElementById("code-form");
  try {
    const body = new URLSearchParams(new FormData(sent));
    const response = await fetch(sent.action, { method: "POST", body, headers: { Accept: "application/json" } });
    const { data } = await response.json();
    if (response.ok && data?.state === "waiting") {
      setTimeout(look, 1000 * Math.max(data.interval ?? 0, Number(code.dataset.interval)));
      return;
    }
  } catch {
    setTimeout(look, 1000 * Number(code.dataset.interval)); // the line may be back by then
    return;
  }
  location.assign(code.dataset.pageUrl);
}

if (code) {
  document.querySelector("[data-code-said]").hidden = false;
  setTimeout(look, 1000 * Number(code.dataset.interval));
}
