// Puts errors that came by fetch to where the server would have rendered them.

function parts(name) {
  const note = document.getElementById(`${name}-error`);
  const box = note?.closest("[data-field]");
  if (!box) return null;
  // Of a group of radios the group itself is invalid, not its first button.
  const bearer = box.matches("fieldset") ? box : box.querySelector("input, select, textarea");
  return { note, bearer };
}

function describe(bearer, id, wanted) {
  const ids = (bearer.getAttribute("aria-describedby") ?? "").split(" ").filter((known) => known && known !== id);
  if (wanted) ids.unshift(id);
  if (ids.length) bearer.setAttribute("aria-describedby", ids.join(" "));
  else bearer.removeAttribute("aria-describedby");
}

/** Shows `text` at the field; an empty text takes the error away. Returns false if there is no such field. */
export function setFieldError(name, text) {
  const found = parts(name);
  if (!found) return false;
  const { note, bearer } = found;
  note.querySelector("[data-error-text]").textContent = text;
  note.hidden = !text;
  describe(bearer, note.id, Boolean(text));
  if (text) bearer.setAttribute("aria-invalid", "true");
  else bearer.removeAttribute("aria-invalid");
  return true;
}

export function clearFieldErrors() {
  for (const note of document.querySelectorAll(".field-error:not([hidden])")) setFieldError(note.id.replace(/-error$/, ""), "");
  document.querySelector("[data-error-summary]")?.remove();
}

/** Brings the first field with an error, in the order of the page, into view and focus. */
export function focusFirstError() {
  for (const note of document.querySelectorAll(".field-error:not([hidden])")) note.closest("details")?.setAttribute("open", "");
  const note = document.querySelector(".field-error:not([hidden])");
  document.getElementById(note?.id.replace(/-error$/, ""))?.focus();
}
