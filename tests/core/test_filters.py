"""Filters: whatever another program writes, a filtered view is what a query would give."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeDatabase, Write
from tests.core.listener import opened
from tests.core.view import View, asked
from tests.faults.program import Program, Refused
from tests.oracle.contents import contents, contents_of_file
from watcher.errors import BadFilter, UnknownTable
from watcher.hub import Filter, Hub

A = "(id INTEGER PRIMARY KEY, n, t TEXT COLLATE NOCASE, r REAL)"
OTHER_A = "(id INTEGER PRIMARY KEY, n TEXT, t, r REAL)"
TABLES = f"""
CREATE TABLE a{A};
CREATE TABLE b(k TEXT PRIMARY KEY, n INT, t);
CREATE TABLE c(n, t TEXT);
CREATE TABLE w(k, n, t, PRIMARY KEY(k, n)) WITHOUT ROWID;
"""
FILL = """
WITH RECURSIVE i(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM i WHERE x<1500)
INSERT INTO a SELECT x, x % 7, CASE x % 3 WHEN 0 THEN 'abc' WHEN 1 THEN 'ABC' END, x / 3.0 FROM i;
INSERT INTO c SELECT id % 5, t FROM a WHERE id < 300;
"""
NUMBERS = ["NULL", "-1", "0", "1", "2", "3", "4", "3.0", "2.5", "'3'", "'3.0'", "'abc'", "x'33'"]
NUMBERS += ["9007199254740993", "-0.0", "1e20", "''"]
TEXTS = ["NULL", "'a'", "'A'", "'abc'", "'ABC'", "'abc '", "'é'", "x'616263'", "3", "''"]
TEXTS += ["CAST(x'61ff' AS TEXT)", "'a' || char(0) || 'b'"]
LARGE = "hex(zeroblob(140000))"
FILTERS = [
    Filter.of(tables=["a"], where="n > 2"),
    Filter.of(tables=["a", "b", "c", "w"], where="t = 'abc'"),
    Filter.of(tables=["a", "b", "c", "w"], where="typeof(n) = 'text' OR n IS NULL"),
    Filter.of(tables=["a"], where="a.n || '' = '3' OR r IS NULL AND n BETWEEN 0 AND '3'"),
    Filter.of(tables=["c"], where="t LIKE 'A%' OR length(t) > 1000 OR NOT n"),
    Filter.of(tables=["b", "w"], where="k < n OR k IN ('3', 2, 'a')"),
    Filter.of(tables=["b"], columns=["n"]),
    Filter.of(tables=["a"], columns=["t"], where="n IN (1, 2, '3')"),
    Filter.of(columns=["a.n", "t"]),
    Filter.of(tables=["c", "d"]),
]


class Writing:
    """Random commits by another process.

    Args:
        program: the process.
        seed: of the random numbers.
    """

    def __init__(self, program: Program, seed: int) -> None:
        self._program = program
        self._random = random.Random(seed)
        self._made = 0

    def commit(self) -> None:
        """Makes one commit; what SQLite refuses is left out."""
        statements = list(self._statements())
        self._program.run("BEGIN")
        for statement in statements:
            try:
                self._program.run(statement)
            except Refused:
                continue
        self._program.run("COMMIT")

    def _statements(self) -> Iterator[str]:
        if self._random.random() < 0.12:
            yield from self._schema()
        for _ in range(self._random.choice([1, 1, 2, 5])):
            yield self._row_statement()

    def _row_statement(self) -> str:
        draw = self._random
        table, n, t = draw.choice("aabbccw"), draw.choice(NUMBERS), draw.choice(TEXTS)
        other, put = draw.choice(NUMBERS), draw.choice([t, t, t, LARGE])
        key = {"a": "id", "b": "k", "c": "n", "w": "k"}[table]
        some = f"WHERE abs(random()) % {draw.choice([1, 2, 20, 200])} = 0"
        which = draw.choice([f"WHERE n IS {n}", f"WHERE t IS {t}", some, some])
        inserted = {
            "a": f"(id, n, t, r) VALUES ({draw.randint(1, 9)}, {n}, {put}, {other})",
            "c": f"(n, t) VALUES ({n}, {put})",
        }.get(table, f"(k, n, t) VALUES ({other}, {n}, {put})")
        return draw.choice([
            f"INSERT OR REPLACE INTO {table}{inserted}",
            f"INSERT OR REPLACE INTO {table}{inserted}",
            f"UPDATE OR IGNORE {table} SET n = {n} {which}",
            f"UPDATE OR IGNORE {table} SET t = {t} {which}",
            f"UPDATE OR IGNORE {table} SET n = n + 1 {which}",
            f"UPDATE OR IGNORE {table} SET {key} = {key} + {draw.choice([1, 10000])} {which}",
            f"DELETE FROM {table} {which}",
        ])  # fmt: skip

    def _schema(self) -> Iterator[str]:
        self._made += 1
        draw, new = self._random, f"x{self._made}"
        table = draw.choice("abcw")
        yield from draw.choice([
            [f"ALTER TABLE {table} ADD COLUMN {new} DEFAULT {draw.choice(NUMBERS)}"],
            [f"ALTER TABLE {table} RENAME COLUMN r TO {new}", f"ALTER TABLE {table} ADD r"],
            # Another column takes over the name.
            [f"ALTER TABLE {table} RENAME COLUMN n TO {new}",
             f"ALTER TABLE {table} RENAME COLUMN t TO n",
             f"ALTER TABLE {table} RENAME COLUMN {new} TO t"],
            [f"ALTER TABLE {table} DROP COLUMN t", f"ALTER TABLE {table} ADD t TEXT"],
            [f"ALTER TABLE {table} RENAME COLUMN t TO {new}"],
            [f"ALTER TABLE {table} RENAME COLUMN {new} TO t"],
            ["ALTER TABLE c RENAME TO d"],
            ["ALTER TABLE d RENAME TO c"],
            # The same values under another affinity and collation.
            self._rebuilt(new, OTHER_A),
            self._rebuilt(new, A),
            ["DROP TABLE w", "CREATE TABLE w(k, n, t, PRIMARY KEY(k, n)) WITHOUT ROWID"],
        ])  # fmt: skip

    def _rebuilt(self, new: str, columns: str) -> list[str]:
        return [
            f"CREATE TABLE {new}{columns}",
            f"INSERT INTO {new} SELECT id, n, t, r FROM a",
            "DROP TABLE a",
            f"ALTER TABLE {new} RENAME TO a",
        ]


class Views:
    """An unfiltered view, and one for each filter, which are to agree with it.

    Args:
        hub: to subscribe to.
        path: the database.
    """

    def __init__(self, hub: Hub, path: Path) -> None:
        self._hub = hub
        self._path = path
        self.all = View(hub)
        self.filtered: dict[Filter, View | None] = dict.fromkeys(FILTERS)
        self.compared = self.ended = 0

    async def compare(self) -> None:
        """Waits until everything has arrived, and asks each view for what it holds."""
        await self.all.reach(str(self._hub.head.position))
        while contents(self.all.replica) != contents_of_file(self._path):
            await self.all.reach_next()
        for wanted, view in self.filtered.items():
            self.filtered[wanted] = await self._compare(wanted, view)

    async def _compare(self, wanted: Filter, view: View | None) -> View | None:
        try:
            view = view or View(self._hub, wanted)
            assert self.all.position is not None
            await view.reach(self.all.position)
        except (BadFilter, UnknownTable):
            self.ended += 1
            self._assert_does_not_fit(wanted)
            return None
        assert view.held == asked(self.all.replica, wanted), wanted
        self.compared += 1
        return view

    def _assert_does_not_fit(self, wanted: Filter) -> None:
        tables = asked(self.all.replica, Filter(tables=wanted.tables))
        if any(name not in tables for name in wanted.tables or ()):
            return
        columns = {c for t, (names, _) in tables.items() for n in names for c in (n, f"{t}.{n}")}
        if (wanted.columns or set()) <= columns:
            with pytest.raises(sqlite3.OperationalError):
                asked(self.all.replica, wanted)


@pytest.mark.fault("N5")
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("seed", "commits"),
    [*((seed, 20) for seed in range(3))]
    + [pytest.param(seed, 150, marks=pytest.mark.soak) for seed in range(100, 110)],
)
def test_a_filtered_view_is_what_a_query_would_give(
    seed: int, commits: int, database: MakeDatabase
) -> None:
    """After every changeset, for all filters, whatever is written and however tables change."""
    path = database(mode="wal" if seed % 2 else "delete", sql=TABLES + FILL)

    async def run() -> Views:
        async with opened(path) as hub:
            views = Views(hub, path)
            with Program(path) as program:
                writing = Writing(program, seed)
                await views.compare()
                for _ in range(commits):
                    await asyncio.to_thread(writing.commit)
                    await views.compare()
            return views

    views = asyncio.run(run())
    assert views.compared > 4 * commits


CASES = {
    "a row with NULL in its key": (
        Filter.of(tables=["b"], columns=["n"]),
        "INSERT INTO b VALUES (NULL, 1, 'x'); UPDATE b SET n = 2",
    ),
    "a table of which no column is chosen": (
        Filter.of(columns=["r"]),
        "INSERT INTO c VALUES (1, 'x'); UPDATE c SET n = 2",
    ),
    "another collation": (
        Filter.of(tables=["a"], where="t = 'abc'"),
        f"BEGIN; CREATE TABLE z{OTHER_A}; INSERT INTO z SELECT * FROM a; DROP TABLE a;"
        "ALTER TABLE z RENAME TO a; COMMIT",
    ),
    "a table that leaves by its name": (Filter.of(tables=["c"]), "ALTER TABLE c RENAME TO d"),
}


@pytest.mark.fault("N5")
@pytest.mark.parametrize("what", CASES)
def test_a_view_that_was_once_wrong(what: str, database: MakeDatabase, write: Write) -> None:
    """Faults that were found, each for itself."""
    wanted, sql = CASES[what]
    path = database(sql=TABLES + FILL)

    async def run() -> None:
        async with opened(path) as hub:
            everything, view = View(hub), View(hub, wanted)
            position = str(hub.head.position)
            await everything.reach(position)
            await view.reach(position)
            await asyncio.to_thread(write, path, sql)
            while contents(everything.replica) != contents_of_file(path):
                await everything.reach_next()
            assert everything.position is not None
            await view.reach(everything.position)
            assert view.held == asked(everything.replica, wanted)

    asyncio.run(run())
