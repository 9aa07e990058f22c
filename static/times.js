// Turns each <time> of ours into the reader's own words, clock and zone, with the full date in UTC as its title:
// data-relative "4 minutes ago", or "in 4 minutes" where it says "coming"; data-exact to the second, data-day the date
// alone. Without script they are in UTC.
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const full = new Intl.DateTimeFormat("en-GB", { dateStyle: "long", timeStyle: "medium", timeZone: "UTC" });
const short = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
const exact = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium" });
const UNITS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
];

function inWords(moment, isComing) {
  const seconds = (moment - Date.now()) / 1000;
  if (Math.abs(seconds) < 45) return isComing ? "in a moment" : "just now"; // two clocks are never quite the same
  if (Math.abs(seconds) > 7 * 86400) return short.format(moment);
  const [unit, length] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? UNITS.at(-1);
  return relative.format(Math.round(seconds / length) || Math.sign(seconds), unit);
}

function asTheReaderHasIt(moment, { dataset }) {
  if ("relative" in dataset) return inWords(moment, dataset.relative === "coming");
  return ("exact" in dataset ? exact : day).format(moment);
}

export function refreshTimes() {
  for (const element of document.querySelectorAll("time:is([data-relative], [data-exact], [data-day])")) {
    const moment = new Date(element.dateTime);
    if (Number.isNaN(moment.valueOf())) continue;
    element.title = `${full.format(moment)} UTC`;
    element.textContent = asTheReaderHasIt(moment, element);
  }
}

refreshTimes();
setInterval(refreshTimes, 30_000);
