"""Databases of every shape: kinds of tables, page sizes, encodings, values, sizes."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import ITEMS, MakeDatabase, Write
from tests.faults.combinations import combined
from tests.faults.conftest import StartProgram
from tests.faults.following import follow
from tests.faults.watched import Watched
from tests.oracle.contents import contents_of_file, integrity
from watcher.changes import InvalidText, Value

MODE = ["delete", "wal"]
MODES = pytest.mark.parametrize("mode", MODE)

# What is done to a table, each step a commit; and which changes of rows come of it.
Steps = Sequence[tuple[str, list[str]]]

KEYLESS: dict[str, tuple[str, Steps]] = {
    "equal rows": (
        "CREATE TABLE t(x, y); INSERT INTO t VALUES (1, 'a'), (1, 'a'), (1, 'a')",
        [
            ("DELETE FROM t WHERE rowid=2", ["delete"]),
            ("INSERT INTO t VALUES (1, 'a'), (1, 'a')", ["insert", "insert"]),
            ("UPDATE t SET y='b' WHERE rowid=(SELECT min(rowid) FROM t)", ["update"]),
        ],
    ),
    "rowid used again": (
        "CREATE TABLE t(x); INSERT INTO t VALUES ('first'), ('last')",
        [
            ("DELETE FROM t WHERE x='last'; INSERT INTO t VALUES ('new')", ["update"]),
            ("DELETE FROM t WHERE x='new'; INSERT INTO t VALUES ('new')", []),
            ("DELETE FROM t; INSERT INTO t VALUES ('first')", ["delete"]),
        ],
    ),
    "null in the key": (
        "CREATE TABLE t(k TEXT PRIMARY KEY, v);INSERT INTO t VALUES (NULL, 1), (NULL, 1), ('k', 1)",
        [
            ("UPDATE t SET v=2 WHERE k IS NULL", ["update", "update"]),
            ("UPDATE t SET k='n' WHERE rowid=1", ["delete", "insert"]),
            ("UPDATE t SET k=NULL WHERE k='k'", ["delete", "insert"]),
            ("DELETE FROM t WHERE k IS NULL", ["delete", "delete"]),
        ],
    ),
    "hidden rowid with a key": (
        "CREATE TABLE t(rowid, _rowid_, oid INTEGER PRIMARY KEY, x);"
        "INSERT INTO t VALUES ('a', 'b', 1, 'c'), ('a', 'b', 2, 'c')",
        [
            ("UPDATE t SET x='d' WHERE oid=2", ["update"]),
            ("UPDATE t SET oid=3 WHERE oid=1", ["delete", "insert"]),
        ],
    ),
    "partly hidden rowid": (
        "CREATE TABLE t(rowid, oid); INSERT INTO t VALUES (1, 1), (1, 1)",
        [
            ("UPDATE t SET rowid=9 WHERE _rowid_=2", ["update"]),
            ("DELETE FROM t WHERE _rowid_=1", ["delete"]),
        ],
    ),
}


@pytest.mark.fault("D21")
@pytest.mark.parametrize(("kind", "mode"), combined([*KEYLESS], MODE))
def test_rows_are_told_apart(
    kind: str, mode: str, database: MakeDatabase, state: Path, write: Write
) -> None:
    """By their declared key where it is not NULL, else by their rowid; equal rows too."""
    sql, steps = KEYLESS[kind]
    take_steps(database(mode=mode, sql=sql), state, write, steps)


def take_steps(path: Path, state: Path, write: Write, steps: Steps) -> None:
    """Takes steps, each in a commit of its own, and sees the operations that come of each."""

    async def run(watched: Watched) -> None:
        for sql, operations in steps:
            before = len(watched.rows())
            write(path, f"BEGIN; {sql}; COMMIT")
            await watched.caught_up()
            await watched.until_rows(before + len(operations))
            assert sorted(change.op for change in watched.rows()[before:]) == operations, sql

    follow(path, state, run)


KINDS: dict[str, tuple[str, Steps]] = {
    "WITHOUT ROWID": (
        "CREATE TABLE t(a, b, c, PRIMARY KEY(b, a)) WITHOUT ROWID;"
        "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<500)"
        " INSERT INTO t SELECT i % 7, i, hex(zeroblob(40)) FROM n",
        [
            # Rows lie on the inner pages of such a table too.
            ("UPDATE t SET c='c' WHERE b IN (7, 77, 277)", ["update"] * 3),
            ("UPDATE t SET a=100 WHERE b=50", ["delete", "insert"]),
            ("DELETE FROM t WHERE b > 10", ["delete"] * 490),
        ],
    ),
    "STRICT": (
        "CREATE TABLE t(id INTEGER PRIMARY KEY, n INT, r REAL, x TEXT, b BLOB, a ANY) STRICT;"
        "INSERT INTO t VALUES (1, 1, 1, '1', x'31', '1')",
        [
            ("UPDATE t SET a=1", ["update"]),
            ("UPDATE t SET a=1.0", ["update"]),
            ("UPDATE t SET r=1.0", []),
            ("INSERT INTO t(r) VALUES (9007199254740993)", ["insert"]),
        ],
    ),
    "generated columns": (
        "CREATE TABLE t(id INTEGER PRIMARY KEY, x INT, v AS (x * 2), s AS (x || '!') STORED);"
        "INSERT INTO t(x) VALUES (1), (2)",
        [
            ("UPDATE t SET x=3 WHERE id=1", ["update"]),
            ("INSERT INTO t(x) VALUES (NULL)", ["insert"]),
            ("DELETE FROM t WHERE v=6", ["delete"]),
        ],
    ),
    "sqlite_sequence": (
        "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, x); INSERT INTO t(x) VALUES (1), (2)",
        [
            ("DELETE FROM t WHERE id=2; INSERT INTO t(x) VALUES (3)", ["delete", "insert"]),
            ("UPDATE sqlite_sequence SET seq=100", []),
            ("INSERT INTO t(x) VALUES (4)", ["insert"]),
        ],
    ),
    "FTS5": (
        f"{ITEMS} CREATE VIRTUAL TABLE words USING fts5(text);"
        "CREATE VIRTUAL TABLE names USING fts5(name, content='items', content_rowid='id')",
        [
            ("INSERT INTO words VALUES ('a text'), ('another')", []),
            ("INSERT INTO names(names) VALUES('rebuild')", []),
            ("UPDATE items SET name='Lamp' WHERE id=1; DELETE FROM words", ["update"]),
            ("INSERT INTO words(words) VALUES('optimize')", []),
            ("DROP TABLE words; DELETE FROM items WHERE id=2", ["delete"]),
        ],
    ),
    "R-tree": (
        f"{ITEMS} CREATE VIRTUAL TABLE boxes USING rtree(id, x1, x2, +note);",
        [
            ("INSERT INTO boxes VALUES (1, 0, 1, 'a'), (2, 0, 2, 'b')", []),
            ("UPDATE boxes SET x2=5 WHERE id=1; UPDATE items SET value='5' WHERE id=1", ["update"]),
            ("DROP TABLE boxes; INSERT INTO items(name) VALUES ('new')", ["insert"]),
        ],
    ),
    "views": (
        f"{ITEMS} CREATE VIEW v AS SELECT name FROM items; CREATE TRIGGER r INSTEAD OF INSERT ON v"
        " BEGIN INSERT INTO items(name) VALUES (new.name); END",
        [
            ("INSERT INTO v VALUES ('through the view')", ["insert"]),
            ("DROP VIEW v; UPDATE items SET value='x' WHERE id=1", ["update"]),
            ("CREATE VIEW v AS SELECT random(); DELETE FROM items WHERE id=1", ["delete"]),
        ],
    ),
}


@pytest.mark.fault("D22")
@pytest.mark.parametrize(("kind", "mode"), combined([*KINDS], MODE))
def test_every_kind_of_table_has_its_place(
    kind: str, mode: str, database: MakeDatabase, state: Path, write: Write
) -> None:
    """Ordinary tables are followed whatever their form; what is none disturbs them nowhere."""
    sql, steps = KINDS[kind]
    take_steps(database(mode=mode, sql=sql), state, write, steps)


# Values in the order in which one replaces the other, and what a client gets.
VALUES: list[tuple[str, Value]] = [
    ("1", 1),
    ("1.0", 1.0),
    ("'1'", "1"),
    ("x'31'", b"1"),
    ("'a'", "a"),
    ("'A'", "A"),
    ("'A '", "A "),
    ("''", ""),
    ("NULL", None),
    ("x''", b""),
    ("0.0", 0.0),
    ("-1e-400", -0.0),
    ("0", 0),
    ("9e999", float("inf")),
    ("-9e999", float("-inf")),
    ("9223372036854775807", 2**63 - 1),
    ("9223372036854775807.0", float(2**63)),
    ("CAST(x'ff' AS TEXT)", InvalidText(b"\xff")),
    ("x'ff'", b"\xff"),
    ("'a' || char(0) || 'b'", "a\0b"),
]


@pytest.mark.fault("D23")
@pytest.mark.parametrize(
    ("collate", "mode"), combined(["", "COLLATE NOCASE", "COLLATE RTRIM"], MODE)
)
def test_every_change_of_a_value_is_seen_exactly(
    collate: str, mode: str, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Also where SQL calls the two equal: type, sign, case and trailing spaces count."""
    # No affinity, so that each is stored as it is written.
    path = database(mode=mode, sql=f"CREATE TABLE t(id INTEGER PRIMARY KEY, v {collate})")

    async def steps(watched: Watched) -> None:
        writer = program(path)
        for count, (sql, _) in enumerate(VALUES, start=1):
            writer.run(f"REPLACE INTO t VALUES (1, {sql})")
            await watched.until_rows(count)
        told = [(change.after or {})["v"] for change in watched.rows()]
        assert [*map(exact, told)] == [exact(value) for _, value in VALUES]
        before = [(change.before or {})["v"] for change in watched.rows()[1:]]
        assert [*map(exact, before)] == [exact(value) for _, value in VALUES[:-1]]

    follow(path, state, steps)


def exact(value: Value) -> tuple[type, str]:
    """What tells 1 from 1.0, and 0.0 from -0.0."""
    return type(value), repr(value)


# The same suite for every form of the file


SUITE = (
    # Long values, which go to overflow pages in any page size; deep trees; freed and used pages.
    "WITH RECURSIVE n(i) AS (VALUES(10) UNION ALL SELECT i+1 FROM n WHERE i<800)"
    " INSERT INTO items SELECT i, 'n' || i, hex(zeroblob(i)) FROM n",
    "UPDATE items SET value=hex(zeroblob(70000)) WHERE id IN (20, 400)",
    "UPDATE items SET value=replace(value, '0', '1') WHERE id=20",
    "CREATE TABLE w(k PRIMARY KEY, v) WITHOUT ROWID",
    "INSERT INTO w SELECT name, substr(value, 1, 600) FROM items",
    "CREATE INDEX by_value ON items(value)",
    "DELETE FROM items WHERE id % 3 = 0",
    "UPDATE w SET k=k || 'x' WHERE k LIKE 'n7%'",
    "ALTER TABLE items ADD COLUMN more DEFAULT 'm'",
    "INSERT INTO items(name, value, more) SELECT k, v, '\N{GREEK SMALL LETTER ALPHA}' FROM w",
    "DROP TABLE w",
    "UPDATE items SET more=1.5 WHERE id % 50 = 0",
    "DELETE FROM items WHERE id > 30",
)


def run_suite(path: Path, state: Path, program: StartProgram) -> None:
    """Follows a database through all that the form of the file may have a bearing on."""

    async def steps(watched: Watched) -> None:
        writer = program(path)
        for sql in SUITE:
            writer.run(sql)
            await watched.caught_up()

    follow(path, state, steps)


SIZES = [2**n for n in range(9, 17)]


@pytest.mark.fault("D27")
@pytest.mark.parametrize(("page_size", "vacuum", "mode"), combined(SIZES, [0, 1, 2], MODE))
def test_every_page_size(
    page_size: int,
    vacuum: int,
    mode: str,
    database: MakeDatabase,
    state: Path,
    program: StartProgram,
) -> None:
    """Pages of 512 to 65,536 bytes, with and without a pointer map."""
    form = f"PRAGMA page_size={page_size}; PRAGMA auto_vacuum={vacuum}"
    path = database(sql=f"{form}; {ITEMS} PRAGMA journal_mode={mode}")
    assert program(path).run("PRAGMA page_size") == [[page_size]]
    run_suite(path, state, program)


@pytest.mark.fault("D27")
@pytest.mark.parametrize(("encoding", "mode"), combined(["UTF-16le", "UTF-16be"], MODE))
def test_every_encoding(
    encoding: str, mode: str, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Text of two bytes a character, in either order."""
    path = database(mode=mode, sql=f"PRAGMA encoding='{encoding}'; {ITEMS}")
    assert program(path).run("PRAGMA encoding") == [[encoding]]
    run_suite(path, state, program)


@pytest.mark.fault("D27")
@pytest.mark.parametrize(
    ("form", "mode"), combined([(512, 32), (4096, 8), (65536, 32)], MODE), ids=str
)
def test_bytes_reserved_at_the_end_of_each_page(
    form: tuple[int, int],
    mode: str,
    tmp_path: Path,
    state: Path,
    program: StartProgram,
    sqlite3_shell: Path,
) -> None:
    """As extensions for checksums or encryption leave them: no row lies there."""
    path = tmp_path / "app.db"
    page_size, reserved = form
    script = f".filectrl reserve_bytes {reserved}\nPRAGMA page_size={page_size};\nVACUUM;\n"
    subprocess.run(
        [sqlite3_shell, path],
        input=f"{script}{ITEMS}\nPRAGMA journal_mode={mode};\n",
        text=True,
        check=True,
        capture_output=True,
    )
    assert path.read_bytes()[20] == reserved
    run_suite(path, state, program)


@pytest.mark.fault("D27")
@pytest.mark.soak
@pytest.mark.timeout(600)
@MODES
@pytest.mark.parametrize("page_size", [1024, 4096, 65536])
def test_a_database_of_more_than_a_gigabyte(
    page_size: int, mode: str, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Rows beyond the page that SQLite leaves free for its locks, at one GiB, are found too."""
    path = database(sql=f"PRAGMA page_size={page_size}; {ITEMS} PRAGMA journal_mode={mode}")
    program(path).run(
        "CREATE TABLE filling(x)",
        "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<1060)"
        " INSERT INTO filling SELECT zeroblob(1000000) FROM n",
        # The rows of this one lie on both sides of the page.
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v)",
        "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<500)"
        " INSERT INTO t SELECT i, zeroblob(100000) FROM n",
        # The pages remain, but no replica has to hold so much.
        "DROP TABLE filling",
        "PRAGMA wal_checkpoint(TRUNCATE)",
    )
    assert path.stat().st_size > (1 << 30) + (1 << 25)

    async def steps(watched: Watched) -> None:
        writer = program(path)
        operations = []
        for sql, count, kind in (
            ("UPDATE t SET v='first' WHERE id=1", 1, "update"),
            ("UPDATE t SET v='last' WHERE id=500", 1, "update"),
            ("UPDATE t SET v=id || 'many' WHERE id BETWEEN 100 AND 400", 301, "update"),
            ("INSERT INTO t VALUES (501, zeroblob(20000000))", 1, "insert"),
            ("DELETE FROM t WHERE id BETWEEN 201 AND 202", 2, "delete"),
        ):
            writer.run(sql)
            operations += [kind] * count
            await watched.until_rows(len(operations))
        assert [change.op for change in watched.rows()] == operations
        writer.run("DELETE FROM t WHERE id>50", "VACUUM")

    follow(path, state, steps)
    assert integrity(path) == "ok"
    assert contents_of_file(path)["t"]
