/** The columns of the grid: which there are, how wide they are, and where they stand. */

import { read } from "../model/values.js";

const NARROWEST = 56; // px
const WIDEST = 340; // px, unless somebody makes it wider
const WIDEST_KEY = 220;
const WIDEST_EVER = 1_600;
const PADDING = 21; // px beside the text of a cell, with its border
const SIGN = 18; // px for the arrow of the order
const SAMPLED = 60; // characters of a value that count
const ALL = 40; // columns up to which all are painted, seen or not
const STICKY_SHARE = 0.45; // of the view that may be taken by what stays in place

/**
 * @typedef {object} Column
 * @property {string} name
 * @property {boolean} isKey
 * @property {boolean} isRowid whether it is the rowid, which is in the key but not in the row.
 * @property {number} width px
 * @property {number} left px from the start of the row
 * @property {boolean} sticky whether it stays where it is when the others are scrolled.
 */

export class Columns {
  /** @type {Column[]} */
  all = [];
  /** Width of all, px. */
  width = 0;
  /** Grows whenever rows have to be painted anew. */
  version = 0;
  #own = new Map(); // "table\0column" -> width somebody chose
  #table = null;
  #measured = false;

  /** Whether the widths are those of the content. */
  get measured() {
    return this.#measured;
  }

  /** @param {{name: string, key: string[], columns: string[]} | undefined} table */
  set(table) {
    this.#table = table?.name ?? null;
    const key = table?.key ?? [];
    const others = (table?.columns ?? []).filter((name) => !key.includes(name));
    this.all = [
      ...(table && key.length === 0 ? [made("rowid", true, true)] : []),
      ...key.map((name) => made(name, true)),
      ...others.map((name) => made(name, false)),
    ];
    this.#measured = false;
    this.fit([], 0);
    this.#measured = false;
  }

  /**
   * Measures the columns by their content, once; later content does not make them jump.
   * @param {{key: object, row: object}[]} rows some of them
   * @param {number} view width of the view, px
   */
  fit(rows, view) {
    if (!this.#measured) {
      for (const column of this.all) {
        const own = this.#own.get(`${this.#table}\0${column.name}`);
        column.width = own ?? natural(column, rows);
      }
      this.#measured = rows.length > 0;
    }
    this.place(view);
  }

  /**
   * Makes columns wider whose values are cut off, within limits.
   * @param {{key: object, row: object}[]} rows in view
   * @param {number} view width of the view, px
   * @returns {boolean} whether there were any
   */
  grow(rows, view) {
    let grown = false;
    for (const column of this.all) {
      if (this.#own.has(`${this.#table}\0${column.name}`)) continue;
      const width = natural(column, rows);
      if (width <= column.width) continue;
      column.width = width;
      grown = true;
    }
    if (grown) this.place(view);
    return grown;
  }

  /** @param {number} view width of the view, px */
  place(view) {
    let left = 0;
    for (const column of this.all) {
      column.left = left;
      left += column.width;
      column.sticky = column.isKey && left <= view * STICKY_SHARE;
    }
    this.width = left;
    this.version += 1;
  }

  /** @param {Column} column @param {number} width px, as somebody wants it @param {number} view px */
  resize(column, width, view) {
    column.width = Math.round(Math.max(NARROWEST, Math.min(width, WIDEST_EVER)));
    this.#own.set(`${this.#table}\0${column.name}`, column.width);
    this.place(view);
  }

  /** Makes a column as wide as its content wants it. */
  release(column, rows, view) {
    this.#own.delete(`${this.#table}\0${column.name}`);
    column.width = natural(column, rows);
    this.place(view);
  }

  /**
   * @param {number} from px @param {number} to px
   * @returns {[number, number]} the columns to be painted: first, and the one after the last. Those
   *   that stay in place are painted anyway.
   */
  seen(from, to) {
    const sticky = this.all.filter((column) => column.sticky).length;
    if (this.all.length <= ALL) return [sticky, this.all.length];
    let first = sticky;
    while (first < this.all.length - 1 && this.all[first].left + this.all[first].width < from) first += 1;
    let end = first;
    while (end < this.all.length && this.all[end].left < to) end += 1;
    return [Math.max(sticky, first - 2), Math.min(this.all.length, end + 2)];
  }
}

function made(name, isKey, isRowid = false) {
  return { name, isKey, isRowid, width: NARROWEST, left: 0, sticky: false };
}

/** The value of a column. @param {Column} column @param {{key: object, row: object}} held */
export function valueOf(column, { key, row }) {
  return column.isRowid ? key.$rowid : row[column.name];
}

const canvas = document.createElement("canvas").getContext("2d");

function natural(column, rows) {
  const style = getComputedStyle(document.body);
  canvas.font = `600 12.5px ${style.fontFamily}`;
  let widest = canvas.measureText(column.name.slice(0, SAMPLED)).width + SIGN;
  canvas.font = `13px ${style.getPropertyValue("--mono")}`;
  const texts = rows.map((held) => read(valueOf(column, held) ?? null).text.slice(0, SAMPLED));
  // Figures of a column are alike: the longest texts are the widest, nearly.
  texts.sort((a, b) => b.length - a.length);
  for (const text of texts.slice(0, 4)) widest = Math.max(widest, canvas.measureText(text).width);
  const limit = column.isKey ? WIDEST_KEY : WIDEST;
  return Math.round(Math.max(NARROWEST, Math.min(widest + PADDING, limit)));
}
