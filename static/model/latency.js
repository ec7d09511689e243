/** How long changes have taken, lately. Pure. */

/** The last so many of some durations, and the one in the middle of them. */
export class Latency {
  #most;
  #samples = [];

  /** @param {number} [most] how many are kept. */
  constructor(most = 101) {
    this.#most = most;
  }

  /** @param {number} duration in ms; below zero, which clocks that differ a little may give, is zero. */
  add(duration) {
    this.#samples.push(Math.max(0, duration));
    if (this.#samples.length > this.#most) this.#samples.shift();
  }

  /** @returns {{median: number, last: number, count: number} | null} in ms; null before the first. */
  get summary() {
    const count = this.#samples.length;
    if (count === 0) return null;
    const sorted = [...this.#samples].sort((left, right) => left - right);
    return { median: sorted[count >> 1], last: this.#samples[count - 1], count };
  }
}

/** @param {number} duration in ms @returns {string} such as `8 ms` or `12 s` */
export function spoken(duration) {
  if (duration < 1_000) return `${Math.round(duration)} ms`;
  if (duration < 10_000) return `${(duration / 1_000).toFixed(1)} s`;
  if (duration < 120_000) return `${Math.round(duration / 1_000)} s`;
  if (duration < 7_200_000) return `${Math.round(duration / 60_000)} min`;
  return `${Math.round(duration / 3_600_000)} h`;
}
