/** Keys of the grid, after the pattern of WAI-ARIA: one place in it is marked, the keys move it. */

/**
 * What a key does to the marked place. Pure.
 * @param {{key: string, ctrlKey?: boolean, metaKey?: boolean}} event
 * @param {{index: number, column: number}} active row (-1 for the head) and column
 * @param {{rows: number, columns: number, page: number}} size of the grid, and rows in a view
 * @returns {{index: number, column: number} | null} where it is then, null if the key moves nothing.
 */
export function step({ key, ctrlKey, metaKey }, { index, column }, { rows, columns, page }) {
  const far = ctrlKey || metaKey;
  const at = (row, place) => ({
    index: Math.max(-1, Math.min(row, rows - 1)),
    column: Math.max(0, Math.min(place, columns - 1)),
  });
  switch (key) {
    case "ArrowDown": return at(far ? rows - 1 : index + 1, column);
    case "ArrowUp": return at(far ? Math.min(index, 0) : index - 1, column);
    case "ArrowRight": return at(index, far ? columns - 1 : column + 1);
    case "ArrowLeft": return at(index, far ? 0 : column - 1);
    case "PageDown": return at(index + page, column);
    case "PageUp": return at(Math.max(index - page, Math.min(index, 0)), column);
    case "Home": return far ? at(Math.min(0, rows - 1), 0) : at(index, 0);
    case "End": return far ? at(rows - 1, columns - 1) : at(index, columns - 1);
    default: return null;
  }
}
