/** What can be done with a changeset, or with one of its changes. */

import { copyChangeset, copyChange } from "./copying.js";

/**
 * @param {import("../context.js").Context} context
 * @param {import("../model/feed.js").Entry} entry
 * @returns {{label: string, act: () => void}[]}
 */
export function changesetMenu(context, entry) {
  const { position, time } = entry;
  const copy = (form) => () => copyChangeset(context, entry, form);
  return [
    { label: "Tables as of here", act: () => context.tell("moment", { position, time }) },
    { label: "Copy as JSON", act: copy("json") },
    { label: "Copy as SQL", act: copy("repeat") },
    { label: "Copy SQL that undoes it", act: copy("undo") },
  ];
}

/**
 * @param {import("../context.js").Context} context
 * @param {object} change
 * @param {import("../model/feed.js").Entry} entry the changeset it is from
 * @param {string | null} table what its table is called now, null where it is gone
 * @returns {{label: string, act: () => void}[]}
 */
export function changeMenu(context, change, entry, table) {
  const { position, time } = entry;
  const { key } = change;
  const copy = (form) => () => copyChange(context, change, form);
  const row = [
    { label: "Show row", act: () => context.reveal(table, key) },
    { label: "History of the row", act: () => context.tell("versions", { table, key }) },
  ];
  return [
    ...(change.op === "schema" || table === null ? [] : row),
    { label: "Tables as of here", act: () => context.tell("moment", { position, time }) },
    { label: "Copy as JSON", act: copy("json") },
    { label: "Copy as SQL", act: copy("repeat") },
    { label: "Copy SQL that undoes it", act: copy("undo") },
  ];
}
