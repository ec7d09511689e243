/** What the tables look like now, and what a change of that means in words. Pure. */

const MANY_NAMES = 12;

/**
 * A sentence whose parts are plain strings, or `{name}` for a name out of the database, which the
 * page must keep apart: such a name may contain anything.
 * @typedef {(string | {name: string})[]} Sentence
 */

export class Catalog {
  #tables = new Map();

  /** @param {{name: string, key: string[], columns: string[]}[]} tables as in `hello` */
  replace(tables) {
    this.#tables = new Map(tables.map((table) => [table.name, table]));
  }

  /** The definitions, in the order of the schema. @returns {{name: string, key: string[], columns: string[]}[]} */
  get tables() {
    return [...this.#tables.values()];
  }

  /** @param {string} name @returns {{name: string, key: string[], columns: string[]} | undefined} */
  table(name) {
    return this.#tables.get(name);
  }

  /**
   * Column names of a row in table order. JavaScript puts names that look like numbers first, so
   * the row alone does not tell.
   * @param {string} table
   * @param {object} row
   * @returns {string[]}
   */
  order(table, row) {
    const own = Object.keys(row);
    const columns = this.#tables.get(table)?.columns ?? [];
    const known = columns.filter((name) => Object.hasOwn(row, name));
    return known.length === own.length ? known : own;
  }

  /**
   * Takes over a schema change and explains it.
   * @param {object} change a change with `op` `schema`
   * @returns {Sentence[]}
   */
  explain(change) {
    const { table, object, sql } = change;
    const name = { name: change.name ?? table };
    if (object !== "table") return [otherObject(object, name, { name: table }, sql)];
    const old = this.#tables.get(change.renamed_from ?? table);
    this.#tables.delete(change.renamed_from ?? table);
    if (change.definition) this.#tables.set(table, change.definition);
    if (sql.after === null) return [["Table ", name, " was dropped, with its rows."]];
    const columns = change.definition?.columns ?? [];
    if (sql.before === null) {
      return [["Table ", name, " was created with ", ...listed(columns, "column"), "."]];
    }
    const sentences = change.renamed_from
      ? [["Table ", { name: change.renamed_from }, " is now called ", name, "."]]
      : [];
    if (!change.columns) {
      sentences.push(["Table ", name, " was redefined; its rows come again as inserts."]);
      return sentences;
    }
    sentences.push(...columnChanges(change.columns, old?.columns ?? []));
    if (sentences.length === 0) sentences.push(["Table ", name, " was redefined; its rows stay."]);
    return sentences;
  }
}

function columnChanges(columns, oldColumns) {
  const sentences = [];
  const kept = new Set(columns.map((column) => column.from));
  for (const old of oldColumns) {
    if (!kept.has(old)) sentences.push(["Column ", { name: old }, " was dropped."]);
  }
  for (const { name, from } of columns) {
    if (from === undefined || from === null) {
      sentences.push(["Column ", { name }, " was added."]);
    } else if (from !== name) {
      sentences.push(["Column ", { name: from }, " is now called ", { name }, "."]);
    }
  }
  return sentences;
}

function otherObject(object, name, table, sql) {
  const what = object.charAt(0).toUpperCase() + object.slice(1) + " ";
  const verb = sql.before === null ? "created" : sql.after === null ? "dropped" : "redefined";
  const where = object === "view" ? [] : [" on table ", table];
  return [what, name, ...where, ` was ${verb}.`];
}

/** @param {string[]} names @param {string} noun @returns {Sentence} */
export function listed(names, noun) {
  const shown = names.slice(0, MANY_NAMES);
  const parts = [names.length === 1 ? `${noun} ` : `${noun}s `];
  shown.forEach((name, index) => parts.push(...(index ? [", "] : []), { name }));
  if (names.length > shown.length) parts.push(` and ${names.length - shown.length} more`);
  return parts;
}

/**
 * Puts schema changes into words, without knowledge of what the tables were before.
 * @param {{rows: object[]}[]} entries
 * @param {Catalog} [catalog] what has been learned so far
 */
export function explain(entries, catalog = new Catalog()) {
  for (const { rows } of entries) {
    for (const change of rows.filter(({ op }) => op === "schema")) {
      change.sentences = catalog.explain(change);
    }
  }
}
