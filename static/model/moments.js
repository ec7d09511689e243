/** Moments of the history: those to choose from, and how they read. Pure. */

/**
 * A place on the slider.
 * @typedef {object} Moment
 * @property {string} position
 * @property {string | null} time null where nobody knows
 * @property {number} [changes] of the changeset that led there
 */

/** The places of a slider: before the first changeset, after each mark; the last one is now. */
export class Moments {
  /** @type {Moment[]} */
  places = [];
  /** How many changesets there are; more than places if only some are marked. */
  changesets = 0;
  #began = null;

  /** @param {object} history as `GET /history` answers */
  constructor(history = null) {
    if (history === null) return;
    const { oldest, marks, changesets } = history;
    this.changesets = changesets;
    this.#began = oldest.time;
    this.places = [{ position: oldest.position, time: null }, ...marks];
  }

  /** Index of the last place, which is now. */
  get last() {
    return Math.max(0, this.places.length - 1);
  }

  /** Before this the history says nothing. @returns {string | null} ISO 8601 */
  get began() {
    return this.#began;
  }

  /**
   * @param {{position: string, time: string | null} | null} moment null for now
   * @returns {number} the place that is nearest to it, not after it
   */
  indexOf(moment) {
    if (moment === null) return this.last;
    const exact = this.places.findIndex(({ position }) => position === moment.position);
    if (exact >= 0 || moment.time === null) return Math.max(0, exact);
    const at = Date.parse(moment.time);
    return Math.max(0, this.places.findLastIndex(({ time }) => time !== null && Date.parse(time) <= at));
  }
}
