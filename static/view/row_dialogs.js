/** Adds rows and deletes them, after asking. */

import { typeFor } from "../model/cell_input.js";
import { openDialog } from "./dialog.js";
import { keyElement, valueNodes } from "./change.js";
import { element, nameElement } from "./element.js";
import { NamedTable } from "./named_table.js";
import { ValueField } from "./value_field.js";

/**
 * A form for a new row.
 * @param {import("../context.js").Context} context
 * @param {string} table
 */
export async function addRow(context, table) {
  const title = element("span", "", "Add a row to ", nameElement(table));
  const named = new NamedTable(context, table);
  const { root, body, close } = openDialog(title, { className: "row-dialog", onClose: () => named.end() });
  body.classList.add("loading");
  let schema;
  try {
    schema = await context.api.ask(["tables", table, "schema"]);
  } catch (error) {
    return body.append(element("p", "problem", error.message));
  } finally {
    body.classList.remove("loading");
  }
  const form = element("form", "row-form");
  form.id = "row-form";
  const fields = schema.columns.filter(({ generated }) => !generated).map((column) => [column.name, fieldOf(column, schema)]);
  for (const [name, { field, note }] of fields) {
    form.append(element("div", "row-field", element("span", "row-name", nameElement(name), " ", element("span", "note", note)), field.root));
  }
  const { said, send } = sender(root, "Add row");
  send.setAttribute("form", form.id);
  send.type = "submit";
  body.append(form);
  (fields.find(([, { isNeeded }]) => isNeeded) ?? fields[0])?.[1].field.focus();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const row = collect(fields);
    if (row === null) return;
    await sending(said, send, async () => {
      const made = await context.api.ask(["tables", named.name, "rows"], {}, { method: "POST", body: { row } });
      close();
      context.reveal(named.name, made.key);
    });
  });
  return undefined;
}

function fieldOf({ name, type, required, default: standard, key }, { columns, without_rowid: withoutRowid }) {
  const isRowid = key > 0 && /^integer$/i.test(type) && !withoutRowid && columns.filter((column) => column.key).length === 1;
  const hasDefault = standard !== null && standard !== undefined;
  const optional = isRowid || hasDefault;
  const words = [type, required && !isRowid ? "required" : "", isRowid ? "numbered by itself" : ""];
  if (hasDefault) words.push(`default ${standard}`);
  const value = optional || required ? undefined : null;
  const field = new ValueField(name, value, { offerDefault: optional, type: typeFor(type) });
  const isNeeded = required && !optional;
  return { field, isNeeded, note: words.filter(Boolean).join(", ") };
}

function collect(fields) {
  const row = {};
  let wrong = null;
  for (const [name, { field }] of fields) {
    const { value, problem } = field.read();
    if (problem) wrong ??= field;
    else if (value !== undefined) Object.defineProperty(row, name, { value, enumerable: true });
  }
  wrong?.focus();
  return wrong ? null : row;
}

/**
 * Asks whether a row is to be deleted, and deletes it.
 * @param {import("../context.js").Context} context
 * @param {string} table
 * @param {{key: object, row: object}} held as it is shown
 */
export function deleteRow(context, table, { key, row }) {
  const named = new NamedTable(context, table);
  const onClose = () => named.end();
  const { root, body, close } = openDialog("Delete this row?", { className: "narrow row-dialog", onClose });
  const columns = context.catalog.order(table, key);
  body.append(element("p", "", nameElement(table), " ", keyElement(key, columns)));
  const about = element("dl", "fields");
  body.append(about);
  fillFields(about, context, table, row);
  const { said, send } = sender(root, "Delete row", "danger");
  let seen = row;
  send.addEventListener("click", () =>
    sending(said, send, async () => {
      const options = { method: "DELETE", body: { seen } };
      await context.api.ask(["tables", named.name, "rows"], { key }, options);
      close();
    }, (now) => {
      seen = now;
      fillFields(about, context, table, now);
    }),
  );
  send.focus();
}

function fillFields(list, context, table, row) {
  const names = context.catalog.order(table, row).slice(0, 8);
  list.replaceChildren(
    ...names.flatMap((name) => [element("dt", "", nameElement(name)), element("dd", "", ...valueNodes(row[name]))]),
  );
}

function sender(root, label, kind = "primary") {
  const said = element("p", "editor-said");
  said.setAttribute("role", "alert");
  said.hidden = true;
  const send = element("button", `button ${kind}`, label);
  send.type = "button";
  root.append(element("footer", "", said, send));
  return { said, send };
}

async function sending(said, send, work, changed) {
  send.disabled = true;
  said.hidden = true;
  try {
    await work();
  } catch (error) {
    if (error.name !== "Refused") throw error;
    said.hidden = false;
    const isOther = error.status === 409 && error.body.row !== undefined;
    if (isOther && error.body.row === null) {
      said.textContent = "The row is gone already.";
      send.hidden = true;
    } else if (isOther && changed) {
      said.textContent = "The row was changed in the meantime; this is how it is now.";
      changed(error.body.row);
    } else said.replaceChildren(element("bdi", "", error.message));
    if (error.status === 503 || error.status === 0) send.textContent = "Try again";
  } finally {
    send.disabled = false;
  }
}
