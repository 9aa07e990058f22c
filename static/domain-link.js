// The link to the check of the From domain goes with what the form says now.
const link = document.querySelector("[data-domain-link]");
const value = (name) => document.getElementById(name).value.trim();

link.addEventListener("click", () => {
  const url = new URL(link.href);
  const domain = value("from_email").split("@").pop();
  url.search = domain ? new URLSearchParams({ domain, server: value("smtp_server") }) : "";
  link.href = url;
});
