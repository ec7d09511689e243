/** The server's clock as this machine sees it. Pure: nothing in it asks for the time. */

const MUCH_BETTER = 1.5; // a longer way is as good if it is at most this many times the best one
const TOO_OLD = 600_000; // ms after which clocks may have drifted apart

export class Clock {
  #offset = 0;
  #way = Infinity;
  #learnt = -Infinity;

  /** Whether the server has ever told its time. @returns {boolean} */
  get known() {
    return this.#learnt !== -Infinity;
  }

  /**
   * @param {string} told the server's time in an answer, ISO 8601.
   * @param {number} asked when it was asked for, by this machine in ms of the epoch.
   * @param {number} answered when the answer came.
   */
  learn(told, asked, answered) {
    const time = Date.parse(told);
    const way = answered - asked;
    if (Number.isNaN(time) || way < 0) return;
    const stale = answered - this.#learnt > TOO_OLD;
    if (!stale && way > this.#way * MUCH_BETTER) return;
    this.#offset = time - (asked + answered) / 2;
    this.#way = stale ? way : Math.min(this.#way, way);
    this.#learnt = answered;
  }

  /**
   * @param {number} local ms of the epoch by this machine.
   * @returns {number} the same moment by the server's clock.
   */
  server(local) {
    return local + this.#offset;
  }
}
