/** Changes per second over the last minutes by operation, and the tables they were in. */

import { OPS } from "../model/filter.js";
import { Rates } from "../model/rates.js";
import { seconds } from "../model/times.js";
import { counted } from "../model/values.js";
import { drawBars, pattern } from "./bars.js";
import { byId, element, nameElement } from "./element.js";

const BARS = 60;
const MINUTES = [1, 5, 15];
const BUSIEST = 5; // tables that are named
const EVERY = 1_000; // ms between two drawings
const TABLE_EVERY = 10_000; // ms between two of the table for screen readers
const SWATCH = 12; // CSS pixels

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

/** @param {import("../context.js").Context} context */
export function mount(context) {
  new Charts(context);
}

/** The charts on top of the feed. They are drawn once a second, and only while they are seen. */
class Charts {
  #context;
  #rates = new Rates();
  #minutes = 5;
  #bars = [];
  #chosen = null; // the bar that is read out
  #drawn = -Infinity; // when it was drawn last, by the monotonic clock
  #told = -Infinity; // when the hidden table was written last
  #due = false;
  #stale = false; // something came since it was drawn
  #parts = build();

  constructor(context) {
    this.#context = context;
    const { root, canvas, choices } = this.#parts;
    byId("charts").append(root);
    context.on("changes", (message) => this.#take(message));
    for (const choice of choices) choice.addEventListener("click", () => this.#look(choice.value));
    this.#listen(canvas);
    root.addEventListener("toggle", () => this.#soon());
    new ResizeObserver(() => this.#soon()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#soon());
    const observer = new MutationObserver(() => this.#soon());
    observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    setInterval(() => this.#tick(), EVERY);
    this.#soon();
  }

  #take({ time, changes }) {
    if (time === null || changes.length === 0) return;
    this.#rates.add(Math.floor(Date.parse(time) / 1_000), changes);
    this.#stale = true;
    if (performance.now() - this.#drawn >= EVERY) this.#soon();
  }

  #look(minutes) {
    this.#minutes = Number(minutes);
    this.#chosen = null;
    for (const choice of this.#parts.choices) {
      choice.setAttribute("aria-pressed", String(choice.value === minutes));
    }
    this.#told = -Infinity;
    this.#soon();
  }

  /** Time goes on even where nothing happens, until all has moved out of sight. */
  #tick() {
    const empty = this.#bars.every(({ total }) => total === 0);
    if (this.#stale || !empty) this.#soon();
  }

  #soon() {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      if (this.#parts.root.open) this.#draw();
    });
  }

  #draw() {
    const { canvas, empty, summary } = this.#parts;
    this.#drawn = performance.now();
    this.#stale = false;
    const span = this.#minutes * 60;
    const step = span / BARS;
    const now = Math.floor(this.#context.clock.server(Date.now()) / 1_000);
    this.#bars = this.#rates.bars(now, span, step);
    const total = this.#bars.reduce((sum, bar) => sum + bar.total, 0);
    const words = `the last ${this.#minutes === 1 ? "minute" : `${this.#minutes} minutes`}`;
    empty.textContent = total === 0 ? `No change in ${words}` : "";
    summary.textContent = total === 0 ? "" : counted(total, "change");
    const ago = `${this.#minutes} min ago`;
    drawBars(canvas, this.#bars, { step, chosen: this.#chosen, look: this.#colours(), ago });
    this.#legend();
    this.#busiest(now, span);
    this.#read(step);
    this.#tell(step);
  }

  /** The colours of the theme, as they have come out of its rules. */
  #colours() {
    const { legend, canvas, summary } = this.#parts;
    const own = getComputedStyle(canvas);
    return {
      colours: [...legend.children].map((item) => getComputedStyle(item.firstElementChild).color),
      line: own.borderTopColor,
      quiet: getComputedStyle(summary).color,
      ground: own.backgroundColor,
    };
  }

  #legend() {
    const { legend } = this.#parts;
    const { colours, ground } = this.#colours();
    const ratio = devicePixelRatio || 1;
    OPS.forEach((op, index) => {
      const [swatch, , count] = legend.children[index].children;
      swatch.width = swatch.height = SWATCH * ratio;
      const paint = swatch.getContext("2d");
      paint.scale(ratio, ratio);
      paint.fillStyle = pattern(paint, op, colours[index], ground, ratio);
      paint.fillRect(0, 0, SWATCH, SWATCH);
      const sum = this.#bars.reduce((all, { counts }) => all + counts[index], 0);
      count.textContent = number.format(sum);
      // A schema change is rare, and its place in the line is for those who see one.
      legend.children[index].hidden = op === "schema" && sum === 0;
    });
  }

  #busiest(now, span) {
    const { busiest } = this.#parts;
    const tables = this.#rates.busiest(now, span, BUSIEST);
    const most = tables[0]?.total ?? 1;
    while (busiest.children.length > tables.length) busiest.lastElementChild.remove();
    tables.forEach(({ table, total }, index) => {
      const item = busiest.children[index] ?? busiest.appendChild(this.#rank());
      const [button, bar, count] = item.children;
      if (item.table !== table) button.replaceChildren(nameElement((item.table = table)));
      bar.firstElementChild.style.width = `${(100 * total) / most}%`;
      count.textContent = number.format(total);
    });
  }

  #rank() {
    const button = element("button", "busy-name");
    button.type = "button";
    const bar = element("span", "busy-bar", element("span", ""));
    bar.setAttribute("aria-hidden", "true");
    const item = element("li", "", button, bar, element("span", "busy-count"));
    button.addEventListener("click", () => this.#context.choose(item.table));
    return item;
  }

  /** One bar in words: what the pointer is on, or the arrow keys have come to. */
  #read(step) {
    const { canvas, readout } = this.#parts;
    const bar = this.#bars[this.#chosen];
    const sentence = reading(bar ?? this.#bars.at(-1), step);
    readout.textContent = bar || this.#bars.some(({ total }) => total > 0) ? sentence : "";
    canvas.setAttribute("aria-valuenow", String((this.#chosen ?? BARS - 1) + 1));
    canvas.setAttribute("aria-valuetext", sentence);
  }

  #listen(canvas) {
    const at = (index) => {
      this.#chosen = index;
      this.#soon();
    };
    canvas.addEventListener("pointermove", ({ offsetX }) => {
      at(Math.max(0, Math.min(BARS - 1, Math.floor((offsetX / canvas.clientWidth) * BARS))));
    });
    canvas.addEventListener("pointerleave", () => at(null));
    canvas.addEventListener("blur", () => at(null));
    canvas.addEventListener("keydown", (event) => {
      const from = this.#chosen ?? BARS;
      const steps = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: BARS - 1 };
      if (!(event.key in steps)) return;
      event.preventDefault();
      at(Math.max(0, Math.min(BARS - 1, steps[event.key])));
    });
  }

  /** The same as figures, for who cannot see the drawing; written rarely, as it is read slowly. */
  #tell(step) {
    if (performance.now() - this.#told < TABLE_EVERY) return;
    this.#told = performance.now();
    const rows = this.#bars
      .filter(({ total }) => total > 0)
      .map((bar) => element("tr", "", ...[seconds(bar.from * 1_000), ...bar.counts.map(String)].map(cell)));
    this.#parts.body.replaceChildren(...rows);
    this.#parts.caption.textContent = `Changes in each ${step === 1 ? "second" : `${step} seconds`}`;
  }
}

function cell(text) {
  return element("td", "", text);
}

function reading({ from, counts, total }, step) {
  const span = step === 1 ? seconds(from * 1_000) : `${seconds(from * 1_000)}–${seconds((from + step) * 1_000).slice(-2)}`;
  if (total === 0) return `${span}: no change`;
  const parts = OPS.map((op, index) => [counts[index], op]).filter(([count]) => count > 0);
  const words = parts.map(([count, op]) => counted(count, op === "schema" ? "schema change" : op));
  return `${span}: ${words.join(", ")} · ${number.format(total / step)}/s`;
}

function build() {
  const summary = element("span", "note");
  const canvas = element("canvas", "bars");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "slider");
  canvas.setAttribute("aria-label", "Changes per second; arrow keys read them out");
  canvas.setAttribute("aria-valuemin", "1");
  canvas.setAttribute("aria-valuemax", String(BARS));
  const empty = element("p", "chart-empty note");
  const readout = element("p", "readout note");
  const choices = MINUTES.map((minutes) => choice(minutes));
  const segments = element("div", "segments", ...choices);
  segments.setAttribute("role", "group");
  segments.setAttribute("aria-label", "How far back");
  const legend = element("ul", "legend", ...OPS.map(legendItem));
  const busiest = element("ol", "busiest");
  busiest.setAttribute("aria-label", "Busiest tables");
  const body = element("tbody", "");
  const caption = element("caption", "");
  const names = ["Time", ...OPS].map((name) => element("th", "", name));
  for (const name of names) name.scope = "col";
  const table = element("table", "", caption, element("thead", "", element("tr", "", ...names)), body);
  const root = element("details", "charts", element("summary", "", element("span", "", "Activity"), summary));
  root.open = true;
  const plot = element("div", "plot", canvas, empty);
  root.append(segments, legend, plot, readout, busiest);
  root.append(element("div", "visually-hidden", table));
  return { root, canvas, empty, summary, readout, choices, legend, busiest, body, caption };
}

function legendItem(op) {
  const item = element("li", "", element("canvas", "swatch"), element("span", "", op), element("span", "legend-count"));
  item.dataset.op = op;
  return item;
}

function choice(minutes) {
  const button = element("button", "", `${minutes} min`);
  button.type = "button";
  button.value = String(minutes);
  button.setAttribute("aria-pressed", String(minutes === 5));
  return button;
}
