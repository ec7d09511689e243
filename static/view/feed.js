/** The changesets as they come, newest first. */

import { explain, listed } from "../model/catalog.js";
import { Feed } from "../model/feed.js";
import { accepting, isOpen } from "../model/filter.js";
import { newest } from "../model/kept.js";
import { Renames, nameAfter } from "../model/renames.js";
import { counted } from "../model/values.js";
import { Refused } from "../api.js";
import { announce } from "./announce.js";
import { Condition } from "./condition.js";
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
  #where = null; // the connection that has a condition looked at
  #renames = new Renames();
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
      this.#renames.recall(entries);
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
    this.#rename(message);
    this.#all.add(message, this.#position);
    if (this.#wanted !== this.#all && this.#where === null) {
      this.#wanted.add(message, this.#position);
    }
    this.#view.changed();
  }

  /** A filter goes on with its table under the new name; what it has let through stays. */
  #rename(message) {
    this.#renames.add(message);
    const { table } = this.#form.filter;
    const present = nameAfter(message.changes, table);
    if (present === table) return;
    this.#form.follow(present);
    this.#where?.rename(message);
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
    else this.#wanted = isOpen(filter) ? this.#all : this.#all.filtered(this.#accepting(filter));
    this.#show();
  }

  #accepting(filter) {
    return accepting(filter, (table, position) => this.#renames.trace(table, position).name);
  }

  /** Has the service look at a condition. */
  #follow(filter) {
    const feed = (this.#wanted = new Feed(this.#accepting(filter)));
    if (filter.table === null) {
      this.#form.complain("Choose the table that the condition is about.");
      return;
    }
    // Under the name it has now the service knows the table only from its last rename on.
    const renamed = this.#renames.since(filter.table);
    const since = renamed && this.#renames.reaches(renamed, this.#reached) ? renamed : this.#reached;
    this.#where = new Condition(filter, feed, {
      url: this.#context.api.address([]),
      since,
      renames: this.#renames,
      onChange: () => this.#view.changed(),
      onRefused: (reason) => this.#wanted === feed && this.#form.complain(reason),
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
    const same = (change) =>
      this.#renames.trace(change.table, position).name === table &&
      JSON.stringify(change.key) === JSON.stringify(key);
    const wanted = key === undefined ? undefined : same;
    const find = () => {
      const entry = this.#wanted.at(position);
      return entry !== undefined && this.#view.find(entry, wanted);
    };
    if (!find() && this.#wanted !== this.#all && this.#all.at(position)) this.#form.clear();
    const sentence = find() ? "" : "That changeset is no longer held in this list.";
    this.#say(sentence);
    announce(sentence || "The changeset is in the list of changes.");
  }

  /** What the table of a change is called now. @returns {string | null} null where it is gone */
  #present(change, { position }) {
    const { name, gone } = this.#renames.trace(change.table, position);
    return gone || !this.#context.catalog.table(name) ? null : name;
  }

  #say(sentence) {
    byId("feed-says").textContent = sentence;
    byId("feed-says").hidden = sentence === "";
  }

  #act(button) {
    const shown = button && this.#view.shownBy(button);
    if (!shown) return;
    const { entry, change } = shown;
    this.#say("");
    if (button.value === "menu") this.#menu(entry, change, button);
    else this.#lead(button.value, change, this.#present(change, entry));
  }

  #menu(entry, change, button) {
    // The whole changeset may be held although the filter shows a part of it.
    const whole = this.#all.at(entry.position) ?? entry;
    const items = change
      ? changeMenu(this.#context, change, whole, this.#present(change, entry))
      : changesetMenu(this.#context, whole);
    openMenu(items, button, button);
  }

  #lead(where, { table: former, key }, table) {
    if (table === null) {
      const sentence = `The table ${former} is gone, and its rows with it.`;
      this.#say(sentence);
      announce(sentence);
    } else if (where === "reveal") this.#context.reveal(table, key);
    else this.#context.tell("versions", { table, key });
  }
}
