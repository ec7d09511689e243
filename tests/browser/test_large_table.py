"""A table that is too large to be numbered: it is read by key, page by page, and stays live."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.grid import cell, head, row
from tests.browser.shown import file_rows
from tests.web.service import run_service

LARGE = """
PRAGMA journal_mode=wal;
CREATE TABLE large(id INTEGER PRIMARY KEY, n);
WITH RECURSIVE i(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < 1500)
INSERT INTO large SELECT i, (i * 7) % 1500 FROM i;
"""

# What is in view, from the first row to the last.
IN_VIEW = """() => [...document.querySelectorAll("#grid .grid-row:not(.leaving)")]
  .map(row => [...row.querySelectorAll("[role=gridcell]")].map(cell => cell.textContent))
  .filter(cells => cells.some(text => text !== ""))"""


def scroll_to(page: Page, first: str) -> None:
    """Scrolls on until the row whose first cell says this is the last one."""
    page.wait_for_function(
        """first => {
          const grid = document.getElementById("grid");
          grid.scrollTop = grid.scrollHeight;
          const last = [...grid.querySelectorAll(".grid-body [aria-rowindex]")].at(-1);
          return last?.querySelector("[role=gridcell]").textContent === first;
        }""",
        arg=first,
    )


def test_a_table_too_large_for_numbers_is_read_by_key(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All its rows can be scrolled to while they come and go; what cannot be had is said."""
    # The limit itself is of five million rows, which take long to make.
    monkeypatch.setattr("watcher.view.ordering.MAX_ROWS", 1000)
    with run_service(tmp_path, script=LARGE) as service:
        page = browser.new_context(viewport={"width": 1300, "height": 740}).new_page()
        page.goto(f"{service.url}/#table=large")
        said, count = page.locator("#grid-said"), page.locator("#row-count")
        expect(said).to_contain_text("too large for row numbers")
        expect(count).to_have_text("more than 200 rows")
        with closing(sqlite3.connect(service.database, isolation_level=None)) as db:
            db.execute("UPDATE large SET n = 'changed' WHERE id = 3")
            db.execute("DELETE FROM large WHERE id = 5")
            expect(cell(page, "3", 2)).to_have_text("changed")
            expect(row(page, "5")).to_have_count(0)
            scroll_to(page, "1500")
            expect(count).to_have_text("1,499 rows")
            db.execute("DELETE FROM large WHERE id BETWEEN 1490 AND 1495")
            db.execute("INSERT INTO large VALUES(9999, 'last')")
            expect(row(page, "1495")).to_have_count(0)
            scroll_to(page, "9999")
        rows = file_rows(service.database, "large", "id")
        shown = page.evaluate(IN_VIEW)
        assert shown == [[text for _, text in cells] for cells in rows[-len(shown) :]]
        head(page, "n").click()
        expect(said).to_contain_text("too large to be sorted")
        page.context.close()
