"""What the grid of an open page shows, read as a user would read it: by scrolling through it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

# Type and text of every cell, from the first row to the last. The next stretch is looked at when
# all rows in view are there. What goes on changing may never be complete; it gives up then.
_READ = """
async () => {
  const grid = document.getElementById("grid");
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const count = () => Number(grid.getAttribute("aria-rowcount")) - 1;
  const rows = new Map();
  const inView = () => [...grid.querySelectorAll('[role="row"][aria-rowindex]')]
    .filter((row) => row.querySelector('[role="gridcell"]'))
    .filter((row) => !row.classList.contains("leaving"));
  grid.scrollTop = 0;
  for (let turn = 0; turn < 60 && rows.size < count(); turn += 1) {
    await frame();
    await frame();
    if (grid.querySelector(".grid-row.empty")) continue;
    for (const row of inView()) {
      const cells = [...row.querySelectorAll('[role="gridcell"]')];
      rows.set(
        Number(row.getAttribute("aria-rowindex")) - 2,
        cells.map((cell) => [cell.dataset.type, cell.textContent]),
      );
    }
    if (!rows.has(0)) { grid.scrollTop = 0; continue; }
    let next = 0;
    while (rows.has(next)) next += 1;
    if (next < count()) grid.scrollTop += grid.clientHeight - 100;
  }
  return [...rows.entries()].sort(([one], [other]) => one - other).map(([, cells]) => cells);
}
"""

Cells = list[list[str]]


def shown_rows(page: Page) -> list[Cells]:
    """Type and text of each cell of the chosen table; all columns must fit into the window."""
    rows: list[Cells] = page.evaluate(_READ)
    return rows


def file_rows(database: Path, table: str, key: str) -> list[Cells]:
    """What `shown_rows` gives where the grid shows what is in the file; values without marks.

    Args:
        database: the file.
        table: the table's name.
        key: SQL of the order.
    """
    with closing(sqlite3.connect(database)) as db:
        rows = db.execute(f'SELECT * FROM "{table}" ORDER BY {key}').fetchall()
    return [[_cell(value) for value in row] for row in rows]


def _cell(value: Any) -> list[str]:
    if value is None:
        return ["null", "NULL"]
    if isinstance(value, bytes):
        return ["blob", value.hex()]
    kinds = {int: "integer", float: "real", str: "text"}
    return [kinds[type(value)], str(value)]
