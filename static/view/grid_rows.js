/** Paints the rows of the grid: elements for those in view, used again for others. */

import { NEW } from "../model/live_rows.js";
import { read } from "../model/values.js";
import { clock } from "../model/times.js";
import { element } from "./element.js";
import { valueOf } from "./grid_columns.js";

export const ROW = 28; // px; grid.css has the same
const CALM = 80; // cells that flash within a second and are still animated
const OVER = 6; // rows painted above and below the view

/** The rows in view, as elements. */
export class GridRows {
  #body;
  #painted = new Map(); // name of what is shown -> element
  #spare = [];
  /** When something painted as new is not new any more (ms). */
  until = Infinity;

  /** @param {HTMLElement} body what holds the rows */
  constructor(body) {
    this.#body = body;
  }

  /**
   * Paints what has changed since the last time.
   * @param {object} what
   * @param {import("../model/live_rows.js").LiveRows} what.live
   * @param {import("../model/scroll.js").Scroll} what.scroll
   * @param {import("./grid_columns.js").Columns} what.columns
   * @param {[number, number]} what.shown columns, as `Columns.seen` says
   * @param {{index: number, column: number} | null} what.active the cell that is marked
   * @param {string | null} what.lit id of a row to be pointed out
   * @param {number} now ms
   */
  paint({ live, scroll, columns, shown, active, lit }, now) {
    const [from, to] = scroll.range;
    const first = Math.max(0, from - OVER);
    const end = Math.min(live.slots.count, to + OVER);
    const slots = [];
    for (let slot = first; slot < end; slot += 1) slots.push(slotAt(live, slot));
    this.#release(new Set(slots.map(({ name }) => name)));
    const layout = `${columns.version} ${shown}`;
    let before = null;
    this.until = Infinity;
    slots.forEach(({ name, held, index, gone }, at) => {
      const row = this.#painted.get(name) ?? this.#take(name);
      const next = before ? before.nextSibling : this.#body.firstChild;
      if (next !== row) this.#body.insertBefore(row, next);
      before = row;
      place(row, Math.round((first + at) * ROW + scroll.shift), index, gone);
      if (row.layout !== layout) lay(row, columns, shown, layout);
      fill(row, held, columns, now);
      this.until = Math.min(this.until, row.until);
      mark(row, active, index, gone, lit === held?.id);
    });
  }

  #release(names) {
    for (const [name, row] of this.#painted) {
      if (names.has(name)) continue;
      row.remove();
      this.#painted.delete(name);
      if (this.#spare.length < 100) this.#spare.push(row);
    }
  }

  #take(name) {
    const row = this.#spare.pop() ?? made();
    row.held = undefined;
    this.#painted.set(name, row);
    return row;
  }
}

function slotAt(live, slot) {
  const { index, gone } = live.slots.at(slot);
  if (gone) return { name: `gone ${gone.id}`, held: gone, index, gone: true };
  const held = live.get(index);
  return { name: held ? held.id : `empty ${index}`, held, index, gone: false };
}

function made() {
  const row = element("div", "grid-row");
  row.setAttribute("role", "row");
  return row;
}

function place(row, top, index, gone) {
  if (row.top !== top) row.style.top = `${(row.top = top)}px`;
  const number = gone ? "" : String(index + 2); // the head is the first
  if (row.number === number) return;
  row.number = number;
  if (gone) row.removeAttribute("aria-rowindex");
  else row.setAttribute("aria-rowindex", number);
  row.classList.toggle("even", index % 2 === 1);
}

// Cells stand in the row in order: those that stay in place, a gap for those out of view, the rest.
// None is taken out and put back: a click that is on its way to one would be lost.
function lay(row, columns, [from, to], layout) {
  row.layout = layout;
  row.held = undefined;
  const sticky = columns.all.filter((column) => column.sticky);
  const cells = [...sticky, ...columns.all.slice(Math.max(from, sticky.length), to)];
  while (row.cells?.length > cells.length) row.cells.pop().remove();
  row.cells ??= [];
  while (row.cells.length < cells.length) {
    row.cells.push(madeCell());
    row.append(row.cells.at(-1));
  }
  cells.forEach((column, at) => {
    const cell = row.cells[at];
    cell.column = column;
    cell.style.width = `${column.width}px`;
    cell.style.left = column.sticky ? `${column.left}px` : "";
    const previous = cells[at - 1];
    const gap = column.left - (previous ? previous.left + previous.width : 0);
    cell.style.marginLeft = gap > 0 ? `${gap}px` : "";
    cell.classList.toggle("sticky", column.sticky);
    cell.classList.toggle("last-sticky", column.sticky && at === sticky.length - 1);
    cell.setAttribute("aria-colindex", String(columns.all.indexOf(column) + 1));
  });
  row.style.width = `${columns.width}px`;
}

function madeCell() {
  const text = document.createTextNode("");
  const cell = element("div", "cell", element("bdi", "", text));
  cell.setAttribute("role", "gridcell");
  cell.text = text;
  return cell;
}

function fill(row, held, columns, now) {
  if (row.held === held && row.version === held?.version && now < row.until) return;
  const fresh = row.held !== held;
  row.held = held;
  row.until = until(held, now);
  row.version = held?.version;
  row.className = rowClass(row, held, now);
  if (held?.left) row.style.animationDelay = `${held.left - now}ms`;
  else if (held?.born) row.style.animationDelay = `${held.born - now}ms`;
  else row.style.animationDelay = "";
  for (const cell of row.cells) fillCell(cell, held, fresh, now);
}

// When it has to be painted again although nothing has changed: what was new is not new any more.
function until(held, now) {
  let end = Infinity;
  for (const at of [held?.born ?? 0, ...(held?.was.values() ?? [])].map((was) => was.at ?? was)) {
    if (at > 0 && at + NEW > now) end = Math.min(end, at + NEW);
  }
  return end;
}

function rowClass(row, held, now) {
  const even = row.classList.contains("even") ? " even" : "";
  if (!held) return `grid-row empty${even}`;
  if (held.left) return `grid-row leaving${even}`;
  return held.born && now - held.born < NEW ? `grid-row born${even}` : `grid-row${even}`;
}

function fillCell(cell, held, fresh, now) {
  const value = held ? valueOf(cell.column, held) : undefined;
  if (fresh || cell.value !== value) {
    cell.value = value;
    const reading = value === undefined ? { type: "none", text: "" } : read(value);
    if (cell.text.data !== reading.text) cell.text.data = reading.text;
    if (cell.dataset.type !== reading.type) cell.dataset.type = reading.type;
    const blank = reading.type === "text" && reading.text === "";
    if (cell.blank !== blank) cell.classList.toggle("blank", (cell.blank = blank));
    const cut = reading.full !== undefined || reading.type === "large";
    if (cell.cut !== cut) cell.classList.toggle("cut", (cell.cut = cut));
  }
  const was = held?.was.get(cell.column.name);
  flash(cell, was, fresh, now);
}

// Two animations of one look: the other one begins anew where one is running.
function flash(cell, was, fresh, now) {
  const runs = was !== undefined && now - was.at < NEW;
  if (cell.was === was && !fresh && runs === (cell.dataset.flash !== undefined)) return;
  cell.was = was;
  cell.title = was ? `was ${sentence(was)}` : "";
  if (!runs) {
    if (cell.dataset.flash === undefined) return;
    delete cell.dataset.flash;
    cell.style.animationDelay = "";
    return;
  }
  if (calm.isStorm(now)) {
    if (cell.dataset.flash !== "still") cell.dataset.flash = "still";
    return;
  }
  cell.dataset.flash = cell.dataset.flash === "a" ? "b" : "a";
  cell.style.animationDelay = `${was.at - now}ms`;
}

/** Many animations at a time cost the browser every frame: in a storm cells are only tinted. */
const calm = {
  since: 0,
  flashes: 0,
  storm: 0, // until when it lasts, ms
  isStorm(now) {
    if (now - this.since > 1_000) Object.assign(this, { since: now, flashes: 0 });
    this.flashes += 1;
    if (this.flashes > CALM) this.storm = now + 1_000;
    return now < this.storm;
  },
};

function sentence({ value, time }) {
  const { text, note } = read(value);
  // Of the state before the first change that is kept nobody knows the time.
  return `${text}${note ? ` (${note})` : ""}${time ? `, ${clock(time)}` : ""}`;
}

function mark(row, active, index, gone, lit) {
  const own = active !== null && !gone && active.index === index;
  if (row.active !== own) {
    row.classList.toggle("active", own);
    row.active = own;
  }
  // The class is part of what `fill` sets, so it is looked at, not remembered.
  if (row.classList.contains("active") !== own) row.classList.toggle("active", own);
  if (row.classList.contains("lit") !== lit) row.classList.toggle("lit", lit);
  for (const cell of row.cells) {
    const chosen = own && cell.getAttribute("aria-colindex") === String(active.column + 1);
    if (chosen === (cell.id === "active-cell")) continue;
    cell.classList.toggle("active", chosen);
    if (chosen) cell.id = "active-cell";
    else cell.removeAttribute("id");
    cell.setAttribute("aria-selected", String(chosen));
  }
}
