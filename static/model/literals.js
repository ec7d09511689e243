/** Values and names as SQL, exactly and of the same type, whichever way the text travels. Pure. */

const TINY = 1e-290; // below it not every version of SQLite reads decimals to the last bit
const BITS = 62; // 2 to it is the largest power of two that is an INTEGER
const CONTROL = /[\x00-\x1f\x7f]+/;
const MOST_CODES = 100; // arguments of one char(); SQLite takes 127

/** @param {string} name of a table or column @returns {string} quoted */
export function quoted(name) {
  return `"${name.replaceAll('"', '""')}"`;
}

/**
 * @param {unknown} value as on the wire; NaN is not among them: SQLite holds NULL in its place.
 * @param {Map<string, string | Uint8Array>} [large] contents of the large values, by sha256
 * @returns {string}
 */
export function literal(value, large) {
  if (value === null || value === undefined) return "NULL";
  if (typeof value === "string") return text(value);
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : real(value);
  if (value.$int !== undefined) return value.$int;
  if (value.$real !== undefined) return wholeReal(value.$real);
  if (value.$blob !== undefined) return `x'${hexOfBase64(value.$blob)}'`;
  if (value.$text !== undefined) return `CAST(x'${hexOfBase64(value.$text)}' AS TEXT)`;
  const content = large.get(value.$large.sha256);
  return typeof content === "string" ? text(content) : `x'${hexOf(content)}'`;
}

function wholeReal(digits) {
  if (digits === "Infinity") return "9e999";
  if (digits === "-Infinity") return "-9e999";
  return digits;
}

function real(number) {
  if (Math.abs(number) >= TINY) return String(number);
  // A whole number over powers of two: each step of it is exact.
  let whole = number;
  let bits = 0;
  for (; !Number.isInteger(whole); bits += 1) whole *= 2;
  const steps = "/4611686018427387904.0".repeat(Math.floor(bits / BITS));
  return `(${whole}.0/${2 ** (bits % BITS)}.0${steps})`;
}

/**
 * Control characters are written by their numbers: shells, terminals and clipboards turn line ends
 * and tabs into others, and end a text at NUL.
 */
function text(string) {
  if (!CONTROL.test(string)) return plain(string);
  const pieces = string.split(/([\x00-\x1f\x7f]+)/).filter((piece) => piece !== "");
  return `(${joined(pieces.flatMap(piece))})`;
}

function piece(string) {
  if (!CONTROL.test(string)) return [plain(string)];
  const codes = Array.from(string, (character) => character.charCodeAt(0));
  const calls = [];
  for (let at = 0; at < codes.length; at += MOST_CODES) {
    calls.push(`char(${codes.slice(at, at + MOST_CODES)})`);
  }
  return calls;
}

/** In halves: SQLite takes expressions that are at most 1,000 deep. */
function joined(terms) {
  if (terms.length <= 8) return terms.join("||");
  const half = terms.length >> 1;
  return `(${joined(terms.slice(0, half))})||(${joined(terms.slice(half))})`;
}

function plain(string) {
  return `'${string.replaceAll("'", "''")}'`;
}

function hexOfBase64(base64) {
  return Array.from(atob(base64), (c) => c.charCodeAt(0).toString(16).padStart(2, "0")).join("");
}

function hexOf(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
