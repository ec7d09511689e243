/** The grid itself: it scrolls, stays where it is, and paints once a frame at most. */

import { Scroll } from "../model/scroll.js";
import { LEAVING } from "../model/live_rows.js";
import { element } from "./element.js";
import { Columns } from "./grid_columns.js";
import { GridHead } from "./grid_head.js";
import { step } from "./grid_keys.js";
import { GridRows, ROW } from "./grid_rows.js";

const REST = 160; // ms without scrolling after which the scrollbar is set right
const LIT = 4_000; // ms for which a row is pointed out

/**
 * @typedef {object} GridActions
 * @property {(column: import("./grid_columns.js").Column) => void} sort
 * @property {(place: {index: number, column: number}, event: Event) => void} open by a click on a
 *   value that is shown in part or on the marked cell, or by a double click.
 * @property {(event: KeyboardEvent, place: {index: number, column: number}) => boolean} key a key
 *   that moves nothing; true if it was used.
 * @property {(place: {index: number, column: number}, event: MouseEvent) => void} menu
 * @property {() => void} painted the rows have been painted.
 * @property {() => void} marked another cell is marked, or none, or rows have gone for good.
 */

export class GridView {
  root = element("div", "scroll grid");
  columns = new Columns();
  /** The marked cell; its row by number and by key, -1 is the head. */
  active = null;
  #unmarked = null; // the place that was marked until its row went
  #scroll = new Scroll(ROW);
  #head = element("div", "grid-head");
  #body = element("div", "grid-body");
  #headView;
  #rows = new GridRows(this.#body);
  #window = null;
  #actions;
  #due = false;
  // Asking the page for these in between would have it lay out everything that was just painted.
  #size = { width: 0, height: 0 };
  #left = 0;
  #rest = null;
  #lit = { id: null, until: 0 };
  #sorted = { order: null, desc: false };

  /** @param {GridActions} actions */
  constructor(actions) {
    this.#actions = actions;
    this.root.id = "grid";
    this.root.tabIndex = 0;
    for (const [name, role] of [[this.root, "grid"], [this.#head, "rowgroup"], [this.#body, "rowgroup"]]) {
      name.setAttribute("role", role);
    }
    this.root.setAttribute("aria-labelledby", "grid-name");
    this.#headView = new GridHead(this.#head, this.columns, {
      sort: actions.sort,
      resize: (column, width) => this.#resize(column, width),
    });
    this.root.append(this.#head, this.#body);
    this.root.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.root.addEventListener("keydown", (event) => this.#key(event));
    this.#body.addEventListener("click", (event) => this.#click(event));
    this.#body.addEventListener("dblclick", (event) => this.#open(event));
    this.#body.addEventListener("contextmenu", (event) => this.#menu(event));
    new ResizeObserver(() => this.#resized()).observe(this.root);
  }

  /** @param {import("../row_window.js").RowWindow} window whose rows are shown */
  show(window) {
    this.#window = window;
  }

  /** The columns are others, or the table is. @param {object | undefined} table as in the catalog */
  define(table) {
    this.columns.set(table);
    this.#headView.draw();
    this.#head.hidden = table === undefined;
    this.#resized();
    this.root.setAttribute("aria-colcount", String(this.columns.all.length));
    this.active = null;
    this.sorted(this.#sorted.order, this.#sorted.desc);
    this.changed();
  }

  /** Goes to the first row. */
  rewind() {
    this.#scroll.to(0);
    this.root.scrollTop = 0;
    this.root.scrollLeft = 0;
    this.#scroll.settled(0);
    if (this.active?.index >= 0) this.active = null; // the head stays where it is
    this.#unmarked = null;
    this.changed();
  }

  /** @param {string | null} order @param {boolean} desc */
  sorted(order, desc) {
    this.#sorted = { order, desc };
    this.#headView.mark(order, desc, this.active?.index === -1 ? this.active.column : null);
  }

  /** Asks for a paint in the next frame. */
  changed() {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => this.#paint());
  }

  /** Numbers of the first row in view and the one after the last. @returns {[number, number]} */
  seen() {
    const [first, end] = this.#scroll.range;
    const { slots } = this.#window.live;
    const rows = Math.ceil(this.#scroll.view / ROW) + 1;
    return [slots.at(first).index, Math.max(slots.at(end).index, Math.min(rows, 60))];
  }

  /** The topmost row that is there and stays. @returns {object | null} null at the very top */
  top() {
    if (this.#scroll.top < 1) return null;
    const [first, end] = this.seen();
    for (let index = first; index < end; index += 1) {
      const held = this.#window.live.get(index);
      if (held && !held.left) return held;
    }
    return null;
  }

  /** Makes a change of the rows, and keeps the topmost row where it is. @param {() => void} change */
  hold(change) {
    const { live } = this.#window;
    const top = this.top();
    const place = top ? live.slots.slotOf(live.placeOf(top.id)) : 0;
    const own = this.active && this.active.index >= 0 ? live.get(this.active.index) : undefined;
    change();
    const after = top ? live.placeOf(top.id) : undefined;
    this.#measure();
    if (after !== undefined) this.#scroll.to(this.#scroll.top + (live.slots.slotOf(after) - place) * ROW);
    if (own) this.#markAgain(own);
    this.#settleSoon();
  }

  // The mark goes with its row. Where that is gone no other one takes it over: what is done next is
  // not meant for it.
  #markAgain(own) {
    const { live } = this.#window;
    const index = live.placeOf(own.id);
    if (index !== undefined) this.active.index = index;
    else if (own.left || live.slots.gone.some(({ id }) => id === own.id)) {
      this.#unmarked = this.active;
      this.active = null;
      this.#actions.marked();
    }
  }

  /** Scrolls to a row and points it out. @param {number} index @param {string} id */
  reveal(index, id) {
    this.#measure();
    this.#scroll.to(this.#window.live.slots.slotOf(index) * ROW - (this.#scroll.view - ROW) / 2);
    this.#settle();
    this.#lit = { id, until: performance.now() + LIT };
    setTimeout(() => this.changed(), LIT + 50);
    this.active = { index, column: this.active?.column ?? 0 };
    this.root.focus({ preventScroll: true });
    this.#actions.marked();
    this.changed();
  }

  /** The element of the marked cell, null where it is not in view. @returns {HTMLElement | null} */
  get cell() {
    return this.#body.querySelector("#active-cell");
  }

  /** Marks a cell and brings it into view. @param {{index: number, column: number}} place */
  mark(place) {
    this.active = place;
    this.#unmarked = null;
    this.#scroll.include(this.#window.live.slots.slotOf(Math.max(0, place.index)));
    this.#settle();
    this.#includeColumn(this.columns.all[place.column]);
    this.sorted(this.#sorted.order, this.#sorted.desc);
    this.#actions.marked();
    this.#paint();
  }

  #includeColumn(column) {
    if (!column || column.sticky) return;
    const sticky = this.columns.all.reduce((sum, { sticky, width }) => sum + (sticky ? width : 0), 0);
    const { scrollLeft, clientWidth } = this.root;
    if (column.left - sticky < scrollLeft) this.root.scrollLeft = column.left - sticky;
    else if (column.left + column.width > scrollLeft + clientWidth) {
      this.root.scrollLeft = column.left + column.width - clientWidth;
    }
  }

  #paint() {
    this.#due = false;
    if (!this.#window) return;
    const now = performance.now();
    const { live } = this.#window;
    if (live.slots.gone.length) {
      if (live.slots.gone.some((held) => now - held.left > LEAVING)) this.hold(() => live.expire(now));
      this.#expireSoon(live, now);
    }
    this.#measure();
    this.#fit(live);
    this.#body.style.height = `${this.#scroll.extent}px`;
    this.#body.style.width = `${this.columns.width}px`;
    const shown = this.columns.seen(this.#left, this.#left + this.#size.width);
    const active = this.active?.index >= 0 ? this.active : null;
    const lit = now < this.#lit.until ? this.#lit.id : null;
    this.#rows.paint({ live, scroll: this.#scroll, columns: this.columns, shown, active, lit }, now);
    const count = String(live.total + 1);
    if (this.root.getAttribute("aria-rowcount") !== count) this.root.setAttribute("aria-rowcount", count);
    this.#fadeSoon();
    if (this.active) this.root.setAttribute("aria-activedescendant", "active-cell");
    else this.root.removeAttribute("aria-activedescendant");
    this.#window.look();
    this.#actions.painted();
  }

  #fading = null;

  // What was new when this was painted has to be painted once more when it is not.
  #fadeSoon() {
    const next = this.#rows.until;
    if (this.#fading !== null || next === Infinity) return;
    this.#fading = setTimeout(() => {
      this.#fading = null;
      this.changed();
    }, Math.max(20, next - performance.now() + 20));
  }

  #expiry = null;

  #expireSoon(live, now) {
    if (this.#expiry !== null) return;
    const first = Math.min(...live.slots.gone.map((held) => held.left));
    this.#expiry = setTimeout(() => {
      this.#expiry = null;
      this.hold(() => live.expire(performance.now()));
      this.#actions.marked();
      this.changed();
    }, Math.max(20, first + LEAVING - now));
  }

  #fit(live) {
    if (this.columns.measured || live.size === 0) return;
    const rows = [];
    for (let index = 0; index < 100; index += 1) {
      const held = live.get(this.seen()[0] + index);
      if (held) rows.push(held);
    }
    this.columns.fit(rows, this.#size.width);
    this.#headView.place();
  }

  #measure() {
    this.#scroll.resize(this.#window?.live.slots.count ?? 0, this.#size.height);
  }

  #scrolled() {
    this.#left = this.root.scrollLeft;
    const wrong = this.#scroll.moved(this.root.scrollTop);
    if (wrong) this.#settle();
    else this.#settleSoon();
    this.changed();
  }

  #settleSoon() {
    clearTimeout(this.#rest);
    this.#rest = setTimeout(() => {
      this.#scroll.moved(this.root.scrollTop); // it may have been scrolled in this very frame
      this.#settle();
      if (this.columns.measured && this.columns.grow(this.#heldInView(), this.#size.width)) {
        this.#headView.place();
      }
      this.changed();
    }, REST);
  }

  // Sets the scrollbar right, without moving the rows.
  #settle() {
    clearTimeout(this.#rest);
    const height = `${this.#scroll.extent}px`;
    if (this.#body.style.height !== height) this.#body.style.height = height;
    const place = this.#scroll.place;
    if (Math.abs(this.root.scrollTop - place) >= 1) this.root.scrollTop = place;
    this.#scroll.settled(this.root.scrollTop);
  }

  #resized() {
    const { clientWidth: width, clientHeight } = this.root;
    this.#size = { width, height: Math.max(0, clientHeight - this.#head.offsetHeight) };
    this.columns.place(width);
    this.#headView.place();
    this.#settleSoon();
    this.changed();
  }

  #resize(column, width) {
    const view = this.#size.width;
    if (width === null) this.columns.release(column, this.#heldInView(), view);
    else this.columns.resize(column, width, view);
    this.#headView.place();
    this.changed();
  }

  #heldInView() {
    const [first, end] = this.seen();
    const { live } = this.#window;
    return Array.from({ length: end - first }, (_, at) => live.get(first + at)).filter(Boolean);
  }

  #place(event) {
    const cell = event.target.closest("[role=gridcell]");
    const row = cell?.closest("[aria-rowindex]");
    if (!row) return null;
    return { index: Number(row.getAttribute("aria-rowindex")) - 2, column: Number(cell.getAttribute("aria-colindex")) - 1 };
  }

  #click(event) {
    const place = this.#place(event);
    if (!place) return;
    const again = this.active?.index === place.index && this.active?.column === place.column;
    this.mark(place);
    const isSelecting = String(getSelection()) !== "";
    if (event.detail === 1 && !isSelecting && (again || isInPart(event.target.closest("[role=gridcell]")))) {
      this.#actions.open(place, event);
    }
  }

  #open(event) {
    const place = this.#place(event);
    if (place) this.#actions.open(place, event);
  }

  #menu(event) {
    const place = this.#place(event);
    if (!place) return;
    event.preventDefault();
    this.mark(place);
    this.#actions.menu(place, event);
  }

  #key(event) {
    if (event.target !== this.root || event.altKey) return;
    const from = this.#unmarked ?? { index: this.seen()[0], column: 0 };
    const active = this.active ?? { ...from, index: Math.min(from.index, this.#window.live.total - 1) };
    if (active.index < 0 && this.#headView.key(event, active.column)) return event.preventDefault();
    const size = { rows: this.#window.live.total, columns: this.columns.all.length, page: Math.max(1, Math.floor(this.#scroll.view / ROW) - 1) };
    const next = this.active || event.key === "End" ? step(event, active, size) : step(event, active, size) && active;
    if (next) {
      event.preventDefault();
      this.mark(next);
    } else if (this.active?.index >= 0 && this.#actions.key(event, this.active)) event.preventDefault();
    return undefined;
  }
}

/** Whether a cell does not show its value whole. */
function isInPart(cell) {
  return cell.cut || cell.scrollWidth > cell.clientWidth;
}
