/** The states of a database, in words. */

const STATES = {
  ok: ["Live", "All is well."],
  starting: ["Starting", "The database is being read for the first time."],
  missing: ["Missing", "The database file is missing."],
  locked: ["Locked", "The database is locked."],
  needs_recovery: ["Needs recovery", "The database needs recovery by the program that wrote it."],
  corrupt: ["Damaged", "The database is damaged."],
  not_a_database: ["Not a database", "The file is not a SQLite database."],
  unreadable: ["Unreadable", "The database cannot be read."],
  partial: ["Partial", "Some tables cannot be read; the others are shown."],
  busy: ["Busy", "The database is being written faster than it can be read."],
  closed: ["Closed", "The database is closed, and its owner has to open it first."],
  state_unavailable: ["State full", "The watcher cannot write its own copy of the database."],
};

/** @param {string} state @returns {string} a word or two. */
export const stateName = (state) => STATES[state]?.[0] ?? "Attention";

/** @param {string} state @returns {string} a sentence. */
export const stateSentence = (state) =>
  STATES[state]?.[1] ?? `The state of the database is “${state}”.`;

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

/** @param {string} reason of a reset @returns {string} a sentence or two. */
export const resetSentence = (reason) => RESETS[reason] ?? `The stream began anew (${reason}).`;
