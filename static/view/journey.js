/** How long a change takes from its commit to the screen, measured where it is painted. */

import { Latency, spoken } from "../model/latency.js";
import { byId } from "./element.js";

const BETWEEN_PAINTS = 500; // ms; faster figures nobody reads

/**
 * @param {import("../context.js").Context} context
 * @returns {{latency: Latency}} what has been measured, which goes on.
 */
export function measureJourneys(context) {
  const latency = new Latency();
  let isLive = false;
  let oldest = null; // time of the first change that waits for the next frame
  let painted = -Infinity;
  const measure = () => {
    const now = context.clock.server(Date.now());
    latency.add(now - oldest);
    oldest = null;
    if (performance.now() - painted < BETWEEN_PAINTS) return;
    painted = performance.now();
    const { median, last } = latency.summary;
    byId("latency").textContent = `${spoken(median)} · last ${spoken(last)}`;
    byId("latency-line").hidden = false;
  };
  context.on("connection", ({ state }) => (isLive = state === "live"));
  context.on("changes", ({ time }) => {
    // What is caught up says nothing of the way, and a page in the background paints nothing.
    if (!isLive || !context.clock.known || document.visibilityState === "hidden") return;
    // In the order of the frame: the parts have asked for it before, on the same message.
    if (oldest === null) requestAnimationFrame(measure);
    oldest ??= Date.parse(time);
  });
  return { latency };
}
