// Copies text, with HTTPS or without.

/** Rejects if the browser does not let us. */
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Without HTTPS there is no clipboard object.
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("not copied");
}

/** Copies and says on the button whether it worked. */
export async function copyWith(button, text) {
  button.textContent = await copy(text).then(
    () => "Copied",
    () => "Could not copy",
  );
}
