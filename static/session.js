// Before a form is sent: is Sealpost there, and is the person of this page still signed in? If not, it is told or asked in place.

const PATIENCE = 15_000;
export const account = document.querySelector('meta[name="account"]')?.content;
const sessionUrl = document.querySelector('meta[name="session"]')?.content;

export const NOT_REACHED = "Sealpost cannot be reached, so nothing was saved. What you typed is still here. Check that you are online, then try again.";
const FAILED = "Sealpost cannot save anything at the moment. What you typed is still here. Try again in a minute.";
const WRONG = "Wrong password. Check it and try again.";
const TOO_MANY = "Too many attempts. Wait a little, then try again.";
const NOT_YET = "You are not signed in yet. Sign in in another tab, then continue here.";
const OTHER = "Someone else is now signed in in this browser. Sign in with the account of this page.";

/** Who is signed in and the token for forms; or why nobody can tell. */
export async function ask() {
  try {
    const response = await fetch(sessionUrl, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    return response.ok ? await response.json() : { trouble: FAILED };
  } catch {
    return { trouble: NOT_REACHED };
  }
}

function renewTokens(token) {
  for (const field of document.querySelectorAll('input[name="csrf_token"]')) field.value = token;
}

/** Why nothing can be sent now, or "" if it can: whoever was signed out has signed in again by then. */
export async function whyNotNow() {
  const found = await ask();
  if (found.trouble) return found.trouble;
  renewTokens(found.csrf_token);
  if (found.account === account) return "";
  return signInAgain(found.csrf_token, found.account ? OTHER : "");
}

/** Shows the sign-in over the page. What it was not done for stays as it is. */
function signInAgain(token, first) {
  const dialog = document.getElementById("sign-in-again").content.firstElementChild.cloneNode(true);
  document.body.append(dialog);
  const form = dialog.querySelector("form");
  const error = dialog.querySelector(".field-error");
  form.elements.csrf_token.value = token;
  const say = (text) => {
    error.querySelector("[data-text]").textContent = text;
    error.hidden = !text;
  };
  say(first);
  dialog.showModal();
  return new Promise((resolve) => {
    const end = (reason) => {
      dialog.close();
      dialog.remove(); // and with it the password
      resolve(reason);
    };
    const leave = () => end("You are signed out, so nothing was done. What you typed is still here.");
    dialog.oncancel = leave;
    dialog.querySelector("[data-not-now]").onclick = leave;
    form.onsubmit = async (event) => {
      event.preventDefault();
      const trouble = await signIn(form);
      if (trouble) {
        say(trouble);
        form.elements.password?.focus();
      } else {
        end("");
      }
    };
  });
}

/** Why nobody is signed in by this form, or in another tab where it asks for no password; "" if the right one is. */
async function signIn(form) {
  const refused = form.elements.password ? await send(form) : "";
  if (refused) return refused;
  const found = await ask();
  if (found.trouble) return found.trouble;
  renewTokens(found.csrf_token);
  if (found.account === account) return "";
  return found.account ? OTHER : NOT_YET;
}

async function send(form) {
  let response;
  try {
    const body = new URLSearchParams(new FormData(form));
    response = await fetch(form.action, { method: "POST", body, redirect: "manual", signal: AbortSignal.timeout(PATIENCE) });
  } catch {
    return NOT_REACHED;
  }
  if (response.type === "opaqueredirect") return "";
  if (response.status === 401) return WRONG;
  return response.status === 429 ? TOO_MANY : FAILED;
}
