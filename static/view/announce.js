/** The one live region of the page, so that parts do not talk over each other. */

import { byId } from "./element.js";

/** Says a sentence to screen readers, politely. @param {string} sentence */
export function announce(sentence) {
  byId("announcements").textContent = sentence;
}
