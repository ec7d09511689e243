"""Rows that move and rows that are changed in place: VACUUM, schema changes, incremental writes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ITEMS, MakeDatabase, Write
from tests.faults.combinations import combined
from tests.faults.conftest import StartProgram
from tests.faults.following import POLLS, follow
from tests.faults.watched import Watched
from watcher import SchemaChange

MODE = ["delete", "wal"]
MODES = pytest.mark.parametrize("mode", MODE)
MANY = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<2000)"
LOOSE = "CREATE TABLE loose(x); INSERT INTO loose VALUES ('a'), ('b'), ('c'), ('d')"


@pytest.mark.fault("D15", "D10")
@POLLS
@MODES
def test_a_vacuumed_copy_put_in_its_place_changes_no_row_with_a_key(
    mode: str, poll: float | None, database: MakeDatabase, state: Path, write: Write
) -> None:
    """VACUUM INTO another file, which then takes the name; rowids that moved are told."""
    path = database(mode=mode, sql=f"{ITEMS} {LOOSE}")
    other = path.with_name("other.db")

    async def steps(watched: Watched) -> None:
        write(path, "DELETE FROM loose WHERE x='a'")
        await watched.until_rows(1)
        write(path, f"VACUUM INTO '{other}'")
        other.replace(path)
        await watched.caught_up()
        write(path, "UPDATE items SET value='after' WHERE id=1")
        await watched.until(lambda: watched.rows()[-1].table == "items", "the change")
        told = [change.op for change in watched.rows() if change.table == "items"]
        assert told == ["update"]

    follow(path, state, steps, poll)


@pytest.mark.fault("D15")
@MODES
@pytest.mark.parametrize("kind", ["FULL", "INCREMENTAL"])
def test_pages_moved_to_make_a_file_smaller_are_no_changes(
    kind: str,
    mode: str,
    database: MakeDatabase,
    state: Path,
    program: StartProgram,
    write: Write,
) -> None:
    """Auto-vacuum moves pages and roots of trees; the rows on them, and their rowids, stay."""
    path = database(
        sql=f"PRAGMA auto_vacuum={kind}; CREATE TABLE filling(x);"
        f"{MANY} INSERT INTO filling SELECT hex(zeroblob(200)) FROM n; {ITEMS} {LOOSE};"
        f"CREATE INDEX by_name ON items(name); {MANY} INSERT INTO items(name, value)"
        f" SELECT i, hex(zeroblob(i * 2)) FROM n; PRAGMA journal_mode={mode}"
    )

    async def steps(watched: Watched) -> None:
        writer = program(path)
        ((before,),) = writer.run("PRAGMA page_count")
        # What lies behind it moves to its place, the roots of two tables among it.
        writer.run("DROP TABLE filling")
        for pages in ("(20)", "(20)", "(20)", ""):
            # Not by a program that asks for rows, of which there are none: it would move one page.
            write(path, f"PRAGMA incremental_vacuum{pages}")
            await watched.caught_up()
        assert watched.operations() == ["schema"]
        ((after,),) = writer.run("PRAGMA page_count")
        assert after < before - 100
        for count, name in enumerate(("Test", "Lamp", "1999"), start=1):
            writer.run(f"UPDATE items SET value='{count}' WHERE name='{name}'")
            await watched.until_rows(count)

    follow(path, state, steps)


# Statements of one commit, and the operations that come of them.
SCHEMAS: dict[str, tuple[str, list[str]]] = {
    "create": ("CREATE TABLE n(x); INSERT INTO n VALUES (1)", ["schema", "insert"]),
    "drop": ("DROP TABLE items", ["schema"]),
    "add column": ("ALTER TABLE items ADD COLUMN c DEFAULT 'd'", ["schema"]),
    "add column, update": (
        "ALTER TABLE items ADD COLUMN c DEFAULT 'd'; UPDATE items SET c='e' WHERE id=1",
        ["schema", "update"],
    ),
    "drop column": ("ALTER TABLE items DROP COLUMN value", ["schema"]),
    "rename column": ("ALTER TABLE items RENAME COLUMN value TO content", ["schema"]),
    "rename table": (
        "ALTER TABLE items RENAME TO things; DELETE FROM things WHERE id=1",
        ["schema", "delete"],
    ),
    "drop and create": (
        "DROP TABLE items; CREATE TABLE items(id INTEGER PRIMARY KEY, other);"
        "INSERT INTO items VALUES (1, 'other')",
        # The key carries over, as if the columns had been dropped and added.
        ["schema", "delete", "update"],
    ),
    "drop and create the same": (
        "CREATE TEMP TABLE kept AS SELECT * FROM items; DROP TABLE items;"
        "CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT NOT NULL, value TEXT);"
        "INSERT INTO items SELECT * FROM kept WHERE id=2",
        ["delete"],
    ),
    "swap names": (
        "CREATE TABLE other(x); INSERT INTO other VALUES (9); ALTER TABLE items RENAME TO t;"
        "ALTER TABLE other RENAME TO items; ALTER TABLE t RENAME TO other",
        # Which of them is told as renamed does not matter, as long as the rows are right.
        ["schema", "schema", "insert", "insert", "insert"],
    ),
}


@pytest.mark.fault("D19")
@pytest.mark.parametrize(("kind", "mode"), combined([*SCHEMAS], MODE))
def test_a_schema_change_comes_before_the_rows_that_need_it(
    kind: str, mode: str, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """One commit is one changeset: what became of the tables, then what became of the rows."""
    sql, operations = SCHEMAS[kind]
    path = database(mode=mode)
    writer = program(path)

    async def steps(watched: Watched) -> None:
        writer.run("BEGIN", *sql.split(";"), "COMMIT")
        await watched.caught_up()
        (changeset,) = watched.live()
        kinds = [isinstance(change, SchemaChange) for change in changeset.changes]
        assert kinds == sorted(kinds, reverse=True)
        assert [change.op for change in changeset.changes] == operations

    follow(path, state, steps)


# Opens a value and writes some bytes of it, which leaves all others on the disk as they are.
_IN_PLACE = """
import sqlite3, sys
path, row, offset, data = sys.argv[1:]
with sqlite3.connect(path) as db, db.blobopen("t", "v", int(row)) as blob:
    blob.seek(int(offset))
    blob.write(data.encode())
db.close()
"""
SIZE = 100_000


def write_in_place(path: Path, row: int, offset: int) -> None:
    """Writes four bytes of a value."""
    arguments = [str(path), str(row), str(offset), "text"]
    subprocess.run([sys.executable, "-c", _IN_PLACE, *arguments], check=True)


@pytest.mark.fault("D25")
@pytest.mark.skipif(sys.version_info < (3, 11), reason="sqlite3 opens no blobs before Python 3.11")
@pytest.mark.parametrize(
    ("offset", "page_size", "mode"),
    combined([0, 3000, SIZE // 2, SIZE - 4], [512, 4096, 65536], MODE),
)
def test_an_incremental_write_is_seen(
    offset: int, page_size: int, mode: str, database: MakeDatabase, state: Path
) -> None:
    """Four bytes somewhere in a large value, of which perhaps a single overflow page changes."""
    path = database(
        sql=f"PRAGMA page_size={page_size}; CREATE TABLE t(id INTEGER PRIMARY KEY, v);"
        f"INSERT INTO t VALUES (1, zeroblob({SIZE})), (2, zeroblob({SIZE}));"
        f"PRAGMA journal_mode={mode}"
    )
    before = bytes(SIZE)

    async def steps(watched: Watched) -> None:
        for row in (2, 1):
            write_in_place(path, row, offset)
            await watched.caught_up()
        after = before[:offset] + b"text" + before[offset + 4 :]
        told = [(change.key["id"], change.before, change.after) for change in watched.rows()]
        assert told == [(row, {"id": row, "v": before}, {"id": row, "v": after}) for row in (2, 1)]

    follow(path, state, steps)


@pytest.mark.fault("D25")
@MODES
@pytest.mark.parametrize("rowid", ["", "WITHOUT ROWID"])
def test_a_large_value_overwritten_by_one_of_its_size_is_seen(
    rowid: str, mode: str, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Nothing of the row's own page changes; texts differ in a letter far behind its start."""
    path = database(
        mode=mode,
        sql=f"CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT) {rowid};"
        "INSERT INTO t VALUES ('a', hex(zeroblob(30000))), ('b', hex(zeroblob(30000)))",
    )
    # Without secure_delete, which the library may have been built with, the rest stays as it is.
    changed = "substr(v, 1, 55000) || 'x' || substr(v, 55002)"

    async def steps(watched: Watched) -> None:
        writer = program(path)
        for count, key in enumerate("ab", start=1):
            writer.run("PRAGMA secure_delete=OFF", f"UPDATE t SET v={changed} WHERE id='{key}'")
            await watched.until_rows(count)
        for change in watched.rows():
            assert change.op == "update"
            assert str((change.after or {})["v"]).find("x") == 55000

    follow(path, state, steps)


@pytest.mark.fault("D11", "D20")
@POLLS
def test_a_copy_that_stops_half_way_deletes_nothing(
    poll: float | None, database: MakeDatabase, state: Path, write: Write
) -> None:
    """While another file is copied over it, what is there so far is no state of a database."""
    many = f"{MANY} INSERT INTO items(name, value) SELECT i, hex(zeroblob(100)) FROM n;"
    path, other = database(sql=ITEMS + many), database("other.db", sql=ITEMS + many)
    write(other, "UPDATE items SET value='new' WHERE id%1000=0; DELETE FROM items WHERE id=1")
    content = other.read_bytes()
    with sqlite3.connect(other) as db:
        assert db.execute("SELECT count(*) FROM items").fetchone() == (2001,)
    db.close()

    async def steps(watched: Watched) -> None:
        with path.open("r+b") as file:
            file.truncate(0)
            await watched.until_status("missing")
            file.write(content[: len(content) // 2])
            file.flush()
            await watched.until_status("corrupt", "partial")
            assert watched.rows() == []
            file.write(content[len(content) // 2 :])
        await watched.caught_up()
        # A table that could not be read may come anew, but no row that is there was ever deleted.
        assert {c.key["id"] for c in watched.rows() if c.op == "delete"} <= {1}

    follow(path, state, steps, poll)
