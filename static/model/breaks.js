/** What a break of the connection has cost, and what came after it. Pure. */

import { spoken } from "./latency.js";
import { counted } from "./values.js";

/** Follows the states of a connection and says what was caught up once it is live again. */
export class Breaks {
  #lost = null; // when it was last live, null while it is
  #wasLive = false;
  #changes = 0;

  /**
   * @param {string} state of the connection.
   * @param {number} now in ms of a clock that only goes forward.
   * @returns {string | null} a sentence once a break is over, else null.
   */
  move(state, now) {
    if (state !== "live") {
      if (this.#wasLive) {
        this.#lost = now;
        this.#changes = 0;
      }
      this.#wasLive = false;
      return null;
    }
    const lost = this.#lost;
    this.#lost = null;
    this.#wasLive = true;
    if (lost === null) return null;
    const away = spoken(now - lost);
    if (this.#changes === 0) return `Nothing was missed in ${away} offline.`;
    return `${counted(this.#changes, "change")} caught up after ${away} offline.`;
  }

  /** @param {number} count changes that came. */
  take(count) {
    if (this.#lost !== null) this.#changes += count;
  }
}
