"""Tables as they were: exactly what the file held at each position, while it is written."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MakeDatabase
from tests.core.listener import opened
from tests.core.test_filters import FILL, TABLES, Writing
from tests.faults.program import Program
from tests.past.oracle import Held, held, position_when, told
from watcher.errors import PastUnavailable
from watcher.past.tables import Past

CLOCK = "CREATE TABLE clock(id INTEGER PRIMARY KEY, n); INSERT INTO clock VALUES (1, 0);"
Moments = list[tuple[str, dict[str, Held]]]


def then(tables: dict[str, Held], name: str) -> Held:
    """A table under the name it had."""
    return tables[name] if name in tables else tables[{"c": "d", "d": "c"}[name]]


async def compare(past: Past, moments: Moments, draw: random.Random) -> tuple[int, int]:
    """Compares every table at every moment; how many were told, and how many were not."""
    compared = refused = 0
    now = moments[-1][1]
    for index in draw.sample(range(len(moments)), len(moments)):
        position, tables = moments[index]
        for name in now:
            statements = {then(held, name).sql for _, held in moments[index:]}
            limit = draw.choice([1, 7] if len(then(tables, name).rows) < 30 else [100, 1000])
            try:
                columns, rows = await told(past, name, position, limit)
            except PastUnavailable as error:
                refused += 1
                why = error.reason
            else:
                why = ""
            if why:
                # Only where the definition has changed.
                assert (why, len(statements) > 1) == ("changed", True), (name, index)
                continue
            assert columns == then(tables, name).columns, (name, index)
            assert rows == then(tables, name).rows, (name, index)
            compared += 1
    return compared, refused


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("seed", "commits"),
    [(0, 20), (1, 20), (2, 20)]
    + [pytest.param(seed, 150, marks=pytest.mark.soak) for seed in range(10, 16)],
)
def test_a_table_is_told_as_it_was(seed: int, commits: int, database: MakeDatabase) -> None:
    """Whatever is written, for each position: columns, rows, types and order."""
    path = database(mode="wal" if seed % 2 else "delete", sql=TABLES + FILL + CLOCK)

    async def run() -> tuple[int, int]:
        async with opened(path) as hub:
            past = Past(hub)
            moments = [(await position_when(hub, 0), held(path))]
            with Program(path) as program:
                writing = Writing(program, seed)
                for number in range(1, commits + 1):
                    writing.commit()
                    program.run(f"UPDATE clock SET n = {number}")
                    moments.append((await position_when(hub, number), held(path)))
                    if number == commits // 2:
                        await compare(past, moments, random.Random(seed))
            return await compare(past, moments, random.Random(seed))

    compared, refused = asyncio.run(run())
    assert compared > commits
    assert refused < 4 * compared


_WRITER = """
import random, sqlite3, sys, threading
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
draw = random.Random(1)
while not stop.is_set():
    number = draw.randint(-50, 450)
    db.execute(draw.choice([
        "INSERT OR REPLACE INTO items VALUES(?1, 'new', random())",
        "DELETE FROM items WHERE id=?1",
        "UPDATE items SET value = value || 'x' WHERE id BETWEEN ?1 AND ?1 + 3",
        "UPDATE OR IGNORE items SET id = id + 1000 WHERE id=?1",
    ]), (number,))
"""
_ITEMS = """
CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT NOT NULL, value TEXT);
WITH RECURSIVE i(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM i WHERE x<400)
INSERT INTO items SELECT x, 'n' || x, x FROM i;
"""


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_the_past_stands_still_while_changes_go_on(mode: str, database: MakeDatabase) -> None:
    """Pages of one position make up what the table held, however long one takes over them."""
    path = database(mode=mode, sql=_ITEMS + CLOCK)

    async def run() -> int:
        async with opened(path) as hub:
            past = Past(hub)
            at, was = await position_when(hub, 0), held(path)["items"]
            begun = hub.head.offset
            with _writing(path) as writer:
                for limit in (1000, 7, 50, 3):
                    assert await told(past, "items", at, limit) == (was.columns, was.rows)
                assert writer.poll() is None
            return hub.head.offset - begun

    assert asyncio.run(run()) > 20


def _writing(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)], stdin=subprocess.PIPE, text=True
    )
