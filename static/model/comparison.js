/** What differs between two states of a stretch of rows, both in the order of their keys. Pure. */

/**
 * Marks rows as changed, new or gone by comparing what is held with what comes in its place.
 * @param {import("./live_rows.js").HeldRow[]} old in order
 * @param {import("./live_rows.js").HeldRow[]} fresh in order
 * @param {{head: boolean, tail: boolean}} whole whether both begin at the first row of the table,
 *   and both end at the last: else what lies outside of what both have says nothing
 * @param {string} time when it was otherwise
 * @param {number} now ms
 */
export function compare(old, fresh, { head, tail }, time, now) {
  const before = new Map(old.map((held) => [held.id, held]));
  const after = new Set(fresh.map((held) => held.id));
  for (const held of fresh) {
    const was = before.get(held.id);
    if (was) changed(was.row, held, time, now);
  }
  for (const held of between(fresh, (id) => before.has(id), head, tail)) held.born = now;
  for (const held of between(old, (id) => after.has(id), head, tail)) held.left = now;
}

function changed(was, held, time, now) {
  for (const [column, value] of Object.entries(held.row)) {
    if (!Object.hasOwn(was, column)) continue;
    const other = was[column];
    if (other === value || JSON.stringify(other) === JSON.stringify(value)) continue;
    held.was.set(column, { value: other, time, at: now });
  }
}

function between(rows, isCommon, head, tail) {
  const first = head ? 0 : rows.findIndex(({ id }) => isCommon(id));
  const last = tail ? rows.length - 1 : rows.findLastIndex(({ id }) => isCommon(id));
  if (first < 0) return [];
  return rows.slice(first, last + 1).filter(({ id }) => !isCommon(id));
}
