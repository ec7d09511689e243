/** Light, dark, or as the system has it: remembered by the browser. */

import { recall, remember } from "../memory.js";

const NAMES = new Set(["light", "dark"]);

/** The colours in use. */
export class Theme {
  /** `light`, `dark`, or empty for those of the system. @type {string} */
  current = "";

  constructor() {
    this.#use(recall("browser", "theme"));
    addEventListener("storage", () => this.#use(recall("browser", "theme"))); // another tab chose
  }

  /** @param {string} theme */
  choose(theme) {
    remember("browser", "theme", theme);
    this.#use(theme);
  }

  #use(theme) {
    this.current = NAMES.has(theme) ? theme : "";
    if (this.current) document.documentElement.dataset.theme = this.current;
    else delete document.documentElement.dataset.theme;
  }
}
