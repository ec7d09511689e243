/** A table that something is open for, whatever it comes to be called meanwhile. */

import { nameAfter } from "../model/renames.js";

export class NamedTable {
  #name;
  #end;

  /**
   * @param {import("../context.js").Context} context
   * @param {string} name as it is called now
   * @param {() => void} [renamed] called when it has another name
   */
  constructor(context, name, renamed = () => {}) {
    this.#name = name;
    this.#end = context.on("changes", ({ changes }) => {
      const before = this.#name;
      this.#name = nameAfter(changes, before);
      if (this.#name !== before) renamed();
    });
  }

  /** @returns {string} */
  get name() {
    return this.#name;
  }

  /** Follows it no longer. */
  end() {
    this.#end();
  }
}
