/** What can be done with a row, as a menu. */

import { element } from "./element.js";

/**
 * @typedef {object} MenuItem
 * @property {string} label
 * @property {() => void} action
 * @property {string} [hint] the key that does the same
 * @property {boolean} [danger]
 */

/**
 * Opens a menu.
 * @param {MenuItem[]} items
 * @param {{x: number, y: number}} place on the screen
 * @param {() => void} onClose gives the focus back, unless an item has taken it
 */
export function openMenu(items, { x, y }, onClose) {
  const root = element("div", "menu row-menu");
  root.popover = "auto";
  root.setAttribute("role", "menu");
  let acted = false;
  for (const { label, action, hint, danger } of items) {
    const item = element("button", danger ? "danger" : "", element("span", "", label));
    if (hint) item.append(element("kbd", "", hint));
    item.type = "button";
    item.setAttribute("role", "menuitem");
    item.addEventListener("click", () => {
      acted = true;
      root.hidePopover();
      action();
    });
    root.append(item);
  }
  root.addEventListener("toggle", ({ newState }) => {
    if (newState !== "closed") return;
    root.remove();
    if (!acted) onClose();
  });
  root.addEventListener("keydown", (event) => move(root, event));
  document.body.append(root);
  root.showPopover();
  const { width, height } = root.getBoundingClientRect();
  root.style.left = `${Math.max(8, Math.min(x, innerWidth - width - 8))}px`;
  root.style.top = `${Math.max(8, Math.min(y, innerHeight - height - 8))}px`;
  root.firstChild?.focus();
}

function move(root, event) {
  const items = [...root.children];
  const at = items.indexOf(document.activeElement);
  const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  items[(next + items.length) % items.length].focus();
}
