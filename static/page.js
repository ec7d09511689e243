/** Puts the page together: the stream on one side, the parts on the other. */

import { Api } from "./api.js";
import { Context } from "./context.js";
import { Link } from "./link.js";
import * as databases from "./view/databases.js";
import * as feed from "./view/feed.js";
import * as grid from "./view/grid.js";
import * as health from "./view/health.js";
import * as journey from "./view/journey.js";
import { listen } from "./view/keyboard.js";
import * as layout from "./view/layout.js";
import * as sidebar from "./view/sidebar.js";
import * as state from "./view/state.js";
import { Theme } from "./view/theme.js";

const context = new Context(new Api());

let current = []; // the tables as the server has them now, which may be ahead of what was shown

const connection = new Link({
  onHello(message) {
    current = message.tables;
    // A resumed stream brings the schema changes in between; the catalog must not run ahead.
    if (connection.position === null) replaceTables();
    context.tell("hello", message);
  },
  onChanges(message) {
    // Without a position it is the content after a reset: how things stand, not what happened.
    if (message.position === null || message.position === undefined) return;
    const schema = message.changes.filter(({ op }) => op === "schema");
    for (const change of schema) change.sentences = context.catalog.explain(change);
    context.tell("changes", message);
    if (schema.length > 0) context.tell("tables");
  },
  onReset(message) {
    replaceTables();
    context.tell("reset", message);
  },
  onStatus: (message) => context.tell("status", message),
  onConnection: (message) => context.tell("connection", message),
  onPosition: (message) => context.tell("position", message),
  onTabs: (tabs) => context.tell("sharing", { tabs, shared: connection.shared }),
});

function replaceTables() {
  context.catalog.replace(current);
  context.tell("tables");
}

// The last one measures when the others have painted.
const parts = [layout, state, sidebar, databases, grid, feed, health, journey];
for (const part of parts) part.mount(context, connection);
listen(new Theme());
connection.reconnect();
