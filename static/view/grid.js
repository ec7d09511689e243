/** The rows of the chosen table, live. */

import { idOf } from "../model/live_rows.js";
import { RowWindow } from "../row_window.js";
import { PastRows } from "../past_rows.js";
import { PresentRows } from "../rows_source.js";
import { largeRows } from "../walked_rows.js";
import { byId, element, nameElement } from "./element.js";
import { GridBar } from "./grid_bar.js";
import { GridView } from "./grid_view.js";
import { MomentBar, asOf } from "./moment.js";
import { RowActions } from "./row_actions.js";

const STORM = 50; // changes a second that were not shown, from which they are counted in words
const DOUBLE_CLICK = 300; // ms between two clicks that are one double click
const CALM = 3_000; // ms after a storm for which its count is still shown

/** @param {import("../context.js").Context} context */
export function mount(context) {
  new Grid(context);
}

class Grid {
  #context;
  #bar;
  #view;
  #window;
  #actions;
  #empty = element("div", "empty grid-empty");
  #query = null;
  #offline = false;
  #present;
  #source; // of the rows shown
  #large = null; // source of the table's rows where it is too large for numbers
  #moment = null; // the moment shown, null for now

  constructor(context) {
    this.#context = context;
    this.#bar = new GridBar({ filter: (where) => this.#filter(where) });
    this.#view = new GridView({
      sort: (column) => this.#sort(column),
      open: (place, event) => this.#open(place, event),
      key: (event, place) => this.#actions.key(event, place),
      menu: (place, { clientX, clientY }) => this.#actions.menu(place, { x: clientX, y: clientY }),
      painted: () => this.#count(),
      marked: () => {
        this.#actions.update();
        this.#blank();
      },
    });
    this.#present = this.#source = new PresentRows(context.api);
    this.#window = new RowWindow(this.#present, {
      seen: () => this.#view.seen(),
      anchor: () => this.#view.top()?.key ?? null,
      hold: (change) => this.#view.hold(change),
      painted: () => this.#view.changed(),
      stated: () => this.#stated(),
      revealed: (key, index) => this.#revealed(key, index),
    });
    this.#actions = new RowActions(
      context,
      {
        table: () => this.#query?.table ?? null,
        writable: () => this.#writable,
        held: ({ index }) => this.#window.live.get(index),
        view: this.#view,
      },
      this.#bar.tools,
    );
    this.#view.show(this.#window);
    this.#empty.hidden = true;
    const [bar, ...lines] = this.#bar.root;
    const momentBar = new MomentBar(context);
    byId("rows").replaceChildren(bar, momentBar.root, this.#view.root, ...lines, this.#empty);
    this.#listen();
    setInterval(() => this.#countFolded(), 1_000);
    this.#choose(context.chosen);
  }

  #listen() {
    const context = this.#context;
    context.on("chosen", ({ table }) => this.#choose(table));
    context.on("tables", () => this.#redefine());
    context.on("changes", (message) => this.#window.follow(message, performance.now()));
    context.on("reveal", (row) => this.#reveal(row));
    context.on("moment", (moment) => this.#travel(moment));
    context.on("health", () => this.#actions.update());
    context.on("reset", () => this.#window.refresh());
    context.on("connection", ({ state }) => {
      if (state === "live" && this.#query) this.#window.refresh();
      // A try to connect is not yet a connection: until it is live nothing has changed.
      const offline = state === "waiting" || state === "closed" || (this.#offline && state !== "live");
      if (offline === this.#offline) return;
      this.#offline = offline;
      this.#stated();
    });
  }

  #choose(table) {
    this.#bar.name(table);
    this.#query = table === null ? null : { table, order: null, desc: false, where: null };
    this.#definition = table === null ? undefined : this.#context.catalog.table(table);
    this.#view.sorted(null, false);
    this.#view.define(this.#definition);
    this.#large = null;
    this.#source = this.#moment ? this.#past(null) : this.#present;
    this.#look();
    this.#view.rewind();
  }

  // Of a table without row numbers there is only one order, but conditions may leave few enough.
  get #now() {
    return this.#query.where === null ? (this.#large ?? this.#present) : this.#present;
  }

  // By number, rows can be had of a table that is not too large; by key of any.
  #walk() {
    this.#large = largeRows(this.#context.api);
    this.#source = this.#large;
    this.#query = { ...this.#query, order: null, desc: false };
    this.#view.sorted(null, false);
    this.#view.rewind();
    this.#look();
  }

  #past(begin) {
    return new PastRows(this.#context.api, this.#moment.position, begin);
  }

  // To another moment, beginning with the row that is topmost now.
  #travel({ position, time = null }) {
    if (position === (this.#moment?.position ?? null)) return;
    const shown = this.#moment ? this.#moment.time : new Date().toISOString();
    this.#moment = position === null ? null : { position, time };
    byId("rows").classList.toggle("in-past", this.#moment !== null);
    this.#bar.past(this.#moment && asOf(this.#moment));
    if (this.#query === null) return;
    const begin = this.#view.top()?.key ?? this.#source.begin ?? null;
    this.#source = this.#moment ? this.#past(begin) : this.#now;
    const order = this.#moment ? null : this.#query.order;
    this.#view.sorted(order, this.#query.desc);
    this.#look(this.#query.order === null ? (shown ?? "") : null);
    // Back in the present the rows before the first one shown are there again.
    if (!this.#moment && begin !== null) this.#window.reveal(begin);
  }

  // Of a table that is gone nothing is asked for.
  #look(time = null) {
    this.#window.open(this.#definition ? this.#query : null, this.#source, time);
  }

  // The past from the first row there was.
  #rewind() {
    this.#source = this.#past(null);
    this.#view.rewind();
    this.#look();
  }

  #definition = undefined;

  // Another definition of the same table: its columns may be others, its rows come again.
  #redefine() {
    if (this.#query === null) return;
    const definition = this.#context.catalog.table(this.#query.table);
    if (JSON.stringify(definition) === JSON.stringify(this.#definition)) return;
    this.#definition = definition;
    if (definition && !definition.columns.includes(this.#query.order)) {
      this.#query = { ...this.#query, order: null, desc: false };
    }
    this.#view.sorted(this.#query.order, this.#query.desc);
    this.#view.define(definition);
    this.#window.live.clear();
    this.#look();
    this.#stated();
  }

  #sort(column) {
    if (this.#moment) return this.#bar.say("Rows of the past come in the order of their key.", { mood: "quiet", passing: true });
    if (!this.#source.numbered) return this.#bar.say("This table is too large to be sorted.", { mood: "quiet", passing: true });
    const { order, desc } = this.#query;
    const next = { order: column.name, desc: false };
    if (column.isRowid || (order === column.name && desc)) next.order = null;
    else if (order === column.name) next.desc = true;
    this.#ask(next);
    this.#view.sorted(next.order, next.desc);
    return undefined;
  }

  #filter(where) {
    this.#ask({ where });
  }

  #ask(part) {
    if (this.#query === null) return;
    this.#query = { ...this.#query, ...part };
    this.#source = this.#moment ? this.#source : this.#now;
    this.#view.rewind();
    this.#look();
  }

  get #writable() {
    return Boolean(this.#context.health?.writes) && !this.#offline && !this.#moment && this.#definition !== undefined;
  }

  // Where a double click changes the value, a click waits whether it becomes one, and is forgotten
  // when anything else is done meanwhile.
  #open(place, event) {
    if (!this.#writable) return this.#actions.open(place);
    if (event.type === "dblclick") return this.#actions.edit(place);
    const { live } = this.#window;
    const id = live.get(place.index)?.id;
    const timer = setTimeout(() => {
      opening.abort();
      const index = id === undefined ? undefined : live.placeOf(id);
      if (index !== undefined) this.#actions.open({ ...place, index });
    }, DOUBLE_CLICK);
    const opening = new AbortController();
    opening.signal.addEventListener("abort", () => clearTimeout(timer));
    const once = { capture: true, signal: opening.signal };
    for (const type of ["pointerdown", "keydown"]) document.addEventListener(type, () => opening.abort(), once);
    return undefined;
  }

  #reveal({ table, key }) {
    if (this.#query?.table !== table) return;
    if (this.#moment) this.#context.tell("moment", { position: null });
    if (this.#query.where !== null) {
      this.#bar.name(table);
      this.#filter(null);
    }
    this.#window.reveal(key);
  }

  #revealed(key, index) {
    const numbered = this.#source.numbered;
    const sentence = numbered ? "This row is gone." : "This table is too large to go to a row that is not in sight.";
    if (index === undefined) this.#bar.say(sentence, { mood: "quiet", passing: true });
    else this.#view.reveal(index, idOf(key));
  }

  // Once a frame at most: in a storm that is much less often than something changes.
  #count() {
    const { state, live } = this.#window;
    const known = state.kind === "ready" || (state.kind === "failed" && live.size > 0);
    const { numbered, isWhole } = this.#source;
    const isOpen = !numbered && !isWhole;
    const total = numbered ? live.total : this.#source.known;
    this.#bar.count(known ? total : null, { filtered: !this.#moment && this.#query?.where !== null, isOpen });
    this.#blank();
  }

  #countedFolds = 0;
  #stormEnd = 0;
  #stormStart = 0;

  #countFolded() {
    const { folded } = this.#window.live;
    const now = performance.now();
    const inStorm = folded - this.#countedFolds >= STORM;
    if (inStorm) {
      if (now > this.#stormEnd) this.#stormStart = this.#countedFolds;
      this.#stormEnd = now + CALM;
    }
    this.#countedFolds = folded;
    this.#bar.folded(now < this.#stormEnd ? folded - this.#stormStart : 0);
  }

  #stated() {
    const { kind, progress, problem, again } = this.#window.state;
    if (kind === "failed" && problem.status === 422 && this.#isByKey) return this.#walk();
    const sorting = this.#query?.order || this.#query?.where;
    this.#bar.invalid(kind === "failed" && this.#query?.where !== null && problem.status === 422);
    this.#view.root.classList.toggle("loading", kind === "loading" || kind === "building");
    this.#view.root.setAttribute("aria-busy", String(kind === "loading" || kind === "building"));
    if (this.#offline) {
      const old = "Offline: these are the rows as they were when the connection was lost.";
      this.#bar.say(this.#window.live.size > 0 ? old : "Offline: the rows come when the service is back.", { mood: "quiet" });
    } else if (kind === "failed") {
      this.#bar.say(problem.message, { again: again ? () => this.#window.refresh(true) : undefined });
    } else if (kind === "building" && progress !== undefined) {
      const what = sorting ? "The rows are being sorted…" : "The rows are being counted…";
      this.#bar.say(what, { mood: "quiet", progress: `${Math.round(progress * 100)} %` });
    } else if (this.#source === this.#large) {
      this.#bar.say("This table is too large for row numbers: it is read page by page, by key.", { mood: "quiet" });
    } else if (this.#moment && this.#source.begin !== null) {
      this.#bar.say("The rows before these are not shown.", { mood: "quiet", again: () => this.#rewind(), label: "From the first row" });
    } else this.#bar.say(null);
    this.#actions.update();
    this.#view.changed();
    return undefined;
  }

  // Whether the rows are asked for by number although by their key alone they could be had, too.
  get #isByKey() {
    return this.#source === this.#present && this.#query.where === null && this.#query.order === null;
  }

  #blank() {
    const { state, live } = this.#window;
    const [headline, hint] = this.#words(state, live) ?? [];
    // To set what is set already would have the browser look at its style anew, in each frame.
    if (this.#empty.hidden !== (headline === undefined)) this.#empty.hidden = headline === undefined;
    if (headline === undefined) return;
    this.#empty.replaceChildren(element("p", "headline", ...headline), element("p", "hint", hint));
  }

  #words({ kind }, live) {
    if (this.#query === null) return [["No table is chosen"], "Choose one to see its rows, live."];
    if (!this.#definition) {
      return [["Table ", nameElement(this.#query.table), " is gone"], "It was dropped or renamed. Choose another one."];
    }
    if (kind !== "ready" || live.total > 0 || live.slots.gone.length > 0) return undefined;
    if (this.#moment) return [["No rows"], "The table was empty at this moment."];
    if (this.#query.where !== null) return [["No row fulfils the condition"], "Change or clear the filter above."];
    return [["No rows yet"], "A row that any program adds appears here at once."];
  }
}
