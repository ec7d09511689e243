/** How much happened in each of the last seconds, by operation and by table. Pure, and bounded. */

import { OPS } from "./filter.js";

/** Seconds that are kept. */
export const SPAN = 900;

const MOST_TABLES = 100; // counted by name; what others do is only part of the sums

/**
 * @typedef {object} Bar
 * @property {number} from its first second, of the epoch.
 * @property {number[]} counts changes by operation, in the order of `OPS`.
 * @property {number} total of them.
 */

export class Rates {
  #newest = -Infinity; // the newest second there is a count of
  #ops = OPS.map(() => new Float64Array(SPAN));
  #tables = new Map();

  /**
   * @param {number} second of the epoch, whole; older ones than are kept are left out.
   * @param {{op: string, table: string}[]} changes
   */
  add(second, changes) {
    if (second <= this.#newest - SPAN) return;
    this.#advance(second);
    const place = second % SPAN;
    for (const { op, table } of changes) {
      const counts = this.#ops[OPS.indexOf(op)];
      if (counts) counts[place] += 1;
      const ring = this.#ring(table);
      if (ring) ring[place] += 1;
    }
  }

  /**
   * The last seconds in bars.
   * @param {number} now second of the epoch, whole
   * @param {number} seconds how far to look back, at most `SPAN`
   * @param {number} step seconds in a bar; bars begin at its multiples, so that they keep still
   * @returns {Bar[]} oldest first
   */
  bars(now, seconds, step) {
    const last = now - (now % step);
    return Array.from({ length: seconds / step }, (_, index) => {
      const from = last - seconds + (index + 1) * step;
      const counts = this.#ops.map((ring) => this.#sum(ring, from, from + step));
      return { from, counts, total: counts.reduce((sum, count) => sum + count, 0) };
    });
  }

  /**
   * The tables with most changes.
   * @param {number} now second of the epoch, whole
   * @param {number} seconds how far to look back
   * @param {number} most tables
   * @returns {{table: string, total: number}[]} the busiest first
   */
  busiest(now, seconds, most) {
    return [...this.#tables]
      .map(([table, ring]) => ({ table, total: this.#sum(ring, now - seconds + 1, now + 1) }))
      .filter(({ total }) => total > 0)
      .sort((a, b) => b.total - a.total || (a.table < b.table ? -1 : 1))
      .slice(0, most);
  }

  #sum(ring, from, until) {
    let sum = 0;
    const first = Math.max(from, this.#newest - SPAN + 1);
    for (let second = first; second < until && second <= this.#newest; second += 1) {
      sum += ring[second % SPAN];
    }
    return sum;
  }

  /** Makes the places of the seconds that begin free. */
  #advance(second) {
    if (second <= this.#newest) return;
    const first = Math.max(this.#newest + 1, second - SPAN + 1);
    for (const ring of [...this.#ops, ...this.#tables.values()]) {
      for (let free = first; free <= second; free += 1) ring[free % SPAN] = 0;
    }
    this.#newest = second;
  }

  #ring(table) {
    const ring = this.#tables.get(table);
    if (ring) return ring;
    if (this.#tables.size >= MOST_TABLES) this.#forgetSilent();
    if (this.#tables.size >= MOST_TABLES) return null;
    const made = new Float64Array(SPAN);
    this.#tables.set(table, made);
    return made;
  }

  #forgetSilent() {
    for (const [table, ring] of this.#tables) {
      if (ring.every((count) => count === 0)) this.#tables.delete(table);
    }
  }
}

/**
 * A round number at or above another, for the end of an axis.
 * @param {number} value above 0
 * @returns {number} 1, 2 or 5 times a power of ten
 */
export function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((round) => round >= value * 0.999);
}
