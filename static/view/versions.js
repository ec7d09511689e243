/** The history of one row, as far as the history reaches; it goes on while it is open. */

import { Refused } from "../api.js";
import { counted } from "../model/values.js";
import { copyChange } from "./copying.js";
import { fieldsElement, keyElement } from "./change.js";
import { openDialog } from "./dialog.js";
import { timeElement } from "./feed_list.js";
import { element, nameElement } from "./element.js";
import { NamedTable } from "./named_table.js";

const PAGE = 50; // versions in one answer
const MOST = 500; // versions shown
const REACHES = {
  birth: "Here the row was inserted.",
  history: "The history that is kept reaches no further back.",
};

/** @param {import("../context.js").Context} context */
export function mount(context) {
  context.on("versions", ({ table, key }) => new RowVersions(context, table, key));
}

/** The dialog with the versions of one row. */
class RowVersions {
  #context;
  #table;
  #key;
  #list = element("ol", "versions");
  #end = element("div", "versions-end");
  #dialog;
  #seen = new Set(); // positions of the versions that are there
  #open = []; // versions of a changeset whose last part has not come yet
  #fresh = []; // versions to be painted in the next frame
  #next = null;

  constructor(context, table, key) {
    this.#context = context;
    this.#key = key;
    const title = element("span");
    this.#table = new NamedTable(context, table, () => title.replaceChildren(...this.#titled()));
    title.append(...this.#titled());
    const endings = [
      () => this.#table.end(),
      context.on("changes", (message) => this.#take(message)),
      context.on("reset", ({ reason }) => this.#reset(reason)),
    ];
    this.#dialog = openDialog(title, {
      className: "versions-dialog",
      onClose: () => endings.forEach((end) => end()),
    });
    this.#list.setAttribute("aria-label", "Versions, newest first");
    this.#dialog.body.append(this.#list, this.#end);
    const show = button("button", "Show row", () => this.#leave(() => context.reveal(this.#table.name, key)));
    this.#dialog.root.append(element("footer", "", show));
    this.#older();
  }

  #titled() {
    const { name } = this.#table;
    const order = this.#context.catalog.order(name, this.#key);
    return ["History of ", nameElement(name), " ", keyElement(this.#key, order)];
  }

  async #older() {
    const [table, key, before] = [this.#table.name, this.#key, this.#next];
    this.#dialog.root.classList.add("loading");
    this.#say("Looking back…");
    try {
      const path = ["tables", table, "history"];
      const found = await this.#context.api.ask(path, { key, limit: PAGE, before });
      this.#next = found.next;
      const versions = found.versions.filter((version) => !this.#seen.has(version.position));
      this.#list.append(...versions.map((version) => this.#item(version)));
      this.#reached(found);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.#failed(error.message);
    } finally {
      this.#dialog.root.classList.remove("loading");
    }
  }

  #reached({ reaches, next }) {
    if (next !== null) {
      this.#end.replaceChildren(button("button", "Older versions", () => this.#older()));
      return;
    }
    const none = this.#list.childElementCount === 0;
    this.#say(none ? "Nothing has happened to this row as far as the history reaches." : REACHES[reaches] ?? "");
  }

  #failed(message) {
    const problem = element("p", "", message);
    const again = button("button small", "Try again", () => this.#older());
    const place = element("div", "problem", problem, again);
    place.setAttribute("role", "alert");
    this.#end.replaceChildren(place);
  }

  #say(sentence) {
    this.#end.replaceChildren(element("p", "note", sentence));
  }

  #take({ changes, position, time, commits, last }) {
    const key = JSON.stringify(this.#key);
    for (const change of changes) {
      if (change.table !== this.#table.name || change.op === "schema") continue;
      if (JSON.stringify(change.key) === key) this.#open.push({ ...change, time, commits });
    }
    if (!last || this.#open.length === 0) return;
    if (this.#fresh.length === 0) requestAnimationFrame(() => this.#paint());
    this.#fresh.push(...this.#open.splice(0).map((version) => ({ ...version, position })));
    this.#fresh.splice(0, this.#fresh.length - MOST);
  }

  #paint() {
    const fresh = this.#fresh.splice(0).filter(({ position }) => !this.#seen.has(position));
    for (const version of fresh) {
      const item = this.#item(version);
      item.classList.add("fresh");
      this.#list.prepend(item);
    }
    if (this.#list.childElementCount <= MOST) return;
    while (this.#list.childElementCount > MOST) {
      this.#seen.delete(this.#list.lastElementChild.dataset.position);
      this.#list.lastElementChild.remove();
    }
    this.#say(`Only the newest ${counted(MOST, "version")} are shown.`);
  }

  #reset(reason) {
    const words = reason === "replaced" ? "The database was replaced by another file." : "The stream began anew.";
    this.#list.prepend(element("li", "notice", element("p", "", `${words} What came before is below.`)));
  }

  #item(version) {
    this.#seen.add(version.position);
    const { op, position, time, commits } = version;
    const change = { ...version, table: this.#table.name, key: this.#key, changed: version.changed ?? [] };
    const kind = element("span", "op", op);
    const day = new Date(time);
    const head = element("div", "head", kind, timeElement(time));
    if (day.toDateString() !== new Date().toDateString()) head.append(day.toLocaleDateString());
    if (commits > 1) head.append(element("span", "merged", `${counted(commits, "commit")} merged`));
    head.append(element("code", "note", position), element("span", "space"));
    head.append(element("span", "version-acts", ...this.#acts(change, { position, time })));
    const item = element("li", "version", head, fieldsElement(change, this.#context.catalog));
    item.dataset.op = op;
    item.dataset.position = position;
    return item;
  }

  #acts(change, moment) {
    const { op, key, changed, before, after } = change;
    // By the name the table has when it is asked for.
    const bare = () => ({ op, table: this.#table.name, key, changed, before, after });
    const recall = () => ({ position: moment.position, table: this.#table.name, key });
    const context = this.#context;
    return [
      button("act", "As of here", () => this.#leave(() => context.tell("moment", moment))),
      button("act", "In the feed", () => this.#leave(() => context.tell("recall", recall()))),
      button("act", "Copy undo SQL", () => copyChange(context, bare(), "undo")),
    ];
  }

  #leave(then) {
    this.#dialog.close();
    then();
  }
}

function button(className, label, act) {
  const made = element("button", className, label);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}
