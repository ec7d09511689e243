/** The page's own elements: connection, status, figures and the feed. Paints, decides nothing. */

import { changeElement, element, sentenceNodes } from "./rows.js";
import { listed } from "./catalog.js";
import { counted } from "./values.js";

const CALM = 20; // rows in one paint up to which a newcomer is highlighted
const PAUSE = 200; // ms between paints while more comes than anyone could read
const ANNOUNCE_EVERY = 5_000; // ms; a screen reader is not to be talked to without end

const byId = (id) => document.getElementById(id);

/** Draws the feed once a frame at most, and only what has changed since. */
export class FeedView {
  #feed;
  #catalog;
  #list = byId("feed");
  #painted = new Map(); // entry -> {root, rows, more, count, shown}
  #due = false; // a paint is on its way, or has just been
  #wanted = false; // something changed since the last paint
  #announced = 0; // changes the screen reader has been told of
  #announcement = null;

  constructor(feed, catalog) {
    this.#feed = feed;
    this.#catalog = catalog;
  }

  /** Asks for a paint in the next frame. Hidden tabs have no frames and paint when shown again. */
  changed() {
    this.#wanted = true;
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    this.#wanted = false;
    this.#sweep();
    const built = this.#build();
    this.#figures();
    this.#announceSoon();
    const again = () => {
      this.#due = false;
      if (this.#wanted) this.changed();
    };
    if (built > CALM) setTimeout(again, PAUSE);
    else again();
  }

  #isStale(entry) {
    const drawn = this.#painted.get(entry);
    return !drawn || drawn.count !== size(entry);
  }

  #sweep() {
    for (const [entry, drawn] of this.#painted) {
      if (!entry.dropped) continue;
      drawn.root.remove();
      this.#painted.delete(entry);
    }
  }

  #build() {
    const stale = this.#feed.entries.filter((entry) => this.#isStale(entry));
    const fresh = [];
    let built = 0;
    for (const entry of stale) {
      let drawn = this.#painted.get(entry);
      if (!drawn) {
        drawn = entry.kind === "notice" ? drawNotice(entry) : drawChangeset(entry);
        this.#painted.set(entry, drawn);
        fresh.unshift(drawn.root);
      }
      built += this.#fill(entry, drawn);
    }
    const calm = built <= CALM && this.#list.childElementCount > 0;
    if (calm) for (const root of fresh) root.classList.add("fresh");
    this.#list.prepend(...fresh);
    return built;
  }

  #fill(entry, drawn) {
    drawn.count = size(entry);
    if (entry.kind === "notice") return 0;
    const added = entry.rows.slice(drawn.shown);
    drawn.rows.append(...added.map((change) => changeElement(change, this.#catalog)));
    drawn.shown = entry.rows.length;
    drawn.tally.textContent = drawn.count > 1 ? tallied(entry.tally) : "";
    drawn.more.hidden = entry.hidden === 0;
    drawn.more.textContent = `${counted(entry.hidden, "more change")} not shown`;
    return added.length;
  }

  #figures() {
    const { total, commits, uncounted, older, entries } = this.#feed;
    byId("waiting").hidden = entries.length > 0;
    byId("changes").textContent = counted(total, "change");
    byId("commits").textContent = (uncounted ? "at least " : "") + counted(commits, "commit");
    byId("figures").hidden = total === 0;
    byId("older").hidden = older === 0;
    byId("older").textContent = `${counted(older, "older change")} no longer shown`;
  }

  #announceSoon() {
    if (this.#announcement !== null) return;
    this.#announcement = setTimeout(() => {
      this.#announcement = null;
      const fresh = this.#feed.total - this.#announced;
      this.#announced = this.#feed.total;
      if (fresh > 0) announce(counted(fresh, "new change"));
    }, ANNOUNCE_EVERY);
  }
}

function size(entry) {
  return entry.kind === "notice" ? 1 : entry.rows.length + entry.hidden;
}

function drawNotice(entry) {
  const root = element("li", "notice", timeElement(entry.time), element("p", "", entry.text));
  return { root, count: 0 };
}

function drawChangeset(entry) {
  const tally = element("span", "tally");
  const head = element("div", "head", timeElement(entry.time));
  // Where nobody counted, the sum above says "at least"; here it would be noise.
  if (entry.commits > 1) {
    head.append(" ", element("span", "merged", `${counted(entry.commits, "commit")} merged`));
  }
  head.append(" ", tally);
  const rows = element("ul", "rows");
  const more = element("p", "remainder");
  const root = element("li", "changeset", head, element("div", "body", rows, more));
  return { root, rows, more, tally, shown: 0, count: 0 };
}

function tallied(tally) {
  return Object.entries(tally)
    .map(([op, count]) => (op === "schema" ? counted(count, "schema change") : counted(count, op)))
    .join(", ");
}

function timeElement(time) {
  const moment = new Date(time);
  const clock = moment.toLocaleTimeString("en-GB");
  const fraction = String(moment.getMilliseconds()).padStart(3, "0");
  const made = element("time", "", clock, element("span", "fraction", `.${fraction}`));
  made.dateTime = time;
  made.title = moment.toLocaleString();
  return made;
}

/** Says a sentence to screen readers, politely. @param {string} sentence */
export function announce(sentence) {
  byId("announcements").textContent = sentence;
}

/** @param {string} name file name of the database @param {string[]} tables */
export function showDatabase(name, tables) {
  byId("database").textContent = name;
  document.title = `${name} · watcher`;
  const sentence = tables.length
    ? ["Watching ", ...listed(tables, "table"), "."]
    : ["The database has no tables yet."];
  byId("watching").replaceChildren(...sentenceNodes(sentence));
}

/** @param {string} position */
export function showPosition(position) {
  byId("position").textContent = position;
  byId("position-line").hidden = false;
}

const STATES = {
  starting: ["Starting", "The database is being read for the first time."],
  missing: ["Missing", "The database file is missing."],
  locked: ["Locked", "The database is locked."],
  needs_recovery: ["Needs recovery", "The database needs recovery by the program that wrote it."],
  corrupt: ["Damaged", "The database is damaged."],
  not_a_database: ["Not a database", "The file is not a SQLite database."],
  unreadable: ["Unreadable", "The database cannot be read."],
  partial: ["Partial", "Some tables cannot be read; the others are shown."],
  busy: ["Busy", "The database is being written faster than it can be read."],
  closed: ["Closed", "The database is closed, and its owner has to open it first."],
  state_unavailable: ["State full", "The watcher cannot write its own copy of the database."],
};

/** A few words on a state of the database; how far the first copy is where one is being made. */
function statusLabel({ state, progress }) {
  if (typeof progress === "number") return `First copy ${Math.round(progress * 100)} %`;
  return STATES[state]?.[0] ?? "Attention";
}

/** Shows the connection and what is wrong with the database, in one pill and one banner. */
export class StateView {
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
    const sentence = STATES[name]?.[1] ?? `The state of the database is “${name}”.`;
    const nodes = [element("p", "", element("strong", "", sentence))];
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
