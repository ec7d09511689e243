/** What the browser remembers for the page. It may forbid that; then the page just forgets. */

/**
 * @param {"tab" | "browser"} where for how long: as the tab, or on.
 * @param {string} name
 * @returns {any} undefined where nothing is known.
 */
export function recall(where, name) {
  try {
    return JSON.parse(storage(where).getItem(`watcher:${name}`)) ?? undefined;
  } catch {
    return undefined;
  }
}

/** @param {"tab" | "browser"} where @param {string} name @param {unknown} value */
export function remember(where, name, value) {
  try {
    storage(where).setItem(`watcher:${name}`, JSON.stringify(value));
  } catch {
    // full or forbidden: nothing else depends on it
  }
}

const storage = (where) => (where === "tab" ? sessionStorage : localStorage);
