/** The head of the grid: names of the columns, by which rows are sorted, and their widths. */

import { element, nameElement } from "./element.js";

const SORTS = { asc: "ascending", desc: "descending" };
const STEP = 16; // px by which a key makes a column wider

/**
 * @typedef {object} HeadActions
 * @property {(column: import("./grid_columns.js").Column) => void} sort
 * @property {(column: import("./grid_columns.js").Column, width: number | null) => void} resize
 *   null: as wide as the content.
 */

export class GridHead {
  #row = element("div", "grid-row");
  #columns;
  #actions;
  #cells = [];

  /**
   * @param {HTMLElement} root
   * @param {import("./grid_columns.js").Columns} columns
   * @param {HeadActions} actions
   */
  constructor(root, columns, actions) {
    this.#columns = columns;
    this.#actions = actions;
    this.#row.setAttribute("role", "row");
    this.#row.setAttribute("aria-rowindex", "1");
    root.append(this.#row);
  }

  /** Draws the columns anew. */
  draw() {
    this.#cells = this.#columns.all.map((column, index) => this.#cell(column, index));
    this.#row.replaceChildren(...this.#cells);
    this.place();
  }

  /** Sets widths and places. */
  place() {
    this.#row.style.width = `${this.#columns.width}px`;
    const last = this.#columns.all.findLastIndex((column) => column.sticky);
    this.#columns.all.forEach((column, index) => {
      const cell = this.#cells[index];
      cell.style.width = `${column.width}px`;
      cell.style.left = column.sticky ? `${column.left}px` : "";
      cell.classList.toggle("sticky", column.sticky);
      cell.classList.toggle("last-sticky", index === last);
    });
  }

  /** @param {string | null} order @param {boolean} desc @param {number | null} active column marked */
  mark(order, desc, active) {
    this.#columns.all.forEach(({ name, isRowid }, index) => {
      const cell = this.#cells[index];
      const sort = order === name && !isRowid ? (desc ? "desc" : "asc") : "none";
      cell.setAttribute("aria-sort", SORTS[sort] ?? "none");
      const chosen = active === index;
      cell.classList.toggle("active", chosen);
      if (chosen) cell.id = "active-cell";
      else cell.removeAttribute("id");
    });
  }

  /** A key was pressed in the head. @param {KeyboardEvent} event @param {number} index of the column */
  key(event, index) {
    const column = this.#columns.all[index];
    if (event.key === "Enter" || event.key === " ") this.#actions.sort(column);
    else if (event.shiftKey && event.key === "ArrowRight") this.#actions.resize(column, column.width + STEP);
    else if (event.shiftKey && event.key === "ArrowLeft") this.#actions.resize(column, column.width - STEP);
    else return false;
    return true;
  }

  #cell(column, index) {
    const name = column.isRowid ? element("span", "name", "rowid") : nameElement(column.name);
    const sign = element("span", "sort-sign");
    sign.setAttribute("aria-hidden", "true");
    const cell = element("div", "cell head-cell", name, sign);
    cell.setAttribute("role", "columnheader");
    cell.setAttribute("aria-colindex", String(index + 1));
    if (column.isKey) cell.classList.add("key-column");
    cell.addEventListener("click", () => this.#actions.sort(column));
    cell.append(this.#handle(column));
    return cell;
  }

  #handle(column) {
    const handle = element("span", "handle");
    handle.setAttribute("aria-hidden", "true");
    handle.addEventListener("click", (event) => event.stopPropagation());
    handle.addEventListener("dblclick", () => this.#actions.resize(column, null));
    handle.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      const start = event.clientX - column.width;
      handle.setPointerCapture(event.pointerId);
      handle.onpointermove = (moved) => this.#actions.resize(column, moved.clientX - start);
      handle.onlostpointercapture = () => (handle.onpointermove = null);
    });
    return handle;
  }
}
