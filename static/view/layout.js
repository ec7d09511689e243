/** Which parts are in sight where there is no room for all: the drawer of tables, and the tabs. */

import { byId } from "./element.js";

const PARTS = { tables: "sidebar", rows: "rows", changes: "news" };
const ONE_AT_A_TIME = matchMedia("(width < 56rem)");
const WITH_DRAWER = matchMedia("(width < 70rem)");

/**
 * Brings a part into sight and gives it the focus.
 * @param {"tables" | "rows" | "changes"} part
 */
export function goTo(part) {
  show(part);
  if (part !== "tables") byId(PARTS[part]).focus({ preventScroll: true });
  else byId("filter").focus({ preventScroll: true });
}

/** Brings a part into sight. @param {"tables" | "rows" | "changes"} part */
export function show(part) {
  document.body.dataset.part = part;
  for (const button of byId("tabs").children) {
    if (button.value === part) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  setDrawer(part === "tables" && WITH_DRAWER.matches && !ONE_AT_A_TIME.matches);
}

function setDrawer(open) {
  const button = byId("drawer-button");
  const held = byId("sidebar").contains(document.activeElement);
  document.body.dataset.drawer = open ? "open" : "closed";
  button.setAttribute("aria-expanded", String(open));
  if (!open && held && WITH_DRAWER.matches && !ONE_AT_A_TIME.matches) button.focus();
}

const isOpen = () => document.body.dataset.drawer === "open";

/** @param {import("../context.js").Context} context */
export function mount(context) {
  byId("tabs").addEventListener("click", ({ target }) => {
    const part = target.closest("button")?.value;
    if (part) show(part);
  });
  byId("drawer-button").addEventListener("click", () => {
    if (isOpen()) setDrawer(false);
    else goTo("tables");
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && isOpen()) setDrawer(false);
  });
  byId("parts").addEventListener("pointerdown", ({ target }) => {
    if (isOpen() && !byId("sidebar").contains(target)) setDrawer(false);
  });
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the fragment of the address is the chosen table
    goTo("rows");
  });
  for (const event of ["reveal", "moment"]) context.on(event, () => show("rows"));
  for (const event of ["versions", "recall"]) context.on(event, () => show("changes"));
}
