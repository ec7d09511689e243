/** The rows of a table as they were at a moment of the history, in the order of their keys. */

const PAGE = 200; // rows of a page, whose end has to be known to ask for the next one
const GUESS = 40; // rows more than are known, where there are more

export class PastRows {
  /** Whether the stream changes them. */
  live = false;
  #api;
  #at;
  #begin; // key of the first row shown, null for the first there is
  #ends = [null]; // by page: what to ask for it with
  #known = 0; // rows up to the end of the last known page
  #isWhole = false; // whether that is the end of the table
  /** Columns of the table then, null before the first answer. @type {string[] | null} */
  columns = null;

  /**
   * @param {import("./api.js").Api} api
   * @param {string} at position after which it is shown
   * @param {object | null} begin key of the row to begin with, null for the first there is
   */
  constructor(api, at, begin) {
    this.#api = api;
    this.#at = at;
    this.#begin = begin;
  }

  /** Key of the row it begins with, null for the first there is. @returns {object | null} */
  get begin() {
    return this.#begin;
  }

  /**
   * As `PresentRows.fetch`; the total is what is known of it so far.
   * @param {import("./rows_source.js").Query} query its order and condition do not count here
   * @param {{offset?: number, limit: number}} stretch
   * @param {AbortSignal} signal
   * @returns {Promise<import("./rows_source.js").Stretch>}
   * @throws {import("./api.js").Refused}
   */
  async fetch({ table }, { offset = 0, limit }, signal) {
    const first = Math.floor(offset / PAGE);
    const last = Math.floor((offset + limit - 1) / PAGE);
    const rows = [];
    // What is not known yet is walked through: a page tells where the next one begins.
    let page = Math.min(first, this.#ends.length - 1);
    const start = Math.max(first, page) * PAGE;
    for (; page <= last && page < this.#ends.length; page += 1) {
      const found = await this.#page(table, page, signal);
      if (page >= first) rows.push(...found);
    }
    const total = this.#known + (this.#isWhole ? 0 : GUESS);
    return { state: "ready", rows, offset: start, total };
  }

  /** Whether `total` is all there are. */
  get isWhole() {
    return this.#isWhole;
  }

  async #page(table, page, signal) {
    const after = this.#ends[page];
    const from = page === 0 ? this.#begin : null;
    const parameters = { at: this.#at, after, from, limit: PAGE };
    const answer = await this.#api.ask(["tables", table, "past"], parameters, { signal });
    this.columns = answer.columns;
    if (page === this.#ends.length - 1) {
      this.#known = page * PAGE + answer.rows.length;
      this.#isWhole = answer.next === null;
      // A short page that is not the last one would shift all the others: it is filled up first.
      if (!this.#isWhole && answer.rows.length === PAGE) this.#ends.push(answer.next);
      else if (!this.#isWhole) return this.#fill(table, answer, signal);
    }
    return answer.rows;
  }

  async #fill(table, answer, signal) {
    const rows = answer.rows;
    let { next } = answer;
    while (next !== null && rows.length < PAGE) {
      const parameters = { at: this.#at, after: next, limit: PAGE - rows.length };
      const more = await this.#api.ask(["tables", table, "past"], parameters, { signal });
      rows.push(...more.rows);
      next = more.next;
    }
    this.#known = (this.#ends.length - 1) * PAGE + rows.length;
    this.#isWhole = next === null;
    if (!this.#isWhole) this.#ends.push(next);
    return rows;
  }
}
