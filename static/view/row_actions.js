/** What can be done with the marked row: by menu, by key and by the buttons above the grid. */

import { announce } from "./announce.js";
import { closeEditor, closeEditorUnless, editCell } from "./cell_editor.js";
import { copy } from "./copy.js";
import { element } from "./element.js";
import { valueOf } from "./grid_columns.js";
import { addRow, deleteRow } from "./row_dialogs.js";
import { openMenu } from "./menu.js";
import { showValue } from "./value_dialog.js";
import { jsonOf } from "../model/json.js";
import { read } from "../model/values.js";

/**
 * What it needs of the grid.
 * @typedef {object} Grid
 * @property {() => string | null} table
 * @property {() => boolean} writable whether rows may be changed now
 * @property {(place: {index: number}) => import("../model/live_rows.js").HeldRow | undefined} held
 * @property {import("./grid_view.js").GridView} view
 */

export class RowActions {
  #context;
  #grid;
  #add = button("", "button");
  #more = button("⋯", "icon-button");
  #generated = null; // columns of the table that nobody can write, null before they are known

  /** @param {import("../context.js").Context} context @param {Grid} grid @param {HTMLElement} tools */
  constructor(context, grid, tools) {
    this.#context = context;
    this.#grid = grid;
    this.#more.setAttribute("aria-label", "With the marked row");
    this.#more.setAttribute("aria-haspopup", "menu");
    this.#more.title = "With the marked row";
    // On a narrow page the sign alone is there.
    this.#add.append(element("span", "sign", "+"), element("span", "words", "Add row"));
    this.#add.setAttribute("aria-label", "Add row");
    this.#add.id = "add-row";
    this.#more.id = "row-actions";
    this.#add.addEventListener("click", () => addRow(context, grid.table()));
    this.#more.addEventListener("click", () => this.menu(grid.view.active, this.#more));
    tools.append(this.#add, this.#more);
    context.on("chosen", ({ table }) => closeEditorUnless(table));
    context.on("moment", closeEditor);
    for (const event of ["chosen", "tables"]) {
      context.on(event, () => {
        this.#generated = null;
        this.#learn();
      });
    }
    context.on("health", () => this.#learn()); // rows may be writable only now
  }

  async #learn() {
    await null; // the grid itself hears of it after this
    const table = this.#grid.table();
    if (this.#generated !== null || table === null || !this.#grid.writable()) return;
    try {
      const { columns } = await this.#context.api.ask(["tables", table, "schema"]);
      if (this.#grid.table() !== table) return;
      this.#generated = new Set(columns.filter(({ generated }) => generated).map(({ name }) => name));
    } catch (error) {
      // Whoever writes all the same is told by the database.
      if (error.name !== "Refused") throw error;
    }
  }

  /** What may be done is another. */
  update() {
    this.#add.hidden = !this.#grid.writable();
    const held = this.#grid.view.active && this.#grid.held(this.#grid.view.active);
    this.#more.disabled = !held;
    this.#more.hidden = this.#grid.table() === null;
  }

  /** Shows a value whole. @param {{index: number, column: number}} place */
  open(place) {
    const [held, column] = this.#at(place);
    if (!held || !column) return;
    const where = { table: this.#grid.table(), column: column.name, key: held.key };
    const edit = this.#mayEdit(column) ? () => this.edit(place) : undefined;
    showValue(this.#context, valueOf(column, held) ?? null, where, { was: held.was.get(column.name), edit });
  }

  /** Changes a value. @param {{index: number, column: number}} place */
  edit(place) {
    const [held, column] = this.#at(place);
    const { view } = this.#grid;
    if (!held) return;
    if (!this.#mayEdit(column)) {
      this.open(place);
      return;
    }
    if (isGone(held)) return;
    view.mark(place);
    const what = { table: this.#grid.table(), column: column.name, held };
    const cell = view.cell ?? view.root;
    editCell(this.#context, what, cell.getBoundingClientRect(), () => view.root.focus());
  }

  /**
   * @param {{index: number, column: number}} place
   * @param {HTMLElement | {x: number, y: number}} at a button, or a point of the screen
   */
  menu(place, at) {
    const [held, column] = this.#at(place);
    if (!held || !column) return;
    openMenu(this.#items(place, held, column), at, this.#grid.view.root);
  }

  /**
   * @param {KeyboardEvent} event @param {{index: number, column: number}} place
   * @returns {boolean} whether the key does something
   */
  key(event, place) {
    const [held, column] = this.#at(place);
    if (!held || !column) return false;
    const isCopy = (event.ctrlKey || event.metaKey) && event.key === "c" && String(getSelection()) === "";
    if (event.key === "Enter") this.open(place);
    else if (event.key === "F2" && this.#mayEdit(column)) this.edit(place);
    else if (event.key === "Delete" && this.#grid.writable()) this.#delete(held);
    else if (isCopy) this.#copy(textOf(column, held));
    else if (event.key === "ContextMenu" || (event.shiftKey && event.key === "F10")) {
      // The marked cell may have been scrolled out of sight.
      const { left, bottom } = (this.#grid.view.cell ?? this.#more).getBoundingClientRect();
      this.menu(place, { x: left, y: bottom });
    } else return false;
    return true;
  }

  #items(place, held, column) {
    const table = this.#grid.table();
    const items = [
      { label: "Show the whole value", hint: "Enter", act: () => this.open(place) },
      { label: "Copy the value", hint: "Ctrl C", act: () => this.#copy(textOf(column, held)) },
      { label: "Copy the row as JSON", act: () => this.#copy(jsonOf(held.row)) },
      { label: "History of this row", act: () => this.#context.tell("versions", { table, key: held.key }) },
    ];
    if (this.#mayEdit(column)) items.push({ label: "Edit", hint: "F2", act: () => this.edit(place) });
    if (this.#grid.writable()) {
      items.push({ label: "Delete the row…", hint: "Del", danger: true, act: () => this.#delete(held) });
    }
    return items;
  }

  #at(place) {
    return [this.#grid.held(place), this.#grid.view.columns.all[place.column]];
  }

  #mayEdit(column) {
    const isFixed = !column || column.isRowid || this.#generated?.has(column.name);
    return !isFixed && this.#grid.writable();
  }

  #delete(held) {
    if (!isGone(held)) deleteRow(this.#context, this.#grid.table(), held);
  }

  async #copy(text) {
    announce((await copy(text)) ? "Copied." : "The browser does not allow copying.");
    this.#grid.view.root.focus();
  }
}

// A row that fades is still shown, but there is nothing left to be written.
function isGone(held) {
  if (held.left) announce("This row is gone.");
  return Boolean(held.left);
}

function textOf(column, held) {
  const reading = read(valueOf(column, held) ?? null);
  const value = valueOf(column, held);
  if (typeof value === "string") return value;
  return reading.full ? reading.full() : reading.text;
}

function button(label, className) {
  const made = element("button", className, label);
  made.type = "button";
  return made;
}
