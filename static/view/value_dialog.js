/** One value, whole: as text, as JSON in lines, or as bytes. */

import { dump, fileKind, fromBase64, toHex } from "../model/bytes.js";
import { pretty } from "../model/json.js";
import { clock } from "../model/times.js";
import { counted, read } from "../model/values.js";
import { keyElement } from "./change.js";
import { copyButton } from "./copy.js";
import { openDialog } from "./dialog.js";
import { element, nameElement } from "./element.js";

const SHOWN = 200_000; // characters of a text at first
const LINES = 512; // of a dump at first
const MOST_LINES = 65_536;

/**
 * Opens a dialog with the whole value.
 * @param {import("../context.js").Context} context
 * @param {unknown} value as on the wire; `$large` ones are fetched
 * @param {{table: string, column: string, key: object}} where it stands
 * @param {{was?: {value: unknown, time: string}, edit?: () => void}} [more] what it was before,
 *   and what a button to edit it does
 * @returns {void}
 */
export function showValue(context, value, { table, column, key }, { was, edit } = {}) {
  const title = element("span", "", nameElement(table), " · ", nameElement(column), " ");
  const names = Object.keys(key);
  title.append(element("span", "note", keyElement(key, context.catalog.table(table)?.key.length ? context.catalog.order(table, key) : names)));
  const { root, body, close } = openDialog(title, { className: "value-dialog wide" });
  const footer = element("footer", "");
  root.append(footer);
  if (edit) {
    footer.append(button("Edit", () => {
      close();
      edit();
    }));
  }
  show(context, value, body, footer);
  if (was) body.append(beforeElement(was));
}

function beforeElement({ value, time }) {
  const reading = read(value);
  const shown = element("span", "value", element("bdi", "", reading.text));
  shown.dataset.type = reading.type;
  return element("p", "note value-was", time ? `Before ${clock(time)}: ` : "Before: ", shown);
}

async function show(context, value, body, footer) {
  if (value?.$large) return showLarge(context, value.$large, body, footer);
  if (typeof value === "string") return showText(value, body, footer);
  if (typeof value?.$blob === "string") return showBytes(fromBase64(value.$blob), "Blob", body, footer);
  if (typeof value?.$text === "string") {
    return showBytes(fromBase64(value.$text), "Text that is not UTF-8", body, footer);
  }
  const { type, text } = read(value);
  const words = { null: "No value", integer: "Integer", real: "Real" };
  body.append(element("p", "note", words[type] ?? type));
  const shown = element("p", "value value-plain", element("bdi", "", text));
  shown.dataset.type = type;
  body.append(shown);
  if (value !== null) footer.append(copyButton(() => text, "the value"));
  return undefined;
}

async function showLarge(context, { type, bytes, sha256 }, body, footer) {
  const note = element("p", "note loading", `${type === "text" ? "Text" : "Blob"}, ${counted(bytes, "byte")}: fetching it…`);
  body.append(note);
  try {
    const content = await context.api.value({ $large: { type, sha256 } });
    note.remove();
    if (type === "text") showText(content, body, footer);
    else showBytes(content, "Blob", body, footer);
  } catch (error) {
    if (error.name !== "Refused") throw error;
    note.className = "problem";
    note.replaceChildren(error.message, button("Try again", () => {
      note.remove();
      showLarge(context, { type, bytes, sha256 }, body, footer);
    }));
  }
}

function showText(text, body, footer) {
  const laid = pretty(text);
  const lines = text === "" ? 0 : text.split("\n").length;
  const note = element("p", "note", `${laid ? "JSON in a text" : "Text"}, ${counted(text.length, "character")}, ${counted(lines, "line")}`);
  const shown = element("pre", "code value-text");
  shown.tabIndex = 0;
  const paint = (whole) => {
    shown.replaceChildren(element("bdi", "", whole.slice(0, SHOWN)));
    if (whole.length > SHOWN) shown.append(moreButton(whole, shown));
  };
  if (laid) note.append(" ", formSwitch({ "In lines": () => paint(laid), "As it is": () => paint(text) }));
  body.append(note, shown);
  paint(laid ?? text);
  footer.append(copyButton(() => text, "the text"), downloadButton(() => text, "value.txt", "text/plain"));
}

function moreButton(whole, shown) {
  const more = button(`Show all ${counted(whole.length, "character")}`, () => {
    shown.replaceChildren(element("bdi", "", whole));
  });
  more.className = "more";
  return more;
}

function showBytes(bytes, name, body, footer) {
  const kind = fileKind(bytes);
  const note = element("p", "note", `${name}, ${counted(bytes.length, "byte")}${kind ? `, looks like a ${kind.name}` : ""}`);
  const shown = element("pre", "code value-bytes");
  shown.tabIndex = 0;
  const paint = (lines) => {
    shown.textContent = dump(bytes, 0, lines);
    const left = bytes.length - lines * 16;
    if (left <= 0) return;
    const more = button(`Show ${lines < MOST_LINES ? "more" : "no more"}; ${counted(left, "byte")} left`, () => paint(lines * 8));
    more.className = "more";
    more.disabled = lines >= MOST_LINES;
    shown.append("\n", more);
  };
  paint(LINES);
  body.append(note, bytes.length ? shown : element("p", "note", "It is empty."));
  const file = `value.${kind?.extension ?? "bin"}`;
  footer.append(copyButton(() => toHex(bytes), "the bytes as hex", "Copy as hex"), downloadButton(() => bytes, file, "application/octet-stream"));
}

function formSwitch(forms) {
  const group = element("span", "segments");
  const buttons = Object.entries(forms).map(([name, show]) =>
    button(name, (event) => {
      for (const one of buttons) one.setAttribute("aria-pressed", String(one === event.currentTarget));
      show();
    }),
  );
  buttons.forEach((one, at) => {
    one.className = "";
    one.setAttribute("aria-pressed", String(at === 0));
  });
  group.append(...buttons);
  return group;
}

function button(label, action) {
  const made = element("button", "button", label);
  made.type = "button";
  made.addEventListener("click", action);
  return made;
}

function downloadButton(content, name, type) {
  return button("Download", () => {
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([content()], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  });
}
