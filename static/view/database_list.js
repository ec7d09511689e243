/** A list of databases with their states, and a mark where something happened since one looked. */

import { recall, remember } from "../memory.js";
import { element, nameElement } from "./element.js";
import { stateName } from "./states.js";

export class DatabaseList {
  #list;
  #root;
  #own;
  #drawn = "";

  /**
   * @param {HTMLElement} list an empty list.
   * @param {string} root path of the service, ending with a slash.
   * @param {string | null} own name of the database that is looked at.
   */
  constructor(list, root, own) {
    this.#list = list;
    this.#root = root;
    this.#own = own;
  }

  /** Remembers where a database stood when it was looked at. @param {string} name @param {string} position */
  looked(name, position) {
    remember("browser", this.#memory(name), position);
  }

  /** @param {{name: string, state: string, position: string | null}[]} databases */
  show(databases) {
    const states = databases.map(({ name, state, position }) => {
      const looked = recall("browser", this.#memory(name));
      const moved = name !== this.#own && looked !== undefined && position !== null && looked !== position;
      return { name, state, moved };
    });
    const drawn = JSON.stringify(states);
    if (drawn === this.#drawn) return; // what has the focus keeps it
    this.#drawn = drawn;
    const held = document.activeElement?.closest?.(".database-link")?.title;
    this.#list.replaceChildren(...states.map((state) => element("li", "", this.#link(state))));
    for (const { firstChild } of this.#list.children) if (firstChild.title === held) firstChild.focus();
  }

  #link({ name, state, moved }) {
    const mark = element("span", moved ? "unseen on" : "unseen");
    mark.setAttribute("aria-hidden", "true");
    const said = element("span", "visually-hidden", moved ? ", changed since you looked" : "");
    const dot = element("span", "dot");
    dot.setAttribute("aria-hidden", "true");
    const condition = element("span", "condition", dot, stateName(state));
    const link = element("a", "database-link", mark, nameElement(name), said, condition);
    condition.dataset.mood = state === "ok" ? "live" : state === "starting" ? "busy" : "attention";
    link.href = `${this.#root}db/${encodeURIComponent(name)}/`;
    link.title = name;
    if (name === this.#own) link.setAttribute("aria-current", "page");
    return link;
  }

  #memory(name) {
    return `looked:${this.#root}:${name}`;
  }
}
