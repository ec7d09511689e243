"""States of the file in which it cannot be read, or not all of it: they are said, and pass."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ITEMS, MakeDatabase, Write
from tests.faults.conftest import StartProgram
from tests.faults.following import POLLS, follow
from tests.faults.watched import Watched
from watcher.errors import DatabaseUnavailable
from watcher.history import HistoryWriter, Limits
from watcher.sqlite.capture import RawCapture
from watcher.sqlite.captured import NotQuiet
from watcher.sqlite.files import DatabaseFiles
from watcher.sqlite.reader import Reader

# Far more than a connection with `cache_size=5` keeps in memory: it writes before it commits.
SPILL = """
WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<2000)
INSERT INTO items(name) SELECT 'spilled' || i || hex(zeroblob(100)) FROM n
"""


def die_in_mid_commit(path: Path, program: StartProgram) -> None:
    """Leaves a hot journal and half a transaction in the file."""
    writer = program(path)
    writer.run("PRAGMA cache_size=5", "BEGIN", "UPDATE items SET value='never'", SPILL)
    writer.kill()
    assert path.with_name(path.name + "-journal").stat().st_size > 0


# A writer that died


@pytest.mark.fault("D4")
@POLLS
@pytest.mark.parametrize("mode", ["delete", "truncate", "persist"])
def test_a_hot_journal_needs_recovery(
    mode: str, poll: float | None, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """What a killed writer left is no change; it goes on when another program has recovered."""
    path = database(mode=mode)

    async def steps(watched: Watched) -> None:
        die_in_mid_commit(path, program)
        await watched.until_status("needs_recovery")
        assert watched.live() == []
        program(path).run("UPDATE items SET value='recovered' WHERE id=1")
        await watched.caught_up()
        (change,) = watched.rows()
        assert (change.op, change.after) == (
            "update",
            {"id": 1, "name": "Test", "value": "recovered"},
        )

    follow(path, state, steps, poll)


@pytest.mark.fault("D4")
@POLLS
def test_watching_begins_beside_a_hot_journal(
    poll: float | None, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """A hot journal found at the start is waited for; nothing uncommitted is ever told."""
    path = database()
    die_in_mid_commit(path, program)

    async def run() -> None:
        async with Watched(path, state, poll=poll) as watched:
            await watched.until_status("needs_recovery")
            assert watched.received == []
            program(path).run("UPDATE items SET value='recovered' WHERE id=1")
            await watched.caught_up()
            assert all("spilled" not in str(changeset) for changeset in watched.received)

    asyncio.run(run())


# Writers that hold their locks


@pytest.mark.fault("D8")
@POLLS
def test_an_exclusive_lock_is_said_and_waited_for(
    poll: float | None, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Under locking_mode=EXCLUSIVE the status is `locked`; what was written comes afterwards."""
    path = database()

    async def steps(watched: Watched) -> None:
        writer = program(path)
        writer.run("PRAGMA locking_mode=EXCLUSIVE", "UPDATE items SET value='a' WHERE id=1")
        await watched.until_status("locked")
        writer.run("UPDATE items SET value='b' WHERE id=1", "PRAGMA locking_mode=NORMAL")
        writer.run("SELECT * FROM items")
        await watched.caught_up()
        assert [change.after["value"] for change in watched.rows() if change.after] == ["b"]

    follow(path, state, steps, poll)


@pytest.mark.fault("D8")
def test_an_exclusive_writer_with_a_log_is_followed_live(
    database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """A log without -shm, which nobody else can read, is read by its checksums."""
    path = database()

    async def steps(watched: Watched) -> None:
        writer = program(path)
        writer.run("PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=wal")
        for count in range(1, 6):
            writer.run(f"UPDATE items SET value='{count}' WHERE id=1")
            await watched.until_rows(count)
        assert not path.with_name("app.db-shm").exists()
        assert [(row.after or {})["value"] for row in watched.rows()] == list("12345")
        writer.close()

    follow(path, state, steps)


@pytest.mark.fault("D18")
@POLLS
def test_a_transaction_left_open_blocks_nothing(
    poll: float | None, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Watching begins beside an editor that holds a savepoint open, and sees what it writes."""
    path = database()
    editor = program(path)
    editor.run("SAVEPOINT editing", "UPDATE items SET value='a'", "DELETE FROM items WHERE id=2")

    async def steps(watched: Watched) -> None:
        assert len(watched.held["items"][1]) == 2
        editor.run("RELEASE editing")
        await watched.caught_up()
        assert watched.operations() == ["update", "delete"]
        editor.run("SAVEPOINT editing", "DELETE FROM items", "ROLLBACK TO editing")
        editor.run("RELEASE editing", "UPDATE items SET value='b'")
        await watched.caught_up()
        assert watched.operations() == ["update", "delete", "update"]

    follow(path, state, steps, poll)


@pytest.mark.fault("D18")
@POLLS
@pytest.mark.parametrize("mode", ["delete", "truncate", "persist", "wal"])
def test_what_is_rolled_back_was_never_there(
    mode: str, poll: float | None, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Transactions that were written before they were rolled back give no change."""
    path = database(mode=mode)

    async def steps(watched: Watched) -> None:
        writer = program(path)
        writer.run("PRAGMA cache_size=5")
        for _ in range(10):
            writer.run("BEGIN", "UPDATE items SET value='never'", SPILL, "ROLLBACK")
        writer.run("BEGIN", SPILL, "ROLLBACK", "UPDATE items SET value='kept' WHERE id=1")
        await watched.caught_up()
        (changeset,) = watched.live()
        assert [change.op for change in changeset.changes] == ["update"]
        assert changeset.commits == (None if poll else 1)

    follow(path, state, steps, poll)


# Bytes that are no database


@pytest.mark.fault("D20")
@POLLS
def test_random_bytes_are_no_database(
    poll: float | None, database: MakeDatabase, state: Path
) -> None:
    """A file overwritten with anything else deletes no row; restored, it changes nothing."""
    path = database()
    content = path.read_bytes()

    async def steps(watched: Watched) -> None:
        path.write_bytes(os.urandom(len(content)))
        await watched.until_status("not_a_database")
        path.write_bytes(content)
        await watched.caught_up()
        assert watched.live() == []

    follow(path, state, steps, poll)


@pytest.mark.fault("D20")
@POLLS
def test_a_broken_schema_is_corrupt(
    poll: float | None, database: MakeDatabase, state: Path
) -> None:
    """A schema that SQLite cannot read deletes no row; restored, it changes nothing."""
    path = database()
    content = path.read_bytes()

    async def steps(watched: Watched) -> None:
        path.write_bytes(broken(content, 1))
        await watched.until_status("corrupt")
        path.write_bytes(content)
        await watched.caught_up()
        assert watched.live() == []

    follow(path, state, steps, poll)


@pytest.mark.fault("D20")
@POLLS
def test_a_broken_page_stops_its_table_alone(
    poll: float | None, database: MakeDatabase, state: Path, write: Write
) -> None:
    """A table with a corrupt page is named and keeps its rows; others go on."""
    path = database(sql=f"{ITEMS} CREATE TABLE broken(x); INSERT INTO broken VALUES (1), (2)")

    async def steps(watched: Watched) -> None:
        before = watched.held["broken"]
        content = path.read_bytes()
        path.write_bytes(broken(content, len(content) // 4096))
        status = await watched.until_status("partial")
        assert '"broken"' in status.detail
        write(path, "UPDATE items SET value='goes on'")
        await watched.until(lambda: len(watched.rows()) == 2, "the changes of the other table")
        assert watched.held["broken"] == before
        assert watched.operations() == ["update", "update"]
        path.write_bytes(content)
        await watched.caught_up()

    follow(path, state, steps, poll)


def broken(content: bytes, page: int) -> bytes:
    """Makes nonsense of the b-tree header of a page of 4096 bytes."""
    start = (page - 1) * 4096 + (100 if page == 1 else 0)
    return content[:start] + b"\xff" * 16 + content[start + 16 :]


@contextmanager
def reader_of(path: Path, state: Path) -> Iterator[Reader]:
    """The recipe alone, without a process of its own, so that single looks can be taken."""
    state.mkdir()
    history = HistoryWriter(state, Limits())
    reader = Reader(path, state, RawCapture(DatabaseFiles(path), frozenset), history)
    try:
        yield reader
    finally:
        reader.close()
        history.close()


def test_many_short_locks_are_told_from_one_long_one(
    database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """A lock under which the file stands still is `locked`, one under which it changes `busy`."""
    path = database()
    writer = program(path)

    def reason() -> str:
        with pytest.raises(NotQuiet) as caught:
            reader.step()
        return caught.value.reason

    with reader_of(path, state) as reader:
        assert reader.step()
        # Written once, so that there is something to look at.
        writer.run("UPDATE items SET value='1'", "BEGIN EXCLUSIVE")
        assert (reason(), reason()) == ("writing", "writing")
        writer.run("UPDATE items SET value='2'", "COMMIT", "BEGIN EXCLUSIVE")
        assert (reason(), reason()) == ("changed", "writing")
        writer.run("COMMIT")
        assert reader.step()


def test_a_corrupt_file_stays_corrupt_however_often_one_looks(
    database: MakeDatabase, state: Path
) -> None:
    """A state that could not be recorded is not taken for recorded at the next look."""
    path = database()
    with reader_of(path, state) as reader:
        assert reader.step()
        path.write_bytes(broken(path.read_bytes(), 1))
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable, match="cannot be read by SQLite"):
                reader.step()


# Tables that are not watched, or cannot be


ODD = """
CREATE VIRTUAL TABLE words USING fts5(text);
CREATE VIRTUAL TABLE boxes USING rtree(id, x1, x2);
CREATE VIEW seen AS SELECT * FROM items;
CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, x);
INSERT INTO words VALUES ('some text');
INSERT INTO boxes VALUES (1, 0, 1);
INSERT INTO counted(x) VALUES (1);
"""


@pytest.mark.fault("D22")
@POLLS
def test_only_ordinary_tables_are_watched(
    poll: float | None, database: MakeDatabase, state: Path, write: Write
) -> None:
    """Virtual tables, their shadow tables, views and sqlite_sequence do not disturb the others."""
    path = database(sql=ITEMS + ODD)

    async def steps(watched: Watched) -> None:
        assert sorted(watched.held) == ["counted", "items"]
        write(
            path,
            "BEGIN; INSERT INTO words VALUES ('more'); INSERT INTO boxes VALUES (2, 0, 1);"
            "INSERT INTO counted(x) VALUES (2); DELETE FROM counted WHERE id=1; COMMIT;"
            "DROP TABLE words; DROP VIEW seen; UPDATE items SET value='x' WHERE id=1",
        )
        await watched.caught_up()
        assert {change.table for change in watched.rows()} == {"counted", "items"}

    follow(path, state, steps, poll)


def test_a_virtual_table_of_an_unknown_module_disturbs_no_other(
    database: MakeDatabase, state: Path, write: Write
) -> None:
    """A module that is not here is no obstacle: its tables are not watched anyway."""
    path = database()
    write(
        path,
        "PRAGMA writable_schema=ON; INSERT INTO sqlite_schema VALUES"
        "('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING no_such_module(x)')",
    )

    async def run() -> None:
        async with Watched(path, state) as watched:
            await watched.begun()
            write(path, "UPDATE items SET value='x' WHERE id=1")
            await watched.until(lambda: len(watched.rows()) == 1, "the change")
            assert (watched.status.state, sorted(watched.held)) == ("ok", ["items"])

    asyncio.run(run())


UNREADABLE = {
    "function": "CREATE TABLE odd(x, y AS (app_function(x)))",
    "collation": "CREATE TABLE odd(x TEXT COLLATE app_collation PRIMARY KEY, y)",
    "hidden rowid": "CREATE TABLE odd(rowid, _rowid_, oid)",
}


@pytest.mark.fault("D21")
@POLLS
@pytest.mark.parametrize("sql", UNREADABLE.values(), ids=UNREADABLE.keys())
@pytest.mark.parametrize("when", ["before", "while watching"])
def test_a_table_that_cannot_be_read_here_is_named(
    when: str,
    sql: str,
    poll: float | None,
    database: MakeDatabase,
    state: Path,
    program: StartProgram,
) -> None:
    """A table only its application can read is named in the status; all others go on."""
    path = database()
    app = program(path)
    make = (sql, "INSERT INTO odd DEFAULT VALUES")
    if when == "before":
        app.run(*make)

    async def run() -> None:
        async with Watched(path, state, poll=poll) as watched:
            await watched.until(lambda: len(watched.held.get("items", ([], []))[1]) == 2, "rows")
            if when != "before":
                app.run(*make)
            status = await watched.until_status("partial")
            assert '"odd"' in status.detail
            app.run("UPDATE items SET value='x'", "INSERT INTO odd DEFAULT VALUES")
            app.run("DELETE FROM items WHERE id=2")
            await watched.until(lambda: len(watched.held["items"][1]) == 1, "the deletion")
            assert "odd" not in watched.held
            assert {change.table for change in watched.rows()} == {"items"}
            app.run("DROP TABLE odd")
            await watched.caught_up()

    asyncio.run(run())


def test_a_table_with_an_index_only_its_application_understands_is_watched(
    database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """An index over an application's function or collation is in nobody's way."""
    path = database()
    app = program(path)
    app.run(
        "CREATE TABLE odd(id INTEGER PRIMARY KEY, x, CHECK(app_function(x) IS NOT 'no'))",
        "CREATE INDEX a ON odd(app_function(x))",
        "CREATE INDEX b ON odd(x COLLATE app_collation)",
        "CREATE INDEX c ON odd(x) WHERE app_function(x) = '<1>'",
    )

    async def steps(watched: Watched) -> None:
        app.run("INSERT INTO odd VALUES (1, 'a'), (2, 'b')")
        await watched.until(lambda: len(watched.rows()) == 2, "the rows")
        app.run("UPDATE odd SET x='c' WHERE id=1")
        await watched.until(lambda: len(watched.rows()) == 3, "the change")
        app.run("DROP INDEX a", "DROP INDEX b", "DROP INDEX c")
        await watched.caught_up()
        assert watched.held.keys() == {"items", "odd"}
        # For the integrity check that follows, which knows no such function.
        app.run("DROP TABLE odd")

    follow(path, state, steps)
