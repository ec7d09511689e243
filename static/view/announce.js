/** The one live region of the page, so that parts do not talk over each other. */

import { byId } from "./element.js";

const BETWEEN = 1_500; // ms between two sentences: a screen reader has to get to its end
const MOST_WAITING = 3; // of the sentences that wait, the newest

let waiting = [];
let last = -Infinity;
let timer = null;

/**
 * Says a sentence to screen readers, when what they say has come to its end. In a storm of them
 * only the newest are said.
 * @param {string} sentence
 */
export function announce(sentence) {
  waiting = [...waiting.filter((other) => other !== sentence), sentence].slice(-MOST_WAITING);
  if (timer === null) speak();
}

function speak() {
  timer = null;
  if (waiting.length === 0) return;
  const wait = last + BETWEEN - performance.now();
  if (wait > 0) {
    timer = setTimeout(speak, wait);
    return;
  }
  last = performance.now();
  byId("announcements").textContent = waiting.shift();
  timer = setTimeout(speak, BETWEEN);
}
