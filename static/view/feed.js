/** The changesets as they come, newest first. */

import { listed } from "../model/catalog.js";
import { Feed } from "../model/feed.js";
import { byId, sentenceNodes } from "./element.js";
import { FeedView } from "./feed_list.js";

const RESETS = {
  start: "The stream begins here.",
  position_expired:
    "This page was away for longer than the history reaches back. " +
    "What changed in the meantime is not shown.",
  unknown_epoch:
    "The watcher has begun a new history. What changed while this page was away is not shown.",
  replaced:
    "The database was replaced by a file that cannot be compared with it. " +
    "Changes are shown from here on.",
};

/** @param {import("../context.js").Context} context */
export function mount(context) {
  const feed = new Feed();
  const view = new FeedView(feed, context.catalog);
  context.on("changes", (message) => {
    feed.add(message);
    view.changed();
  });
  context.on("reset", ({ reason }) => {
    feed.notice(RESETS[reason] ?? `The stream began anew (${reason}).`);
    view.changed();
  });
  context.on("hello", ({ tables }) => {
    const names = tables.map((table) => table.name);
    const sentence = names.length
      ? ["Watching ", ...listed(names, "table"), "."]
      : ["The database has no tables yet."];
    byId("watching").replaceChildren(...sentenceNodes(sentence));
  });
}
