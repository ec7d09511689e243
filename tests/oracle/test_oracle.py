"""The central test: whatever is written, a replica built only from the stream equals the file."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.oracle.contents import contents_of_file, integrity
from tests.oracle.follower import Follower

EXAMPLES = int(os.environ.get("WATCHER_EXAMPLES", "60"))
MODES = ("delete", "truncate", "persist", "wal", "memory", "off")

SCHEMAS = (
    "CREATE TABLE a(id INTEGER PRIMARY KEY, x, y TEXT)",
    "CREATE TABLE b(x, y)",
    "CREATE TABLE c(k TEXT PRIMARY KEY, v)",
    "CREATE TABLE d(k1, k2 INT, v, PRIMARY KEY(k2, k1))",
    "CREATE TABLE e(k TEXT COLLATE NOCASE PRIMARY KEY, v UNIQUE) WITHOUT ROWID",
    "CREATE TABLE f(k1 INT, k2 ANY, v REAL, PRIMARY KEY(k1, k2)) STRICT, WITHOUT ROWID",
    "CREATE TABLE g(id INTEGER PRIMARY KEY, x INT, y AS (x + 1), z AS (x || 'z') STORED)",
    'CREATE TABLE "a""b"("x]y" TEXT, ";drop" REAL, "" BLOB)',
    "CREATE TABLE h(rowid TEXT, _rowid_ INT, oid PRIMARY KEY)",
    "CREATE TABLE m(rowid TEXT, _rowid_ INT, oid INTEGER PRIMARY KEY)",
    "CREATE TABLE n(rowid TEXT, _rowid_ INT, oid NOT NULL PRIMARY KEY)",
    "CREATE TABLE i(id INTEGER PRIMARY KEY AUTOINCREMENT, x NUMERIC DEFAULT 5 NOT NULL)",
    "CREATE TABLE j(k TEXT NOT NULL, v, PRIMARY KEY(k COLLATE NOCASE))",
    "CREATE TABLE l(x PRIMARY KEY DESC, y DEFAULT 'q')",
    'CREATE TABLE "😀"(x REAL, "select" INT CHECK("select" IS NOT 3))',
)

VALUES = st.one_of(
    st.none(),
    st.integers(-3, 12),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from(["a", "A", "", "1", "1.0", "\0x", "é", "\ud7ff"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    st.sampled_from(["-0.0", "0.0", "1.0", "inf", "-inf", "1e300", "0.1"]).map(
        lambda text: {"real": text}
    ),
    st.binary(max_size=4).map(lambda data: {"blob": base64.b64encode(data).decode()}),
    st.sampled_from([b"\xff", b"a\xc3", b"\xed\xa0\x80"]).map(
        lambda data: {"bad": base64.b64encode(data).decode()}
    ),
    st.integers(900, 9000).map(lambda size: "L" * size),
)
TABLE = st.integers(0, 12)
NAMES = st.sampled_from(["n", "N", "x", "y", "k", 'q"', "z z", "rowid", "é"])
COLUMN_RESTS = st.sampled_from(
    ["", "TEXT", "INT DEFAULT 7", "REAL DEFAULT 1", "DEFAULT 'd'", "BLOB DEFAULT x'00ff'",
     "INT NOT NULL DEFAULT -1", "AS (1 + 1)", "TEXT DEFAULT '3'", "NUMERIC DEFAULT '3'"]
)  # fmt: skip

ROWS = st.one_of(
    st.tuples(
        st.just("insert"),
        TABLE,
        st.lists(VALUES, min_size=1, max_size=4),
        st.sampled_from(["ABORT", "REPLACE", "IGNORE"]),
    ),
    st.tuples(st.just("update"), TABLE, st.integers(0, 4), VALUES, st.integers(1, 3)),
    st.tuples(st.just("delete"), TABLE, st.integers(1, 4)),
    st.tuples(
        st.just("bulk"), TABLE, st.sampled_from([1, 5, 60, 400]), st.sampled_from([0, 3, 40, 600])
    ),
)
SCHEMA_CHANGES = st.one_of(
    st.tuples(st.just("sql"), st.sampled_from(SCHEMAS)),
    st.tuples(st.just("add_column"), TABLE, NAMES, COLUMN_RESTS),
    st.tuples(st.just("drop_column"), TABLE, st.integers(0, 4)),
    st.tuples(st.just("rename_column"), TABLE, st.integers(0, 4), NAMES),
    st.tuples(st.just("rename_table"), TABLE, NAMES),
    st.tuples(st.just("drop_table"), TABLE),
)
WHOLE_FILE = st.one_of(
    st.just(("sql", "VACUUM")),
    st.just(("reconnect",)),
    st.sampled_from(MODES[:4]).map(lambda mode: ("sql", f"PRAGMA journal_mode={mode}")),
    st.sampled_from(["PASSIVE", "FULL", "RESTART", "TRUNCATE"]).map(
        lambda kind: ("sql", f"PRAGMA wal_checkpoint({kind})")
    ),
)
TRANSACTION = st.sampled_from(
    ["BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT s", "RELEASE s", "ROLLBACK TO s"]
).map(lambda sql: ("sql", sql))
STEP = st.lists(st.one_of(ROWS, ROWS, ROWS, SCHEMA_CHANGES, WHOLE_FILE, TRANSACTION), max_size=8)


@contextmanager
def writing_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Starts the writing program."""
    script = Path(__file__).with_name("writer.py")
    with subprocess.Popen(
        [sys.executable, str(script), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        try:
            yield process
        finally:
            process.stdin.close()
            process.wait(10)


async def write(process: subprocess.Popen[str], operations: list[Any]) -> list[str]:
    """Has operations run; returns the statements once they are done."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(operations) + "\n")
    process.stdin.flush()
    line = await asyncio.to_thread(process.stdout.readline)
    return list(json.loads(line))


async def follow_steps(
    path: Path, state: Path, steps: list[list[Any]], *, poll: float | None = None
) -> None:
    """Runs the steps beside a follower that must equal the file after each."""
    statements: list[str] = []
    with writing_process(path) as process:
        async with Follower(path, state, poll=poll) as follower:
            try:
                for step in steps:
                    statements += await write(process, step)
                    await follower.until_equal(contents_of_file(path))
            except AssertionError as error:
                error.add_note("\n".join(statements))
                raise
    assert integrity(path) == "ok"


def make_database(path: Path, mode: str, page_size: int, encoding: str, vacuum: int) -> None:
    """Makes a database with some tables and rows."""
    db = sqlite3.connect(path, isolation_level=None)
    for pragma in (f"page_size={page_size}", f"encoding='{encoding}'", f"auto_vacuum={vacuum}"):
        db.execute(f"PRAGMA {pragma}")
    db.execute(f"PRAGMA journal_mode={mode}")
    for sql in SCHEMAS[:5]:
        db.execute(sql)
    for number in range(5):
        db.execute("INSERT INTO a VALUES(?,?,?)", (number, number * 1.5, "t" * number))
        db.execute("INSERT INTO b VALUES(?,?)", (number, None))
        db.execute("INSERT INTO c VALUES(?,?)", (None if number % 2 else f"k{number}", number))
    db.close()


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    print_blob=True,
)
@given(
    mode=st.sampled_from(MODES),
    page_size=st.sampled_from([512, 1024, 4096, 65536]),
    encoding=st.sampled_from(["UTF-8", "UTF-8", "UTF-16le", "UTF-16be"]),
    vacuum=st.sampled_from([0, 0, 1, 2]),
    steps=st.lists(STEP, min_size=1, max_size=4),
)
@pytest.mark.timeout(0)
def test_a_replica_equals_the_file(
    mode: str, page_size: int, encoding: str, vacuum: int, steps: list[list[Any]]
) -> None:
    """After any statements in any journal mode, the replica equals the file, types included."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "watched.db"
        make_database(path, mode, page_size, encoding, vacuum)
        asyncio.run(follow_steps(path, Path(directory) / "state", steps))
