/** The other databases of the same service, where there are several. */

import { Api } from "../api.js";
import { DatabaseList } from "./database_list.js";
import { byId } from "./element.js";

const BETWEEN = 5_000; // ms between two looks
const PLACE = /^(.*\/)db\/([^/]+)\/$/;

/** @param {import("../context.js").Context} context */
export function mount(context) {
  const place = PLACE.exec(new URL(document.baseURI).pathname);
  if (place === null) return;
  const [, root, encoded] = place;
  const own = decodeURIComponent(encoded);
  const api = new Api(new URL(root, document.baseURI));
  const list = new DatabaseList(byId("database-list"), root, own);
  let position = null;
  let isThere = false;
  const look = async () => {
    if (!isThere || document.visibilityState === "hidden") return;
    if (position !== null) list.looked(own, position);
    let databases;
    try {
      databases = await api.ask(["databases"]);
    } catch {
      return; // the connection of the page says what is wrong
    }
    byId("databases").hidden = databases.length < 2;
    byId("all-databases").hidden = false;
    list.show(databases);
  };
  context.on("position", (message) => (position = message.position));
  context.on("connection", ({ state }) => {
    isThere = state === "open" || state === "live";
    if (state === "live") look();
  });
  document.addEventListener("visibilitychange", look);
  addEventListener("pagehide", () => {
    if (position !== null) list.looked(own, position);
  });
  setInterval(look, BETWEEN);
}
