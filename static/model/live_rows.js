/**
 * The rows a grid holds: a stretch around what is seen, brought up to date by the stream. Pure.
 *
 * What the stream says is painted at once where the row stays in its place. Where rows come, go or
 * change places, the stretch has to be fetched anew, and `apply` carries over what is known of them.
 */

import { compare } from "./comparison.js";
import { Slots } from "./scroll.js";

export const LEAVING = 1_600; // ms for which a deleted row is still shown
export const NEW = 2_500; // ms for which a row is new and a cell just changed
const MOST_NEW = 1_000; // keys of inserted rows that are remembered
const MOST_LATE = 5_000; // rows changed while an answer is on its way
const MOST_GONE = 60; // deleted rows shown at a time

/**
 * @typedef {object} HeldRow
 * @property {object} key
 * @property {string} id the key as a text.
 * @property {object} row its values, as on the wire.
 * @property {number} version grows whenever it has to be painted anew.
 * @property {Map<string, {value: unknown, time: string, at: number}>} was by column: what stood
 *   there before, when the change was seen, and since when it is shown (ms).
 * @property {number} born when it was seen to be inserted (ms), 0 if it was not.
 * @property {number} left when it was seen to be deleted (ms), 0 if it was not.
 */

/** @param {object} key as on the wire @returns {string} the same for the same row */
export const idOf = (key) => JSON.stringify(key);

export class LiveRows {
  slots = new Slots();
  /** Changes of the table that were not shown one by one. */
  folded = 0;
  #rows = new Map(); // number -> HeldRow
  #places = new Map(); // id -> number
  #born = new Map(); // id -> ms
  #late = null; // id -> row, while an answer is on its way
  #overflow = false;

  /** Rows of the table. */
  get total() {
    return this.slots.total;
  }

  /** How many are held. */
  get size() {
    return this.#rows.size;
  }

  /** @param {number} index @returns {HeldRow | undefined} */
  get(index) {
    return this.#rows.get(index);
  }

  /** @param {string} id @returns {number | undefined} number of the row with this key, if it is held */
  placeOf(id) {
    return this.#places.get(id);
  }

  /**
   * Takes in changes of the table.
   * @param {object[]} changes inserts, updates and deletes of this table
   * @param {string} time when they were seen
   * @param {{order: string | null, filtered: boolean}} view how the rows are sorted and chosen
   * @param {number} now ms
   * @returns {boolean} true if rows came, went or changed places.
   */
  take(changes, time, { order, filtered }, now) {
    let moved = false;
    for (const change of changes) {
      const id = idOf(change.key);
      const held = this.#rows.get(this.#places.get(id));
      if (change.op === "update") {
        if (held) this.#update(held, change, time, now);
        else this.folded += 1;
        moved ||= filtered || change.changed.includes(order);
      } else {
        if (change.op === "delete") this.#delete(id, held, now);
        else this.#insert(id, held, change, now);
        moved = true;
      }
      if (this.#late) this.#note(id, change);
    }
    return moved;
  }

  #update(held, { changed, before, after }, time, now) {
    held.row = after;
    held.version += 1;
    for (const column of changed) {
      const earlier = held.was.get(column);
      if (earlier && now - earlier.at < 20) this.folded += 1; // within one frame
      held.was.set(column, { value: before[column], time, at: now });
    }
  }

  #delete(id, held, now) {
    this.#born.delete(id);
    if (!held) this.folded += 1;
    else if (!held.left) {
      held.left = now;
      held.version += 1;
    }
  }

  #insert(id, held, { after }, now) {
    this.#born.delete(id);
    this.#born.set(id, now);
    if (this.#born.size > MOST_NEW) {
      this.#born.delete(this.#born.keys().next().value);
      this.folded += 1;
    }
    if (held) Object.assign(held, { row: after, born: now, left: 0, version: held.version + 1 });
  }

  #note(id, { after }) {
    if (this.#late.size >= MOST_LATE) this.#overflow = true;
    else this.#late.set(id, after);
  }

  /** An answer is on its way: what changes until then must not be undone by it. */
  expect() {
    this.#late ??= new Map();
  }

  /** No answer is on its way any more. @returns {boolean} true if some change may have been missed. */
  arrived() {
    const missed = this.#overflow;
    this.#late = null;
    this.#overflow = false;
    return missed;
  }

  /**
   * Adds rows to those held.
   * @param {number} offset number of the first
   * @param {{key: object, row: object}[]} rows
   * @param {number} now ms
   */
  put(offset, rows, now) {
    rows.forEach((row, at) => this.#hold(offset + at, this.#made(row, now)));
  }

  /**
   * Replaces all rows held.
   * @param {{offset: number, rows: {key: object, row: object}[], total: number}} stretch
   * @param {number} now ms
   * @param {string | null} [time] what was held was of this time, and what is another now is marked
   */
  apply({ offset, rows, total }, now, time = null) {
    const places = [...this.#rows].sort(([a], [b]) => a - b);
    const old = places.map(([, held]) => held);
    const whole = {
      head: offset === 0 && places[0]?.[0] === 0,
      tail: offset + rows.length >= total && places.at(-1)?.[0] === this.total - 1,
    };
    const known = new Map(old.map((held) => [held.id, held]));
    const gone = this.slots.gone;
    this.#rows.clear();
    this.#places.clear();
    this.slots.total = total;
    const fresh = rows.map((row) => {
      const made = this.#made(row, now);
      const before = known.get(made.id);
      if (before) Object.assign(made, { was: before.was, version: before.version + 1 });
      if (before && !made.born) made.born = before.born;
      return made;
    });
    fresh.forEach((held, at) => this.#hold(offset + at, held));
    if (time !== null) compare(old, fresh, whole, time, now);
    this.#keepGone(old, gone, now);
  }

  // A deleted row stands before the one that came after it, for as long as both are around.
  #keepGone(old, gone, now) {
    const leaving = old.filter((held) => held.left && !this.#places.has(held.id));
    const stale = new Map(gone.map((row) => [row, row.before]));
    old.forEach((held, at) => {
      if (!leaving.includes(held)) return;
      const next = old.slice(at + 1).find((later) => this.#places.has(later.id));
      stale.set(held, next?.id ?? null);
    });
    const kept = [];
    for (const [held, before] of stale) {
      const at = before === null ? this.slots.total : this.#places.get(before);
      const isOver = now - held.left > LEAVING || this.#places.has(held.id);
      if (at === undefined || isOver) continue;
      kept.push(Object.assign(held, { at, before }));
    }
    this.slots.gone = kept.sort((a, b) => a.at - b.at).slice(0, MOST_GONE);
  }

  /** Lets go of deleted rows that have been shown long enough. @returns {boolean} if there were any */
  expire(now) {
    const kept = this.slots.gone.filter((held) => now - held.left <= LEAVING);
    const some = kept.length < this.slots.gone.length;
    if (some) this.slots.gone = kept;
    return some;
  }

  /** Forgets rows outside of these numbers. */
  prune(first, end) {
    for (const [index, held] of this.#rows) {
      if (index >= first && index < end) continue;
      this.#rows.delete(index);
      if (this.#places.get(held.id) === index) this.#places.delete(held.id);
    }
  }

  /** Forgets everything. */
  clear() {
    this.#rows.clear();
    this.#places.clear();
    this.#born.clear();
    this.slots = new Slots();
    this.folded = 0;
  }

  /** @returns {[number, number] | null} the first stretch of rows in here that is not held */
  missing(first, end) {
    let start = Math.max(0, first);
    while (start < end && this.#rows.has(start)) start += 1;
    let stop = start;
    while (stop < Math.min(end, this.total) && !this.#rows.has(stop)) stop += 1;
    return stop > start ? [start, stop] : null;
  }

  #made({ key, row }, now) {
    const id = idOf(key);
    const late = this.#late?.get(id);
    const born = this.#born.get(id) ?? 0;
    const isNew = born > 0 && now - born < NEW;
    return { key, id, row: late ?? row, version: 0, was: new Map(), born: isNew ? born : 0, left: 0 };
  }

  #hold(index, held) {
    const old = this.#rows.get(index);
    if (old && this.#places.get(old.id) === index) this.#places.delete(old.id);
    this.#rows.set(index, held);
    this.#places.set(held.id, index);
  }
}
