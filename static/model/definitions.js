/** Changes of the schema as SQL, forth or back as far as that goes. Pure. */

import { quoted } from "./literals.js";

const ORDER = ["table", "index", "view", "trigger"]; // who comes later stands on who came before

/**
 * @param {object[]} changes of one changeset
 * @param {"repeat" | "undo"} way
 * @returns {{steps: string[], notes: string[], without: Set<string>}} statements, what is to be
 *   said of them, and the tables whose row changes need no statement or can have none.
 */
export function definitionSteps(changes, way) {
  const schema = changes.filter(({ op }) => op === "schema");
  schema.sort((a, b) => ORDER.indexOf(a.object) - ORDER.indexOf(b.object));
  const made = { steps: [], notes: [], without: new Set() };
  // What is dropped goes before what is made: a table takes its indexes and triggers with it.
  const drops = schema.filter((change) => endOf(change, way) === null);
  for (const change of drops.reverse()) drop(change, way, made, schema);
  for (const change of schema.filter((change) => endOf(change, way) !== null)) {
    const start = way === "undo" ? change.sql.after : change.sql.before;
    if (start === null) create(change, way, made);
    else if (change.object === "table") alter(change, way, made);
    else replace(change, way, made);
  }
  return made;
}

/** The statement a change leads to, null where it leads to nothing. */
function endOf({ sql }, way) {
  return way === "undo" ? sql.before : sql.after;
}

function drop({ object, name, table }, way, { steps, without }, schema) {
  const goes = schema.some(
    (other) => other.object === "table" && other.table === table && endOf(other, way) === null,
  );
  if (object !== "table" && object !== "view" && goes) return; // with its table
  steps.push(`DROP ${object.toUpperCase()} ${quoted(name ?? table)}`);
  if (object === "table" && way === "undo") without.add(table);
}

function create(change, way, { steps, notes }) {
  steps.push(endOf(change, way));
  if (way === "undo" && change.object === "table") {
    notes.push(`The rows that table ${quoted(change.table)} had cannot be brought back by this.`);
  }
}

function replace(change, way, { steps }) {
  steps.push(`DROP ${change.object.toUpperCase()} ${quoted(change.name)}`, endOf(change, way));
}

function alter(change, way, made) {
  if (!change.columns) return way === "undo" ? cannot(change, made) : rebuild(change, made);
  const { steps, notes } = made;
  if (way === "repeat") {
    const at = quoted(change.table);
    if (change.renamed_from) steps.push(`ALTER TABLE ${quoted(change.renamed_from)} RENAME TO ${at}`);
    const { altered, lost } = columnSteps(change, at, "repeat");
    steps.push(...altered);
    if (altered.length === 0 && !change.renamed_from) lost.push("definition");
    if (lost.length > 0) notes.push(`Table ${at} was also defined anew, which is not repeated.`);
    return;
  }
  const at = quoted(change.table);
  const { altered, lost } = columnSteps(change, at, "undo");
  steps.push(...altered);
  if (change.renamed_from) steps.push(`ALTER TABLE ${at} RENAME TO ${quoted(change.renamed_from)}`);
  for (const what of lost) notes.push(`Of table ${at} this cannot be undone: ${what}.`);
  if (altered.length === 0 && lost.length === 0 && !change.renamed_from) {
    notes.push(`Table ${at} stays as it is defined now. Before: ${change.sql.before}`);
  }
}

function columnSteps({ columns, sql }, table, way) {
  const altered = [];
  const lost = [];
  const renamed = columns.filter(({ name, from }) => from != null && from !== name);
  const added = columns.filter(({ from }) => from == null);
  const rename = (old, now) => altered.push(`ALTER TABLE ${table} RENAME COLUMN ${quoted(old)} TO ${quoted(now)}`);
  const dropped = inserted(sql.after, sql.before); // its definition, where it is the only difference
  const definition = inserted(sql.before, sql.after);
  if (way === "repeat") {
    for (const { name, from } of renamed) rename(from, name);
    if (added.length === 1 && definition) altered.push(`ALTER TABLE ${table} ADD COLUMN ${definition}`);
    else if (added.length > 0 || dropped) lost.push("columns");
    return { altered, lost };
  }
  for (const { name } of added.toReversed()) altered.push(`ALTER TABLE ${table} DROP COLUMN ${quoted(name)}`);
  if (dropped && added.length === 0 && renamed.length === 0) {
    altered.push(`ALTER TABLE ${table} ADD COLUMN ${dropped}`);
    lost.push("the values of the column that was dropped");
  }
  for (const { name, from } of renamed) rename(name, from);
  return { altered, lost };
}

/**
 * The definition of a column that one statement has more than another, by the way SQLite itself
 * writes it in and takes it out; null where they differ otherwise.
 */
function inserted(short, long) {
  if (long.length <= short.length) return null;
  let head = 0;
  while (head < short.length && short[head] === long[head]) head += 1;
  const tail = short.slice(head);
  if (!long.endsWith(tail)) return null;
  const middle = long.slice(head, long.length - tail.length).trim();
  return /^,/.test(middle) ? middle.slice(1).trim() : /,$/.test(middle) ? middle.slice(0, -1).trim() : null;
}

function cannot({ table, sql }, { notes, without }) {
  without.add(table);
  notes.push(
    `Table ${quoted(table)} was redefined and filled anew, which cannot be undone by this. ` +
      `It was: ${sql.before}`,
  );
}

/** All its rows come as inserts. */
function rebuild({ table, renamed_from: former, sql }, { steps, notes }) {
  steps.push(`DROP TABLE ${quoted(former ?? table)}`, sql.after);
  notes.push(`Table ${quoted(table)} is made anew; indexes and triggers that stayed are not.`);
}
