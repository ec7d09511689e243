/** Dialogs over the page: one at a time, closed by Escape, its button or a click beside it. */

import { element } from "./element.js";

/**
 * @param {string | Node} title
 * @param {{className?: string, onClose?: () => void}} [options]
 * @returns {{root: HTMLDialogElement, body: HTMLElement, close: () => void}} opened and empty; what
 *   had the focus gets it back when it is closed.
 */
export function openDialog(title, { className = "", onClose } = {}) {
  const heading = element("h2", "", title);
  const close = element("button", "close", "×");
  close.type = "button";
  close.setAttribute("aria-label", "Close");
  const body = element("div", "dialog-body");
  const root = element("dialog", className, element("header", "", heading, close), body);
  heading.id = `dialog-${++opened}`;
  root.setAttribute("aria-labelledby", heading.id);
  close.addEventListener("click", () => root.close());
  root.addEventListener("click", (event) => {
    // Only what lies beside its content is the dialog itself; the second click of two may have been
    // meant for what the first one opened it from.
    if (event.target === root && event.detail < 2) root.close();
  });
  root.addEventListener("close", () => {
    root.remove();
    onClose?.();
  });
  document.body.append(root);
  root.showModal();
  return { root, body, close: () => root.close() };
}

let opened = 0;
