// Shows what is known of a provider: the hints at the fields, and its notes under the list.

function setText(selector, text) {
  document.querySelector(selector).textContent = text ?? "";
}

function setLink(id, url) {
  const link = document.getElementById(id);
  link.hidden = !url;
  link.href = url || "#";
}

function item(...parts) {
  const line = document.createElement("li");
  line.append(...parts);
  return line;
}

function dated({ date, text }) {
  const time = document.createElement("time");
  time.dateTime = time.textContent = date;
  return item(time, `: ${text}`);
}

/** Shows the provider's hints in place of the former one's; without a provider there are none. */
export function showHints(provider) {
  setText("#server-provider", provider?.host_hint);
  setText("#username-provider", provider?.username_hint);
  setText("#password-provider", provider?.password_hint);
  setText("#from-provider", provider?.from_rule);
  setText('[data-fact="obstacle"]', provider?.obstacle);
  setLink("password-guide", provider?.password_url);
  setLink("provider-guide", provider?.docs_url);
  const { notes = [], changes = [], limits = [] } = provider ?? {};
  const lines = [...notes.map((note) => item(note)), ...changes.map(dated)];
  if (limits.length) lines.push(item(`Limits: ${limits.join("; ")}.`));
  document.querySelector('[data-fact="notes"]').replaceChildren(...lines);
}
