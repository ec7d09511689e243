/** Menus that open at a button. */

import { element } from "./element.js";

/**
 * Opens a menu. Arrow keys move in it; Escape, a click beside it and a choice close it.
 * @param {HTMLElement} anchor the button it belongs to, which gets the focus back
 * @param {{label: string, act: () => void}[]} items
 */
export function openMenu(anchor, items) {
  const menu = element("div", "menu");
  menu.popover = "auto";
  menu.setAttribute("role", "menu");
  menu.append(...items.map((item) => itemElement(menu, item)));
  menu.addEventListener("keydown", (event) => move(menu, event));
  menu.addEventListener("toggle", ({ newState }) => {
    if (newState !== "closed") return;
    anchor.removeAttribute("aria-expanded");
    if (menu.contains(document.activeElement)) anchor.focus();
    menu.remove();
  });
  // What lies beside a modal dialog takes no clicks, though it be painted above it.
  (anchor.closest("dialog") ?? document.body).append(menu);
  menu.showPopover();
  anchor.setAttribute("aria-expanded", "true");
  place(menu, anchor);
  menu.firstElementChild.focus({ preventScroll: true });
}

function itemElement(menu, { label, act }) {
  const button = element("button", "", label);
  button.type = "button";
  button.setAttribute("role", "menuitem");
  button.addEventListener("click", () => {
    menu.hidePopover();
    act();
  });
  return button;
}

function place(menu, anchor) {
  const { left, right, top, bottom } = anchor.getBoundingClientRect();
  const { width, height } = menu.getBoundingClientRect();
  const below = bottom + height + 4 <= innerHeight;
  menu.style.position = "fixed";
  menu.style.inset = "auto";
  menu.style.left = `${Math.max(4, Math.min(right - width, innerWidth - width - 4))}px`;
  menu.style.top = `${below ? bottom + 4 : Math.max(4, top - height - 4)}px`;
  if (right < width) menu.style.left = `${Math.max(4, Math.min(left, innerWidth - width - 4))}px`;
}

function move(menu, event) {
  const items = [...menu.children];
  const at = items.indexOf(document.activeElement);
  const to = {
    ArrowDown: (at + 1) % items.length,
    ArrowUp: (at - 1 + items.length) % items.length,
    Home: 0,
    End: items.length - 1,
  }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  items[to].focus();
}
