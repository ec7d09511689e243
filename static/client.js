/**
 * The watcher protocol over a WebSocket: reconnects by itself and resumes where it stopped.
 *
 * It knows nothing of any page. Import it from anywhere the server allows; it then follows that
 * server:
 *
 *     import { connect } from "http://127.0.0.1:8000/static/client.js";
 *     connect({ tables: ["items"], onChanges: ({ changes }) => console.log(changes) });
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
const SUBPROTOCOL = "watcher"; // what the server answers where a token is offered beside it
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
 * @property {string | URL} [url] address of the service (`http://host`, `http://host/db/a.db`) or
 *   of its endpoint (`ws://host/ws`); by default the service this module comes from.
 * @property {string[]} [tables] names of the tables wanted; by default all.
 * @property {string[]} [columns] names of the columns wanted, each `column` or `table.column`; by
 *   default all. Those of a key always come.
 * @property {string[]} [ops] of `insert`, `update` and `delete` those wanted; by default all.
 * @property {string} [where] a SQL expression over the columns of a row: only rows that fulfil it.
 * @property {string | Resume | null} [since] where to go on: `resume` of an earlier connection, or
 *   a position, which must be of the same filter; by default only what is new.
 * @property {boolean} [snapshot] send the content where there is nothing to go on from.
 * @property {boolean} [whole] hand over changesets whole, not in parts.
 * @property {string} [token] what the server asks for; not needed after signing in on its page.
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
 * Where to go on, and with which filter: plain data, to be kept as JSON.
 * @typedef {object} Resume
 * @property {string | null} position
 * @property {string} filter
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
  #filter; // the parameters that say what is wanted, in one order
  #isVoid = false; // what was held is of another filter, and nobody has been told yet
  #parts = []; // of a changeset that is to be handed over whole
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
    this.#url = webSocketUrl(options.url ?? new URL("..", import.meta.url));
    this.#filter = filterOf(options);
    const { position, filter } = resumeOf(options.since, this.#filter);
    this.#isVoid = filter !== this.#filter;
    this.#position = this.#isVoid ? null : position;
    // Neither a worker nor a program has all of these.
    globalThis.addEventListener?.("online", this.#wake);
    globalThis.document?.addEventListener("visibilitychange", this.#wake);
  }

  /** The position to resume from, null before the first one came. @returns {string | null} */
  get position() {
    return this.#position;
  }

  /** What to give as `since` to a later connection. @returns {Resume} */
  get resume() {
    return { position: this.#position, filter: this.#filter };
  }

  /**
   * Fetches a value that is too large for the stream.
   *
   * @param {{ $large: { type: "text" | "blob", bytes: number, sha256: string } }} large what
   *   stands for it in a row.
   * @returns {Promise<string | Uint8Array>} a text or the bytes of a blob.
   * @throws {Error} it is not kept any more, or cannot be had.
   */
  async value({ $large: { type, sha256 } }) {
    const url = new URL(`values/${sha256}`, this.#url);
    url.protocol = this.#url.protocol === "wss:" ? "https:" : "http:";
    const { token } = this.#options;
    const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };
    const answer = await fetch(url, { headers });
    if (!answer.ok) throw new Error(`The value cannot be had (${answer.status}).`);
    const bytes = new Uint8Array(await answer.arrayBuffer());
    // A byte order mark is a character of the text, which `answer.text()` would drop.
    return type === "text" ? new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes) : bytes;
  }

  /** Tries again now instead of waiting; an open socket is replaced. */
  reconnect() {
    if (this.#closed) return;
    this.#abandon();
    this.#tell({ state: "connecting" });
    const url = new URL(this.#url);
    url.search = this.#filter;
    if (this.#position !== null) url.searchParams.set("since", this.#position);
    if (this.#options.snapshot) url.searchParams.set("snapshot", "true");
    const socket = new WebSocket(url, subprotocols(this.#options.token));
    this.#socket = socket;
    this.#heard = performance.now();
    this.#silenceCheck = setInterval(() => this.#checkSilence(), 5_000);
    // The cookie speaks for the page. Where it is gone, this spares the server waiting for a token.
    socket.onopen = () => socket.send('{"type":"auth","token":""}');
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#lost(event.code, event.reason);
  }

  /** Tries again now if it waits, or has heard nothing for long: for workers, which cannot see that
   * their user is back. */
  wake() {
    this.#wake();
  }

  /** Ends the connection for good and tells nobody: another one takes its place. */
  retire() {
    this.#options = { ...this.#options, onConnection: undefined };
    this.close();
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
    if (this.#options.whole && message.type === "changes" && message.time !== null) {
      this.#parts.push(message);
      if (!message.last) return;
      message = { ...message, part: 0, changes: this.#parts.flatMap(({ changes }) => changes) };
      this.#parts = [];
    }
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
        this.#parts = [];
        this.#isVoid = false;
        // Content that breaks off must come again from its beginning.
        if (message.snapshot) this.#position = null;
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
    if (this.#options.snapshot) return;
    if (this.#isVoid) {
      this.#isVoid = false;
      this.#options.onReset?.({ type: "reset", reason: "start", snapshot: false });
    }
    // The present, from which it goes on even if the connection breaks before the first change.
    this.#position ??= hello.position;
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
    if (globalThis.document?.visibilityState === "hidden" || this.#closed) return;
    const silent = performance.now() - this.#heard;
    if (this.#retry !== null || (this.#socket && silent > SUSPICIOUS_SILENCE)) this.reconnect();
  };

  #end(details) {
    if (this.#closed) return;
    this.#closed = true;
    globalThis.removeEventListener?.("online", this.#wake);
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
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
    this.#parts = []; // they come again: only the last of them moves the position
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
  const url = new URL(address, globalThis.document?.baseURI);
  url.protocol = { "http:": "ws:", "https:": "wss:" }[url.protocol] ?? url.protocol;
  url.search = url.hash = "";
  const path = url.pathname.replace(/\/+$/, "");
  // One of several databases may itself be called `ws`.
  const isEndpoint = path.endsWith("/ws") && !/\/db\/[^/]+$/.test(path);
  url.pathname = isEndpoint ? path : `${path}/ws`;
  return url;
}

function filterOf({ tables, columns, ops, where }) {
  const parameters = new URLSearchParams();
  for (const [name, wanted] of Object.entries({ tables, columns, ops })) {
    if (wanted === undefined || wanted === null) continue;
    // None of them is sent as an empty name, which the server refuses: without it all would come.
    for (const text of wanted.length ? [...wanted].sort() : [""]) parameters.append(name, text);
  }
  if (where !== undefined && where !== null) parameters.append("where", where);
  return parameters.toString();
}

function resumeOf(since, filter) {
  if (since === null || since === undefined) return { position: null, filter };
  return typeof since === "string" ? { position: since, filter } : since;
}

// A WebSocket of a browser sends no header of its own; an address would be logged.
function subprotocols(token) {
  if (token === undefined || token === null) return [];
  const bytes = String.fromCharCode(...new TextEncoder().encode(token));
  const text = btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  return [SUBPROTOCOL, `${SUBPROTOCOL}.token.${text}`];
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
