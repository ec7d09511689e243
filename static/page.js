/** Puts the page together: the stream on one side, the feed and the indicators on the other. */

import { Catalog } from "./catalog.js";
import { connect } from "./client.js";
import { Feed } from "./feed.js";
import { FeedView, showDatabase, showPosition, StateView } from "./view.js";

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

const catalog = new Catalog();
const feed = new Feed(catalog);
const feedView = new FeedView(feed, catalog);
const stateView = new StateView();

let current = []; // the tables as the server has them now, which may be ahead of what was shown

const connection = connect({
  onHello({ database, tables }) {
    current = tables;
    // A resumed stream brings the schema changes in between; the catalog must not run ahead.
    if (connection.position === null) catalog.replace(tables);
    showDatabase(database, tables.map((table) => table.name));
  },
  onChanges(message) {
    // Without a position it is the content after a reset: how things stand, not what happened.
    if (message.position === null || message.position === undefined) return;
    feed.add(message);
    feedView.changed();
  },
  onReset({ reason }) {
    catalog.replace(current);
    feed.notice(RESETS[reason] ?? `The stream began anew (${reason}).`);
    feedView.changed();
  },
  onStatus: (status) => stateView.status(status),
  onConnection: (state) => stateView.connection(state),
  onPosition: ({ position }) => showPosition(position),
});

document.getElementById("retry").addEventListener("click", () => connection.reconnect());
