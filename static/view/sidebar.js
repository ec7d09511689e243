/** The tables of the database, one of which is looked at. */

import { recall, remember } from "../memory.js";
import { Activity } from "../model/activity.js";
import { nameAfter } from "../model/renames.js";
import { counted } from "../model/values.js";
import { announce } from "./announce.js";
import { byId, nameElement } from "./element.js";
import { show } from "./layout.js";
import { showSchema } from "./schema.js";
import { TableEntry } from "./table_entry.js";
import { navigate } from "./table_list.js";

const BUCKETS = 24;
const BUCKET_SECONDS = 5;
const BETWEEN_COUNTS = 1_000; // ms
const UNSEEN = `unseen:${new URL(document.baseURI).pathname}`;

class Sidebar {
  #context;
  #entries = new Map();
  #activity = new Activity(BUCKETS, BUCKET_SECONDS);
  #unseen = new Map(recall("tab", UNSEEN));
  #counting = null; // timer of the next request, null where nothing is to be asked
  #lastCount = -Infinity;
  #isLive = false;

  /** @param {import("../context.js").Context} context */
  constructor(context) {
    this.#context = context;
    setInterval(() => this.#draw(), 1_000);
    navigate(byId("tables"), byId("filter"), {
      entries: () => [...this.#entries.values()],
      onFilter: () => this.#filter(),
      onEnter: (name) => this.#choose(name),
    });
    byId("tables").addEventListener("click", ({ target }) => this.#click(target));
    document.addEventListener("visibilitychange", () => this.#returned());
  }

  /** The tables are others, or in another order. */
  replace() {
    const { tables } = this.#context.catalog;
    const old = this.#entries;
    this.#entries = new Map(
      tables.map(({ name }) => [name, old.get(name) ?? new TableEntry(name, BUCKETS)]),
    );
    const roots = [...this.#entries.values()].map(({ root }) => root);
    const list = byId("tables");
    const held = document.activeElement;
    if (roots.length !== list.children.length || roots.some((root, at) => root !== list.children[at])) {
      list.replaceChildren(...roots);
      if (list.contains(held)) held.focus({ preventScroll: true });
    }
    list.setAttribute("aria-busy", "false");
    this.#activity.keep(this.#entries.keys());
    for (const name of this.#unseen.keys()) if (!this.#entries.has(name)) this.#unseen.delete(name);
    for (const [name, entry] of this.#entries) entry.unseen(this.#unseen.get(name) ?? 0);
    this.#markChosen();
    this.#filter();
    this.#count();
  }

  /** @param {object} message of type `changes` */
  changed({ changes, time }) {
    const tallies = new Map();
    for (const { table } of changes) tallies.set(table, (tallies.get(table) ?? 0) + 1);
    const at = Date.parse(time) / 1_000;
    const looked = document.visibilityState === "visible" ? this.#context.chosen : null;
    for (const [table, count] of tallies) {
      const entry = this.#entries.get(table);
      if (!entry) continue;
      this.#activity.add(table, at, count);
      if (table !== looked) this.#setUnseen(table, (this.#unseen.get(table) ?? 0) + count);
    }
    if (tallies.size > 0) this.#count();
  }

  /** Another table is looked at. @param {string | null} table */
  chosen(table) {
    if (table !== null) this.#setUnseen(table, 0);
    this.#markChosen();
  }

  /** @param {import("../client.js").ConnectionState} connection */
  connection({ state }) {
    this.#isLive = state === "live";
    if (this.#isLive) this.#count();
    const isAway = state === "waiting" || state === "closed";
    byId("sidebar").dataset.stale = String(isAway);
    if (isAway && this.#entries.size === 0) {
      byId("tables").setAttribute("aria-busy", "false");
      this.#note("The tables cannot be had while the service is away.");
    }
  }

  #markChosen() {
    const { chosen } = this.#context;
    const held = byId("tables").contains(document.activeElement);
    const first = this.#entries.has(chosen) ? chosen : this.#entries.keys().next().value;
    for (const [name, entry] of this.#entries) {
      entry.chosen = name === chosen;
      if (!held) entry.reachable = name === first;
    }
    this.#entries.get(chosen)?.root.scrollIntoView?.({ block: "nearest" });
  }

  #setUnseen(table, count) {
    if ((this.#unseen.get(table) ?? 0) === count) return;
    if (count === 0) this.#unseen.delete(table);
    else this.#unseen.set(table, count);
    this.#entries.get(table)?.unseen(count);
  }

  #returned() {
    if (document.visibilityState === "hidden") {
      remember("tab", UNSEEN, [...this.#unseen]);
      return;
    }
    if (this.#context.chosen !== null) this.#setUnseen(this.#context.chosen, 0);
    this.#draw();
    this.#count();
  }

  #click(target) {
    const button = target.closest("button");
    const name = button?.closest("li")?.querySelector(".table-button").value;
    if (name === undefined) return;
    if (button.classList.contains("schema-button")) showSchema(this.#context, name);
    else this.#choose(name);
  }

  #choose(name) {
    this.#context.choose(name);
    show("rows");
  }

  #filter() {
    const wanted = byId("filter").value.trim().toLowerCase();
    let shown = 0;
    for (const [name, { root }] of this.#entries) {
      root.hidden = !name.toLowerCase().includes(wanted);
      shown += root.hidden ? 0 : 1;
    }
    if (this.#entries.size === 0) this.#note("The database has no tables yet.");
    else if (shown === 0) this.#note("No table has ", nameElement(wanted), " in its name.");
    else this.#note();
    if (wanted !== "") announce(counted(shown, "table"));
  }

  #note(...words) {
    byId("tables-note").hidden = words.length === 0;
    byId("tables-note").replaceChildren(...words);
  }

  #draw() {
    if (document.visibilityState === "hidden") return;
    const now = this.#context.clock.server(Date.now()) / 1_000;
    for (const [name, entry] of this.#entries) entry.trace(this.#activity.series(name, now));
    remember("tab", UNSEEN, [...this.#unseen]);
  }

  /** Asks for the numbers of rows: soon, but at most once a second, and not for nobody. */
  #count() {
    if (this.#counting !== null || !this.#isLive || document.visibilityState === "hidden") return;
    const wait = Math.max(0, this.#lastCount + BETWEEN_COUNTS - performance.now());
    this.#counting = setTimeout(async () => {
      const uncounted = this.#isLive && (await this.#fetchCounts());
      this.#lastCount = performance.now();
      this.#counting = null;
      if (uncounted) this.#count();
    }, wait);
  }

  async #fetchCounts() {
    let tables;
    try {
      tables = await this.#context.api.ask(["tables"]);
    } catch {
      return false; // the numbers stay as they are; the connection says what is wrong
    }
    for (const { name, rows } of tables) this.#entries.get(name)?.rows(rows);
    return tables.some(({ rows }) => rows === null || rows?.exact === false);
  }
}

/** The table the address names. @returns {string | null} */
function addressed() {
  return new URLSearchParams(location.hash.slice(1)).get("table");
}

/**
 * Keeps the chosen table in the address, so that a reload, a link and "back" find it.
 * @param {import("../context.js").Context} context
 * @returns {(table: string | null) => void} chooses where the user has not: nothing to go back to.
 */
function followAddress(context) {
  let byItself = false;
  addEventListener("popstate", () => {
    const table = addressed();
    if (table !== null && context.catalog.table(table)) context.choose(table);
  });
  context.on("chosen", ({ table }) => {
    if (table === addressed()) return;
    const url = new URL(location.href);
    url.hash = table === null ? "" : String(new URLSearchParams({ table }));
    if (byItself) history.replaceState(null, "", url);
    else history.pushState(null, "", url);
  });
  return (table) => {
    byItself = true;
    context.choose(table);
    byItself = false;
  };
}

/** @param {import("../context.js").Context} context */
export function mount(context) {
  const sidebar = new Sidebar(context);
  const chooseQuietly = followAddress(context);
  let wasGone = false;
  context.on("tables", () => {
    sidebar.replace();
    const { catalog, chosen } = context;
    const isGone = chosen !== null && !catalog.table(chosen);
    if (isGone && !wasGone) announce(`Table ${chosen} is gone.`);
    wasGone = isGone;
    // Who looks at a table that goes is told so, and not led to another one.
    if (chosen !== null) return;
    const table = addressed();
    chooseQuietly(catalog.table(table) ? table : (catalog.tables[0]?.name ?? null));
  });
  context.on("chosen", ({ table }) => {
    wasGone = false;
    sidebar.chosen(table);
  });
  context.on("connection", (state) => sidebar.connection(state));
  context.on("changes", (message) => {
    sidebar.changed(message);
    // Whoever looks at a table goes on looking at it under its new name.
    const table = nameAfter(message.changes, context.chosen);
    if (table !== context.chosen) chooseQuietly(table);
  });
}
