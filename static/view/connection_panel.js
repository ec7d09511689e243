/** What there is to know of the connection, behind its pill. */

import { spoken } from "../model/latency.js";
import { seconds } from "../model/times.js";
import { counted } from "../model/values.js";
import { copyButton } from "./copy.js";
import { byId, element } from "./element.js";
import { stateName, stateSentence } from "./states.js";

const MOST_EVENTS = 20;

const SENTENCES = {
  connecting: "The service is being called.",
  open: "Connected. What was missed is on its way.",
  live: "Live: what is shown is the present.",
  waiting: "The connection is lost. It is tried again by itself.",
  closed: "The connection has ended.",
};

/** A panel that is filled when it is opened, and as long as it is open. */
export class ConnectionPanel {
  #root = byId("connection-panel");
  #context;
  #link;
  #state = { state: "connecting" };
  #status = null;
  #sharing = { tabs: 1, shared: false };
  #events = []; // newest first

  /**
   * @param {import("../context.js").Context} context
   * @param {import("../link.js").Link} link
   */
  constructor(context, link) {
    this.#context = context;
    this.#link = link;
    const pill = byId("connection");
    this.#root.addEventListener("toggle", ({ newState }) => {
      pill.setAttribute("aria-expanded", String(newState === "open"));
      this.draw();
    });
    byId("reconnect").addEventListener("click", () => link.reconnect());
    byId("copy-position").replaceWith(copyButton(() => link.position ?? "", "the position"));
    setInterval(() => this.draw(), 1_000);
  }

  /** @param {import("../client.js").ConnectionState} state */
  connection(state) {
    this.#state = state;
    if (state.state === "connecting") this.#status = null; // it is told anew
    this.draw();
  }

  /** @param {object} status message of the stream */
  status(status) {
    const before = this.#status?.state ?? "ok";
    this.#status = status;
    if (status.state !== before) this.note(stateSentence(status.state));
    this.draw();
  }

  /** @param {{tabs: number, shared: boolean}} sharing */
  sharing(sharing) {
    this.#sharing = sharing;
    this.draw();
  }

  /** Notes something that happened. @param {string} sentence */
  note(sentence) {
    this.#events.unshift({ time: new Date(), sentence });
    this.#events.length = Math.min(this.#events.length, MOST_EVENTS);
    this.draw();
  }

  /** Brings the panel up to date where it is open. */
  draw() {
    if (!this.#root.matches(":popover-open")) return;
    put("panel-state", this.#sentence());
    put("panel-database", this.#database());
    put("panel-position", this.#link.position ?? "none yet");
    put("panel-latency", this.#journey());
    put("panel-sharing", this.#shared());
    put("panel-clients", this.#clients());
    const drawn = this.#events.map(({ time, sentence }) =>
      element("li", "", element("time", "", seconds(time)), element("span", "", sentence)),
    );
    byId("panel-events").replaceChildren(...drawn);
  }

  #sentence() {
    const { state, reason } = this.#state;
    const database = this.#status?.state ?? "ok";
    if (state === "live" && database !== "ok") return `Connected. ${stateSentence(database)}`;
    return state === "closed" && reason ? `${SENTENCES.closed} ${reason}` : SENTENCES[state];
  }

  #database() {
    const { state } = this.#status ?? this.#context.health ?? {};
    if (state === undefined) return "not known yet";
    return state === "ok" ? "all is well" : `${stateName(state)}: ${stateSentence(state)}`;
  }

  #journey() {
    const summary = this.#context.latency.summary;
    if (summary === null) return "nothing measured yet";
    const { median, last, count } = summary;
    return count === 1 ? spoken(last) : `median ${spoken(median)} of ${count}, last ${spoken(last)}`;
  }

  #shared() {
    const { tabs, shared } = this.#sharing;
    if (!shared) return "this tab has a connection of its own";
    return tabs === 1 ? "this tab alone; further ones share it" : `shared by ${tabs} tabs of this browser`;
  }

  #clients() {
    const { health } = this.#context;
    return health ? `${counted(health.clients, "client")} at the service` : "not known yet";
  }
}

function put(id, text) {
  const place = byId(id);
  if (place.textContent !== text) place.textContent = text;
}
