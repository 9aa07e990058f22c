// Passkeys: making one, signing in with one, and confirming by one who is there. Browsers offer them to script alone.

const PATIENCE = 15_000;
const NOT_DONE = "The browser has not used a passkey. Try again, or go on without.";
const REFUSED = "This passkey was not accepted. Try again, or go on without.";
const isAble = Boolean(window.PublicKeyCredential?.parseRequestOptionsFromJSON);

async function post(url, fields) {
  const body = new URLSearchParams(fields);
  const headers = { Accept: "application/json" };
  const response = await fetch(url, { method: "POST", body, headers, signal: AbortSignal.timeout(PATIENCE) });
  if (!response.ok) throw new Error(String(response.status));
  return response;
}

async function signed(optionsUrl, token) {
  const response = await post(optionsUrl, { csrf_token: token });
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(await response.json());
  return JSON.stringify((await navigator.credentials.get({ publicKey })).toJSON());
}

const say = (within, text) => {
  within.querySelector('[role="status"]').textContent = text;
};

/** Fills the form's passkey by what the browser gives, and sends it; forms.js is not to send it before. */
function sendWith(form, passkey) {
  form.addEventListener("submit", async (event) => {
    if (form.elements.passkey.value) return;
    event.preventDefault();
    event.stopPropagation();
    say(form, "");
    try {
      form.elements.passkey.value = await passkey();
    } catch {
      say(form, NOT_DONE);
      return;
    }
    form.submit();
  });
}

for (const form of document.querySelectorAll("[data-passkey-sign-in]")) {
  form.hidden = !isAble;
  sendWith(form, () => {
    const remember = document.getElementById("remember");
    if (remember?.checked) form.append(Object.assign(remember.cloneNode(), { type: "hidden", id: "" }));
    return signed(form.dataset.options, form.elements.csrf_token.value);
  });
}

for (const form of document.querySelectorAll("[data-passkey-create]")) {
  if (!isAble) say(form, "This browser cannot make passkeys. Use another one, or an authenticator app.");
  sendWith(form, async () => {
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(JSON.parse(form.dataset.passkeyCreate));
    return JSON.stringify((await navigator.credentials.create({ publicKey })).toJSON());
  });
}

// What was typed stays: the fields that ask for a proof go, and the form can be sent as it stands.
async function confirm(box) {
  const form = box.querySelector("button").form;
  const token = form.elements.csrf_token.value;
  say(box, "");
  let passkey;
  try {
    passkey = await signed(box.dataset.options, token);
  } catch {
    say(box, NOT_DONE);
    return;
  }
  try {
    await post(box.dataset.confirmPasskey, { csrf_token: token, passkey });
  } catch {
    say(box, REFUSED);
    return;
  }
  for (const field of document.querySelectorAll('[data-field="confirm_password"], [data-field="confirm_code"]')) field.remove();
  for (const other of document.querySelectorAll("[data-confirm-passkey]")) other.querySelector("button")?.remove();
  say(box, "Confirmed.");
}

/** Lets who is there confirm by a passkey where the page, or a part that came to it, asks for a proof. */
export function offerToConfirm(root) {
  for (const box of root.querySelectorAll("[data-confirm-passkey]")) {
    box.hidden = !isAble;
    box.querySelector("button").addEventListener("click", () => confirm(box));
  }
}

offerToConfirm(document);
