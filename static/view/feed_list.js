/** The list of the newest changesets. Paints once a frame at most, and decides nothing. */

import { byId, element } from "./element.js";
import { announce } from "./announce.js";
import { changeElement } from "./change.js";
import { counted } from "../model/values.js";

const CALM = 20; // rows in one paint up to which a newcomer is highlighted
const PAUSE = 200; // ms between paints while more comes than anyone could read
const ANNOUNCE_EVERY = 5_000; // ms; a screen reader is not to be talked to without end

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
