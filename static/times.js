// Turns each <time data-relative> into the reader's own words and clock: "4 minutes ago", the full date in UTC as its title.
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const full = new Intl.DateTimeFormat("en-GB", { dateStyle: "long", timeStyle: "medium", timeZone: "UTC" });
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
const UNITS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
];

function inWords(moment) {
  const seconds = (moment - Date.now()) / 1000;
  if (Math.abs(seconds) < 45) return "just now";
  if (Math.abs(seconds) > 7 * 86400) return day.format(moment);
  const [unit, length] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? UNITS.at(-1);
  return relative.format(Math.round(seconds / length) || Math.sign(seconds), unit);
}

export function refreshTimes() {
  for (const element of document.querySelectorAll("time[data-relative]")) {
    const moment = new Date(element.dateTime);
    if (Number.isNaN(moment.valueOf())) continue;
    element.title = `${full.format(moment)} UTC`;
    element.textContent = inWords(moment);
  }
}

refreshTimes();
setInterval(refreshTimes, 30_000);
