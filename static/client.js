/**
 * The watcher protocol over a WebSocket: reconnects by itself and resumes where it stopped.
 *
 * It knows nothing of any page. Import it from anywhere the server allows:
 *
 *     import { connect } from "./static/client.js";
 *     const connection = connect({ onChanges: (message) => console.log(message.changes) });
 *
 * Messages are handed over as they came, with one exception: JavaScript cannot tell the number
 * `1.0` from `1`, SQLite can. Reals that are whole therefore arrive as `{"$real": "1.0"}`.
 */

const PROTOCOL = 1;
const FIRST_DELAY = 500; // ms, the ceiling of the first wait; doubles with each failure
const LONGEST_DELAY = 30_000; // ms
const HEALTHY_AFTER = 10_000; // ms since `hello` after which earlier failures are forgotten
const SILENCE = 40_000; // ms; heartbeats come every 15 s, so this is two of them lost
const SUSPICIOUS_SILENCE = 20_000; // ms; enough to reopen when the machine has just woken up
const FINAL_CODES = { from: 4500, to: 4999 }; // the server asks not to come back
const SIGN_IN = 4501;
// The position in `hello` is where the server stands, not what this client has received.
const POSITIONED = new Set(["ready", "changes", "heartbeat"]);

/**
 * @typedef {object} ConnectionState
 * @property {"connecting" | "open" | "live" | "waiting" | "closed"} state
 *   `connecting`: a socket is being opened; `open`: the server has said hello and sends what was
 *   missed; `live`: what is shown is current; `waiting`: lost, the next try is `delay` away;
 *   `closed`: it will not be tried again.
 * @property {number} attempt tries since the connection was last healthy, 0 for the first.
 * @property {number} [delay] milliseconds until the next try (`waiting` only).
 * @property {number} [code] close code of the server, if it gave one (`closed` only).
 * @property {string} [reason] why it was closed, a sentence for a person (`closed` only).
 * @property {boolean} [signIn] true where signing in would help (`closed` only).
 */

/**
 * What to connect to and whom to tell. An error thrown by a handler is reported as uncaught and
 * does not stop the stream.
 * @typedef {object} Options
 * @property {string | URL} [url] address of the endpoint, http(s) or ws(s); by default `ws`
 *   beside the current page.
 * @property {string | null} [since] position to resume from; by default only what is new.
 * @property {(message: object) => void} [onHello] database name and tables, first of all messages
 *   of each connection.
 * @property {(message: object) => void} [onReady] all that was missed has been delivered.
 * @property {(message: object) => void} [onChanges] one changeset, or a part of a large one.
 *   Where it has no position it is content sent after a reset, not news.
 * @property {(message: object) => void} [onReset] the stream could not go on; `reason` says why.
 * @property {(message: object) => void} [onStatus] the state of the database file changed.
 * @property {(message: object) => void} [onPosition] the position moved, by whichever message.
 * @property {(state: ConnectionState) => void} [onConnection] the state of the connection changed.
 */

/**
 * Opens a connection and keeps it open.
 *
 * @param {Options} [options]
 * @returns {Connection}
 */
export function connect(options = {}) {
  const connection = new Connection(options);
  connection.reconnect();
  return connection;
}

/** A connection that outlives its sockets. Made by {@link connect}. */
export class Connection {
  #options;
  #url;
  #socket = null;
  #retry = null; // timer of the next try, null unless waiting
  #silenceCheck = null;
  #attempt = 0;
  #heard = 0; // when the last frame came, by the monotonic clock
  #hello = null; // when this connection began to work, null before
  #position;
  #complaint = null; // the last `error` message; the close that follows carries less text
  #closed = false;

  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    this.#url = webSocketUrl(options.url ?? "ws");
    this.#position = options.since ?? null;
    addEventListener("online", this.#wake);
    document.addEventListener("visibilitychange", this.#wake);
  }

  /** The position to resume from, null before the first one came. @returns {string | null} */
  get position() {
    return this.#position;
  }

  /** Tries again now instead of waiting; an open socket is replaced. */
  reconnect() {
    if (this.#closed) return;
    this.#abandon();
    this.#tell({ state: "connecting" });
    const url = new URL(this.#url);
    if (this.#position !== null) url.searchParams.set("since", this.#position);
    const socket = new WebSocket(url);
    this.#socket = socket;
    this.#heard = performance.now();
    this.#silenceCheck = setInterval(() => this.#checkSilence(), 5_000);
    // The cookie speaks for the page. Where it is gone, this spares the server waiting for a token.
    socket.onopen = () => socket.send('{"type":"auth","token":""}');
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#lost(event.code, event.reason);
  }

  /** Ends the connection for good. May be called more than once. */
  close() {
    this.#end({ reason: "This page has closed the connection." });
  }

  #receive(frame) {
    const socket = this.#socket;
    this.#heard = performance.now();
    let messages;
    try {
      messages = parseFrame(frame);
    } catch (error) {
      // Going on would leave a hole; the same changes come again from the last position.
      reportError(error);
      this.#lost(1003, "");
      return;
    }
    for (const message of messages) {
      try {
        this.#dispatch(message);
      } catch (error) {
        reportError(error); // a handler's own fault, which must not cost it the next message
      }
      // A handler may have closed or reopened the connection: the rest comes again, or never.
      if (this.#socket !== socket) return;
    }
  }

  #dispatch(message) {
    const moves = POSITIONED.has(message.type) && typeof message.position === "string";
    // Before the handler, which may want to reconnect and must not get the same message again.
    if (moves) this.#position = message.position;
    this.#handle(message);
    if (moves) this.#options.onPosition?.(message);
  }

  #handle(message) {
    const { onReady, onChanges, onReset, onStatus } = this.#options;
    switch (message.type) {
      case "hello":
        this.#greet(message);
        break;
      case "ready":
        this.#tell({ state: "live" });
        onReady?.(message);
        break;
      case "changes":
        onChanges?.(message);
        break;
      case "reset":
        onReset?.(message);
        break;
      case "status":
        onStatus?.(message);
        break;
      case "error":
        this.#complaint = message;
        break;
      // Messages of a later version that nobody here understands are no reason to stop.
    }
  }

  #greet(hello) {
    if (hello.protocol !== PROTOCOL) {
      this.#end({ reason: "The server speaks a newer protocol. Reload the page." });
      return;
    }
    this.#hello = performance.now();
    this.#tell({ state: "open" });
    this.#options.onHello?.(hello);
  }

  #lost(code, closeReason) {
    const complaint = this.#complaint;
    const reason = complaint?.detail || closeReason || "The server refused the connection.";
    if (code >= FINAL_CODES.from && code <= FINAL_CODES.to) {
      this.#end({ code, reason, signIn: code === SIGN_IN });
      return;
    }
    const healthy = this.#hello !== null && performance.now() - this.#hello >= HEALTHY_AFTER;
    this.#attempt = healthy ? 0 : this.#attempt;
    this.#abandon();
    const ceiling = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.#attempt);
    const delay = Math.random() * ceiling; // full jitter: a restart must not bring all at once
    this.#attempt += 1;
    this.#retry = setTimeout(() => this.reconnect(), delay);
    this.#tell({ state: "waiting", delay });
  }

  #checkSilence() {
    if (performance.now() - this.#heard > SILENCE) this.#lost(1006, "");
  }

  #wake = () => {
    if (document.visibilityState !== "visible" || this.#closed) return;
    const silent = performance.now() - this.#heard;
    if (this.#retry !== null || (this.#socket && silent > SUSPICIOUS_SILENCE)) this.reconnect();
  };

  #end(details) {
    if (this.#closed) return;
    this.#closed = true;
    removeEventListener("online", this.#wake);
    document.removeEventListener("visibilitychange", this.#wake);
    this.#abandon();
    this.#tell({ state: "closed", ...details });
  }

  /** Lets go of socket and timers. A dead peer never completes a close, so nobody waits for it. */
  #abandon() {
    clearTimeout(this.#retry);
    clearInterval(this.#silenceCheck);
    this.#retry = null;
    this.#hello = null;
    this.#complaint = null;
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onmessage = null;
    socket.onclose = null;
    socket.close();
  }

  #tell(state) {
    this.#options.onConnection?.({ attempt: this.#attempt, ...state });
  }
}

function webSocketUrl(address) {
  const url = new URL(address, document.baseURI);
  if (url.protocol === "http:") url.protocol = "ws:";
  if (url.protocol === "https:") url.protocol = "wss:";
  return url;
}

// A real that is whole, in a place where a value ends. A match inside a text costs time only.
const WHOLE_REAL = /[0-9](?:\.0+|[eE][+-]?[0-9]+)[,}\]]/;

function parseFrame(frame) {
  if (!WHOLE_REAL.test(frame)) return JSON.parse(frame);
  return JSON.parse(frame, (_, value, context) =>
    Number.isInteger(value) && /[.eE]/.test(context?.source ?? "")
      ? { $real: context.source }
      : value,
  );
}
