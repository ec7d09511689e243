/**
 * One connection for all tabs of a browser that show the same database: a shared worker.
 *
 * Tabs talk to it by their ports. A tab says `{join: position | null}`, `{ack: weight}`,
 * `{leave: true}`, `{reconnect: true}` or `{wake: true}`. It is told lists of pairs: the name of a
 * handler as in `client.js` and what to call it with; or `attached`, `elsewhere`, `behind` and
 * `tabs`, which `link.js` explains. Lists keep the order of the stream and are acknowledged.
 */

import { Connection } from "./client.js";
import { Catalog } from "./model/catalog.js";
import { weigh } from "./model/weight.js";

const MOST_OWED = 16_000_000; // weight of what a tab has not acknowledged; then it goes on by itself
const BETWEEN_LISTS = 16; // ms, a frame; what comes sooner waits, since each list costs a tab about the same
const BETWEEN_SIGNS = 15_000; // ms between two signs of life to each tab
const LONGEST_SILENCE = 180_000; // ms; tabs in the background are slow, but not as slow as this

class SharedConnection {
  #tabs = new Map(); // port -> what it owes and when it was heard
  #waiting = new Map(); // ports that want to join, with the positions they know, amid a changeset
  #outbox = []; // what has come since the last list
  #sent = 0; // when that was
  #connection = null;
  #catalog = null; // the tables where the stream is, null before they are known
  #current = []; // tables as the server has them, which may be ahead of the stream
  #hello = null;
  #status = null;
  #state = { state: "connecting", attempt: 0 };
  #due = 0; // when the next try is due
  #amid = false; // parts of a changeset have come, but not all

  constructor() {
    setInterval(() => this.#giveSigns(), BETWEEN_SIGNS);
  }

  /** @param {MessagePort} port of a tab that has just found this worker. */
  take(port) {
    port.onmessage = ({ data }) => this.#hear(port, data);
  }

  #hear(port, { join, ack, leave, reconnect, wake }) {
    const tab = this.#tabs.get(port);
    if (tab) tab.heard = performance.now();
    if (join !== undefined) this.#join(port, join);
    if (ack !== undefined && tab) tab.owed -= ack;
    if (leave) this.#forget(port);
    if (reconnect) this.#reconnect();
    if (wake) this.#connection?.wake();
  }

  #join(port, position) {
    if (this.#connection === null) this.#connect(position);
    else if (this.#state.state === "closed") this.#connect(this.#connection.position);
    if (this.#amid) this.#waiting.set(port, position);
    else this.#attach(port, position);
  }

  #attach(port, position) {
    const present = this.#connection.position;
    if (position !== null && position !== present) {
      port.postMessage([["elsewhere", null]]);
      return;
    }
    this.#flush(); // to the others: this one knows or gets what it led to
    this.#tabs.set(port, { owed: 0, heard: performance.now() });
    this.#send(port, [["attached", { position: present }], ...this.#present(position === null)]);
    this.#tellNumber();
  }

  /** What a tab has to know to go on from here, as if it had just connected. */
  *#present(isNew) {
    const { state } = this.#state;
    if (this.#hello && isNew) {
      const position = this.#connection.position ?? this.#hello.position;
      const hello = { ...this.#hello, tables: this.#catalog.tables, position };
      yield ["onConnection", { state: "open", attempt: this.#state.attempt }];
      yield ["onHello", hello];
    }
    if (this.#status) yield ["onStatus", this.#status];
    const delay = Math.max(0, this.#due - performance.now());
    yield ["onConnection", state === "waiting" ? { ...this.#state, delay } : this.#state];
    if (state === "live" && isNew) {
      const ready = { type: "ready", position: this.#connection.position };
      yield ["onReady", ready];
      yield ["onPosition", ready];
    }
  }

  #connect(since) {
    this.#connection = new Connection({
      since,
      onHello: (message) => this.#greeted(message),
      onReady: (message) => this.#tell("onReady", message),
      onChanges: (message) => this.#changed(message),
      onReset: (message) => this.#reset(message),
      onStatus: (message) => {
        this.#status = message;
        this.#tell("onStatus", message);
      },
      onConnection: (state) => this.#moved(state),
      onPosition: (message) => this.#tell("onPosition", message),
    });
    this.#connection.reconnect();
  }

  #reconnect() {
    if (this.#connection === null) return;
    if (this.#state.state === "closed") this.#connect(this.#connection.position);
    else this.#connection.reconnect();
  }

  #greeted(message) {
    this.#hello = message;
    this.#current = message.tables;
    // A resumed stream brings the schema changes in between; the catalog must not run ahead.
    if (this.#connection.position === null || this.#catalog === null) this.#replaceTables();
    this.#tell("onHello", message);
  }

  #changed(message) {
    for (const change of message.changes) if (change.op === "schema") this.#catalog.explain(change);
    this.#tell("onChanges", message);
    this.#amid = message.last === false;
    if (!this.#amid) queueMicrotask(() => this.#letIn());
  }

  #replaceTables() {
    this.#catalog = new Catalog();
    this.#catalog.replace(this.#current);
  }

  #reset(message) {
    this.#replaceTables();
    this.#tell("onReset", message);
  }

  #moved(state) {
    this.#state = state;
    if (state.state === "waiting") this.#due = performance.now() + state.delay;
    if (state.state === "connecting") this.#status = null; // it is told anew to each connection
    this.#amid = false; // what is missing of a changeset comes as parts that count on their own
    this.#tell("onConnection", state);
    queueMicrotask(() => this.#letIn());
  }

  #letIn() {
    if (this.#amid) return;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const [port, position] of waiting) this.#attach(port, position);
  }

  /** At once where little comes; else one list for all that came in some milliseconds. */
  #tell(handler, message) {
    if (this.#outbox.push([handler, message]) > 1) return;
    const wait = this.#sent + BETWEEN_LISTS - performance.now();
    if (wait > 0) setTimeout(() => this.#flush(), wait);
    else queueMicrotask(() => this.#flush());
  }

  #flush() {
    const calls = this.#outbox;
    if (calls.length === 0) return;
    this.#outbox = [];
    this.#sent = performance.now();
    for (const port of this.#tabs.keys()) this.#send(port, calls);
  }

  #send(port, calls) {
    const tab = this.#tabs.get(port);
    const weight = calls.reduce((sum, [, message]) => sum + weigh(message), 1);
    if (tab.owed > 0 && tab.owed + weight > MOST_OWED) {
      this.#dismiss(port);
      return;
    }
    tab.owed += weight;
    port.postMessage([...calls, ["ack", weight]]);
  }

  /** Lets a tab go on by itself, from where it is: it must not hold up this worker's memory. */
  #dismiss(port) {
    port.postMessage([["behind", null]]);
    this.#forget(port);
  }

  #forget(port) {
    const waited = this.#waiting.delete(port);
    const listened = this.#tabs.delete(port);
    // Who waits for the end of a changeset takes over.
    if (this.#tabs.size > 0 && listened) this.#tellNumber();
    else if (this.#tabs.size + this.#waiting.size === 0 && (waited || listened)) this.#rest();
  }

  /** Nobody listens: a tab in the browser's cache of pages may hold this worker for long. */
  #rest() {
    this.#connection?.close();
    this.#connection = null;
    this.#hello = this.#status = this.#catalog = null;
    this.#outbox = [];
    this.#state = { state: "connecting", attempt: 0 };
  }

  #tellNumber() {
    this.#tell("tabs", { tabs: this.#tabs.size });
  }

  #giveSigns() {
    const latest = performance.now() - LONGEST_SILENCE;
    for (const [port, { heard }] of [...this.#tabs]) {
      if (heard < latest) this.#dismiss(port);
      else this.#send(port, []);
    }
  }
}

const shared = new SharedConnection();
globalThis.onconnect = ({ ports: [port] }) => shared.take(port);
