/** What a statement has to know of the table it is about. Pure. */

import { literal, quoted } from "./literals.js";

const ROWID_NAMES = ["rowid", "_rowid_", "oid"];

/**
 * @typedef {object} Shape
 * @property {string | null} rowid a name of the rowid that no column has, null where there is none.
 * @property {boolean} unique whether two rows may not have the same value somewhere.
 * @property {boolean} triggers
 * @property {(columns: string[]) => string[]} settable without those that SQLite works out.
 * @property {(column: string, value: unknown) => string} is a condition: the column has exactly
 *   this value, of this type.
 * @property {(column: string, value: unknown) => string} isKey the same of a column of the key,
 *   such that an index serves.
 */

/**
 * @param {object | null} schema answer of `GET /tables/{name}/schema`; where it is missing, what
 *   it could exclude is expected.
 * @param {object[]} rows some of its rows
 * @returns {Shape}
 */
export function shapeOf(schema, rows) {
  const known = new Map((schema?.columns ?? []).map((column) => [column.name, column]));
  const names = new Set([...known.keys(), ...rows.flatMap((row) => Object.keys(row))]);
  const folded = new Set([...names].map((name) => name.toLowerCase()));
  const sql = [schema?.sql, ...(schema?.objects ?? []).map((object) => object.sql)].join("\n");
  const binary = (column) => known.get(column)?.collation === "BINARY";
  const is = (column, value) => {
    const name = quoted(column);
    if (value?.$large) return sizeIs(name, value.$large);
    const compared = isText(value) && !binary(column) ? `${name} COLLATE BINARY` : name;
    const kind = wholeNumber(value);
    const typed = kind && mixes(known.get(column)) ? ` AND typeof(${name}) = '${kind}'` : "";
    return `${compared} IS ${literal(value)}${typed}`;
  };
  return {
    rowid: schema?.without_rowid ? null : ROWID_NAMES.find((name) => !folded.has(name)) ?? null,
    unique: schema === null || /\bunique\b/i.test(sql),
    triggers: (schema?.objects ?? []).some(({ object }) => object === "trigger"),
    settable: (columns) => columns.filter((column) => !known.get(column)?.generated),
    is,
    isKey(column, value) {
      const equal = `${quoted(column)} = ${literal(value)}`;
      return isText(value) && !binary(column) ? `${equal} AND ${is(column, value)}` : equal;
    },
  };
}

function isText(value) {
  return typeof value === "string" || value?.$text !== undefined;
}

/** Large contents are compared by type and size: to write them out twice would be too much. */
function sizeIs(name, { type, bytes }) {
  return `typeof(${name}) = '${type}' AND length(CAST(${name} AS BLOB)) = ${bytes}`;
}

/** SQLite holds 1 and 1.0 equal. */
function wholeNumber(value) {
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : null;
  if (value?.$int !== undefined) return "integer";
  return value?.$real !== undefined ? "real" : null;
}

/** Whether a column may hold both 1 and 1.0: one without affinity, see "Determination Of Column Affinity". */
function mixes(column) {
  if (column === undefined) return true;
  const type = (column.type ?? "").toUpperCase();
  if (type === "" || type === "ANY" || type.includes("BLOB")) return true;
  return false;
}
