"""Two windows, a server that dies in the middle of it all, and more changes than one can read."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.grid import choose
from tests.browser.shown import Cells, file_rows, shown_rows
from tests.browser.watched import Watch

SETUP = """
CREATE TABLE stock(id INTEGER PRIMARY KEY, name TEXT, amount INTEGER, price REAL, mark BLOB);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
INSERT INTO stock SELECT i, 'thing ' || i, i * 7, i / 4.0, NULL FROM n;
"""

# Random commits until standard input ends: inserts, updates and deletes, with every type of value.
_STORM = """
import random, select, sqlite3, sys
chance = random.Random(3)
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
size, commits = int(sys.argv[2]), 0
values = [None, 1, -2**62, 2.5, 'a', '', b'\\x00\\xff', 'x' * 50]
while not select.select([sys.stdin], [], [], 0)[0]:
    db.execute("BEGIN IMMEDIATE")
    for _ in range(size):
        what, row = chance.random(), chance.randrange(1, 260)
        if what < 0.2:
            db.execute("DELETE FROM stock WHERE id = ?", (row,))
        elif what < 0.5:
            db.execute("INSERT OR REPLACE INTO stock VALUES(?, ?, ?, ?, ?)",
                       (row, f"new {commits}", commits, chance.random(), chance.choice(values)))
        else:
            db.execute("UPDATE stock SET amount = amount + 1, mark = ? WHERE id = ?",
                       (chance.choice(values), row))
    db.execute("COMMIT")
    commits += 1
    if commits in (1, 300):
        print(commits, flush=True)
print(commits, flush=True)
"""


class Storm:
    """A second process that does not stop writing until it is told to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def line(self) -> int:
        """Waits for its next word: the number of commits so far."""
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def end(self) -> int:
        """Ends it; returns how many commits it made."""
        out, _ = self._process.communicate(timeout=30)
        return int(out.split()[-1])


@contextmanager
def storm(database: Path, changes: int = 3) -> Iterator[Storm]:
    """Writes to the table `stock` of a database, so many changes a commit."""
    command = [sys.executable, "-c", _STORM, str(database), str(changes)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        yield Storm(process)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def choose_filled(page: Page, table: str) -> None:
    """Looks at a table and waits until its rows are there."""
    choose(page, table)
    expect(page.locator('#grid .grid-row [role="gridcell"]').first).not_to_be_empty()


def settles(read: Callable[[], list[Cells]], wanted: Callable[[], list[Cells]]) -> None:
    """Waits until the grid shows what is in the file."""
    deadline = time.monotonic() + 30
    while (shown := read()) != (there := wanted()):
        if time.monotonic() > deadline:
            assert shown == there


def test_two_windows_follow_a_shell(watch: Watch, sqlite3_shell: Path) -> None:
    """Two windows of one browser and one of another show each edit of a shell that stays open."""
    watched = watch(setup=SETUP, width=1440)
    page = watched.page
    beside = page.context.new_page()
    elsewhere = page.context.browser.new_context(viewport={"width": 1440, "height": 740}).new_page()  # type: ignore[union-attr] # launched
    pages = [page, beside, elsewhere]
    for other in (beside, elsewhere):
        other.goto(page.url)
    for one in pages:
        expect(one.locator("#connection-text")).to_have_text("Live")
        choose_filled(one, "stock")
    shell = subprocess.Popen(
        [sqlite3_shell, "-bail", watched.served.database], stdin=subprocess.PIPE, text=True
    )
    assert shell.stdin is not None
    edits = {
        "UPDATE stock SET name = 'changed' WHERE id = 3;": "changed",
        "INSERT INTO stock(id, name) VALUES(0, 'first of all');": "first of all",
        "DELETE FROM stock WHERE id = 1; UPDATE stock SET name = 'last' WHERE id = 2;": "last",
    }
    for sql, text in edits.items():
        shell.stdin.write(sql + "\n")
        shell.stdin.flush()
        for one in pages:
            expect(one.locator("#grid").get_by_text(text, exact=True)).to_be_visible()
            expect(one.locator("#feed .changeset").first).to_contain_text(text)
    shell.communicate()
    assert shell.returncode == 0
    there = file_rows(watched.served.database, "stock", "id")
    for one in pages:
        settles(lambda one=one: shown_rows(one), lambda: there)  # type: ignore[misc] # bound now
    elsewhere.context.close()


def test_a_server_that_dies_in_a_storm_costs_nothing(watch: Watch) -> None:
    """Killed in the middle of random commits and started again: the grid equals the file."""
    watched = watch(setup=SETUP, width=1440)
    page, served = watched.page, watched.served
    choose_filled(page, "stock")
    with storm(served.database) as writer:
        assert writer.line() == 1
        expect(page.locator("#grid .grid-row.born, #grid [data-flash]").first).to_be_attached()
        served.kill()
        expect(page.locator("#connection-text")).to_contain_text("Retrying")
        assert writer.line() == 300
        served.restart()
        watched.expect_live()
        assert writer.end() > 300
    settles(lambda: shown_rows(page), lambda: file_rows(served.database, "stock", "id"))


def test_a_page_that_is_flooded_stays_usable(watch: Watch) -> None:
    """Under thousands of changes a second the page paints, folds, scrolls and answers."""
    watched = watch(setup=SETUP, width=1440)
    page = watched.page
    choose_filled(page, "stock")
    with storm(watched.served.database, 200) as writer:
        assert writer.line() == 1
        expect(page.get_by_text("folded")).to_be_visible()
        page.locator("#grid").hover()
        page.mouse.wheel(0, 2_000)
        # It stays with the row on top, whose number changes all the time.
        page.wait_for_function("() => document.getElementById('grid').scrollTop > 500")
        expect(page.locator("#grid .grid-body .grid-row").first).to_contain_text(re.compile(r"\d"))
        page.locator("#tables button.table-button", has_text="items").click()
        expect(page.locator("#grid-name")).to_have_text("items")
        choose_filled(page, "stock")
        assert writer.line() == 300
        assert page.locator("#feed .change").count() <= 600
        assert writer.end() >= 300
    settles(lambda: shown_rows(page), lambda: file_rows(watched.served.database, "stock", "id"))
    watched.expect_live()
