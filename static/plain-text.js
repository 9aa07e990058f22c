// What was typed, without characters that look right and are not. Which those are stands in the page, in one place for both sides.
const { edges, plain } = JSON.parse(document.querySelector("[data-odd-characters]").dataset.oddCharacters);
const unwanted = new Set(edges);

/** The text as it was probably meant: nothing odd at its ends, plain characters inside. */
export function madePlain(text) {
  const letters = [...text];
  while (letters.length && unwanted.has(letters.at(-1))) letters.pop();
  while (letters.length && unwanted.has(letters[0])) letters.shift();
  return letters.map((letter) => plain[letter] ?? letter).join("");
}
