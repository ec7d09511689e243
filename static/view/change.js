/**
 * Elements for one change. Whatever comes from the database becomes text and nothing else, each
 * piece in a `<bdi>` of its own, so that its direction cannot disturb what stands around it.
 */

import { counted, read } from "../model/values.js";
import { element, nameElement, sentenceNodes } from "./element.js";

const MOST_FIELDS = 12; // columns shown at first

/**
 * @param {object} change as in a `changes` message
 * @param {import("../model/catalog.js").Catalog} catalog
 * @returns {HTMLElement}
 */
export function changeElement(change, catalog) {
  const what = element("p", "what", element("span", "op", change.op));
  what.append(" ", nameElement(change.table, "table"));
  const made = element("li", "change", what);
  made.dataset.op = change.op;
  if (change.op === "schema") {
    made.append(schemaElement(change));
    return made;
  }
  what.append(" ", keyElement(change.key, catalog.order(change.table, change.key)));
  made.append(fieldsElement(change, catalog));
  return made;
}

export function keyElement(key, columns) {
  const made = element("span", "key");
  for (const column of columns) {
    const name = column === "$rowid" ? element("span", "name", "rowid") : nameElement(column);
    made.append(element("span", "part", name, " ", ...valueNodes(key[column])), " ");
  }
  return made;
}

/** What a change did, column by column. @param {object} change @param {import("../model/catalog.js").Catalog} catalog @returns {HTMLElement} */
export function fieldsElement({ op, table, key, changed, before, after }, catalog) {
  const row = after ?? before;
  // The key stands in the line above, so an insert or a delete need not say it again.
  const columns =
    op === "update"
      ? changed
      : catalog.order(table, row).filter((column) => !Object.hasOwn(key, column));
  const field =
    op === "update"
      ? (column) => updateNodes(before[column], after[column])
      : (column) => valueNodes(row[column]);
  const list = element("dl", op === "update" ? "lines" : "flow");
  const show = (names) =>
    list.append(
      ...names.map((name) =>
        element("div", "field", element("dt", "", nameElement(name)), dd(field(name))),
      ),
    );
  show(columns.slice(0, MOST_FIELDS));
  const rest = columns.slice(MOST_FIELDS);
  if (rest.length > 0) {
    const button = moreButton(`Show ${counted(rest.length, "more column")}`);
    button.addEventListener("click", () => {
      button.parentElement.remove();
      show(rest);
    });
    list.append(element("div", "field", button));
  }
  return list;
}

function dd(nodes) {
  return element("dd", "", ...nodes);
}

function updateNodes(before, after) {
  const arrow = element("span", "arrow", "→");
  arrow.setAttribute("aria-label", "becomes");
  arrow.setAttribute("role", "img");
  return [
    element("del", "", ...valueNodes(before, after)),
    arrow,
    element("ins", "", ...valueNodes(after, before)),
  ];
}

export function valueNodes(value, other) {
  const reading = read(value, other);
  const text = element("bdi", "", reading.text);
  const shown = element("span", "value", text);
  shown.dataset.type = reading.type;
  const nodes = [shown];
  if (reading.note) nodes.push(" ", element("span", "note", reading.note));
  if (reading.full) nodes.push(" ", expander(shown, text, reading));
  if (reading.sha256) nodes.push(" ", largeLink(reading.sha256));
  return nodes;
}

/** A button that swaps the excerpt for the whole value and back. */
function expander(shown, text, reading) {
  const button = moreButton(reading.more);
  button.setAttribute("aria-expanded", "false");
  button.addEventListener("click", () => {
    const whole = shown.classList.toggle("whole");
    text.textContent = whole ? reading.full() : reading.text;
    button.textContent = whole ? "Show less" : reading.more;
    button.setAttribute("aria-expanded", String(whole));
  });
  return button;
}

function moreButton(label) {
  const button = element("button", "more", label);
  button.type = "button";
  return button;
}

function largeLink(sha256) {
  const link = element("a", "more", "Open the whole value");
  link.href = `values/${encodeURIComponent(sha256)}`;
  return link;
}

function schemaElement({ sentences, sql }) {
  const made = element("div", "schema");
  for (const sentence of sentences) made.append(element("p", "", ...sentenceNodes(sentence)));
  const statement = sql.after ?? sql.before;
  if (statement) {
    const details = element("details", "", element("summary", "", "SQL"));
    details.append(element("pre", "", element("bdi", "", statement)));
    made.append(details);
  }
  return made;
}
