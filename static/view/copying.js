/** Changes for the clipboard: as JSON, as SQL that repeats them, as SQL that undoes them. */

import { Refused } from "../api.js";
import { changesOf } from "../model/kept.js";
import { counted } from "../model/values.js";
import { jsonOf } from "../model/json.js";
import { repeatSql, undoSql } from "../model/sql.js";
import { announce } from "./announce.js";
import { copy } from "./copy.js";
import { openDialog } from "./dialog.js";
import { element } from "./element.js";

const MOST_LARGE = 32 * 2 ** 20; // bytes of large values in one text
const BAIL = "Run it as one: sqlite3 -bail stops at the first error, and nothing is changed.";
const LATER = "Rows that were changed again since then stay as they are.";

/** @typedef {"json" | "repeat" | "undo"} Form */

/**
 * Copies a changeset with all its changes, also those that are not shown.
 * @param {import("../context.js").Context} context
 * @param {import("../model/feed.js").Entry} entry
 * @param {Form} form
 */
export async function copyChangeset(context, entry, form) {
  const { position, time, commits } = entry;
  await copying(async () => {
    const { changes, whole } = await everything(context, entry);
    const total = entry.rows.length + entry.hidden;
    const missing = whole
      ? []
      : [`Only ${counted(changes.length, "change")} of at least ${total} are in it: the others are not held.`];
    if (form === "json") return jsonOf({ position, time, commits, whole, changes });
    const what = `the changeset of ${time} (position ${position}): ${counted(changes.length, "change")}`;
    return written(context, changes, form, what, missing);
  });
}

/**
 * Copies one change.
 * @param {import("../context.js").Context} context
 * @param {object} change
 * @param {Form} form
 */
export async function copyChange(context, change, form) {
  await copying(async () => {
    if (form === "json") return jsonOf(bare(change));
    const what = `one ${change.op} in ${JSON.stringify(change.table)}`;
    return written(context, [change], form, what, []);
  });
}

function written(context, changes, form, what, notes) {
  const source = sourceOf(context);
  return form === "undo"
    ? undoSql(changes, source, [`Undoes ${what}.`, LATER, BAIL, ...notes])
    : repeatSql(changes, source, [`Repeats ${what}.`, BAIL, ...notes]);
}

async function everything(context, entry) {
  const held = { changes: entry.rows.map(bare), whole: false };
  if (entry.hidden === 0 && !entry.partial) return { ...held, whole: true };
  try {
    const kept = await changesOf((...asked) => context.api.ask(...asked), entry);
    return kept.changes.length >= held.changes.length ? kept : held;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return held; // it has fallen off the history
  }
}

/** As it came: without the words the page has put to it. */
function bare({ sentences, ...change }) {
  return change;
}

function sourceOf(context) {
  let bytes = 0;
  return {
    async schema(table) {
      if (!context.catalog.table(table)) return null; // it is gone
      try {
        return await context.api.ask(["tables", table, "schema"]);
      } catch (error) {
        // Without it, what SQLite works out by itself could not be told from what is set.
        if (!(error instanceof Refused) || error.status !== 404) throw error;
        return null; // it has gone just now
      }
    },
    async value({ $large }) {
      bytes += $large.bytes;
      if (bytes > MOST_LARGE) throw new Refused(422, { detail: "Its values are too large to be copied." });
      return context.api.value({ $large });
    },
  };
}

async function copying(make) {
  try {
    await toClipboard(await make());
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    say(error.message);
  }
}

/** Where the browser says no, the text is there to be taken by hand. */
async function toClipboard(text) {
  if (await copy(text)) say("Copied.");
  else showToCopy(text);
}

function showToCopy(text) {
  const { body } = openDialog("Copy this text");
  const field = element("textarea", "input mono to-copy");
  field.readOnly = true;
  field.value = text;
  field.setAttribute("aria-label", "Text to copy");
  body.append(element("p", "note", "This page may not use the clipboard: press Ctrl+C or ⌘C."), field);
  field.focus();
  field.select();
}

let fading = null;

/** A word beside the work that goes away by itself. */
function say(sentence) {
  announce(sentence);
  document.querySelector(".toast")?.remove();
  clearTimeout(fading);
  const toast = element("p", "toast", sentence);
  (document.querySelector("dialog[open]") ?? document.body).append(toast);
  fading = setTimeout(() => toast.remove(), 2_500);
}
