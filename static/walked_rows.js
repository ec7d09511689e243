/** Rows whose numbers nobody knows: walked through page by page, in the order of their keys. */

const PAGE = 200; // rows of a page, whose end has to be known to ask for the next one
const GUESS = 40; // rows more than are known, where there are more

/**
 * Asks for a page.
 * @callback AskPage
 * @param {string} table
 * @param {{after: string | null, limit: number}} page
 * @param {AbortSignal} signal
 * @returns {Promise<{rows: {key: object, row: object}[], next: string | null}>}
 * @throws {import("./api.js").Refused}
 */

export class WalkedRows {
  /** Whether the rows have numbers, which do not depend on what was looked at before. */
  numbered = false;
  /** Whether the stream changes them. */
  live;
  #ask;
  #ends = [null]; // by page: what to ask for it with
  #known = 0; // rows up to the end of the last known page
  #isWhole = false; // whether that is the end of the table
  #moved = false; // rows came or went in a page that was known

  /** @param {AskPage} ask @param {boolean} live */
  constructor(ask, live) {
    this.#ask = ask;
    this.live = live;
  }

  /** Key of the row it begins with, null for the first there is. @returns {object | null} */
  get begin() {
    return null;
  }

  /** How many rows have been found; there are more unless it `isWhole`. */
  get known() {
    return this.#known;
  }

  /** Whether `known` is all there are. */
  get isWhole() {
    return this.#isWhole;
  }

  /**
   * As `PresentRows.fetch`; the total is what is known of it so far.
   * @param {import("./rows_source.js").Query} query its order and condition do not count here
   * @param {{offset?: number, limit: number, anew?: boolean}} stretch `anew`: rows may have come and
   *   gone, so that what was known beyond it counts no more
   * @param {AbortSignal} signal
   * @returns {Promise<import("./rows_source.js").Stretch & {moved: boolean}>} `moved`: what was
   *   fetched before does not fit to it.
   * @throws {import("./api.js").Refused}
   */
  async fetch({ table }, { offset = 0, limit, anew = false }, signal) {
    const first = Math.floor(offset / PAGE);
    const last = Math.floor((offset + limit - 1) / PAGE);
    const rows = [];
    // What is not known yet is walked through: a page tells where the next one begins.
    let page = Math.min(first, this.#ends.length - 1);
    const start = Math.max(first, page) * PAGE;
    if (anew) this.#ends.length = page + 1;
    this.#moved = false;
    for (; page <= last && page < this.#ends.length; page += 1) {
      const found = await this.#page(table, page, signal);
      if (page >= first) rows.push(...found);
    }
    const total = this.#known + (this.#isWhole ? 0 : GUESS);
    return { state: "ready", rows, offset: start, total, moved: this.#moved };
  }

  async #page(table, page, signal) {
    const rows = [];
    let next = this.#ends[page];
    // The service may stop short of the limit; a short page would shift all the others.
    do {
      const ask = { after: next, limit: PAGE - rows.length };
      const answer = await this.#ask(table, ask, signal);
      rows.push(...answer.rows);
      next = answer.next;
    } while (next !== null && rows.length < PAGE);
    const isKnown = page < this.#ends.length - 1;
    if (isKnown && next === this.#ends[page + 1]) return rows;
    this.#moved ||= isKnown;
    this.#ends.length = page + 1;
    this.#known = page * PAGE + rows.length;
    this.#isWhole = next === null;
    if (next !== null) this.#ends.push(next);
    return rows;
  }
}

/** The rows of a table that is too large to be numbered. @param {import("./api.js").Api} api */
export function largeRows(api) {
  const ask = (table, page, signal) => api.ask(["tables", table, "rows"], page, { signal });
  return new WalkedRows(ask, true);
}
