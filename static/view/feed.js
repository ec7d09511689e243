/** The changesets as they come, newest first. */

import { connect } from "../client.js";
import { Catalog, listed } from "../model/catalog.js";
import { Feed } from "../model/feed.js";
import { accepting, isOpen } from "../model/filter.js";
import { newest } from "../model/kept.js";
import { counted } from "../model/values.js";
import { Refused } from "../api.js";
import { announce } from "./announce.js";
import { changeMenu, changesetMenu } from "./feed_menu.js";
import { FilterForm, pauseButton } from "./feed_bar.js";
import { FeedView } from "./feed_list.js";
import * as charts from "./charts.js";
import * as versions from "./versions.js";
import { openMenu } from "./menu.js";
import { byId, sentenceNodes } from "./element.js";
import { resetSentence } from "./states.js";

/** @param {import("../context.js").Context} context */
export function mount(context) {
  new FeedPart(context);
  charts.mount(context);
  versions.mount(context);
}

/** The feed as a whole: what came, what of it is wanted, and what is said beside it. */
class FeedPart {
  #context;
  #all = new Feed(); // whatever the filter is
  #wanted = this.#all; // what the filter leaves of it; the same where nothing is filtered
  #where = null; // the connection that has a condition looked at, see `#follow`
  #view;
  #form;
  #position = null; // where the stream stands
  #reached = null; // from where on it is held here
  #pausedAt = null; // how many changes had come when it was paused; null while it runs

  constructor(context) {
    this.#context = context;
    this.#view = new FeedView(this.#all, context.catalog, () => this.#figures());
    this.#form = new FilterForm((filter) => this.#choose(filter));
    pauseButton(() => this.#pause(this.#pausedAt === null));
    context.on("hello", (message) => this.#greet(message));
    context.on("tables", () => this.#form.setTables(context.catalog.tables.map(({ name }) => name)));
    context.on("changes", (message) => this.#take(message));
    context.on("reset", ({ reason }) => this.#reset(reason));
    context.on("position", ({ position }) => (this.#position = position));
    context.on("recall", (wanted) => this.#recall(wanted));
    byId("feed").addEventListener("click", (event) => this.#act(event.target.closest(".act")));
  }

  #greet({ tables, position }) {
    const names = tables.map((table) => table.name);
    const sentence = names.length
      ? ["Watching ", ...listed(names, "table"), "."]
      : ["The database has no tables yet."];
    byId("watching").replaceChildren(...sentenceNodes(sentence));
    if (this.#position !== null) return;
    this.#position = this.#reached = position;
    this.#lookBack(position);
  }

  /** What happened before the page was opened. */
  async #lookBack(position) {
    try {
      const { entries, since } = await newest((...asked) => this.#context.api.ask(...asked), position);
      explain(entries);
      this.#all.recall(entries, "This page was opened.");
      this.#reached = since;
      if (this.#wanted !== this.#all) this.#choose(this.#form.filter);
    } catch (error) {
      // Without it the feed begins at the present, which is no fault of what is shown.
      if (!(error instanceof Refused)) throw error;
    }
    this.#view.changed();
  }

  #take(message) {
    this.#all.add(message, this.#position);
    if (this.#wanted !== this.#all && this.#where === null) {
      this.#wanted.add(message, this.#position);
    }
    this.#view.changed();
  }

  #reset(reason) {
    const text = resetSentence(reason);
    this.#all.notice(text);
    // A connection of its own is told by itself.
    if (this.#wanted !== this.#all && this.#where === null) this.#wanted.notice(text);
    this.#view.changed();
  }

  #choose(filter) {
    this.#where?.close();
    this.#where = null;
    this.#form.complain("");
    if (filter.where !== "") this.#follow(filter);
    else this.#wanted = isOpen(filter) ? this.#all : this.#all.filtered(accepting(filter));
    this.#show();
  }

  /** Has the service look at a condition: what it means is known only where SQLite is. */
  #follow(filter) {
    this.#wanted = new Feed(accepting(filter));
    if (filter.table === null) {
      this.#form.complain("Choose the table that the condition is about.");
      return;
    }
    const [feed, catalog] = [this.#wanted, new Catalog()];
    let before = this.#reached;
    this.#where = connect({
      url: this.#context.api.address([]),
      tables: [filter.table],
      where: filter.where,
      since: this.#reached,
      onChanges: (message) => {
        explain([{ rows: message.changes }], catalog);
        feed.add(message, before);
        for (const entry of feed.entries) entry.partial = true;
        this.#view.changed();
      },
      onReset: ({ reason }) => {
        feed.notice(resetSentence(reason));
        this.#view.changed();
      },
      onPosition: ({ position }) => (before = position),
      onConnection: ({ state, reason }) => {
        if (state === "closed" && this.#wanted === feed && reason) this.#form.complain(reason);
      },
    });
  }

  #show() {
    if (this.#pausedAt !== null) this.#pausedAt = this.#wanted.total;
    this.#view.show(this.#wanted);
  }

  #pause(paused) {
    this.#pausedAt = paused ? this.#wanted.total : null;
    this.#view.frozen = paused;
    byId("pause").setAttribute("aria-pressed", String(paused));
    announce(paused ? "The list of changes is paused." : "The list of changes goes on.");
  }

  #figures() {
    const { total, commits, uncounted } = this.#all;
    const { older, entries } = this.#wanted;
    const filtered = this.#wanted !== this.#all;
    byId("waiting").hidden = this.#all.entries.length > 0;
    byId("no-match").hidden = !filtered || entries.some(({ kind }) => kind === "changeset");
    byId("changes").textContent = counted(total, "change");
    byId("commits").textContent = (uncounted ? "at least " : "") + counted(commits, "commit");
    byId("figures").hidden = total === 0;
    byId("figures").title = "Since this page was opened";
    byId("older").hidden = older === 0;
    byId("older").textContent = `${counted(older, "older change")} no longer shown`;
    const waiting = this.#pausedAt === null ? 0 : this.#wanted.total - this.#pausedAt;
    const paused = waiting > 0 ? `Resume · ${counted(waiting, "change")} waiting` : "Resume";
    byId("pause").textContent = this.#pausedAt === null ? "Pause" : paused;
  }

  #recall({ position, table, key }) {
    const same = (change) => change.table === table && JSON.stringify(change.key) === JSON.stringify(key);
    const wanted = key === undefined ? undefined : same;
    const find = () => {
      const entry = this.#wanted.at(position);
      return entry !== undefined && this.#view.find(entry, wanted);
    };
    if (!find() && this.#wanted !== this.#all && this.#all.at(position)) this.#form.clear();
    const sentence = find() ? "" : "That changeset is no longer held in this list.";
    byId("feed-says").textContent = sentence;
    byId("feed-says").hidden = sentence === "";
    announce(sentence || "The changeset is in the list of changes.");
  }

  #act(button) {
    const shown = button && this.#view.shownBy(button);
    if (!shown) return;
    const { entry, change } = shown;
    if (button.value === "reveal") this.#context.reveal(change.table, change.key);
    else if (button.value === "versions") this.#context.tell("versions", { table: change.table, key: change.key });
    else {
      // The whole changeset may be held although the filter shows a part of it.
      const whole = this.#all.at(entry.position) ?? entry;
      const items = change ? changeMenu(this.#context, change, whole) : changesetMenu(this.#context, whole);
      openMenu(items, button, button);
    }
  }
}

/** Puts schema changes into words, without knowledge of what the tables were before. */
function explain(entries, catalog = new Catalog()) {
  for (const { rows } of entries) {
    for (const change of rows.filter(({ op }) => op === "schema")) {
      change.sentences = catalog.explain(change);
    }
  }
}
