/** The time slider: the tables as they were at any moment that is kept. */

import { Moments } from "../model/moments.js";
import { clock, dated } from "../model/times.js";
import { counted } from "../model/values.js";
import { element } from "./element.js";

const MARKS = 200; // places of the slider
const MOST = 500; // changesets that can be had one by one
const REFRESH = 3_000; // ms between looks at the history while changes come
const DRAG = 90; // ms between moments while the slider is dragged

export class MomentBar {
  root = element("div", "moment");
  #context;
  #slider = element("input", "moment-slider");
  #back = button("◀", "Before this change");
  #forth = button("▶", "After the next change");
  #words = element("span", "moment-words");
  #since = element("span", "moment-since");
  #now = element("button", "button small", "Now");
  #moments = new Moments();
  #moment = null; // null is now
  #table = null;
  #stale = false;
  #asked = 0; // when the history was asked for last, ms
  #timer = null;
  #drag = null;
  #newer = 0;

  /** @param {import("../context.js").Context} context */
  constructor(context) {
    this.#context = context;
    this.#slider.type = "range";
    this.#slider.min = "0";
    this.#slider.id = "moment";
    this.#slider.setAttribute("aria-label", "Moment of the history");
    this.#back.id = "moment-back";
    this.#forth.id = "moment-forth";
    this.#now.id = "moment-now";
    this.#words.id = "moment-words";
    this.#since.id = "moment-since";
    this.#now.type = "button";
    const said = element("span", "moment-said", this.#words, this.#since);
    this.root.append(this.#back, this.#slider, this.#forth, said, this.#now);
    this.#listen();
    this.#draw();
  }

  #listen() {
    const context = this.#context;
    this.#now.addEventListener("click", () => this.#tell(null));
    this.#back.addEventListener("click", () => this.#step(-1));
    this.#forth.addEventListener("click", () => this.#step(1));
    this.#slider.addEventListener("input", () => this.#dragged());
    this.#slider.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      this.#step(step);
    });
    context.on("moment", ({ position, time = null }) => {
      if (position === this.#moment?.position) return;
      this.#moment = position === null ? null : { position, time };
      if (position === null) this.#newer = 0;
      this.#draw();
      if (position === null) this.#lookSoon();
    });
    context.on("chosen", ({ table }) => {
      this.#table = table;
      this.#moments = new Moments();
      this.#newer = 0;
      this.#look();
    });
    context.on("changes", ({ changes }) => this.#changed(changes));
    context.on("reset", () => this.#lookSoon());
    document.addEventListener("visibilitychange", () => this.#stale && this.#lookSoon());
    context.on("connection", ({ state }) => state === "live" && this.#lookSoon());
  }

  #changed(changes) {
    const own = changes.filter(({ table }) => table === this.#table).length;
    if (own === 0) return;
    if (this.#moment !== null) {
      this.#newer += own;
      this.#drawNewer();
    }
    this.#lookSoon();
  }

  #lookSoon() {
    this.#stale = true;
    if (this.#timer !== null || document.hidden) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      // The marks stay in their places while somebody moves between them.
      if (this.#moment === null && this.#drag === null) this.#look();
    }, Math.max(200, this.#asked + this.#pause - performance.now()));
  }

  // The first change is worth going back before at once.
  get #pause() {
    return this.#moments.changesets === 0 ? 0 : REFRESH;
  }

  async #look() {
    this.#stale = false;
    this.#asked = performance.now();
    const table = this.#table;
    const history = table === null ? null : await this.#ask({ marks: MARKS });
    if (table !== this.#table) return;
    if (history || this.#isGone) this.#moments = new Moments(history);
    this.#draw();
  }

  /** @returns {Promise<object | null>} null where it cannot be had: the slider stays as it is. */
  async #ask(parameters) {
    if (this.#isGone) return null;
    try {
      return await this.#context.api.ask(["history"], { ...parameters, table: this.#table });
    } catch (error) {
      if (error.name !== "Refused") throw error;
      return null; // where a moment is gone, the rows say so
    }
  }

  // The service knows the history of tables that are there.
  get #isGone() {
    return this.#table !== null && !this.#context.catalog.table(this.#table);
  }

  #dragged() {
    this.#drawWords(this.#moments.places[this.#slider.value], Number(this.#slider.value) === this.#moments.last);
    clearTimeout(this.#drag);
    this.#drag = setTimeout(() => {
      this.#drag = null;
      this.#go(Number(this.#slider.value));
    }, DRAG);
  }

  #go(index) {
    const { places, last } = this.#moments;
    this.#tell(index >= last ? null : places[index]);
  }

  #tell(moment) {
    this.#context.tell("moment", { position: moment?.position ?? null, time: moment?.time ?? null });
  }

  // By one changeset, even where only some are marked on the slider.
  async #step(by) {
    if (this.#stale && this.#moment === null) await this.#look();
    const { changesets, last, places } = this.#moments;
    const at = this.#moments.indexOf(this.#moment);
    const isMark = this.#moment === null || places[at]?.position === this.#moment.position;
    if (changesets === last && isMark) return this.#go(Math.max(0, Math.min(at + by, last)));
    const moment = by > 0 ? await this.#after(this.#moment) : await this.#before(this.#moment);
    if (moment !== undefined) this.#tell(moment);
    return undefined;
  }

  async #after(moment) {
    if (moment === null) return undefined;
    let to;
    for (;;) {
      const found = await this.#ask({ from: moment.position, to, marks: MOST });
      if (found === null) return undefined;
      if (found.changesets <= 1 && to === undefined) return null; // the next one is the newest
      if (found.changesets <= MOST || found.marks.length < 2) return found.marks[0];
      to = found.marks[0].position;
    }
  }

  async #before(moment) {
    let from;
    for (;;) {
      const found = await this.#ask({ from, to: moment?.position, marks: MOST });
      if (found === null) return undefined;
      const { marks, changesets, oldest } = found;
      const earlier = marks.filter(({ position }) => position !== moment?.position);
      // From now the newest changeset is the one to go back before.
      if (moment === null) earlier.pop();
      if (changesets <= MOST || earlier.length === 0) {
        return earlier.at(-1) ?? { position: from ?? oldest.position, time: null };
      }
      from = earlier.at(-1).position;
    }
  }

  #draw() {
    const { last, changesets } = this.#moments;
    // From the past one must be able to come back.
    this.root.hidden = this.#table === null || (this.#isGone && this.#moment === null);
    this.root.classList.toggle("past", this.#moment !== null);
    this.#slider.max = String(last);
    this.#slider.value = String(this.#moments.indexOf(this.#moment));
    const isFirst = this.#moment !== null && this.#moment.position === this.#moments.places[0]?.position;
    this.#back.disabled = changesets === 0 || isFirst;
    this.#slider.disabled = changesets === 0 && this.#moment === null;
    this.#forth.disabled = this.#now.disabled = this.#moment === null;
    this.#drawWords(this.#moment, this.#moment === null);
    this.#drawNewer();
  }

  #drawWords(moment, isNow) {
    const { changesets, began } = this.#moments;
    let words = changesets === 0 ? "Now · no changes to go back to yet" : `Now · ${counted(changesets, "changeset")} back${began ? ` to ${dated(began, new Date())}` : ""}`;
    if (!isNow && moment) {
      words = moment.time === null ? "Before the first change kept" : `As of ${dated(moment.time, new Date())}`;
    }
    this.#words.textContent = words;
    this.#words.title = moment?.position ?? "";
    this.#slider.setAttribute("aria-valuetext", words);
  }

  #drawNewer() {
    this.#since.hidden = this.#moment === null || this.#newer === 0;
    this.#since.textContent = `${counted(this.#newer, "change")} since`;
  }
}

/** Words for a moment, beside the name of a table. @param {{time: string | null}} moment */
export function asOf({ time }) {
  return time === null ? "as of the first state kept" : `as of ${clock(time)}`;
}

function button(sign, label) {
  const made = element("button", "icon-button", sign);
  made.type = "button";
  made.setAttribute("aria-label", label);
  made.title = label;
  return made;
}
