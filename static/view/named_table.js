/** A table that something is open for, whatever it comes to be called meanwhile. */

import { nameAfter } from "../model/renames.js";

export class NamedTable {
  #name;
  #end;

  /** @param {import("../context.js").Context} context @param {string} name as it is called now */
  constructor(context, name) {
    this.#name = name;
    this.#end = context.on("changes", ({ changes }) => {
      this.#name = nameAfter(changes, this.#name);
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
