/**
 * What the service still has of changesets that are over. Each function is given `ask`, which puts
 * a question to the service (see `Api.ask`); nothing else here is more than plain values.
 */

const MOST_CHANGESETS = 50; // brought when the page is opened
const MOST_CHANGES = 500; // in them; a single larger one comes in part
const MOST_PARTS = 100; // in one answer
const MOST_TO_COPY = 100_000; // changes of one changeset that are brought to be copied
const MOST_CHARACTERS = 64 * 2 ** 20; // of them

/**
 * @callback Ask
 * @param {string[]} path
 * @param {object} [parameters]
 * @returns {Promise<any>}
 */

/**
 * The newest changesets of the history.
 * @param {Ask} ask
 * @param {string} until the position of the newest one wanted
 * @returns {Promise<{entries: object[], since: string}>} oldest first, as entries of the feed, and
 *   the position before the first of them.
 */
export async function newest(ask, until) {
  const { marks, before } = await lastMarks(ask, until);
  let changes = 0;
  let first = marks.length;
  const fits = (mark) => marks.length - first < MOST_CHANGESETS && changes + mark.changes <= MOST_CHANGES;
  while (first > 0 && (first === marks.length || fits(marks[first - 1]))) {
    first -= 1;
    changes += marks[first].changes;
  }
  const since = first > 0 ? marks[first - 1].position : before;
  if (first === marks.length) return { entries: [], since };
  const answer = await ask(["changes"], { since, wait: 0, limit: MOST_PARTS });
  const counts = new Map(marks.map((mark) => [mark.position, mark.changes]));
  return { entries: joined(answer.messages, since, until, counts, marks[first]), since };
}

/** Marks are spread over a stretch; narrowed down to its end, it has one for each changeset. */
async function lastMarks(ask, until) {
  let from;
  for (;;) {
    const history = await ask(["history"], { from, to: until, marks: MOST_CHANGESETS * 4 });
    const { changesets, marks, oldest } = history;
    const before = from ?? oldest.position;
    if (changesets <= marks.length || marks.length < 3) return { marks, before };
    const back = Math.ceil((MOST_CHANGESETS * marks.length) / changesets) + 1;
    from = marks[Math.max(0, marks.length - 1 - back)].position;
  }
}

/** Messages of type `changes`, as entries; one that breaks off is said to have more. */
function joined(messages, since, until, counts, first) {
  const entries = [];
  let open = null;
  let before = since;
  for (const message of messages) {
    if (message.type !== "changes") return [];
    const { position, time, commits, changes, last } = message;
    if (open === null) {
      open = { kind: "changeset", time, commits, since: before, rows: [], hidden: 0 };
      entries.push(Object.assign(open, { dropped: false, partial: false }));
    }
    open.rows.push(...changes);
    open.position = position;
    if (last) [open, before] = [null, position];
    if (position === until) return entries;
  }
  // Only where one is larger than an answer: it is the only one that was asked for.
  if (open !== null) {
    open.hidden = Math.max(0, (counts.get(first.position) ?? 0) - open.rows.length);
    open.position = first.position;
  }
  return entries;
}

/**
 * All changes of one changeset, or as many as can be had.
 * @param {Ask} ask
 * @param {{since: string | null, position: string}} entry
 * @returns {Promise<{changes: object[], whole: boolean}>} `whole` is false where there are more.
 */
export async function changesOf(ask, { since, position }) {
  const changes = [];
  let characters = 0;
  while (since !== null && since !== undefined) {
    const answer = await ask(["changes"], { since, wait: 0, limit: 8 });
    if (answer.messages.length === 0) break;
    for (const message of answer.messages) {
      if (message.type !== "changes") return { changes: [], whole: false };
      changes.push(...message.changes);
      if (message.position === position) return { changes, whole: true };
      if (message.last) return { changes: [], whole: false }; // another history than it was
    }
    characters += JSON.stringify(answer.messages).length;
    if (changes.length >= MOST_TO_COPY || characters >= MOST_CHARACTERS) break;
    since = answer.position;
  }
  return { changes, whole: false };
}
