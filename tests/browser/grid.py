"""The grid of the page: how tests find its rows and cells, and what the file says."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.browser.watched import Watched

MANY = """
CREATE TABLE many(id INTEGER PRIMARY KEY, name TEXT, n INTEGER);
WITH RECURSIVE k(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM k WHERE i<3000)
INSERT INTO many SELECT i*10, 'row '||(i*10), i*7919%3001 FROM k;
DROP TABLE items;
"""

# What is shown, row by row in their order: number, and the texts of the cells.
SHOWN = """() => [...document.querySelectorAll("#grid .grid-body [aria-rowindex]")].map(row => [
  Number(row.getAttribute("aria-rowindex")) - 2,
  ...[...row.querySelectorAll("[role=gridcell]")].map(cell => cell.textContent),
])"""
# Rows whose cells lie below the head and above the end of the view, with their place on the screen.
PLACES = """() => {
  const grid = document.getElementById("grid").getBoundingClientRect();
  const head = document.querySelector("#grid .grid-head").getBoundingClientRect();
  return Object.fromEntries([...document.querySelectorAll("#grid .grid-body [aria-rowindex]")]
    .map(row => [row.firstChild.textContent, row.getBoundingClientRect().top])
    .filter(([, top]) => top >= head.bottom && top < grid.bottom));
}"""


def rows(page: Page) -> Locator:
    """The rows that are in the table, those painted."""
    return page.locator("#grid .grid-body .grid-row[aria-rowindex]")


def row(page: Page, first: str) -> Locator:
    """The row whose first cell says this."""
    exactly = page.locator("[role=gridcell]:first-child").get_by_text(first, exact=True)
    return page.locator("#grid .grid-body .grid-row").filter(has=exactly)


def cell(page: Page, first: str, column: int) -> Locator:
    """A cell of this row, by the number of its column from 1."""
    return row(page, first).locator(f"[aria-colindex='{column}']")


def head(page: Page, name: str) -> Locator:
    """The head of a column."""
    return page.locator("#grid").get_by_role("columnheader", name=name, exact=True)


def choose(page: Page, table: str) -> None:
    """Looks at a table."""
    page.locator(f'.table-button[value="{table}"]').click()
    expect(page.locator("#grid-name")).to_have_text(table)


def expect_count(page: Page, words: str, *, seconds: float = 15) -> None:
    """Waits until this many rows are said to be there."""
    expect(page.locator("#row-count")).to_have_text(words, timeout=seconds * 1_000)


def expect_rows(page: Page, wanted: list[list[str]]) -> None:
    """Waits until exactly these rows are shown, in this order."""
    expect(rows(page)).to_have_count(len(wanted))
    page.wait_for_function(
        f"wanted => JSON.stringify(({SHOWN})().map(([, ...texts]) => texts)) === wanted",
        arg=as_json(wanted),
    )


def as_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def content(watched: Watched, sql: str) -> list[list[str]]:
    """What the file says, as the grid writes it."""
    with closing(sqlite3.connect(watched.served.database)) as connection:
        found = connection.execute(sql).fetchall()
    return [["NULL" if value is None else str(value) for value in values] for values in found]
