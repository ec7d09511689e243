/** One table in the sidebar: its name, what happened lately, its rows. */

import { strokes } from "../model/activity.js";
import { counted } from "../model/values.js";
import { element, icon, nameElement, svgElement } from "./element.js";

const TRACE_HEIGHT = 14;
const LONG_COUNT = 1_000_000; // from here on in short: 1.23M

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 });

/** @typedef {{count: number, exact: boolean} | null | undefined} Rows */

export class TableEntry {
  /** @type {HTMLLIElement} */ root;
  /** @type {HTMLButtonElement} */ button;
  /** @type {HTMLButtonElement} */ schema;
  #mark = element("span", "unseen");
  #said = element("span", "visually-hidden");
  #path = svgElement("path", {});
  #count = element("span", "count");
  #drawn = "";

  /** @param {string} name @param {number} buckets of its trace */
  constructor(name, buckets) {
    const box = { viewBox: `0 0 ${buckets} ${TRACE_HEIGHT}`, preserveAspectRatio: "none" };
    const trace = svgElement("svg", { class: "trace", "aria-hidden": "true", ...box }, this.#path);
    this.#mark.setAttribute("aria-hidden", "true");
    const label = nameElement(name);
    this.button = element("button", "table-button", this.#mark, label, trace, this.#count, this.#said);
    this.button.type = "button";
    this.button.value = name;
    if (!label.title) label.title = name;
    this.schema = element("button", "icon-button schema-button", icon("M5 2H3v12h2M11 2h2v12h-2M6.5 8h3"));
    this.schema.type = "button";
    this.schema.setAttribute("aria-label", `Schema of ${name.slice(0, 200)}`);
    this.schema.title = "Schema";
    this.root = element("li", "table-entry", this.button, this.schema);
    this.reachable = false;
    this.rows(undefined);
  }

  /** Whether Tab stops here; in a list only one entry is stopped at. */
  set reachable(reachable) {
    this.button.tabIndex = this.schema.tabIndex = reachable ? 0 : -1;
  }

  /** @param {boolean} chosen */
  set chosen(chosen) {
    if (chosen) this.button.setAttribute("aria-current", "true");
    else this.button.removeAttribute("aria-current");
  }

  /** How many changes nobody has looked at. @param {number} count */
  unseen(count) {
    this.#mark.classList.toggle("on", count > 0);
    this.#said.textContent = count > 0 ? `, ${counted(count, "change")} not looked at` : "";
    this.#mark.title = count > 0 ? `${counted(count, "change")} since you looked` : "";
  }

  /** @param {Rows} rows undefined where the service does not tell, null where it counts yet. */
  rows(rows) {
    const about = rows && !rows.exact ? "~" : "";
    const text = !rows
      ? rows === null ? "…" : ""
      : about + (rows.count < LONG_COUNT ? whole : short).format(rows.count);
    if (this.#count.textContent !== text) this.#count.textContent = text;
    this.#count.title = rows ? `${about ? "about " : ""}${counted(rows.count, "row")}` : "";
    if (rows === null) this.#count.title = "The rows are being counted.";
  }

  /** @param {number[]} counts the newest last */
  trace(counts) {
    const drawn = strokes(counts, TRACE_HEIGHT);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.#path.setAttribute("d", drawn);
    this.#path.parentNode.classList.toggle("active", drawn !== "");
  }
}
