/** The list of the newest changesets. Paints once a frame at most, and decides nothing. */

import { byId, element } from "./element.js";
import { announce } from "./announce.js";
import { changeElement } from "./change.js";
import { size } from "../model/feed.js";
import { fraction, seconds, whole } from "../model/times.js";
import { counted } from "../model/values.js";

const CALM = 8; // new rows in one paint up to which a newcomer is highlighted
const STORM = 30; // new rows in one paint from which the list begins anew with the newest
const AT_ONCE = 3; // older rows made in one paint: more would cost frames
const IN_STORM = 12; // rows that are made then, in the frames that follow
const PAUSE = 400; // ms between lists while more comes than anyone could read
const ANNOUNCE_EVERY = 5_000; // ms; a screen reader is not to be talked to without end

/**
 * Draws the feed once a frame at most, and only what has changed since. What is drawn are always the
 * newest changesets without a gap. Those below are added a few in each frame, while there is time:
 * where more comes than can be drawn the list begins anew with the newest.
 */
export class FeedView {
  #feed;
  #catalog;
  #list = byId("feed");
  #painted = new Map(); // entry -> {root, rows, more, count, shown}
  #shown = new WeakMap(); // list item -> its entry or {entry, change}
  #due = false; // a paint is on its way, or has just been
  #wanted = false; // something changed since the last paint
  #frozen = false;
  #announced = 0; // changes the screen reader has been told of
  #announcement = null;
  #onPaint;

  /**
   * @param {import("../model/feed.js").Feed} feed
   * @param {import("../model/catalog.js").Catalog} catalog
   * @param {() => void} onPaint called with each paint, for what stands beside the list.
   */
  constructor(feed, catalog, onPaint) {
    this.#feed = feed;
    this.#catalog = catalog;
    this.#onPaint = onPaint;
  }

  /** Shows another feed from its beginning. @param {import("../model/feed.js").Feed} feed */
  show(feed) {
    this.#feed = feed;
    this.#clear();
    this.#announced = feed.total;
    this.changed();
    this.#draw();
    this.#onPaint();
  }

  /** Asks for a paint in the next frame. Hidden tabs have no frames and paint when shown again. */
  changed() {
    this.#wanted = true;
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => this.#paint());
  }

  /** While frozen the list stays as it is; what comes is seen afterwards. */
  set frozen(frozen) {
    this.#frozen = frozen;
    this.changed();
  }

  /** What a piece of the list shows. @param {Element} node @returns {object | undefined} */
  shownBy(node) {
    return this.#shown.get(node.closest(".change")) ?? this.#shown.get(node.closest(".changeset"));
  }

  /**
   * Brings a changeset into view and marks it.
   * @param {import("../model/feed.js").Entry} entry
   * @param {(change: object) => boolean} [wanted] the change that is meant
   * @returns {boolean} false where it is not in the list.
   */
  find(entry, wanted) {
    if (!this.#painted.has(entry)) this.#draw(Infinity);
    const drawn = this.#painted.get(entry);
    if (!drawn) return false;
    const at = wanted ? entry.rows.findIndex(wanted) : -1;
    const target = drawn.rows.children[at] ?? drawn.root;
    for (const found of this.#list.querySelectorAll(".found")) found.classList.remove("found");
    target.classList.add("found");
    target.tabIndex = -1;
    target.scrollIntoView({ block: "center" });
    target.focus({ preventScroll: true });
    return true;
  }

  #paint() {
    this.#wanted = false;
    const fresh = this.#frozen ? 0 : this.#draw();
    this.#onPaint();
    const again = () => {
      this.#due = false;
      if (this.#wanted) this.changed();
    };
    if (fresh > CALM) requestAnimationFrame(() => this.#fillUp(IN_STORM - AT_ONCE, again));
    else if (this.#frozen) setTimeout(again, PAUSE);
    else again();
  }

  /** Draws more of those that were the newest, a few in each frame; they are looked at for a while. */
  #fillUp(left, again) {
    if (!this.#frozen) {
      this.#sweep();
      this.#drawBelow(AT_ONCE);
    }
    if (left > AT_ONCE) requestAnimationFrame(() => this.#fillUp(left - AT_ONCE, again));
    else setTimeout(again, PAUSE);
  }

  /** Returns how many rows were new. */
  #draw(most = AT_ONCE) {
    this.#sweep();
    const fresh = this.#build(most);
    this.#announceSoon();
    return fresh;
  }

  #isStale(entry) {
    const drawn = this.#painted.get(entry);
    return !drawn || drawn.count !== size(entry) || drawn.shown < (entry.rows?.length ?? 0);
  }

  #sweep() {
    for (const [entry, drawn] of this.#painted) {
      if (!entry.dropped) continue;
      drawn.root.remove();
      this.#painted.delete(entry);
    }
  }

  #build(most) {
    const { entries } = this.#feed;
    let above = entries.length;
    while (above > 0 && !this.#painted.has(entries[above - 1])) above -= 1;
    const fresh = entries.slice(above);
    const rows = fresh.reduce((sum, entry) => sum + (entry.rows?.length ?? 0), 0);
    if (rows > Math.max(most, STORM)) this.#clear();
    let room = most;
    if (this.#painted.size > 0) {
      this.#prepend(fresh, rows <= CALM);
      room -= rows;
    }
    this.#drawBelow(room);
    this.#wanted ||= entries.some((entry) => this.#isStale(entry));
    return rows;
  }

  /** Goes on where there was no room, with what is drawn in part and with what is older. */
  #drawBelow(room) {
    let left = room;
    for (const entry of this.#painted.keys()) {
      if (left > 0 && this.#isStale(entry)) left -= this.#fill(entry, left);
    }
    const { entries } = this.#feed;
    const oldest = entries.findIndex((entry) => this.#painted.has(entry));
    this.#append(entries.slice(0, oldest < 0 ? entries.length : oldest), left);
  }

  #clear() {
    this.#painted.clear();
    this.#list.replaceChildren();
  }

  #prepend(fresh, isCalm) {
    const roots = fresh.map((entry) => this.#make(entry));
    for (const entry of fresh) this.#fill(entry, Infinity);
    if (isCalm) for (const root of roots) root.classList.add("fresh");
    this.#list.prepend(...roots.reverse());
  }

  /** Adds what is older than all that is drawn, as far as there is room. */
  #append(older, room) {
    for (const entry of older.reverse()) {
      if (room <= 0) return;
      this.#list.append(this.#make(entry));
      room -= Math.max(1, this.#fill(entry, room));
    }
  }

  #make(entry) {
    const drawn = entry.kind === "notice" ? drawNotice(entry) : drawChangeset(entry);
    this.#painted.set(entry, drawn);
    this.#shown.set(drawn.root, { entry });
    return drawn.root;
  }

  #fill(entry, most) {
    const drawn = this.#painted.get(entry);
    drawn.count = size(entry);
    if (entry.kind === "notice") return 0;
    const added = entry.rows.slice(drawn.shown, drawn.shown + most);
    for (const change of added) {
      const item = changeElement(change, this.#catalog);
      item.querySelector(".what").append(acts(change));
      this.#shown.set(item, { entry, change });
      drawn.rows.append(item);
    }
    drawn.shown += added.length;
    drawn.tally.textContent = drawn.count > 1 ? tallied(entry.tally) : "";
    drawn.more.hidden = entry.hidden === 0;
    drawn.more.textContent = `${counted(entry.hidden, "more change")} not shown`;
    return added.length;
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

function drawNotice(entry) {
  const root = element("li", "notice", timeElement(entry.time), element("p", "", entry.text));
  return { root, count: 0 };
}

function drawChangeset(entry) {
  const tally = element("span", "tally");
  const head = element("div", "head", timeElement(entry.time), " ", commitsElement(entry.commits));
  head.append(" ", tally, element("span", "space"), moreButton("Copy or look back: this changeset"));
  const rows = element("ul", "rows");
  const more = element("p", "remainder");
  const root = element("li", "changeset", head, element("div", "body", rows, more));
  return { root, rows, more, tally, shown: 0, count: 0 };
}

function commitsElement(commits) {
  if (commits === null) return element("span", "commits", "some commits");
  if (commits === 1) return element("span", "commits", "1 commit");
  return element("span", "merged", `${counted(commits, "commit")} merged`);
}

/** The buttons of a change; who listens to the list knows what they are for. */
function acts({ op }) {
  const made = element("span", "acts");
  const label = { insert: "Show row", update: "Show row", delete: "History" }[op];
  if (label) {
    const button = element("button", "act", label);
    button.type = "button";
    button.value = op === "delete" ? "versions" : "reveal";
    made.append(button);
  }
  made.append(moreButton("More: this change"));
  return made;
}

function moreButton(label) {
  const button = element("button", "act dots", "⋯");
  button.type = "button";
  button.value = "menu";
  button.setAttribute("aria-label", label);
  button.setAttribute("aria-haspopup", "menu");
  return button;
}

function tallied(tally) {
  return Object.entries(tally)
    .map(([op, count]) => (op === "schema" ? counted(count, "schema change") : counted(count, op)))
    .join(", ");
}

/** @param {string} time ISO 8601 @returns {HTMLTimeElement} */
export function timeElement(time) {
  const made = element("time", "", seconds(time), element("span", "fraction", fraction(time)));
  made.dateTime = time;
  made.title = whole(time);
  return made;
}
