/** What a person types for a value, and the value it stands for. Pure. */

import { fromBase64, fromHex, toBase64, toHex } from "./bytes.js";

const SMALLEST = -(2n ** 63n);
const LARGEST = 2n ** 63n - 1n;

/** The types to choose from, with the words for them. */
export const TYPES = {
  text: "Text",
  integer: "Integer",
  real: "Real",
  blob: "Blob, as hex",
  null: "NULL",
};

/** A text whose bytes are not UTF-8 can only be edited as bytes. */
export const RAW_TEXT = { rawtext: "Text, its bytes as hex" };

/**
 * @param {unknown} value on the wire, not a large one
 * @returns {{type: keyof typeof TYPES | "rawtext", text: string}} how it is edited
 */
export function editable(value) {
  if (value === null || value === undefined) return { type: "null", text: "" };
  if (typeof value === "string") return { type: "text", text: value };
  if (typeof value === "number") {
    return { type: Number.isInteger(value) ? "integer" : "real", text: String(value) };
  }
  if (value.$int !== undefined) return { type: "integer", text: value.$int };
  if (value.$real !== undefined) return { type: "real", text: value.$real };
  if (value.$blob !== undefined) return { type: "blob", text: toHex(fromBase64(value.$blob)) };
  return { type: "rawtext", text: toHex(fromBase64(value.$text)) };
}

/**
 * @param {string} type one of `TYPES` or `rawtext`
 * @param {string} text as it was typed
 * @returns {{value: unknown} | {problem: string}} the value on the wire, or why there is none
 */
export function parsed(type, text) {
  if (type === "null") return { value: null };
  if (type === "text") return { value: text };
  if (type === "integer") return integer(text.trim());
  if (type === "real") return real(text.trim());
  const bytes = fromHex(text);
  if (bytes === null) return { problem: "These are not pairs of hexadecimal digits, such as 00ff." };
  return { value: type === "blob" ? { $blob: toBase64(bytes) } : { $text: toBase64(bytes) } };
}

const LINE_END = /\r\n|\r|\n/g;

/**
 * A text as it was typed into a field, which knows one kind of line end only: those that were there
 * stay what they were, and new ones are what the others around them are.
 * @param {string} typed @param {string} before the text the field began with
 * @returns {string}
 */
export function withLineEnds(typed, before) {
  const ends = before.match(LINE_END) ?? [];
  if (ends.every((end) => end === "\n")) return typed;
  const lines = typed.split("\n");
  const were = before.split(LINE_END);
  const [count, counted] = [lines.length - 1, ends.length];
  const most = Math.min(count, counted);
  let first = count === counted ? count : 0;
  while (first < most && lines[first] === were[first]) first += 1;
  let last = 0;
  while (last < most - first && lines[count - last] === were[counted - last]) last += 1;
  const end = (at) => {
    if (at < first) return ends[at];
    return at >= count - last ? ends[at - count + counted] : ends[Math.min(first, counted - 1)];
  };
  return lines.map((line, at) => (at < count ? line + end(at) : line)).join("");
}

function integer(text) {
  if (!/^[+-]?\d+$/.test(text)) return { problem: "This is not an integer, such as 42." };
  const number = BigInt(text.replace("+", ""));
  if (number < SMALLEST || number > LARGEST) {
    return { problem: "An integer has at most 64 bits: up to 9223372036854775807." };
  }
  const small = Number(number);
  return { value: Number.isSafeInteger(small) ? small : { $int: String(number) } };
}

function real(text) {
  if (/^[+-]?inf(inity)?$/i.test(text)) {
    return { value: { $real: text.startsWith("-") ? "-Infinity" : "Infinity" } };
  }
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) {
    return { problem: "This is not a number, such as 1.5 or 1e-3." };
  }
  const number = Number(text);
  if (!Number.isFinite(number)) return { problem: "This is larger than any real but Infinity." };
  if (!Number.isInteger(number)) return { value: number };
  // JSON of JavaScript would make an integer of it, and lose the sign of zero.
  const digits = Object.is(number, -0) ? "-0" : String(number);
  return { value: { $real: /[.e]/.test(digits) ? digits : `${digits}.0` } };
}

/**
 * The type a column asks for, by the words of its declaration, as SQLite reads them.
 * @param {string} declared
 * @returns {keyof typeof TYPES}
 */
export function typeFor(declared) {
  const words = declared.toUpperCase();
  if (words.includes("INT")) return "integer";
  if (/CHAR|CLOB|TEXT/.test(words)) return "text";
  if (words.includes("BLOB")) return "blob";
  if (/REAL|FLOA|DOUB/.test(words)) return "real";
  return "text";
}
