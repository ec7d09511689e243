/** Changes one cell in its place. */

import { toBase64 } from "../model/bytes.js";
import { read } from "../model/values.js";
import { element } from "./element.js";
import { NamedTable } from "./named_table.js";
import { ValueField } from "./value_field.js";

/**
 * Opens the editor over a cell.
 * @param {import("../context.js").Context} context
 * @param {{table: string, column: string, held: {key: object, row: object}}} what
 * @param {DOMRect} place of the cell on the screen
 * @param {() => void} onClose gives the focus back
 */
export function editCell(context, { table, column, held }, place, onClose) {
  const editor = new CellEditor(context, table, column, held, onClose);
  editor.open(place);
}

let open = null; // the one that is open

/** Closes the editor that is open, if any: what it stands over is shown no more. */
export function closeEditor() {
  open?.close();
}

/** The same unless its own table is looked at, under whatever name. @param {string | null} table */
export function closeEditorUnless(table) {
  // A table that is renamed is chosen before the editor has heard of it.
  queueMicrotask(() => {
    if (open?.table !== table) closeEditor();
  });
}

class CellEditor {
  #context;
  #table;
  #column;
  #key;
  #seen;
  #field;
  #save = button("Save", "button primary small");
  #cancel = button("Cancel", "button small");
  #said = element("p", "editor-said");
  #root = element("form", "cell-editor");
  #onClose;

  constructor(context, table, column, { key, row }, onClose) {
    this.#context = context;
    this.#table = new NamedTable(context, table);
    this.#column = column;
    this.#key = key;
    this.#seen = row;
    this.#onClose = onClose;
    this.#root.popover = "manual";
    this.#root.setAttribute("role", "dialog");
    this.#root.setAttribute("aria-label", `Change ${column}`);
    this.#said.setAttribute("role", "alert");
    this.#said.hidden = true;
  }

  /** What its table is called now. @returns {string} */
  get table() {
    return this.#table.name;
  }

  async open(place) {
    closeEditor();
    open = this;
    this.#cancel.addEventListener("click", () => this.close());
    this.#save.type = "submit";
    const buttons = element("div", "editor-buttons", element("span", "note", "Enter saves, Shift+Enter: new line"), this.#cancel, this.#save);
    this.#root.append(this.#said, buttons);
    this.#root.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#root.addEventListener("keydown", (event) => this.#pressed(event));
    document.body.append(this.#root);
    await this.#begin();
    if (!this.#root.isConnected) return;
    this.#root.showPopover();
    this.#root.style.minWidth = `${Math.max(place.width, 300)}px`;
    const { width, height } = this.#root.getBoundingClientRect();
    this.#root.style.left = `${Math.max(8, Math.min(place.left - 1, innerWidth - width - 8))}px`;
    this.#root.style.top = `${Math.max(8, Math.min(place.top - 1, innerHeight - height - 8))}px`;
    (this.#field ?? this.#cancel).focus();
  }

  async #begin() {
    const value = this.#seen[this.#column] ?? null;
    try {
      // What is kept beside the stream is fetched before it is edited.
      const whole = value?.$large ? await this.#context.api.value(value) : value;
      this.#field = new ValueField(this.#column, whole instanceof Uint8Array ? { $blob: toBase64(whole) } : whole);
      this.#root.prepend(this.#field.root);
    } catch (error) {
      if (error.name !== "Refused") throw error;
      this.#said.hidden = false;
      this.#said.textContent = error.message;
      this.#save.hidden = true;
    }
  }

  #pressed(event) {
    if (event.key === "Escape") {
      event.preventDefault();
      this.close();
    } else if (event.key === "Enter" && !event.shiftKey && event.target.matches("textarea, select")) {
      event.preventDefault();
      this.#send();
    }
    event.stopPropagation();
  }

  async #send() {
    if (this.#save.hidden || this.#save.disabled) return;
    const { value, problem } = this.#field.read();
    if (problem) return;
    this.#save.disabled = true;
    try {
      const body = { seen: this.#seen, set: { [this.#column]: value } };
      await this.#context.api.ask(["tables", this.table, "rows"], { key: this.#key }, { method: "PATCH", body });
      this.close();
    } catch (error) {
      this.#refused(error);
    } finally {
      this.#save.disabled = false;
    }
  }

  #refused({ message, status, body }) {
    this.#said.hidden = false;
    this.#save.textContent = status === 503 || status === 0 ? "Try again" : "Save";
    if (status !== 409 || body.row === undefined) return this.#said.replaceChildren(element("bdi", "", message));
    if (body.row === null) return this.#giveUp("The row was deleted in the meantime.");
    if (!Object.hasOwn(body.row, this.#column)) {
      return this.#giveUp("The column was dropped or renamed in the meantime.");
    }
    const seen = this.#seen;
    this.#seen = body.row;
    if (differOnlyInColumns(seen, body.row)) {
      this.#said.hidden = true;
      this.#save.disabled = false;
      return this.#send();
    }
    this.#save.textContent = "Save anyway";
    const now = read(body.row[this.#column]);
    const shown = element("span", "value", element("bdi", "", now.text));
    shown.dataset.type = now.type;
    return this.#said.replaceChildren("The row was changed in the meantime. This cell is now ", shown, ".");
  }

  #giveUp(sentence) {
    this.#said.replaceChildren(sentence);
    this.#save.hidden = true;
    // The button that is hidden may have had the focus.
    this.#cancel.focus();
  }

  /** Ends it without saving. */
  close() {
    if (!this.#root.isConnected) return;
    open = null;
    this.#table.end();
    // Who has gone on elsewhere meanwhile stays there.
    const held = document.activeElement === document.body || this.#root.contains(document.activeElement);
    this.#root.remove();
    if (held) this.#onClose();
  }
}

// The table has got or lost columns, and what both rows have is the same: nothing was overtaken.
function differOnlyInColumns(seen, now) {
  const [old, fresh] = [Object.keys(seen), Object.keys(now)];
  const isOther = old.length !== fresh.length || old.some((name) => !Object.hasOwn(now, name));
  const both = fresh.filter((name) => Object.hasOwn(seen, name));
  return isOther && both.every((name) => JSON.stringify(seen[name]) === JSON.stringify(now[name]));
}

function button(label, className) {
  const made = element("button", className, label);
  made.type = "button";
  return made;
}
