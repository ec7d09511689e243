/** The tables of the database, one of which is looked at. */

import { byId, element, nameElement } from "./element.js";

/** @param {import("../context.js").Context} context */
export function mount(context) {
  const list = byId("tables");
  const mark = () => {
    for (const button of list.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.value === context.chosen));
    }
  };
  context.on("chosen", mark);
  context.on("tables", () => {
    const tables = context.catalog.tables;
    list.replaceChildren(...tables.map(({ name }) => element("li", "table-entry", tableButton(context, name))));
    if (!context.catalog.table(context.chosen)) context.choose(tables[0]?.name ?? null);
    mark();
  });
}

function tableButton(context, name) {
  const button = element("button", "table-button", nameElement(name));
  button.type = "button";
  button.value = name;
  button.addEventListener("click", () => context.choose(name));
  return button;
}
