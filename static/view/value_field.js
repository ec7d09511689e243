/** A field for one value: what is typed, and of what type it is. */

import { RAW_TEXT, TYPES, editable, parsed, withLineEnds } from "../model/cell_input.js";
import { element } from "./element.js";

let made = 0;

export class ValueField {
  root = element("div", "value-field");
  #input = element("textarea", "input mono");
  #type = element("select", "select");
  #problem = element("p", "field-problem");
  #before; // the text it began with

  /**
   * @param {string} label what it is called, for those who do not see it
   * @param {unknown} value on the wire; undefined for the default of the column
   * @param {{offerDefault?: boolean, type?: string}} [options] whether it may be left to the
   *   column's default, and the type to begin with where there is no value
   */
  constructor(label, value, { offerDefault = false, type } = {}) {
    const start = value === undefined ? { type: offerDefault ? "default" : type, text: "" } : editable(value);
    const types = { ...(offerDefault ? { default: "Default" } : {}), ...TYPES };
    if (start.type === "rawtext") Object.assign(types, RAW_TEXT);
    for (const [name, words] of Object.entries(types)) this.#type.append(new Option(words, name));
    this.#type.value = start.type;
    this.#before = start.text;
    this.#input.value = start.text;
    this.#input.rows = Math.min(8, Math.max(1, start.text.split(/\r\n|\r|\n/).length));
    this.#input.spellcheck = false;
    this.#input.setAttribute("aria-label", label);
    this.#type.setAttribute("aria-label", `Type of ${label}`);
    this.#problem.id = `field-problem-${++made}`;
    this.#problem.setAttribute("role", "alert");
    this.#input.setAttribute("aria-describedby", this.#problem.id);
    this.root.append(this.#input, this.#type, this.#problem);
    this.#type.addEventListener("change", () => this.#typeChosen(true));
    // Who begins to type wants a value, of the type the column asks for.
    this.#input.addEventListener("input", () => {
      if (this.#isEmptyType()) this.#type.value = type ?? "text";
      this.problem("");
      this.#typeChosen(false);
    });
    this.#typeChosen(false);
    this.problem("");
  }

  /** @returns {{value: unknown} | {problem: string}} an undefined value is the default. */
  read() {
    if (this.#type.value === "default") return { value: undefined };
    const read = parsed(this.#type.value, withLineEnds(this.#input.value, this.#before));
    this.problem(read.problem ?? "");
    return read;
  }

  /** Says what is wrong. @param {string} words empty for nothing */
  problem(words) {
    this.#problem.textContent = words;
    this.#problem.hidden = words === "";
    if (words) this.#input.setAttribute("aria-invalid", "true");
    else this.#input.removeAttribute("aria-invalid");
  }

  /** Takes the focus. */
  focus() {
    this.#input.focus();
    this.#input.select();
  }

  #isEmptyType() {
    return this.#type.value === "null" || this.#type.value === "default";
  }

  #typeChosen(byHand) {
    const isEmpty = this.#isEmptyType();
    this.#input.classList.toggle("none", isEmpty);
    this.#input.placeholder = { null: "NULL", default: "Default" }[this.#type.value] ?? "";
    if (byHand && isEmpty) this.#input.value = "";
    if (byHand && !isEmpty) this.#input.focus();
    if (byHand) this.problem("");
  }
}
