/** What stands above the grid: the table's name, how many rows, the condition, and how it goes. */

import { counted } from "../model/values.js";
import { byId, element, nameElement } from "./element.js";

const number = new Intl.NumberFormat("en");
const PAUSE = 600; // ms after the last key before a condition is tried
const PASSING = 5_000; // ms

/** The toolbar and the lines under it. */
export class GridBar {
  /** Where other parts put their buttons. */
  tools = element("div", "grid-tools");
  #count = element("span", "badge");
  #past = element("span", "badge as-of");
  #folded = element("span", "folded");
  #where = element("input", "input mono");
  #said = element("div", "grid-said");
  #asked = "";
  #passing = null; // timer of a sentence that stays for a while
  #next = [null]; // what is to be said after it
  #shown = JSON.stringify([null, "problem", undefined]); // what is said now
  #again = undefined; // what the button beside it does
  #progress = document.createTextNode("");

  /** @param {{filter: (where: string | null) => void, retry: () => void}} actions */
  constructor(actions) {
    this.actions = actions;
    this.#where.type = "search";
    this.#where.placeholder = "Filter, e.g. price > 10";
    this.#where.setAttribute("aria-label", "Rows that fulfil this SQL expression");
    this.#where.autocomplete = "off";
    this.#where.spellcheck = false;
    this.#where.id = "where";
    this.#where.maxLength = 5_000;
    this.#count.id = "row-count";
    this.#folded.id = "folded";
    this.#past.hidden = this.#folded.hidden = this.#said.hidden = true;
    this.#said.id = "grid-said";
    this.#said.setAttribute("role", "status");
    const bar = element("div", "toolbar grid-bar", byId("grid-name"), this.#count, this.#past, this.#folded);
    bar.append(element("span", "space"), this.#where, this.tools);
    this.root = [bar, this.#said];
    this.#listen();
  }

  #listen() {
    let timer = null;
    const ask = () => {
      clearTimeout(timer);
      const where = this.#where.value.trim();
      if (where === this.#asked) return;
      this.#asked = where;
      this.actions.filter(where === "" ? null : where);
    };
    this.#where.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(ask, PAUSE);
    });
    this.#where.addEventListener("change", ask);
    this.#where.addEventListener("keydown", (event) => {
      if (event.key === "Enter") ask();
    });
  }

  /** Another table is shown. @param {string | null} table */
  name(table) {
    byId("grid-name").replaceChildren(...(table === null ? [] : [nameElement(table)]));
    this.#where.value = this.#asked = "";
    this.#where.hidden = table === null;
    this.#count.hidden = true;
  }

  /**
   * @param {number | null} total null where nobody knows
   * @param {{filtered: boolean, isOpen: boolean}} how whether only some rows are counted, and
   *   whether there are more
   */
  count(total, { filtered, isOpen }) {
    if (this.#count.hidden !== (total === null)) this.#count.hidden = total === null;
    let text = total === null ? "" : counted(total, filtered ? "match" : "row").replace(/matchs$/, "matches");
    if (isOpen && text) text = `more than ${text}`;
    if (this.#count.textContent !== text) this.#count.textContent = text;
  }

  /** Shows another moment. @param {string | null} words for it, null for now */
  past(words) {
    this.#past.hidden = words === null;
    this.#past.textContent = words ?? "";
    this.#where.disabled = words !== null;
  }

  /** @param {number} changes that were not shown one by one, 0 for none worth a word */
  folded(changes) {
    this.#folded.hidden = changes === 0;
    if (changes > 0) this.#folded.textContent = `+${number.format(changes)} changes folded`;
  }

  /** @param {boolean} invalid whether the condition cannot be used */
  invalid(invalid) {
    if (invalid) this.#where.setAttribute("aria-invalid", "true");
    else this.#where.removeAttribute("aria-invalid");
  }

  /**
   * Says how it goes, in a line under the bar.
   * @param {string | null} sentence null: all is well
   * @param {{mood?: string, again?: () => void, label?: string, passing?: boolean, progress?: string}} [how]
   *   what a button does, and its label; whether the sentence stays for a while only, whatever
   *   comes meanwhile; and how far it is, which is for the eyes alone
   */
  say(sentence, { mood = "problem", again, label = "Try again", passing = false, progress = "" } = {}) {
    if (this.#passing !== null && !passing) return (this.#next = [sentence, { mood, again, label, progress }]);
    clearTimeout(this.#passing);
    this.#next = [null];
    this.#passing = passing ? setTimeout(() => this.#passed(), PASSING) : null;
    this.#again = again;
    // What is said already is not said anew: a reader would read it, and a button lose the focus.
    const shown = JSON.stringify([sentence, mood, again && label]);
    if (shown !== this.#shown) this.#draw(sentence, mood, again && label);
    this.#shown = shown;
    if (this.#progress.data !== progress) this.#progress.data = progress;
    return undefined;
  }

  #draw(sentence, mood, label) {
    this.#said.hidden = sentence === null;
    this.#said.className = `grid-said ${mood}`;
    if (sentence === null) return this.#said.replaceChildren();
    const progress = element("span", "", this.#progress);
    progress.setAttribute("aria-hidden", "true");
    const nodes = [element("span", "", element("bdi", "", sentence), " ", progress)];
    if (label) {
      const button = element("button", "button small", label);
      button.type = "button";
      button.addEventListener("click", () => this.#again?.());
      nodes.push(button);
    }
    return this.#said.replaceChildren(...nodes);
  }

  #passed() {
    this.#passing = null;
    this.say(...this.#next);
  }
}
