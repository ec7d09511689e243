/** What tables are called now that had another name when something happened to them. Pure. */

const MOST = 1_000; // changesets with renames that are kept

/** The renames and drops of the stream, and of what is known from before it. */
export class Renames {
  #steps = []; // {position, names: Map of former to new names, null for a drop}, oldest first
  #epochs = []; // in the order in which they came

  /**
   * Takes in what a changeset, or a part of it, does to the names.
   * @param {{position: string, changes: object[]}} message
   */
  add({ position, changes }) {
    const names = new Map(changes.flatMap(moves));
    if (names.size === 0) return;
    this.#know(position);
    this.#steps.push({ position, names });
    if (this.#steps.length > MOST) this.#steps.shift();
  }

  /**
   * The same for what happened before all that is known.
   * @param {{position: string, rows: object[]}[]} entries oldest first
   */
  recall(entries) {
    const later = this.#steps;
    this.#steps = [];
    for (const { position, rows } of entries) this.add({ position, changes: rows });
    this.#steps.push(...later);
  }

  /**
   * What became of a table.
   * @param {string} table its name after the changeset at this position
   * @param {string} position
   * @returns {{name: string, gone: boolean}} its last name, and whether it was dropped
   */
  trace(table, position) {
    this.#know(position);
    let name = table;
    for (const step of this.#steps) {
      // Two tables may swap their names in one changeset: each name is looked up once.
      if (!step.names.has(name) || !this.reaches(step.position, position, false)) continue;
      const next = step.names.get(name);
      if (next === null) return { name, gone: true };
      name = next;
    }
    return { name, gone: false };
  }

  /**
   * From where on a table has the name it has.
   * @param {string} table
   * @returns {string | undefined} the position of its last rename, where one is known
   */
  since(table) {
    return this.#steps.findLast(({ names }) => [...names.values()].includes(table))?.position;
  }

  /**
   * @param {string} one position
   * @param {string} other position
   * @param {boolean} [equal] what is said of the same changeset
   * @returns {boolean} whether the one is at or behind the other in the stream
   */
  reaches(one, other, equal = true) {
    const [here, there] = [parse(one), parse(other)];
    if (here.epoch !== there.epoch) {
      return this.#epochs.indexOf(here.epoch) > this.#epochs.indexOf(there.epoch);
    }
    return here.offset === there.offset ? equal : here.offset > there.offset;
  }

  #know(position) {
    const { epoch } = parse(position);
    if (!this.#epochs.includes(epoch)) this.#epochs.push(epoch);
  }
}

/**
 * What a table is called after some changes of one changeset.
 * @param {object[]} changes
 * @param {string | null} table its name before
 * @returns {string | null} the same where it is not renamed
 */
export function nameAfter(changes, table) {
  return changes.find(({ renamed_from: former }) => former !== undefined && former === table)?.table ?? table;
}

/** @returns {[string, string | null][]} former and new name, where a change makes another of it */
function moves({ op, object, table, renamed_from: former, sql }) {
  if (op !== "schema" || object !== "table") return [];
  if (sql.after === null) return [[table, null]];
  return former ? [[former, table]] : [];
}

/** Parts of one changeset count as one place. */
function parse(position) {
  const [, epoch, offset] = /^(.*):(\d+)/.exec(position) ?? [null, position, "0"];
  return { epoch, offset: BigInt(offset) };
}
