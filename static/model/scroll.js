/** Where the rows of a grid are that shows few of very many. Pure. */

/** Browsers end elements at 17 to 33 million pixels, and blur what is beyond 8 million. */
const TALLEST = 4_000_000; // px
const STEP = 2; // views; a scroll event of more than this is a jump, by the scrollbar or a key

/**
 * The slots of a grid: its rows by number, and between them rows that are gone but are still shown
 * for a moment.
 */
export class Slots {
  total = 0;
  /** In order; `at` is the number of the row before which it stands. @type {{at: number}[]} */
  gone = [];

  /** @returns {number} rows and gone ones together */
  get count() {
    return this.total + this.gone.length;
  }

  /** @param {number} index number of a row @returns {number} its slot */
  slotOf(index) {
    let before = 0;
    while (before < this.gone.length && this.gone[before].at <= index) before += 1;
    return index + before;
  }

  /** @param {number} slot @returns {{index: number, gone?: object}} the row there, or the next one */
  at(slot) {
    let before = 0;
    while (before < this.gone.length && this.gone[before].at + before < slot) before += 1;
    const gone = this.gone[before];
    if (gone && gone.at + before === slot) return { index: gone.at, gone };
    return { index: slot - before };
  }
}

/**
 * The vertical place of a grid. `top` is exact: pixels from the top of the first slot to the top
 * of the view. The element that scrolls may be less tall than all slots; small steps of it are
 * then taken as they are, jumps in proportion, and in rest the scrollbar is set right.
 */
export class Scroll {
  top = 0;
  #height; // of a slot
  #count = 0;
  #view = 0;
  #seen = 0; // where the element was when it was last looked at

  /** @param {number} height of a slot, px */
  constructor(height) {
    this.#height = height;
  }

  /** Height of the element inside the one that scrolls, px. */
  get extent() {
    return Math.min(this.#count * this.#height, TALLEST);
  }

  /** Height of the view, px. */
  get view() {
    return this.#view;
  }

  /** What is to be added to a place among the slots to have it inside the element, px. */
  get shift() {
    return this.#seen - this.top;
  }

  /** First slot that can be seen, and the one after the last. @returns {[number, number]} */
  get range() {
    const first = Math.min(Math.floor(this.top / this.#height), Math.max(0, this.#count - 1));
    const end = Math.ceil((this.top + this.#view) / this.#height);
    return [Math.max(0, first), Math.min(this.#count, end)];
  }

  /** @param {number} count slots @param {number} view height of the view, px */
  resize(count, view) {
    this.#count = count;
    this.#view = view;
    this.top = this.#clamped(this.top);
  }

  /**
   * The element was scrolled, or found elsewhere.
   * @param {number} place its `scrollTop` now
   * @returns {boolean} true if it is at an end where the rows are not, and has to be set right.
   */
  moved(place) {
    const step = place - this.#seen;
    if (step === 0) return false;
    const jump = Math.abs(step) > STEP * this.#view;
    this.top = this.#clamped(jump ? place * this.#scale() : this.top + step);
    this.#seen = place;
    const atEnd = place <= 0 || place >= this.#room(this.extent);
    return atEnd && Math.abs(this.place - place) > 1;
  }

  /** Where the element should be. Tell {@link settled} once it is there. */
  get place() {
    return this.top / this.#scale();
  }

  /** @param {number} place where the element is now; the rows stay where they are */
  settled(place) {
    this.#seen = place;
  }

  /** @param {number} top px */
  to(top) {
    this.top = this.#clamped(top);
  }

  /** Moves as little as needed to have a slot in the view whole. @param {number} slot */
  include(slot) {
    const start = slot * this.#height;
    const end = start + this.#height - this.#view;
    if (start < this.top || end > this.top) this.to(start < this.top ? start : end);
  }

  #scale() {
    const room = this.#room(this.extent);
    return room === 0 ? 1 : this.#room(this.#count * this.#height) / room;
  }

  #room(extent) {
    return Math.max(0, extent - this.#view);
  }

  #clamped(top) {
    return Math.max(0, Math.min(top, this.#room(this.#count * this.#height)));
  }
}
