/** Which changes of the feed are wanted. Pure. */

import { hexOf } from "./bytes.js";

/**
 * @typedef {object} Filter
 * @property {string | null} table only changes of this table, null for all.
 * @property {Set<string>} ops of `insert`, `update`, `delete` and `schema` those wanted.
 * @property {string} text what must occur in table, key or values, whatever its case; "" for all.
 * @property {string} where a SQL expression the service looks at; "" for none.
 */

export const OPS = ["insert", "update", "delete", "schema"];

/** @returns {Filter} one that lets everything through */
export function noFilter() {
  return { table: null, ops: new Set(OPS), text: "", where: "" };
}

/** @param {Filter} filter @returns {boolean} whether it leaves anything out */
export function isOpen({ table, ops, text, where }) {
  return table === null && ops.size === OPS.length && text === "" && where === "";
}

/**
 * @param {Filter} filter its table may become another one: it goes by what the table is called now
 * @param {(table: string, position: string) => string} [present] what a table is called now
 * @returns {(change: object, position: string) => boolean} tells whether a change of the changeset
 *   there is wanted; `where` is not asked.
 */
export function accepting(filter, present = (table) => table) {
  const { ops, text } = filter;
  const sought = text.toLowerCase();
  const isOf = (table, change, position) =>
    table === null || present(change.table, position) === table || change.renamed_from === table;
  return (change, position) =>
    ops.has(change.op) &&
    isOf(filter.table, change, position) &&
    (sought === "" || pieces(change).some((piece) => piece.toLowerCase().includes(sought)));
}

function pieces(change) {
  const { op, table, name, sql, key, before, after } = change;
  if (op === "schema") return [table, name ?? "", sql.before ?? "", sql.after ?? ""];
  return [table, ...[key, before, after].flatMap((row) => Object.values(row ?? {}).map(words))];
}

/** A value as one would type it into a search box; bytes as hexadecimal digits. */
function words(value) {
  if (typeof value === "string") return value;
  if (value === null) return "NULL";
  if (typeof value === "number") return String(value);
  const bytes = value.$blob ?? value.$text;
  return bytes === undefined ? value.$int ?? value.$real ?? "" : hexOf(bytes);
}
