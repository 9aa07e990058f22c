// Scrolls no more than needed: what stands in the window already stays where it is.

const MARGIN = 16;
const BELOW = 72; // beneath a headline its first line should be seen as well

function bounds(parts) {
  const boxes = parts.map((part) => part.getBoundingClientRect());
  return { top: Math.min(...boxes.map((box) => box.top)), bottom: Math.max(...boxes.map((box) => box.bottom)) };
}

/** Brings these parts of a panel, which may scroll by itself, into the window together, the first at its upper edge. */
export function bringIntoView(panel, ...parts) {
  const within = panel.getBoundingClientRect();
  const own = bounds(parts);
  if (own.top < within.top || own.bottom > within.bottom) panel.scrollBy({ top: own.top - within.top - MARGIN, behavior: "instant" });
  const { top, bottom } = bounds(parts);
  if (top >= 0 && bottom + BELOW <= innerHeight) return;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  window.scrollBy({ top: top - MARGIN, behavior: calm ? "instant" : "smooth" });
}
