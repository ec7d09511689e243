/**
 * Changes as SQL: to make them once more, or to undo them. Pure, but for what `source` fetches.
 *
 * Both ways a change leads from one state of a row to another, so both are written by the same
 * code. To undo is the careful one: it touches a row only where it still is as the change left it.
 */

import { definitionSteps } from "./definitions.js";
import { literal, quoted } from "./literals.js";
import { shapeOf } from "./shape.js";

const REMOVED = "watcher_removed"; // a temporary table of what has been removed to be added again

/**
 * Where the rest comes from.
 * @typedef {object} Source
 * @property {(table: string) => Promise<object | null>} schema answer of
 *   `GET /tables/{name}/schema`, null where it cannot be had.
 * @property {(large: object) => Promise<string | Uint8Array>} value content of a `$large` value.
 */

/**
 * SQL that makes the changes once more, in one transaction.
 * @param {object[]} changes of one changeset
 * @param {Source} source
 * @param {string[]} [notes] sentences to stand before it
 * @returns {Promise<string>}
 */
export function repeatSql(changes, source, notes = []) {
  return sql(changes, source, notes, "repeat");
}

/**
 * SQL that undoes the changes, in one transaction: last things first, and only on rows that are
 * still as the changes left them. What cannot be undone is told in a comment.
 * @param {object[]} changes of one changeset
 * @param {Source} source
 * @param {string[]} [notes] sentences to stand before it
 * @returns {Promise<string>}
 */
export function undoSql(changes, source, notes = []) {
  return sql(changes, source, notes, "undo");
}

async function sql(changes, source, notes, way) {
  const definitions = definitionSteps(changes, way);
  const moves = changes
    .filter((change) => change.op !== "schema" && !definitions.without.has(change.table))
    .map((change) => moveOf(change, way));
  if (way === "undo") moves.reverse();
  const shapes = await shapesOf(moves, source);
  const large = await contents(moves, source);
  const rows = rowStatements(moves, shapes, large, way === "undo");
  const statements =
    way === "undo" ? [...rows, ...definitions.steps] : [...definitions.steps, ...rows];
  return [
    ...[...notes, ...definitions.notes, ...warnings(shapes)].map(comment),
    "BEGIN IMMEDIATE;",
    "PRAGMA defer_foreign_keys=ON;",
    ...statements.map((statement) => `${statement};`),
    "COMMIT;",
    "",
  ].join("\n");
}

/** @param {string} sentence @returns {string} on one line, whatever names are in it */
function comment(sentence) {
  return `-- ${sentence.replace(/[\x00-\x1f\x7f]+/g, " ")}`;
}

function moveOf({ table, key, changed, before, after }, way) {
  const [from, to] = way === "undo" ? [after, before] : [before, after];
  return { table, key, changed, from, to };
}

async function shapesOf(moves, source) {
  const names = [...new Set(moves.map(({ table }) => table))];
  const shapes = new Map();
  for (const name of names) {
    const rows = moves.filter(({ table }) => table === name).map(({ from, to }) => from ?? to);
    shapes.set(name, shapeOf(await source.schema(name), rows));
  }
  return shapes;
}

async function contents(moves, source) {
  const large = new Map();
  for (const { to } of moves) {
    for (const value of Object.values(to ?? {})) {
      const sha256 = value?.$large?.sha256;
      if (sha256 && !large.has(sha256)) large.set(sha256, await source.value(value));
    }
  }
  return large;
}

function warnings(shapes) {
  return [...shapes]
    .filter(([, { triggers }]) => triggers)
    .map(
      ([name]) =>
        `Table ${quoted(name)} has triggers, and they fire. What they did is among the changes ` +
        "already: in the sqlite3 shell, .dbconfig enable_trigger off keeps them still.",
    );
}

/**
 * Removals come first and additions last, so that unique values are free when they are taken. A row
 * that takes the value of another one, which may take its own, is removed and added.
 */
function rowStatements(moves, shapes, large, careful) {
  const takers = new Map(); // each with a number
  for (const [name, shape] of shapes) {
    const updates = moves.filter(({ table, from, to }) => table === name && from && to);
    if (shape.unique) for (const move of takersOf(updates)) takers.set(move, takers.size);
  }
  const taken = [...takers.keys()];
  const write = (made, chosen) =>
    chosen.map((move) => made(move, shapes.get(move.table), large, careful, takers.get(move)));
  return [
    ...(careful && taken.length > 0 ? [`CREATE TEMP TABLE ${REMOVED}(n INTEGER PRIMARY KEY)`] : []),
    ...(careful ? write(note, taken) : []),
    ...write(removal, moves.filter(({ from, to }) => from && !to)),
    ...write(removal, taken),
    ...write(change, moves.filter((move) => move.from && move.to && !takers.has(move))),
    ...write(addition, moves.filter(({ from }) => !from)),
    ...write(careful ? additionOfNoted : addition, taken),
    ...(careful && taken.length > 0 ? [`DROP TABLE temp.${REMOVED}`] : []),
  ].filter((statement) => statement !== null);
}

/** The rows that take a value another one has until its own turn comes. */
function takersOf(moves) {
  const held = new Map(); // column and value -> a row that has it before
  const spot = (column, value) => `${column}\0${JSON.stringify(value).toLowerCase()}`;
  for (const move of moves) {
    for (const [column, value] of Object.entries(move.from)) {
      const place = spot(column, value);
      // Two that have it are more than one other, whoever asks.
      held.set(place, held.has(place) ? null : move);
    }
  }
  return moves.filter((move) =>
    move.changed.some((column) => {
      const holder = held.get(spot(column, move.to[column]));
      return holder === null || (holder !== undefined && holder !== move);
    }),
  );
}

/** Only what was there to be removed is added again: it may have been changed or deleted since. */
function note({ table, key, from }, shape, large, careful, number) {
  const where = condition(shape, key, from, shape.settable(Object.keys(from)));
  return `INSERT INTO temp.${REMOVED} SELECT ${number} FROM ${quoted(table)} WHERE ${where}`;
}

function additionOfNoted(move, shape, large, careful, number) {
  const { into, values } = additionParts(move, shape, large);
  const noted = `EXISTS (SELECT 1 FROM temp.${REMOVED} WHERE n = ${number})`;
  return `INSERT INTO ${into} SELECT ${values} WHERE ${noted}`;
}

function removal({ table, key, from }, shape, _, careful) {
  const seen = careful ? shape.settable(Object.keys(from)) : [];
  return `DELETE FROM ${quoted(table)} WHERE ${condition(shape, key, from, seen)}`;
}

function change({ table, key, changed, from, to }, shape, large, careful) {
  const columns = shape.settable(changed);
  if (columns.length === 0) return null; // only what SQLite works out by itself
  const set = columns.map((column) => `${quoted(column)} = ${literal(to[column], large)}`);
  const where = condition(shape, key, from, careful ? columns : []);
  return `UPDATE ${quoted(table)} SET ${set.join(", ")} WHERE ${where}`;
}

function addition(move, shape, large) {
  const { into, values } = additionParts(move, shape, large);
  return `INSERT INTO ${into} VALUES(${values})`;
}

function additionParts({ table, key, to }, shape, large) {
  const columns = shape.settable(Object.keys(to));
  const names = columns.map(quoted);
  const values = columns.map((column) => literal(to[column], large));
  if (key.$rowid !== undefined && shape.rowid !== null) {
    names.unshift(shape.rowid);
    values.unshift(literal(key.$rowid));
  }
  return { into: `${quoted(table)}(${names.join(", ")})`, values: values.join(", ") };
}

function condition(shape, key, row, seen) {
  const parts = Object.entries(key).map(([column, value]) =>
    column === "$rowid" ? `${shape.rowid} = ${literal(value)}` : shape.isKey(column, value),
  );
  const others = seen.filter((column) => !Object.hasOwn(key, column));
  return [...parts, ...others.map((column) => shape.is(column, row[column]))].join(" AND ");
}
