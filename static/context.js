/**
 * What the parts of the page share: what is known of the database, and who tells whom.
 *
 * A part never calls another one. It tells what its user wants (`choose`, `reveal`, …), and whoever
 * can do it listens.
 */

import { Catalog } from "./model/catalog.js";
import { Clock } from "./model/clock.js";

/**
 * Everything parts may tell each other. `hello`, `changes`, `reset`, `status`, `connection` and
 * `position` carry what the handlers of `client.js` get; a `changes` message is news, never
 * content, and its schema changes have `sentences`.
 * @typedef {object} Events
 * @property {object} hello
 * @property {object} changes
 * @property {object} reset
 * @property {object} status
 * @property {import("./client.js").ConnectionState} connection
 * @property {object} position a message that has moved the position.
 * @property {{tabs: number, shared: boolean}} sharing how many tabs of this browser use the connection.
 * @property {void} tables the definitions in `catalog` are others than before.
 * @property {void} health what `health` says may be others than before.
 * @property {{table: string | null}} chosen another table is looked at.
 * @property {{table: string, key: object}} reveal show this row in the grid.
 * @property {{table: string, key: object}} versions show the history of this row.
 * @property {{position: string, table?: string, key?: object}} recall show this changeset in the feed.
 * @property {{position: string | null, time?: string | null}} moment show tables as they were after
 *   this changeset; null for the present.
 */

/** What the parts share. */
export class Context {
  /** Fetches from the service. @type {import("./api.js").Api} */
  api;
  /** The tables as the stream has them. */
  catalog = new Catalog();
  /** The server's clock. */
  clock = new Clock();
  /** The name of the table that is looked at, null before one is. @type {string | null} */
  chosen = null;
  /** What `GET /health` said last, null before. @type {object | null} */
  health = null;
  #listeners = new Map();

  /** @param {import("./api.js").Api} api */
  constructor(api) {
    this.api = api;
  }

  /**
   * @template {keyof Events} Name
   * @param {Name} event
   * @param {(detail: Events[Name]) => void} listener
   * @returns {() => void} ends the listening.
   */
  on(event, listener) {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  /**
   * Tells all who listen; what one of them gets wrong is reported and does not hold up the others.
   * @template {keyof Events} Name
   * @param {Name} event
   * @param {Events[Name]} [detail]
   */
  tell(event, detail) {
    for (const listener of this.#listeners.get(event) ?? []) {
      try {
        listener(detail);
      } catch (error) {
        reportError(error);
      }
    }
  }

  /** Looks at a table. @param {string | null} table its name, null for none. */
  choose(table) {
    if (this.chosen === table) return;
    this.chosen = table;
    this.tell("chosen", { table });
  }

  /** Looks at a row of the present. @param {string} table @param {object} key */
  reveal(table, key) {
    this.choose(table);
    this.tell("reveal", { table, key });
  }
}
