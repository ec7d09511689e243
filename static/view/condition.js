/** The connection that has a condition looked at: what it means is known only where SQLite is. */

import { connect } from "../client.js";
import { Catalog, explain } from "../model/catalog.js";
import { resetSentence } from "./states.js";

/** Fills a feed with the changes that fulfil a condition, also after their table is renamed. */
export class Condition {
  #filter;
  #feed;
  #options;
  #catalog = new Catalog();
  #connection;
  #before; // where its stream stands
  #over = false; // its stream is void, as it is after a rename
  #unsaid = null; // a notice that belongs before the next change
  #renamed = null; // the message with a rename that its stream has not reached yet

  /**
   * @param {import("../model/filter.js").Filter} filter with a table
   * @param {import("../model/feed.js").Feed} feed
   * @param {object} options
   * @param {string} options.url of the stream
   * @param {string} options.since where it begins
   * @param {import("../model/renames.js").Renames} options.renames
   * @param {() => void} options.onChange there is something new in the feed
   * @param {(reason: string) => void} options.onRefused the condition is not understood
   */
  constructor(filter, feed, options) {
    this.#filter = filter;
    this.#feed = feed;
    this.#options = options;
    this.#open(options.since);
  }

  /** The table has the new name the filter has now. @param {object} message that told of it */
  rename(message) {
    this.#renamed = message;
    this.#moveOn();
  }

  /** Ends it. */
  close() {
    this.#renamed = null;
    this.#connection.close();
  }

  #open(since) {
    const { table, where } = this.#filter;
    this.#before = since;
    this.#over = false;
    const connection = connect({
      url: this.#options.url,
      tables: [table],
      where,
      since,
      onChanges: (message) => this.#take(message),
      onReset: ({ reason }) => this.#reset(reason),
      onPosition: ({ position }) => {
        this.#before = position;
        this.#moveOn();
      },
      onConnection: ({ state, reason }) => {
        // One that was left for another has nothing to say any more.
        if (state !== "closed" || connection !== this.#connection) return;
        this.#over = true;
        if (this.#renamed === null && reason) this.#options.onRefused(reason);
        this.#moveOn();
      },
    });
    this.#connection = connection;
  }

  #take(message) {
    if (this.#unsaid !== null) this.#feed.notice(this.#unsaid);
    this.#unsaid = null;
    explain([{ rows: message.changes }], this.#catalog);
    this.#add(message);
  }

  #add(message) {
    this.#feed.add(message, this.#before);
    for (const entry of this.#feed.entries) entry.partial = true;
    this.#options.onChange();
  }

  // A rename voids the stream with the reason `start`, maybe before the page knows of it: whether
  // anything is missing is known with the next change.
  #reset(reason) {
    this.#over = true;
    if (reason === "start") this.#unsaid = resetSentence(reason);
    else this.#feed.notice(resetSentence(reason));
    this.#options.onChange();
    this.#moveOn();
  }

  // What happened before the rename is still to come where this stream is behind.
  #moveOn() {
    const message = this.#renamed;
    if (message === null) return;
    if (!this.#over && !this.#options.renames.reaches(this.#before, message.position)) return;
    this.#renamed = this.#unsaid = null;
    this.#connection.close();
    const { table } = this.#filter;
    const own = message.changes.filter((change) => change.table === table);
    const schema = own.filter(({ op }) => op === "schema");
    this.#add({ ...message, part: 0, last: true, changes: schema });
    if (schema.length < own.length || !message.last) {
      this.#feed.notice("The condition is not looked at for what changed together with the name.");
    }
    this.#open(message.position);
  }
}
