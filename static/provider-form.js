// The provider: an address or a name is looked up, or one is chosen from the list; either fills in the form.
import { setFieldError } from "./field-errors.js";
import { isChanged, setBusy, setIdle } from "./forms.js";
import { showHints } from "./provider-hints.js";
import { setPort } from "./smtp-form.js";

const form = document.getElementById("smtp-form");
const urls = document.querySelector("[data-discover-url]").dataset;
const findForm = document.getElementById("find-form");
const find = findForm.elements.find;
const findButton = findForm.querySelector("button");
const list = document.getElementById("preset");
const regions = document.getElementById("region");
const status = document.querySelector("[data-said]");
const origin = document.querySelector("[data-origin]");

// --- Filling in. What somebody typed into the user name or the sender stays; what came from here may change again.

const LABELS = { smtp_server: "server", smtp_port: "port", security: "encryption", smtp_username: "user name", from_email: "From address" };
const ours = {};

function isFree(name) {
  const { value } = form.elements[name];
  return !value || value === ours[name];
}

// An account chooses its sender among those that it may use.
function hasPlaceFor(name, value) {
  const { options } = form.elements[name];
  return !options || [...options].some((option) => option.value === value);
}

function put(name, value) {
  if (name === "smtp_port") setPort(value);
  else form.elements[name].value = value;
  ours[name] = value;
}

/** Puts the values in, an empty one where only a former provider's stands; returns the names of what is filled in. */
function fillIn({ smtp_server = "", smtp_username = "", from_email, smtp_port, security }) {
  const filled = [];
  const offer = (name, value, mayPut) => {
    if (value === undefined || !mayPut || !hasPlaceFor(name, value)) return;
    put(name, value);
    if (value) filled.push(LABELS[name]);
  };
  offer("smtp_server", smtp_server, smtp_server || isFree("smtp_server"));
  offer("smtp_port", smtp_port, true);
  offer("security", security, true);
  offer("smtp_username", smtp_username, isFree("smtp_username"));
  offer("from_email", from_email, isFree("from_email"));
  // As if typed: the note at the password and a test already shown must hear of it.
  form.dispatchEvent(new Event("input", { bubbles: true }));
  return filled;
}

// To where a mailbox is connected without a password, with the address that was typed here.
const connectLink = document.querySelector("[data-connect-link]");

function passOn(text) {
  if (connectLink) connectLink.search = text.includes("@") ? new URLSearchParams({ email: text }) : "";
}

// Whoever goes there loses nothing that was only filled in, and is not asked about it.
connectLink?.addEventListener("click", () => {
  const isTyped = (control) =>
    isChanged(control) && (control.type !== "radio" || control.checked) && control.value !== String(ours[control.name]);
  if (![...form.elements].some(isTyped)) form.reset();
});

function showProvider(provider) {
  showHints(provider);
  list.value = provider?.id ?? "";
  if (list.selectedIndex < 0) list.value = ""; // known again by its address alone
  const known = (provider?.host && provider.regions) || []; // without a host, everybody has another
  regions.replaceChildren(...known.map(({ id, name, host }) => new Option(name, `${provider.id}:${id}`, false, host === provider.host)));
  regions.form.hidden = !known.length;
}

/** What was found, what of it is filled in, and where it was found; without a message nothing. */
function say(message = "", filled = [], where = "") {
  status.textContent = filled.length ? `${message} Filled in: ${filled.join(", ")}.` : message;
  origin.textContent = where;
}

// --- Asking the server.

class Refused extends Error {}

const SIGNED_OUT = "You are signed out. Sign in in another tab, then try again. What you typed is still here.";
const OFFLINE = "Sealpost cannot be reached. Check that you are online.";

async function ask(url, signal) {
  const response = await fetch(url, { signal, headers: { Accept: "application/json" } }).catch((error) => {
    throw signal?.aborted ? error : new Refused(OFFLINE);
  });
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body.data;
  const reason = response.status === 401 ? SIGNED_OUT : body.errors?.email?.join(" ");
  throw new Refused(reason ?? body.message ?? OFFLINE);
}

// --- The address or name.

let search = null;

function modeOf({ use_tls, use_ssl }) {
  if (use_tls === undefined) return undefined;
  return use_ssl ? "tls" : use_tls ? "starttls" : "none";
}

function showFound({ source, origin: where, message, provider, values }) {
  say(message, fillIn({ ...values, security: modeOf(values) }), where);
  // Where nothing was found, the hints stay with a server that stays.
  if (source !== "none" || !form.elements.smtp_server.value) showProvider(provider);
}

async function look() {
  const text = find.value.trim();
  if (search?.text === text) return; // leaving the field and the button both ask
  search?.controller.abort();
  search = null;
  setIdle(findButton);
  setFieldError("find", "");
  say();
  passOn(text);
  if (!text) return;
  const own = (search = { text, controller: new AbortController() });
  setBusy(findButton, findButton.dataset.busy);
  try {
    const found = await ask(`${urls.discoverUrl}?email=${encodeURIComponent(text)}`, own.controller.signal);
    if (search === own) showFound(found);
  } catch (error) {
    if (search === own && error instanceof Refused) setFieldError("find", error.message);
  } finally {
    if (search === own) {
      search = null;
      setIdle(findButton);
    }
  }
}

find.addEventListener("change", look);
findForm.addEventListener("submit", (event) => {
  event.preventDefault();
  look();
});

// --- The list, and the servers of one that has several.

let asked = null;

async function choose({ target }) {
  const [id, regionId] = target.value.split(":");
  setFieldError("find", "");
  say();
  try {
    asked ??= ask(urls.providersUrl);
    const provider = (await asked).find((known) => known.id === id);
    const region = provider?.regions.find((known) => known.id === regionId);
    showChosen(region ? { ...provider, ...region, id, name: provider.name } : provider);
  } catch (error) {
    asked = null;
    if (!(error instanceof Refused)) throw error;
    say(error.message);
  }
}

function showChosen(provider) {
  showProvider(provider);
  if (!provider) return;
  const { name, caution, host, port, security, username_literal } = provider;
  say(`Settings for ${name}. ${caution}`.trim(), fillIn({ smtp_server: host, smtp_port: port, security, smtp_username: username_literal }));
}

for (const select of [list, regions]) {
  select.addEventListener("change", choose);
  select.form.addEventListener("submit", (event) => event.preventDefault());
}
for (const button of document.querySelectorAll("[data-plain-submit]")) button.hidden = true;
