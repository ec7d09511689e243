/** The page at `/` of several databases: keeps the list that came with it as it is now. */

import { Api } from "./api.js";
import { DatabaseList } from "./view/database_list.js";
import { byId } from "./view/element.js";

const BETWEEN = 2_000; // ms between two looks

const api = new Api();
const list = new DatabaseList(byId("database-list"), new URL(".", document.baseURI).pathname, null);

async function look() {
  if (document.visibilityState === "hidden") return;
  try {
    const databases = await api.ask(["databases"]);
    list.show(databases);
    note(databases.length > 0 ? "" : "None yet. They appear here by themselves.");
  } catch (error) {
    note(error.message);
  }
}

function note(sentence) {
  byId("note").textContent = sentence;
}

look();
setInterval(look, BETWEEN);
document.addEventListener("visibilitychange", look);
