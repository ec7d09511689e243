/** The rows of a table as they were at a moment of the history, in the order of their keys. */

import { WalkedRows } from "./walked_rows.js";

export class PastRows extends WalkedRows {
  #begin; // key of the first row shown, null for the first there is

  /**
   * @param {import("./api.js").Api} api
   * @param {string} at position after which it is shown
   * @param {object | null} begin key of the row to begin with, null for the first there is
   */
  constructor(api, at, begin) {
    const ask = (table, { after, limit }, signal) => {
      const from = after === null ? begin : null;
      return api.ask(["tables", table, "past"], { at, after, from, limit }, { signal });
    };
    super(ask, false);
    this.#begin = begin;
  }

  /** Key of the row it begins with, null for the first there is. @returns {object | null} */
  get begin() {
    return this.#begin;
  }
}
