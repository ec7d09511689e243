/** Changes one cell in its place. */

import { toBase64 } from "../model/bytes.js";
import { read } from "../model/values.js";
import { element } from "./element.js";
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

class CellEditor {
  #context;
  #table;
  #column;
  #key;
  #seen;
  #field;
  #save = button("Save", "button primary small");
  #said = element("p", "editor-said");
  #root = element("form", "cell-editor");
  #onClose;

  constructor(context, table, column, { key, row }, onClose) {
    this.#context = context;
    this.#table = table;
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

  async open(place) {
    const value = await this.#whole(this.#seen[this.#column]);
    if (value === undefined) return;
    this.#field = new ValueField(this.#column, value);
    const cancel = button("Cancel", "button small");
    cancel.addEventListener("click", () => this.#close());
    this.#save.type = "submit";
    const buttons = element("div", "editor-buttons", element("span", "note", "Enter saves, Shift+Enter: new line"), cancel, this.#save);
    this.#root.append(this.#field.root, this.#said, buttons);
    this.#root.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#root.addEventListener("keydown", (event) => this.#pressed(event));
    document.body.append(this.#root);
    this.#root.showPopover();
    this.#root.style.minWidth = `${Math.max(place.width, 300)}px`;
    const { width, height } = this.#root.getBoundingClientRect();
    this.#root.style.left = `${Math.max(8, Math.min(place.left - 1, innerWidth - width - 8))}px`;
    this.#root.style.top = `${Math.max(8, Math.min(place.top - 1, innerHeight - height - 8))}px`;
    this.#field.focus();
  }

  // A value that is kept beside the stream is fetched before it is edited.
  async #whole(value) {
    if (!value?.$large) return value ?? null;
    const { type, sha256 } = value.$large;
    const answer = await fetch(this.#context.api.address(["values", sha256]));
    if (!answer.ok) return undefined;
    if (type === "text") return answer.text();
    return { $blob: toBase64(new Uint8Array(await answer.arrayBuffer())) };
  }

  #pressed(event) {
    if (event.key === "Escape") {
      event.preventDefault();
      this.#close();
    } else if (event.key === "Enter" && !event.shiftKey && event.target.matches("textarea, select")) {
      event.preventDefault();
      this.#send();
    }
    event.stopPropagation();
  }

  async #send() {
    const { value, problem } = this.#field.read();
    if (problem) return;
    this.#save.disabled = true;
    try {
      const body = { seen: this.#seen, set: { [this.#column]: value } };
      await this.#context.api.ask(["tables", this.#table, "rows"], { key: this.#key }, { method: "PATCH", body });
      this.#close();
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
    if (body.row === null) {
      this.#save.hidden = true;
      return this.#said.replaceChildren("The row was deleted in the meantime.");
    }
    this.#seen = body.row;
    this.#save.textContent = "Save anyway";
    const now = read(body.row[this.#column]);
    const shown = element("span", "value", element("bdi", "", now.text));
    shown.dataset.type = now.type;
    return this.#said.replaceChildren("The row was changed in the meantime. This cell is now ", shown, ".");
  }

  #close() {
    this.#root.remove();
    this.#onClose();
  }
}

function button(label, className) {
  const made = element("button", className, label);
  made.type = "button";
  return made;
}
