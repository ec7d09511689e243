"""Text that is none, in the schema and in keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ITEMS, MakeDatabase, Write
from tests.faults.following import follow
from tests.faults.watched import Watched
from watcher.changes import InvalidText

# A byte of Latin-1, put where the database file has this text.
PLACEHOLDER = "\N{LATIN SMALL LETTER E WITH ACUTE}"


def with_latin_1(path: Path) -> None:
    """Makes each placeholder in a file the byte it has in Latin-1, and a space."""
    path.write_bytes(path.read_bytes().replace(PLACEHOLDER.encode(), b"\xe9 "))


def test_a_comment_in_another_encoding_harms_nothing(
    database: MakeDatabase, state: Path, write: Write
) -> None:
    path = database(sql=f"{ITEMS} CREATE TABLE old(x /* caf{PLACEHOLDER} */, y)")
    with_latin_1(path)

    async def steps(watched: Watched) -> None:
        assert sorted(watched.held) == ["items", "old"]
        write(path, "INSERT INTO old VALUES (1, 2); UPDATE items SET value='x' WHERE id=1")
        await watched.until_rows(2)
        assert sorted(row.table for row in watched.rows()) == ["items", "old"]

    follow(path, state, steps)


@pytest.mark.parametrize(
    "sql",
    [f'CREATE TABLE odd("caf{PLACEHOLDER}")', f'CREATE TABLE "odd caf{PLACEHOLDER}"(x)'],
    ids=["column", "table"],
)
def test_a_name_in_another_encoding_is_named_in_the_status(
    sql: str, database: MakeDatabase, state: Path, write: Write
) -> None:
    path = database(sql=f"{ITEMS} {sql}")
    with_latin_1(path)

    async def steps(watched: Watched) -> None:
        status = await watched.until_status("partial")
        assert 'table "odd' in status.detail
        assert sorted(watched.held) == ["items"]
        write(path, "UPDATE items SET value='x' WHERE id=1")
        await watched.until_rows(1)
        # What this process reads at the end knows no such names either.
        write(path, "PRAGMA writable_schema=ON;"
              "DELETE FROM sqlite_schema WHERE name LIKE 'odd%'; PRAGMA writable_schema=RESET;"
              "VACUUM")  # fmt: skip

    follow(path, state, steps)


@pytest.mark.fault("D23")
@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_a_key_that_is_no_text_is_found_again(
    encoding: str, database: MakeDatabase, state: Path, write: Write
) -> None:
    """In a UTF-16 database half a surrogate pair, in a UTF-8 one any stray byte."""
    half = {"UTF-8": "ff61", "UTF-16le": "00d86100", "UTF-16be": "d8000061"}[encoding]
    path = database(
        sql=f"PRAGMA encoding='{encoding}'; CREATE TABLE t(k TEXT PRIMARY KEY NOT NULL, v);"
        f"INSERT INTO t VALUES (CAST(x'{half}' AS TEXT), 1), ('plain', 1)"
    )

    async def steps(watched: Watched) -> None:
        write(path, "UPDATE t SET v=2")
        await watched.until_rows(2)
        # UTF-16 is read as every program reads it: SQLite makes some character of the half.
        odd = InvalidText if encoding == "UTF-8" else str
        assert {type(row.key["k"]) for row in watched.rows()} == {str, odd}
        write(path, "DELETE FROM t WHERE v=2")
        await watched.until_rows(4)

    follow(path, state, steps)


def test_a_key_stored_under_another_type_stops_its_table_alone(
    database: MakeDatabase, state: Path, write: Write
) -> None:
    """A schema edited by hand: no look-up by key finds what is stored as text in an INT column."""
    path = database(
        sql=f"{ITEMS} CREATE TABLE t(k TEXT PRIMARY KEY, v) WITHOUT ROWID;"
        "INSERT INTO t VALUES ('5', 1), ('x', 2); PRAGMA writable_schema=ON;"
        "UPDATE sqlite_schema SET sql='CREATE TABLE t(k INT PRIMARY KEY, v) WITHOUT ROWID'"
        " WHERE name='t'"
    )

    async def steps(watched: Watched) -> None:
        write(path, "UPDATE t SET v=v+1")
        status = await watched.until_status("partial")
        assert '"t" cannot be read: a row is not found by its key' in status.detail
        write(path, "UPDATE items SET value='goes on' WHERE id=1")
        await watched.until_rows(1)
        write(path, "DROP TABLE t")

    follow(path, state, steps)
