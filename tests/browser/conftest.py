"""A real Chromium looking at a real server, edited by the real `sqlite3` shell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.watched import Watch, Watched, run_shell
from tests.conftest import StartServer

ITEMS = """
PRAGMA journal_mode=wal;
CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT NOT NULL, value);
INSERT INTO items VALUES(1, 'Test', '123');
"""


@pytest.fixture
def watch(
    browser: Browser, sqlite3_shell: Path, serve: StartServer, tmp_path: Path
) -> Iterator[Watch]:
    """Serves databases and opens their pages; none of these may complain of anything, ever."""
    opened: list[Watched] = []

    def watch(
        *options: str,
        setup: str = "",
        demo: bool = False,
        live: bool = True,
        clock: bool = False,
        width: int = 1100,
    ) -> Watched:
        database = tmp_path / "shop.db"
        if not demo:
            run_shell(sqlite3_shell, database, ITEMS + setup)
        served = serve(None if demo else database, *options)
        page = browser.new_context(viewport={"width": width, "height": 740}).new_page()
        if clock:
            page.clock.install()
            # The clock of a shared worker is another one, which nothing here can set.
            page.add_init_script("delete globalThis.SharedWorker")
        watched = Watched(page, served, sqlite3_shell)
        opened.append(watched)
        watched.open()
        if live:
            watched.expect_live()
        return watched

    yield watch
    for watched in opened:
        watched.page.context.close()
    assert [watched.complaints for watched in opened] == [[] for _ in opened]
