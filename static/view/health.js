/** Asks the service now and then how it is, and what time it has. */

import { byId } from "./element.js";

const BETWEEN = 30_000; // ms

/** @param {import("../context.js").Context} context */
export function mount(context) {
  let asking = false;
  let isThere = false;
  const look = async () => {
    if (asking || !isThere || document.visibilityState === "hidden") return;
    asking = true;
    try {
      const asked = Date.now();
      const health = await context.api.ask(["health"]);
      if (health.time) context.clock.learn(health.time, asked, Date.now());
      context.health = health;
      context.tell("health");
    } catch {
      // What was known stays; the connection tells that the service is away.
    } finally {
      asking = false;
    }
  };
  context.on("connection", ({ state }) => {
    isThere = state === "open" || state === "live";
    if (state === "live") look();
  });
  context.on("status", look);
  context.on("sharing", look);
  byId("connection-panel").addEventListener("toggle", look);
  document.addEventListener("visibilitychange", look);
  setInterval(look, BETWEEN);
}
