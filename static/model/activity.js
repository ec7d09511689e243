/** How much happened lately, table by table. Pure. */

/** Counts of the last minutes in buckets of a few seconds, bounded whatever comes. */
export class Activity {
  #buckets;
  #seconds;
  #tables = new Map();

  /**
   * @param {number} [buckets] how many are kept.
   * @param {number} [seconds] how long each of them is.
   */
  constructor(buckets = 40, seconds = 3) {
    this.#buckets = buckets;
    this.#seconds = seconds;
  }

  /** How many seconds are kept. @returns {number} */
  get span() {
    return this.#buckets * this.#seconds;
  }

  /**
   * @param {string} table
   * @param {number} at when, in seconds of any clock; what is older than all that is kept is left out.
   * @param {number} count how many changes.
   */
  add(table, at, count) {
    let ring = this.#tables.get(table);
    if (!ring) {
      const size = this.#buckets;
      ring = { stamps: new Array(size).fill(-Infinity), counts: new Array(size).fill(0) };
      this.#tables.set(table, ring);
    }
    const stamp = Math.floor(at / this.#seconds);
    const place = modulo(stamp, this.#buckets);
    if (stamp < ring.stamps[place]) return;
    if (stamp > ring.stamps[place]) ring.counts[place] = 0;
    ring.stamps[place] = stamp;
    ring.counts[place] += count;
  }

  /**
   * @param {string} table
   * @param {number} now in seconds of the same clock.
   * @returns {number[]} counts, the newest last.
   */
  series(table, now) {
    const ring = this.#tables.get(table);
    const first = Math.floor(now / this.#seconds) - this.#buckets + 1;
    return Array.from({ length: this.#buckets }, (_, index) => {
      const place = modulo(first + index, this.#buckets);
      return ring?.stamps[place] === first + index ? ring.counts[place] : 0;
    });
  }

  /** Forgets all tables but these. @param {Iterable<string>} tables */
  keep(tables) {
    const kept = new Set(tables);
    for (const name of this.#tables.keys()) if (!kept.has(name)) this.#tables.delete(name);
  }
}

/**
 * A path of upright strokes, one for each count, in a box one unit wide for each.
 * @param {number[]} counts
 * @param {number} height of the box.
 * @returns {string} for the `d` of an SVG path; empty where nothing happened.
 */
export function strokes(counts, height) {
  // A few changes must not look like a storm, and beside a storm a few must still be seen.
  const top = Math.sqrt(Math.max(9, ...counts));
  return counts
    .map((count, index) => {
      if (count === 0) return "";
      const tall = Math.max(2, (Math.sqrt(count) / top) * height);
      return `M${index + 0.5} ${height}v-${tall.toFixed(1)}`;
    })
    .join("");
}

const modulo = (number, base) => ((number % base) + base) % base;
