/** What stands above the feed: its filter, the button that pauses it, and its figures. */

import { OPS, isOpen, noFilter } from "../model/filter.js";
import { byId, element } from "./element.js";

const DEBOUNCE = 250; // ms after the last key before a filter is applied
const LONGEST_OPTION = 60; // characters

/** The form of the filter. */
export class FilterForm {
  #filter = noFilter();
  #onChange;
  #timer = null;

  /** @param {(filter: import("../model/filter.js").Filter) => void} onChange */
  constructor(onChange) {
    this.#onChange = onChange;
    for (const op of OPS) byId("feed-ops").append(this.#chip(op));
    this.setTables([]);
    const form = byId("feed-filter");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#apply();
    });
    form.addEventListener("input", () => this.#soon());
    byId("feed-table").addEventListener("change", () => this.#apply());
    byId("feed-clear").addEventListener("click", () => this.clear());
    byId("feed-filter-button").addEventListener("click", () => this.#toggle());
  }

  /** What is chosen. @returns {import("../model/filter.js").Filter} */
  get filter() {
    return this.#filter;
  }

  /**
   * The table has another name. The list to choose from is another then, too, see `setTables`.
   * @param {string} table
   */
  follow(table) {
    this.#filter.table = table; // in place: what is let through from now on goes by it
  }

  /** Takes everything out of the filter, and tells. */
  clear() {
    byId("feed-table").value = "";
    byId("feed-text").value = "";
    byId("feed-where").value = "";
    for (const chip of byId("feed-ops").children) chip.setAttribute("aria-pressed", "true");
    this.#apply();
  }

  /**
   * The tables one can choose from; the one chosen stays, even where it is gone.
   * @param {string[]} names
   */
  setTables(names) {
    const select = byId("feed-table");
    const chosen = this.#filter.table;
    const all = chosen === null || names.includes(chosen) ? names : [...names, chosen];
    select.replaceChildren(new Option("All tables", ""), ...all.map(option));
    // A name may be empty, too: values are told apart from "all" by a mark in front.
    select.value = chosen === null ? "" : `=${chosen}`;
  }

  /** What the service says about the condition. @param {string} sentence "" where it is fine */
  complain(sentence) {
    byId("feed-where-says").textContent = sentence;
    byId("feed-where").setAttribute("aria-invalid", String(sentence !== ""));
  }

  #toggle() {
    const form = byId("feed-filter");
    form.hidden = !form.hidden;
    byId("feed-filter-button").setAttribute("aria-expanded", String(!form.hidden));
    if (!form.hidden) byId("feed-text").focus();
  }

  #soon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#apply(), DEBOUNCE);
  }

  #apply() {
    clearTimeout(this.#timer);
    const chosen = byId("feed-table").value;
    const chips = [...byId("feed-ops").children];
    this.#filter = {
      table: chosen === "" ? null : chosen.slice(1),
      ops: new Set(chips.filter((chip) => chip.ariaPressed === "true").map((chip) => chip.value)),
      text: byId("feed-text").value,
      where: byId("feed-where").value.trim(),
    };
    byId("feed-filter-button").setAttribute("aria-pressed", String(!isOpen(this.#filter)));
    this.#onChange(this.#filter);
  }

  #chip(op) {
    const chip = element("button", "chip", op);
    chip.type = "button";
    chip.value = chip.dataset.op = op;
    chip.setAttribute("aria-pressed", "true");
    chip.addEventListener("click", () => {
      chip.setAttribute("aria-pressed", String(chip.ariaPressed !== "true"));
      this.#apply();
    });
    return chip;
  }
}

function option(name) {
  const short = name.length > LONGEST_OPTION ? `${name.slice(0, LONGEST_OPTION)}…` : name;
  return new Option(short === "" ? "(empty name)" : short, `=${name}`);
}

/**
 * The button that pauses the feed, also by the key `p`.
 * @param {() => void} toggle
 */
export function pauseButton(toggle) {
  byId("pause").addEventListener("click", toggle);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "p" || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.target.closest("input, textarea, select, dialog, [contenteditable]")) return;
    toggle();
  });
}
