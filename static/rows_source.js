/**
 * Where the rows of a grid come from: stretches by number, at present. `walked_rows.js` has those
 * without numbers.
 */

const FIRST = 200; // rows shown while the order is not known yet

/**
 * What is looked at.
 * @typedef {object} Query
 * @property {string} table
 * @property {string | null} order column the rows are sorted by, null for their key.
 * @property {boolean} desc
 * @property {string | null} where SQL expression that chooses rows, null for all.
 */

/**
 * A stretch of rows.
 * @typedef {object} Stretch
 * @property {"ready" | "building"} state `building`: rows by key only, because their order is not
 *   known yet.
 * @property {number} [progress] of the building, 0 to 1.
 * @property {{key: object, row: object}[]} rows
 * @property {number} offset number of the first.
 * @property {number} total rows in all.
 */

/** The rows as they are now. */
export class PresentRows {
  /** Whether the stream changes them. */
  live = true;
  /** Whether the rows have numbers, which do not depend on what was looked at before. */
  numbered = true;
  #api;

  /** @param {import("./api.js").Api} api */
  constructor(api) {
    this.#api = api;
  }

  /**
   * @param {Query} query
   * @param {{offset?: number, around?: object, limit: number, atLeast?: string | null}} stretch
   *   which rows, and the position they must have reached
   * @param {AbortSignal} signal
   * @returns {Promise<Stretch>}
   * @throws {import("./api.js").Refused}
   */
  async fetch({ table, order, desc, where }, { offset, around, limit, atLeast }, signal) {
    const parameters = { offset, around, limit, order, where, at_least: atLeast };
    if (desc) parameters.desc = true;
    const path = ["tables", table, "rows"];
    const { status, body } = await this.#api.answer(path, parameters, { signal });
    if (status === 202) return { state: "building", progress: body.progress, rows: [], offset: 0, total: 0 };
    return { state: "ready", rows: body.rows, offset: body.offset, total: body.total };
  }

  /**
   * The first rows by key, which can be had at once.
   * @param {string} table
   * @param {AbortSignal} signal
   * @returns {Promise<{key: object, row: object}[]>}
   * @throws {import("./api.js").Refused}
   */
  async first(table, signal) {
    return (await this.#api.ask(["tables", table, "rows"], { limit: FIRST }, { signal })).rows;
  }
}
