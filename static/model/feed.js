/**
 * What the page holds of the stream: bounded, whatever the stream brings. Pure.
 *
 * Every change is accounted for in exactly one place: it is a row of an entry, or counted in the
 * `hidden` of its entry, or in `older`. Together they are `total`.
 */

const MOST_ROWS = 500; // in all entries together
const MOST_ROWS_OF_ONE = 100; // of one changeset; the rest of it is counted only
const MOST_CHARACTERS = 16_000_000; // of the values held; a cell may have 256 KiB
const MOST_NOTICES = 50;

/**
 * A changeset, or a notice between changesets.
 * @typedef {object} Entry
 * @property {"changeset" | "notice"} kind
 * @property {string | null} time when the commit was seen, ISO 8601.
 * @property {number | null} [commits] how many commits it holds, null where nobody knows.
 * @property {object[]} [rows] the changes that are shown, schema changes with `sentences`.
 * @property {Record<string, number>} [tally] number of changes by operation, shown or not.
 * @property {number} [hidden] number of changes that are not among `rows`.
 * @property {string} [text] what a notice says.
 * @property {boolean} dropped true once it is no longer part of the feed.
 */

export class Feed {
  /** Oldest first. @type {Entry[]} */
  entries = [];
  total = 0;
  commits = 0;
  /** True once a changeset came whose commits nobody counted. */
  uncounted = false;
  older = 0;
  #open = null; // the changeset whose last part has not come yet
  #rows = 0;
  #characters = 0;
  #notices = 0;

  /** @param {object} message of type `changes`, with a position */
  add(message) {
    const entry = (message.part > 0 && this.#open) || this.#begin(message);
    for (const change of message.changes) this.#take(entry, change);
    this.#open = message.last ? null : entry;
    if (message.last) {
      this.commits += message.commits ?? 1; // whatever it is, one was needed
      this.uncounted ||= message.commits === null;
    }
    this.#trim();
  }

  /** @param {string} text a sentence that belongs between two changesets */
  notice(text) {
    this.#open = null; // whatever was to follow in parts will not
    this.entries.push({ kind: "notice", time: new Date().toISOString(), text, dropped: false });
    this.#notices += 1;
    this.#trim();
  }

  #begin({ time, commits, changes, last }) {
    const entry = { kind: "changeset", time, commits, rows: [], tally: {}, hidden: 0 };
    Object.assign(entry, { dropped: false, characters: 0 });
    // A commit without a visible change (VACUUM, say) is counted but shows nothing.
    if (changes.length > 0 || !last) this.entries.push(entry);
    return entry;
  }

  #take(entry, change) {
    this.total += 1;
    entry.tally[change.op] = (entry.tally[change.op] ?? 0) + 1;
    if (entry.rows.length >= MOST_ROWS_OF_ONE) {
      entry.hidden += 1;
      return;
    }
    const characters = weigh(change.before) + weigh(change.after);
    entry.rows.push(change);
    entry.characters += characters;
    this.#rows += 1;
    this.#characters += characters;
  }

  #trim() {
    const tooMuch = () =>
      this.#rows > MOST_ROWS ||
      this.#characters > MOST_CHARACTERS ||
      this.#notices > MOST_NOTICES;
    let drop = 0;
    while (drop < this.entries.length - 1 && tooMuch()) this.#forget(this.entries[drop++]);
    if (drop) this.entries.splice(0, drop);
  }

  #forget(entry) {
    entry.dropped = true;
    if (entry.kind === "notice") {
      this.#notices -= 1;
      return;
    }
    this.#rows -= entry.rows.length;
    this.#characters -= entry.characters;
    this.older += entry.rows.length + entry.hidden;
  }
}

function weigh(row) {
  let characters = 0;
  for (const value of Object.values(row ?? {})) {
    if (typeof value === "string") characters += value.length;
    else characters += value?.$blob?.length ?? value?.$text?.length ?? 0;
  }
  return characters;
}
