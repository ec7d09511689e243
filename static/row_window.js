/**
 * Keeps the rows around the view: fetches what is missing, follows the stream, and fetches anew
 * where rows came, went or changed places.
 */

import { Refused } from "./api.js";
import { LiveRows, idOf } from "./model/live_rows.js";

const AHEAD = 60; // rows held ready on either side of the view
const LARGEST = 200; // rows in a request
const KEPT = 800; // rows on either side of the view that are not forgotten
const SOONEST = 120; // ms between refetches
const LATEST = 1_000; // ms; a slow answer makes the refetches rarer, but not rarer than this
const ASK_AGAIN = 250; // ms, while the order is being built
const PATIENCE = 800; // ms for which a row is sought that is not there
const RETRIES = [1_000, 2_000, 5_000, 10_000]; // ms

/**
 * How it stands.
 * @typedef {object} State
 * @property {"idle" | "loading" | "building" | "ready" | "failed"} kind `loading`: nothing is
 *   there yet; `building`: the order asked for is not ready; `failed`: `problem` says why.
 * @property {number} [progress]
 * @property {Refused} [problem]
 * @property {boolean} [again] whether it is tried again by itself.
 */

/**
 * What it needs of the view.
 * @typedef {object} Eye
 * @property {() => [number, number]} seen numbers of the first row in view and the one after the last.
 * @property {() => object | null} anchor key of the row that must stay in its place; null at the top.
 * @property {(change: () => void) => void} hold makes a change, and sees that the anchor stays.
 * @property {() => void} painted something is to be painted anew.
 * @property {(state: State) => void} stated the state is another.
 * @property {(key: object, index: number | undefined) => void} revealed a row that was asked for
 *   is held, or is not there.
 */

export class RowWindow {
  live = new LiveRows();
  /** @type {State} */
  state = { kind: "idle" };
  #source;
  #eye;
  #query = null;
  #position = null; // last of the stream
  #refetch = null; // AbortController of the one on its way
  #page = null; // {start, stop, abort} of the one on its way
  #wanted = false; // a refetch is needed
  #timer = null;
  #began = 0; // when the last refetch began, ms
  #took = 0; // how long it took, ms
  #failures = 0;
  #time = null; // of the rows shown, where they are to be compared with the next ones
  #patience = 0; // until when it is sought, ms
  #sought = null; // key of a row that is to be revealed

  /** @param {import("./rows_source.js").PresentRows} source @param {Eye} eye */
  constructor(source, eye) {
    this.#source = source;
    this.#eye = eye;
    document.addEventListener("visibilitychange", () => this.#schedule());
  }

  /** What is looked at, null for nothing. */
  get query() {
    return this.#query;
  }

  /**
   * Looks at something.
   * @param {import("./rows_source.js").Query | null} query
   * @param {import("./rows_source.js").PresentRows | import("./walked_rows.js").WalkedRows} [source]
   *   where the rows come from from now on
   * @param {string | null} [time] of what is shown now: where the same rows come from another
   *   moment, what differs is marked
   */
  open(query, source = this.#source, time = null) {
    const same = this.#query?.table === query?.table;
    this.#time = same && source !== this.#source ? time : null;
    this.#stop();
    this.#query = query;
    this.#source = source;
    this.#failures = 0;
    this.#took = 0;
    this.#sought = null;
    if (!same) this.live.clear();
    if (query === null) return this.#say({ kind: "idle" });
    this.#say({ kind: this.live.size ? "building" : "loading" });
    this.refresh(true);
  }

  /**
   * Takes in a message of the stream.
   * @param {object} message of type `changes`
   * @param {number} now ms
   */
  follow(message, now) {
    if (message.last) this.#position = message.position;
    if (this.#query === null || !this.#source.live) return;
    const { table, order, where } = this.#query;
    const own = message.changes.filter((change) => change.table === table && change.op !== "schema");
    if (own.length === 0) return;
    const view = { order, filtered: where !== null };
    const moved = this.live.take(own, message.time, view, now);
    // What was refused for good is refused again.
    if (moved && (this.state.kind !== "failed" || this.state.again)) this.refresh();
    this.#eye.painted();
  }

  /** Fetches the rows around one, wherever it is, and says so to the eye. @param {object} key */
  reveal(key) {
    this.#sought = key;
    this.#patience = performance.now() + PATIENCE;
    this.refresh(true);
  }

  /** The view shows other rows than before. */
  look() {
    const { kind } = this.state;
    // What has failed is tried again after a pause, or not at all.
    if (this.#query === null || kind === "loading" || kind === "failed" || this.#refetch) return;
    const [first, end] = this.#eye.seen();
    const from = Math.max(0, first - AHEAD);
    const to = Math.min(this.live.total, end + AHEAD);
    if (this.#page) {
      const passed = this.#page.stop <= from || this.#page.start >= to;
      if (!passed) return;
      this.#page.abort.abort();
      this.#page = null;
    }
    // What is seen goes before what may be seen next.
    const gap = this.live.missing(first, end) ?? this.live.missing(from, to);
    if (gap === null) return;
    const start = gap[0] === first ? gap[0] : Math.max(from, gap[0]);
    this.#fetchPage(start, Math.min(to, start + LARGEST));
    this.live.prune(first - KEPT, end + KEPT);
  }

  /** Fetches the rows around the view anew. @param {boolean} [now] without waiting */
  refresh(now = false) {
    this.#wanted = true;
    if (now) {
      this.#began = 0;
      this.#refetch?.abort();
      this.#refetch = null;
    }
    this.#schedule();
  }

  #schedule(delay) {
    if (!this.#wanted || this.#refetch || this.#query === null || document.hidden) return;
    clearTimeout(this.#timer);
    const pause = Math.min(LATEST, Math.max(SOONEST, 2 * this.#took));
    const wait = delay ?? Math.max(0, this.#began + pause - performance.now());
    this.#timer = setTimeout(() => this.#fetchAround(), wait);
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#refetch?.abort();
    this.#page?.abort.abort();
    this.#refetch = this.#page = null;
    this.#wanted = false;
    this.live.arrived();
  }

  async #fetchAround() {
    if (this.#query === null) return;
    this.#wanted = false;
    this.#page?.abort.abort();
    this.#page = null;
    const abort = (this.#refetch = new AbortController());
    this.#began = performance.now();
    this.live.expect();
    let pause;
    try {
      pause = await this.#applyAround(abort.signal);
      this.#failures = 0;
    } catch (error) {
      if (abort.signal.aborted) return;
      this.#refetch = null;
      pause = this.#failed(error);
    }
    if (abort.signal.aborted) return;
    this.#refetch = null;
    if (this.live.arrived()) this.#wanted = true;
    this.#schedule(pause);
    this.look();
  }

  async #applyAround(signal) {
    const sought = this.#sought;
    const around = sought ?? this.#eye.anchor();
    const [first, end] = this.#eye.seen();
    const limit = Math.min(2 * LARGEST, 2 * (end - first + AHEAD));
    const ask = { ...this.#which(around, first), limit, atLeast: this.#position };
    const stretch = await this.#source.fetch(this.#query, ask, signal);
    if (signal.aborted) return undefined;
    this.#took = performance.now() - this.#began;
    if (stretch.state === "building") return this.#preview(stretch, signal);
    const time = this.#time;
    this.#time = null;
    this.#eye.hold(() => this.live.apply(stretch, performance.now(), time));
    this.#say({ kind: "ready" });
    const pause = sought !== null && sought === this.#sought ? this.#found(sought) : undefined;
    this.#eye.painted();
    return pause;
  }

  #which(around, first) {
    const { numbered, known, live } = this.#source;
    if (numbered) return around === null ? { offset: 0 } : { around };
    // At first there is nothing before the row it was told to begin with.
    const isFirst = around === null || known === 0;
    return { offset: isFirst ? 0 : Math.max(0, first - AHEAD), anew: live };
  }

  // A row that has just been added may not have come through the stream yet.
  #found(sought) {
    const place = this.live.placeOf(idOf(sought));
    if (place === undefined && performance.now() < this.#patience) {
      this.#wanted = true;
      return SOONEST;
    }
    this.#sought = null;
    this.#eye.revealed(sought, place);
    return undefined;
  }

  // Until the order is known: the first rows by key, or those of the order before.
  async #preview({ progress }, signal) {
    if (this.live.size === 0) {
      const rows = await this.#source.first(this.#query.table, signal);
      if (signal.aborted) return undefined;
      this.live.apply({ offset: 0, rows, total: rows.length }, performance.now());
    }
    this.#wanted = true;
    this.#say({ kind: "building", progress });
    this.#eye.painted();
    return ASK_AGAIN;
  }

  #failed(error) {
    if (!(error instanceof Refused)) throw error;
    const again = error.status === 0 || error.status >= 500;
    this.#wanted = again;
    // What is held are rows of something else, such as the condition before.
    if (!again) this.live.clear();
    this.#say({ kind: "failed", problem: error, again });
    return RETRIES[Math.min(this.#failures++, RETRIES.length - 1)];
  }

  async #fetchPage(start, stop) {
    const abort = new AbortController();
    const page = (this.#page = { start, stop, abort });
    this.live.expect();
    let stretch;
    try {
      const ask = { offset: start, limit: stop - start, atLeast: this.#position };
      stretch = await this.#source.fetch(this.#query, ask, abort.signal);
    } catch (error) {
      if (abort.signal.aborted) return;
      this.refresh(); // it meets the same trouble, and says so
      if (!(error instanceof Refused)) throw error;
      return;
    } finally {
      if (this.#page === page) this.#page = null;
    }
    if (abort.signal.aborted) return;
    if (stretch.state === "ready") this.live.put(stretch.offset, stretch.rows, performance.now());
    // Numbers of before and after a change do not fit together.
    const { numbered } = this.#source;
    const moved = stretch.state !== "ready" || (numbered ? stretch.total !== this.live.total : stretch.moved);
    if (!numbered) this.live.slots.total = stretch.total;
    if (this.live.arrived() || moved) this.refresh();
    this.#eye.painted();
    this.look();
  }

  #say(state) {
    this.state = state;
    this.#eye.stated(state);
  }
}
