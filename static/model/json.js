/** JSON to be read: messages as they were on the wire, and texts out of the database. Pure. */

const LONGEST = 1_000_000; // characters; beyond it a text is shown as it is

/**
 * @param {unknown} value whole reals as `{"$real": "1.0"}`, the way `client.js` hands them over
 * @returns {string} the same as the service wrote it: `1.0`
 */
export function jsonOf(value) {
  return written(value, "");
}

function written(value, indent) {
  if (value === null || typeof value !== "object") return JSON.stringify(value ?? null);
  const whole = value.$real;
  if (typeof whole === "string" && !whole.endsWith("Infinity")) return whole;
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    const items = value.map((item) => inner + written(item, inner));
    return items.length ? `[\n${items.join(",\n")}\n${indent}]` : "[]";
  }
  const fields = Object.entries(value).map(([name, field]) => `${JSON.stringify(name)}: ${written(field, inner)}`);
  const line = `{${fields.join(", ")}}`;
  return line.length <= 100 && !line.includes("\n")
    ? line
    : `{\n${fields.map((field) => inner + field).join(",\n")}\n${indent}}`;
}

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
