/** How a cell value reads on screen. Pure: tagged JSON in, words out. */

import { hexOf } from "./bytes.js";

const SHOWN = 160; // characters of a text before it is shortened
const SHOWN_BYTES = 24; // bytes of a blob
const LEAD = 24; // characters kept before the first difference of two long values

const number = new Intl.NumberFormat("en");

/**
 * @param {number} count
 * @param {string} noun in the singular
 * @returns {string} such as `1 change` or `2,000 changes`
 */
export function counted(count, noun) {
  return `${number.format(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/**
 * @typedef {object} Reading
 * @property {"null" | "integer" | "real" | "text" | "blob" | "large"} type
 * @property {string} text what to show at first.
 * @property {string} [note] what to say beside it, such as its size.
 * @property {() => string} [full] gives the whole value, where `text` is not all of it.
 * @property {string} [more] what a button that shows it is called.
 * @property {string} [sha256] name of a value that is kept beside the stream.
 */

/**
 * @param {unknown} value a value as it is on the wire.
 * @param {unknown} [other] the value at the other end of an update: a long value is shown from
 *   about where the two differ.
 * @returns {Reading}
 */
export function read(value, other) {
  if (value === null) return { type: "null", text: "NULL" };
  if (typeof value === "string") return readText(value, other);
  if (typeof value === "number") {
    return { type: Number.isInteger(value) ? "integer" : "real", text: String(value) };
  }
  if (typeof value.$int === "string") return { type: "integer", text: value.$int };
  if (typeof value.$real === "string") return { type: "real", text: value.$real };
  if (typeof value.$blob === "string") return readBytes(value.$blob, other?.$blob, "blob");
  if (typeof value.$text === "string") {
    return readBytes(value.$text, other?.$text, "text that is not UTF-8");
  }
  if (value.$large) return readLarge(value.$large);
  return { type: "text", text: JSON.stringify(value) };
}

function readText(text, other) {
  if (text.length <= SHOWN) return { type: "text", text: visible(text) };
  const from = typeof other === "string" ? Math.max(0, commonPrefix(text, other) - LEAD) : 0;
  const length = counted(text.length, "character");
  return {
    type: "text",
    text: visible(excerpt(text, from)),
    full: () => text,
    more: `Show all ${length}`,
  };
}

function excerpt(text, from) {
  let start = from < LEAD ? 0 : from;
  let end = Math.min(text.length, start + SHOWN);
  if (isLowSurrogate(text, start)) start += 1;
  if (isLowSurrogate(text, end)) end -= 1;
  return (start > 0 ? "…" : "") + text.slice(start, end) + (end < text.length ? "…" : "");
}

/**
 * Characters that hide or rearrange others are made visible: control characters by their pictures
 * (␀ for NUL, ␊ for newline), overrides of the writing direction by their number.
 */
function visible(text) {
  return text
    .replace(/[\x00-\x1f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
    .replace(/\x7f/g, "\u2421")
    .replace(
      /[\u202a-\u202e\u2066-\u2069]/g,
      (c) => `⟨U+${c.charCodeAt(0).toString(16).toUpperCase()}⟩`,
    );
}

function readBytes(base64, other, name) {
  const size = byteLength(base64);
  // Four characters of base64 are three bytes; both ends of the excerpt stay on that grid.
  const same = typeof other === "string" ? Math.floor(commonPrefix(base64, other) / 4) * 3 : 0;
  const start = size > SHOWN_BYTES && same > SHOWN_BYTES / 2 ? same - SHOWN_BYTES / 4 : 0;
  const end = Math.min(size, start + SHOWN_BYTES);
  const grid = base64.slice((start / 3) * 4, Math.ceil(end / 3) * 4);
  const bytes = hexOf(grid).slice(0, (end - start) * 2);
  const reading = {
    type: "blob",
    text: (start > 0 ? "…" : "") + bytes + (end < size ? "…" : ""),
    note: `${name}, ${counted(size, "byte")}`,
  };
  if (start > 0 || end < size) {
    reading.full = () => hexOf(base64);
    reading.more = `Show all ${counted(size, "byte")}`;
  }
  return reading;
}

function readLarge({ type, bytes, sha256 }) {
  return { type: "large", text: `${type}, ${counted(bytes, "byte")}`, sha256 };
}

function byteLength(base64) {
  const padding = base64.endsWith("==") ? 2 : base64.endsWith("=") ? 1 : 0;
  return (base64.length / 4) * 3 - padding;
}

function commonPrefix(left, right) {
  const end = Math.min(left.length, right.length);
  let same = 0;
  while (same < end && left.charCodeAt(same) === right.charCodeAt(same)) same += 1;
  return same;
}

function isLowSurrogate(text, index) {
  const code = text.charCodeAt(index);
  return code >= 0xdc00 && code <= 0xdfff;
}
