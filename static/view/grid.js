/** The rows of the chosen table. */

import { valueNodes } from "./change.js";
import { byId, element, nameElement } from "./element.js";

const ROWS = 100;

/** @param {import("../context.js").Context} context */
export function mount(context) {
  let asked = 0; // the newest request; answers to older ones are late
  const show = async () => {
    const request = ++asked;
    const table = context.chosen;
    byId("grid-name").replaceChildren(...(table === null ? [] : [nameElement(table)]));
    if (table === null) return byId("grid").replaceChildren();
    const page = await context.api.ask(["tables", table, "rows"], { limit: ROWS });
    if (request === asked) draw(context.catalog.table(table)?.columns ?? [], page.rows);
  };
  context.on("chosen", show);
  context.on("changes", ({ changes }) => {
    if (changes.some(({ table }) => table === context.chosen)) show();
  });
}

function draw(columns, rows) {
  const head = element("tr", "", ...columns.map((name) => element("th", "", nameElement(name))));
  const body = rows.map(({ row }) =>
    element("tr", "", ...columns.map((name) => element("td", "", ...valueNodes(row[name])))),
  );
  byId("grid").replaceChildren(element("thead", "", head), element("tbody", "", ...body));
}
