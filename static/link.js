/**
 * The connection of a page: shared by the tabs of a browser where that is possible, else its own.
 *
 * A tab gets what the connection of `connection-worker.js` gets, from the moment it is `attached`.
 * Where there are no shared workers, or this one does not answer, or has let go of a tab that was
 * `behind`, the tab goes on by a connection of its own, from the position it has reached; and when
 * it stands where the shared one stands, it joins it (again). So nothing is lost or seen twice,
 * and who listens notices nothing of it.
 */

import { Connection } from "./client.js";

const VERSION = 1; // of what tabs and worker say to each other; another one is another worker
const PATIENCE = 4_000; // ms for the worker to answer
const SILENCE = 50_000; // ms; the worker gives a sign every 15 s
const FIRST_TRIAL = 5_000; // ms until it tries to join the shared connection again; then longer
const LONGEST_TRIAL = 120_000; // ms
const MOVING = new Set(["onReady", "onChanges", "onPosition"]);

/**
 * A connection that may be shared; to be used as one of `client.js`.
 */
export class Link {
  #options;
  #port = null; // to the worker, null without one
  #own = null; // the connection of this tab alone, null while it is attached
  #position = null;
  #state = "connecting";
  #heard = 0; // when the worker was heard last
  #patience = null;
  #trial = null;
  #trials = 0;
  #isForbidden = false; // there is no worker to be had here, now or later
  #check;
  #closed = false;

  /**
   * @param {import("./client.js").Options & {onTabs?: (tabs: number) => void}} options anything that
   *   asks for a part of the stream, or for another service, leads to a connection of its own;
   *   `onTabs` is told how many tabs share the connection.
   */
  constructor(options) {
    this.#options = options;
    if (options.since) this.#position = options.since.position ?? options.since;
    globalThis.addEventListener?.("pagehide", this.#leave);
    globalThis.addEventListener?.("pageshow", this.#return);
    globalThis.document?.addEventListener("visibilitychange", this.#wake);
    this.#check = setInterval(() => this.#checkSilence(), 5_000);
  }

  /** The position this tab has reached, null before the first. @returns {string | null} */
  get position() {
    return this.#own?.position ?? this.#position;
  }

  /** Whether the connection is one that other tabs may use. @returns {boolean} */
  get shared() {
    return this.#own === null && this.#port !== null;
  }

  /** Connects, or tries again now instead of waiting; also for the other tabs. */
  reconnect() {
    if (this.#closed) return;
    if (this.#own) this.#own.reconnect();
    else if (this.#port) this.#port.postMessage({ reconnect: true });
    else if (this.#shareable()) this.#join();
    else this.#goAlone();
  }

  /**
   * Fetches a value that is too large for the stream.
   * @param {object} large see `client.js`.
   * @returns {Promise<string | Uint8Array>}
   */
  async value(large) {
    const { url, token } = this.#options;
    const fetching = new Connection({ url, token });
    try {
      return await fetching.value(large);
    } finally {
      fetching.close();
    }
  }

  /** Ends the connection of this tab for good. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#check);
    this.#leave();
    const reason = "This page has closed the connection.";
    this.#call("onConnection", { state: "closed", attempt: 0, reason });
  }

  #shareable() {
    if (this.#isForbidden || typeof SharedWorker !== "function") return false;
    const wanted = Object.entries(this.#options).filter(([, value]) => value !== undefined);
    return wanted.every(([name]) => /^on[A-Z]/.test(name));
  }

  /** Asks the worker to be let in, where this tab stands. */
  #join() {
    try {
      const address = new URL("connection-worker.js", import.meta.url);
      const worker = new SharedWorker(address, { type: "module", name: `watcher ${VERSION}` });
      worker.onerror = () => this.#forbidden(worker.port);
      this.#port = worker.port;
    } catch {
      this.#forbidden(null); // by the browser or its user
      return;
    }
    const port = this.#port;
    port.onmessage = ({ data }) => this.#receive(port, data);
    port.postMessage({ join: this.position });
    clearTimeout(this.#patience);
    this.#patience = setTimeout(() => this.#missed(port), PATIENCE);
  }

  #forbidden(port) {
    this.#isForbidden = true;
    this.#missed(port);
  }

  #missed(port) {
    if (this.#port !== port) return;
    this.#drop();
    if (this.#own === null) this.#goAlone();
    else this.#tryAgainLater();
  }

  #receive(port, calls) {
    if (this.#port !== port || this.#closed) return;
    this.#heard = performance.now();
    for (const [name, message] of calls) {
      if (name === "ack") port.postMessage({ ack: message });
      else if (name === "attached") this.#attached(message);
      else if (name === "elsewhere" || name === "behind") this.#missed(port);
      else if (name === "tabs") this.#call("onTabs", message.tabs);
      else this.#deliver(name, message);
      if (this.#port !== port) return; // let go of meanwhile: the rest comes by the own connection
    }
  }

  #attached({ position }) {
    clearTimeout(this.#patience);
    if (this.#own === null) return;
    if (this.#own.position !== position) {
      // It has gone on since it asked. What the worker sends from there on it may have already.
      this.#drop();
      this.#tryAgainLater();
      return;
    }
    this.#position = position;
    this.#trials = 0;
    this.#retire();
  }

  #deliver(name, message) {
    if (name === "onConnection") this.#state = message.state;
    const moves = MOVING.has(name) && typeof message.position === "string";
    if (moves) this.#position = message.position; // before the handler, as `client.js` does
    this.#call(name, message);
    if (name === "onHello") this.#position ??= message.position;
  }

  #call(name, detail) {
    try {
      this.#options[name]?.(detail);
    } catch (error) {
      reportError(error); // a handler's own fault, which must not cost it the next message
    }
  }

  #goAlone() {
    const { onTabs, onConnection, ...options } = this.#options;
    if (this.#position !== null) options.since = this.#position;
    options.onConnection = (state) => {
      this.#state = state.state;
      if (state.state === "live") this.#tryAgainLater();
      onConnection?.(state);
    };
    this.#own = new Connection(options);
    onTabs?.(1);
    this.#own.reconnect();
  }

  #tryAgainLater() {
    clearTimeout(this.#trial);
    if (!this.#shareable()) return;
    const wait = Math.min(LONGEST_TRIAL, FIRST_TRIAL * 2 ** this.#trials++);
    this.#trial = setTimeout(() => {
      if (this.#own && this.#port === null && this.#state === "live") this.#join();
    }, wait);
  }

  /** Ends the own connection without a word: the shared one goes on where it stopped. */
  #retire() {
    const own = this.#own;
    this.#own = null;
    own.retire();
  }

  #drop() {
    clearTimeout(this.#patience);
    this.#port?.postMessage({ leave: true });
    this.#port?.close();
    this.#port = null;
  }

  #checkSilence() {
    const isSilent = performance.now() - this.#heard > SILENCE;
    if (this.shared && isSilent && this.#heard > 0 && this.#state !== "closed") this.#missed(this.#port);
  }

  #leave = () => {
    clearTimeout(this.#trial);
    this.#position = this.position;
    this.#drop();
    if (this.#own) this.#retire();
  };

  /** A page that comes out of the browser's cache goes on from where it was. */
  #return = ({ persisted }) => {
    if (!persisted || this.#closed) return;
    if (this.#position === null) this.reconnect();
    else this.#goAlone(); // what it has missed is for nobody else
  };

  #wake = () => {
    if (document.visibilityState === "visible") this.#port?.postMessage({ wake: true });
  };
}
