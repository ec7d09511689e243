/** State of the connection and of the database, in one pill and one banner. */

import { Breaks } from "../model/breaks.js";
import { announce } from "./announce.js";
import { ConnectionPanel } from "./connection_panel.js";
import { byId, element } from "./element.js";
import { resetSentence, stateName, stateSentence } from "./states.js";

const BETWEEN_POSITIONS = 250; // ms; faster nobody reads

/** A few words on a state of the database; how far the first copy is where one is being made. */
function statusLabel({ state, progress }) {
  if (typeof progress === "number") return `First copy ${Math.round(progress * 100)} %`;
  return stateName(state);
}

/** Shows the connection and what is wrong with the database, in one pill and one banner. */
class StateView {
  #connection = { state: "connecting", attempt: 0 };
  #status = null; // the last status message that was not "ok"
  #due = 0; // when the next try is due, by the monotonic clock
  #countdown = null;
  #said = "";

  /** @param {import("./client.js").ConnectionState} connection */
  connection(connection) {
    this.#connection = connection;
    // The server tells the status anew to each connection.
    if (connection.state === "connecting") this.#status = null;
    clearInterval(this.#countdown);
    if (connection.state === "waiting") {
      this.#due = performance.now() + connection.delay;
      this.#countdown = setInterval(() => this.#paint(), 1_000);
    }
    this.#paint();
  }

  /** @param {{state: string, detail: string, progress?: number}} status */
  status(status) {
    this.#status = status.state === "ok" ? null : status;
    this.#paint();
  }

  #paint() {
    const [mood, label] = this.#label();
    byId("connection").dataset.mood = mood;
    byId("connection-text").textContent = label;
    byId("retry").hidden = this.#connection.state !== "waiting";
    const banner = this.#banner();
    byId("banner").classList.toggle("final", this.#connection.state === "closed");
    byId("banner").hidden = banner.length === 0;
    byId("banner").replaceChildren(...banner);
    this.#announce(label);
  }

  #label() {
    const { state, attempt } = this.#connection;
    if (state === "closed") return ["lost", "Closed"];
    if (state === "waiting") {
      const seconds = Math.max(1, Math.ceil((this.#due - performance.now()) / 1_000));
      return ["lost", `Retrying in ${seconds} s`];
    }
    if (this.#status) return ["attention", statusLabel(this.#status)];
    if (state === "connecting") return ["busy", attempt ? "Reconnecting…" : "Connecting…"];
    return state === "live" ? ["live", "Live"] : ["busy", "Catching up…"];
  }

  #banner() {
    const { state, code, reason, signIn } = this.#connection;
    if (state === "closed") {
      const who = code === undefined ? "" : "The server ended the connection: ";
      const nodes = [element("p", "", who, element("bdi", "", reason))];
      if (signIn) {
        const link = element("a", "", "Sign in");
        link.href = "login";
        nodes.push(element("p", "", link));
      }
      return nodes;
    }
    if (!this.#status || state === "waiting") return [];
    const { state: name, detail } = this.#status;
    const nodes = [element("p", "", element("strong", "", stateSentence(name)))];
    if (detail) nodes.push(element("p", "", element("bdi", "", detail)));
    return nodes;
  }

  /** Tells a change of mood once; a countdown is not for the ears. */
  #announce(label) {
    const words = label.replace(/ in \d+ s$| \d+ %$/, "");
    if (words === this.#said) return;
    this.#said = words;
    announce(words);
  }
}

/**
 * @param {import("../context.js").Context} context
 * @param {import("../link.js").Link} link
 */
export function mount(context, link) {
  const view = new StateView();
  const breaks = new Breaks();
  const panel = new ConnectionPanel(context, link);
  const note = (sentence) => {
    panel.note(sentence);
    byId("event-line").textContent = sentence;
    announce(sentence);
  };
  context.on("connection", (state) => {
    view.connection(state);
    panel.connection(state);
    const caughtUp = breaks.move(state.state, performance.now());
    if (caughtUp !== null) note(caughtUp);
  });
  context.on("changes", ({ changes }) => breaks.take(changes.length));
  context.on("reset", ({ reason }) => note(resetSentence(reason)));
  context.on("status", (status) => {
    view.status(status);
    panel.status(status);
  });
  context.on("sharing", (sharing) => panel.sharing(sharing));
  context.on("health", () => panel.draw());
  context.on("hello", ({ database }) => {
    byId("database").textContent = database;
    document.title = `${database} · watcher`;
  });
  showPosition(context);
  byId("retry").addEventListener("click", () => link.reconnect());
}

/** Shows the position: at once, but in a storm, where it moves in each frame, now and then. */
function showPosition(context) {
  let newest = null; // not shown yet
  let shown = -Infinity; // when one was
  const paint = () => {
    byId("position").textContent = newest;
    byId("position-line").hidden = false;
    newest = null;
    shown = performance.now();
  };
  context.on("position", ({ position }) => {
    const wait = shown + BETWEEN_POSITIONS - performance.now();
    if (newest === null && wait <= 0) requestAnimationFrame(paint);
    else if (newest === null) setTimeout(() => requestAnimationFrame(paint), wait);
    newest = position;
  });
}
