/** JSON in a text, made readable without changing what it says. Pure. */

const LONGEST = 1_000_000; // characters; beyond it a text is shown as it is

/**
 * Lays JSON out in lines. Numbers keep all their digits: they are not read as numbers.
 * @param {string} text
 * @returns {string | null} null if it is no object or array
 */
export function pretty(text) {
  if (text.length > LONGEST || !/^\s*[[{]/.test(text)) return null;
  try {
    JSON.parse(text);
  } catch {
    return null; // a text like any other
  }
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/g);
  let depth = 0;
  let made = "";
  tokens.forEach((token, at) => {
    const line = (by) => `\n${"  ".repeat((depth += by))}`;
    if (token === "{" || token === "[") {
      const isEmpty = tokens[at + 1] === "}" || tokens[at + 1] === "]";
      made += token + (isEmpty ? "" : line(1));
    } else if (token === "}" || token === "]") {
      const isEmpty = tokens[at - 1] === "{" || tokens[at - 1] === "[";
      made += (isEmpty ? "" : line(-1)) + token;
    } else if (token === ",") made += token + line(0);
    else if (token === ":") made += ": ";
    else made += token;
  });
  return made;
}
