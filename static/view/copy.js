/** Copying texts, with a word on whether it worked. */

import { announce } from "./announce.js";
import { element } from "./element.js";

const SHOWN = 1_600; // ms for which a button says that it has copied

/**
 * @param {() => string | Promise<string>} text what to copy.
 * @param {string} what it is, for those who do not see where the button stands.
 * @param {string} [label]
 * @returns {HTMLButtonElement}
 */
export function copyButton(text, what, label = "Copy") {
  const button = element("button", "button small copy", label);
  button.type = "button";
  button.setAttribute("aria-label", `Copy ${what}`);
  let shown;
  button.addEventListener("click", async () => {
    const done = await copy(await text());
    button.textContent = done ? "Copied" : "Not allowed";
    announce(done ? "Copied." : "The browser does not allow copying.");
    clearTimeout(shown);
    shown = setTimeout(() => (button.textContent = label), SHOWN);
  });
  return button;
}

/** @param {string} text @returns {Promise<boolean>} whether the browser has allowed it. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyOldWay(text); // plain HTTP of another machine: no such thing as navigator.clipboard
  }
}

function copyOldWay(text) {
  const held = document.activeElement;
  const field = element("textarea", "visually-hidden");
  field.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(field); // a dialog holds the focus
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  held?.focus({ preventScroll: true });
  return done;
}
