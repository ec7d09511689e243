/**
 * What the page holds of the stream: bounded, whatever the stream brings. Pure.
 *
 * Every change that came is accounted for in exactly one place: it is a row of an entry, or counted
 * in the `hidden` of its entry, or in `older`. Together they are `total`. What happened before the
 * page was opened stands below (`early`) and is not part of these counts.
 */

import { weighRow } from "./weight.js";

const MOST_ROWS = 500; // in all entries together
const MOST_ROWS_OF_ONE = 100; // of one changeset; the rest of it is counted only
const MOST_CHARACTERS = 16_000_000; // of the values held; a cell may have 256 KiB
const MOST_NOTICES = 50;

/**
 * A changeset, or a notice between changesets.
 * @typedef {object} Entry
 * @property {"changeset" | "notice"} kind
 * @property {string | null} time when the commit was seen, ISO 8601.
 * @property {string} [position] where the stream stands after it (of a part, as long as it is open).
 * @property {string | null} [since] where the stream stood before it, null where that is unknown.
 * @property {number | null} [commits] how many commits it holds, null where nobody knows.
 * @property {object[]} [rows] the changes that are shown, schema changes with `sentences`.
 * @property {Record<string, number>} [tally] number of changes by operation, shown or not.
 * @property {number} [hidden] number of changes that are not among `rows`.
 * @property {boolean} [partial] true where a filter may have left out some of its changes.
 * @property {boolean} [early] true where it happened before the page was opened.
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
  #accepts;
  #open = null; // the changeset whose last part has not come yet
  #rows = 0;
  #characters = 0;
  #notices = 0;

  /** @param {((change: object, position: string) => boolean) | null} [accepts] tells which changes are wanted */
  constructor(accepts = null) {
    this.#accepts = accepts;
  }

  /**
   * @param {object} message of type `changes`, with a position
   * @param {string | null} [since] where the stream stood before it
   */
  add(message, since = null) {
    const entry = (message.part > 0 && this.#open) || this.#begin(message, since);
    entry.position = message.position;
    this.#fill(entry, message.changes);
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
    this.entries.push(notice(text));
    this.#notices += 1;
    this.#trim();
  }

  /**
   * Puts what happened before below all others.
   * @param {Entry[]} entries changesets, oldest first
   * @param {string} [text] a sentence that belongs above them
   */
  recall(entries, text) {
    const early = [];
    for (const { rows, hidden, ...rest } of entries) {
      const entry = { ...rest, rows: [], tally: {}, hidden: 0, characters: 0, early: true };
      this.#take(entry, rows);
      this.#hide(entry, hidden);
      if (entry.rows.length > 0) early.push(entry);
    }
    if (early.length === 0) return;
    if (text) {
      early.push({ ...notice(text), early: true });
      this.#notices += 1;
    }
    this.entries.unshift(...early);
    this.#trim();
  }

  /**
   * The same with only what is accepted, as far as it is held.
   * @param {(change: object, position: string) => boolean} accepts
   * @returns {Feed}
   */
  filtered(accepts) {
    const feed = new Feed(accepts);
    for (const entry of this.entries) {
      if (entry.kind === "notice") feed.entries.push({ ...entry });
      else feed.#copy(entry);
    }
    feed.#notices = this.#notices;
    feed.#open = this.#open && feed.entries.findLast(({ since }) => since === this.#open.since);
    feed.#trim();
    return feed;
  }

  /** @param {string} position @returns {Entry | undefined} the changeset that ends there */
  at(position) {
    return this.entries.findLast((entry) => entry.position === position);
  }

  #copy({ rows, hidden, tally, ...rest }) {
    const entry = { ...rest, rows: [], tally: {}, hidden: 0, characters: 0 };
    this.#fill(entry, rows);
    // What was counted only may or may not be wanted, and is nobody's to look at any more.
    if (entry.rows.length === 0) return;
    this.#hide(entry, hidden);
    if (!entry.early) this.total += hidden;
  }

  #begin({ time, commits }, since) {
    const entry = { kind: "changeset", time, since, commits, rows: [], tally: {}, hidden: 0 };
    return Object.assign(entry, { dropped: false, characters: 0, partial: false });
  }

  /** A commit without a change that is wanted (VACUUM, say) is counted but shows nothing. */
  #fill(entry, changes) {
    const before = size(entry);
    this.#take(entry, changes);
    if (before === 0 && size(entry) > 0) this.entries.push(entry);
    if (!entry.early) this.total += size(entry) - before;
  }

  #take(entry, changes) {
    for (const change of changes) {
      if (this.#accepts && !this.#accepts(change, entry.position)) {
        entry.partial = true;
        continue;
      }
      entry.tally[change.op] = (entry.tally[change.op] ?? 0) + 1;
      if (entry.rows.length < MOST_ROWS_OF_ONE) this.#hold(entry, change);
      else entry.hidden += 1;
    }
  }

  #hold(entry, change) {
    const characters = weighRow(change.before) + weighRow(change.after);
    entry.rows.push(change);
    entry.characters += characters;
    this.#rows += 1;
    this.#characters += characters;
  }

  #hide(entry, hidden) {
    entry.hidden += hidden;
    const ops = Object.keys(entry.tally);
    if (hidden > 0 && ops.length === 1 && ops[0] !== "schema") entry.tally[ops[0]] += hidden;
  }

  #trim() {
    const tooMuch = () =>
      this.#rows > MOST_ROWS ||
      this.#characters > MOST_CHARACTERS ||
      this.#notices > MOST_NOTICES;
    while (this.entries.length > 1 && tooMuch()) this.#forget(this.entries.shift());
  }

  #forget(entry) {
    entry.dropped = true;
    if (entry.kind === "notice") {
      this.#notices -= 1;
      return;
    }
    this.#rows -= entry.rows.length;
    this.#characters -= entry.characters;
    if (!entry.early) this.older += size(entry);
  }
}

/** @param {Entry} entry @returns {number} its changes, shown or not */
export function size(entry) {
  return entry.kind === "notice" ? 1 : entry.rows.length + entry.hidden;
}

function notice(text) {
  return { kind: "notice", time: new Date().toISOString(), text, dropped: false };
}
