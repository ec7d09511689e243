/** Menus, at a button or at a point of the screen. */

import { element } from "./element.js";

const EDGE = 8; // CSS pixels to the edge of the window at least

/**
 * @typedef {object} MenuItem
 * @property {string} label
 * @property {() => void} act
 * @property {string} [hint] the key that does the same
 * @property {boolean} [danger]
 */

/**
 * Opens a menu. Arrow keys move in it; Escape, Tab, a click beside it and a choice close it.
 * @param {MenuItem[]} items
 * @param {HTMLElement | {x: number, y: number}} at the button it belongs to, or where it begins
 * @param {HTMLElement} owner gets the focus back, unless it is wanted elsewhere
 */
export function openMenu(items, at, owner) {
  const button = at instanceof HTMLElement ? at : null;
  const menu = element("div", "menu");
  menu.popover = "auto";
  menu.setAttribute("role", "menu");
  menu.append(...items.map((item) => itemElement(menu, item)));
  menu.addEventListener("keydown", (event) => move(menu, event));
  menu.addEventListener("toggle", ({ newState }) => {
    if (newState !== "closed") return;
    button?.setAttribute("aria-expanded", "false");
    const held = document.activeElement;
    if (held === document.body || menu.contains(held)) owner.focus();
    menu.remove();
  });
  // What lies beside a modal dialog takes no clicks, though it be painted above it.
  (owner.closest("dialog") ?? document.body).append(menu);
  menu.showPopover();
  button?.setAttribute("aria-expanded", "true");
  if (button) placeBeside(menu, button.getBoundingClientRect());
  else place(menu, at.x, at.y);
  menu.firstElementChild.focus({ preventScroll: true });
}

function itemElement(menu, { label, act, hint, danger }) {
  const item = element("button", danger ? "danger" : "", element("span", "", label));
  if (hint) item.append(element("kbd", "", hint));
  item.type = "button";
  item.tabIndex = -1; // Tab leaves the menu
  item.setAttribute("role", "menuitem");
  item.addEventListener("click", () => {
    menu.hidePopover();
    act();
  });
  return item;
}

// Below it, or above where there is no room; its right end at that of the button where it fits.
function placeBeside(menu, { left, right, top, bottom }) {
  const { width, height } = menu.getBoundingClientRect();
  const isBelow = bottom + 4 + height <= innerHeight - EDGE;
  place(menu, right < width ? left : right - width, isBelow ? bottom + 4 : top - height - 4);
}

function place(menu, left, top) {
  const { width, height } = menu.getBoundingClientRect();
  menu.style.left = `${Math.max(EDGE, Math.min(left, innerWidth - width - EDGE))}px`;
  menu.style.top = `${Math.max(EDGE, Math.min(top, innerHeight - height - EDGE))}px`;
}

function move(menu, event) {
  const items = [...menu.children];
  const at = items.indexOf(document.activeElement);
  if (event.key === "Tab") menu.hidePopover();
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
  event.stopPropagation(); // its keys are not those of the page
  if (to === undefined) return;
  event.preventDefault();
  items[(to + items.length) % items.length].focus();
}
