/** How long a change takes from its commit to the screen, measured where it is painted. */

import { spoken } from "../model/latency.js";
import { byId } from "./element.js";

const BETWEEN_PAINTS = 500; // ms; faster figures nobody reads

/**
 * To be mounted last: of the callbacks of a frame its own comes after those that paint.
 * @param {import("../context.js").Context} context
 */
export function mount(context) {
  let isLive = false;
  let oldest = null; // time of the first change that waits for the next frame
  let painted = -Infinity;
  const measure = () => {
    if (oldest === null) return;
    const now = context.clock.server(Date.now());
    context.latency.add(now - oldest);
    oldest = null;
    if (performance.now() - painted < BETWEEN_PAINTS) return;
    painted = performance.now();
    const { median, last } = context.latency.summary;
    byId("latency").textContent = `${spoken(median)} · last ${spoken(last)}`;
    byId("latency-line").hidden = false;
  };
  context.on("connection", ({ state }) => (isLive = state === "live"));
  document.addEventListener("visibilitychange", () => (oldest = null)); // its frame may come in hours
  context.on("changes", ({ time }) => {
    // What is caught up says nothing of the way, and a page in the background paints nothing.
    if (!isLive || !context.clock.known || document.visibilityState === "hidden") return;
    if (oldest === null) requestAnimationFrame(measure);
    oldest ??= Date.parse(time);
  });
}
