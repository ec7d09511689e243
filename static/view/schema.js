/** What a table is made of, on demand: columns, indexes, triggers and the statement itself. */

import { copyButton } from "./copy.js";
import { openDialog } from "./dialog.js";
import { element, nameElement } from "./element.js";

const HEADINGS = ["Column", "Type", "Key", "Required", "Default", "Notes"];

/**
 * Opens a dialog; it follows the schema as long as it is open.
 * @param {import("../context.js").Context} context
 * @param {string} table
 */
export function showSchema(context, table) {
  const asked = new AbortController();
  const stop = context.on("tables", () => fill());
  const { body } = openDialog(nameElement(table), {
    className: "schema-dialog",
    onClose: () => {
      asked.abort();
      stop();
    },
  });
  let newest = 0;
  const fill = async () => {
    const request = ++newest;
    body.classList.add("loading");
    let nodes;
    try {
      nodes = describe(await context.api.ask(["tables", table, "schema"], {}, asked));
    } catch (error) {
      if (error.name === "AbortError") return;
      nodes = [problem(error.message, fill)];
    }
    if (request !== newest) return; // the schema has changed again meanwhile
    body.classList.remove("loading");
    body.replaceChildren(...nodes);
  };
  fill();
}

function problem(sentence, again) {
  const button = element("button", "button small", "Try again");
  button.type = "button";
  button.addEventListener("click", again);
  const words = element("span", "", sentence);
  const made = element("div", "problem", words, button);
  made.setAttribute("role", "alert");
  return made;
}

function describe({ sql, without_rowid, strict, columns, objects }) {
  const kinds = [without_rowid && "WITHOUT ROWID", strict && "STRICT"].filter(Boolean);
  const badges = kinds.map((kind) => element("span", "badge", kind));
  const nodes = [columnTable(columns)];
  if (badges.length > 0) nodes.push(element("p", "badges", ...badges));
  nodes.push(element("h3", "", "Statement"), statement(sql, "the statement of the table"));
  for (const [object, heading] of [["index", "Indexes"], ["trigger", "Triggers"]]) {
    const those = objects.filter((other) => other.object === object);
    if (those.length > 0) nodes.push(element("h3", "", heading), ...those.map(objectNode));
  }
  return nodes;
}

function columnTable(columns) {
  const head = element("tr", "", ...HEADINGS.map((heading) => element("th", "", heading)));
  for (const cell of head.children) cell.scope = "col";
  const table = element("table", "plain-table", element("thead", "", head));
  table.append(element("tbody", "", ...columns.map(columnRow)));
  const held = element("div", "sideways", table);
  held.tabIndex = 0; // it scrolls where there is no room
  held.setAttribute("role", "region");
  held.setAttribute("aria-label", "Columns");
  return held;
}

function columnRow({ name, type, required, default: fallback, key, generated, collation }) {
  const notes = [
    generated && (typeof generated === "string" ? `generated, ${generated}` : "generated"),
    collation && collation.toUpperCase() !== "BINARY" && `collation ${collation}`,
  ];
  const heading = element("th", "", nameElement(name));
  heading.scope = "row";
  return element(
    "tr",
    "",
    heading,
    element("td", "mono", type ?? ""),
    element("td", "", key > 0 ? element("span", "badge", `key ${key}`) : ""),
    element("td", "", required ? "yes" : ""),
    element("td", "mono", fallback ?? ""),
    element("td", "note", notes.filter(Boolean).join(", ")),
  );
}

function objectNode({ object, name, sql }) {
  const summary = element("summary", "", nameElement(name));
  // SQLite makes some by itself, for keys and for UNIQUE.
  const made = sql
    ? statement(sql, `the statement of the ${object} ${name.slice(0, 200)}`)
    : element("p", "note", "Made by SQLite itself, for a key or for UNIQUE.");
  return element("details", "", summary, made);
}

function statement(sql, what) {
  const code = element("pre", "code", element("bdi", "", sql ?? ""));
  return element("div", "statement", code, copyButton(() => sql ?? "", what));
}
