"""The private copy: old and new state side by side, and nothing half after a kill at any stage."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest

from tests.conftest import ITEMS, MakeDatabase, Write
from tests.oracle.contents import contents_of_file, integrity
from tests.served import environment
from tests.sqlite.shadow_main import STAGES
from tests.sqlite.states import plain_copy, states
from watcher.changes import ResetReason
from watcher.history import HistoryWriter, Limits
from watcher.sqlite.shadow import Pending, Shadow
from watcher.sqlite.versions import EncodingChanged

MANY = """
WITH RECURSIVE n(i) AS (VALUES(10) UNION ALL SELECT i+1 FROM n WHERE i<800)
INSERT INTO items SELECT i, 'n' || i, hex(zeroblob(50)) FROM n;
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "state"
    directory.mkdir()
    return directory


def rows(db: apsw.Connection, name: str) -> list[tuple[object, ...]]:
    return list(db.execute(f"SELECT * FROM {name}.items ORDER BY id"))


def rows_of(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT * FROM items ORDER BY id").fetchall()


# Pending pages


@contextmanager
def pending_in(directory: Path) -> Iterator[Pending]:
    """Opens the pending pages as a new process does."""
    with closing(Shadow(directory)) as shadow, closing(Pending(directory, shadow)) as pending:
        yield pending


def put(pending: Pending, page_count: int, pages: dict[int, bytes], page_size: int = 512) -> None:
    """Puts the pages of one commit, each filled with a letter."""
    pending.begin(page_size)
    pending.page_count = page_count
    for page, letter in pages.items():
        pending.put(page, letter * page_size)


def test_a_page_put_twice_is_the_later_one(directory: Path) -> None:
    """A page that was not put, and that the shadow has not got, is empty."""
    with pending_in(directory) as pending:
        put(pending, 9, {7: b"a", 2: b"b"})
        pending.put(7, b"c" * 512)
        assert len(pending) == 2
        assert sorted(pending.fresh_pages()) == [2, 7]
        assert [pending.read_after(page) for page in (2, 3, 7)] == [b"b" * 512, b"", b"c" * 512]


def test_pages_behind_the_end_of_a_state_are_not_its_own(directory: Path) -> None:
    """The state may become smaller while it is put together, and by a later commit."""
    with pending_in(directory) as pending:
        put(pending, 9, {2: b"b", 7: b"c"})
        pending.page_count = 5
        assert pending.fresh_pages() == [2]
        pending.page_count = 9
        pending.settle()
        put(pending, 5, {})
        pending.settle()
        assert list(pending.settled_pages()) == [(2, b"b" * 512)]


def test_begin_drops_a_commit_that_was_not_settled(directory: Path) -> None:
    """Those settled before it stay, and its own pages leave no trace."""
    with pending_in(directory) as pending:
        put(pending, 2, {1: b"a", 2: b"b"})
        pending.settle()
        put(pending, 3, {2: b"x", 3: b"y"})
        pending.begin(512)
        assert (len(pending), pending.fresh_pages()) == (0, [])
        pending.page_count = 3
        assert [pending.read_after(page) for page in (1, 2, 3)] == [b"a" * 512, b"b" * 512, b""]
        assert list(pending.settled_pages()) == [(1, b"a" * 512), (2, b"b" * 512)]


@pytest.mark.parametrize("page_size", [512, 65536])
def test_settled_commits_are_the_state_before_the_next(directory: Path, page_size: int) -> None:
    """Each commit of a batch is laid over those before it, and these over the shadow."""
    with closing(Shadow(directory)) as shadow, closing(Pending(directory, shadow)) as pending:
        shadow.begin(page_size)
        shadow.write(b"s" * page_size * 3, 0)
        shadow.adopt(page_size, 3)
        pending.drop()
        commits = [(3, {1: b"a", 2: b"b"}), (4, {2: b"c", 4: b"d"}), (4, {1: b"e"})]
        state = {1: b"s", 2: b"s", 3: b"s"}
        for page_count, pages in commits:
            put(pending, page_count, pages, page_size)
            before, state = state, state | pages
            assert pending.page_count_before == len(before)
            for page in range(1, 6):
                assert pending.read_before(page) == before.get(page, b"") * page_size
                assert pending.read_after(page) == state.get(page, b"") * page_size
            pending.settle()
        assert shadow.read(4 * page_size, 0) == b"s" * page_size * 3
        shadow.apply(pending)
        assert shadow.read(5 * page_size, 0) == b"".join(
            letter * page_size for _, letter in sorted(state.items())
        )


def test_more_than_is_held_in_memory_is_read_back(directory: Path) -> None:
    """Images beyond the first eight megabytes of a batch come from the file."""
    count = 200
    with pending_in(directory) as pending:
        put(pending, count, {page: bytes([page]) for page in range(1, count + 1)}, 65536)
        pending.settle()
        found = {page: set(image) for page, image in pending.settled_pages()}
        assert found == {page: {page} for page in range(1, count + 1)}


def test_drop_goes_back_to_the_shadow(directory: Path, database: MakeDatabase) -> None:
    """Settled commits are forgotten as well; the states before and after are the shadow's."""
    with states(directory) as found:
        found.advance(database())
        pending, image = found.pending, found.shadow.read(4096, 4096)
        for letter in (b"x", b"y"):
            put(pending, 9, {2: letter}, 4096)
            pending.settle()
        pending.drop()
        assert (pending.page_count, pending.page_count_before) == (2, 2)
        assert pending.read_before(2) == pending.read_after(2) == image
        assert (len(pending), pending.settled_bytes, list(pending.settled_pages())) == (0, 0, [])


def test_a_note_finds_its_pages_again_and_no_others(directory: Path) -> None:
    """In a new process the note brings back what it describes, unless that has been replaced."""
    with pending_in(directory) as pending:
        put(pending, 4, {4: b"d", 1: b"a"}, 1024)
        pending.settle()
        put(pending, 4, {4: b"e"}, 1024)
        pending.settle()
        note = pending.note()
        expected = list(pending.settled_pages())
        assert expected == [(1, b"a" * 1024), (4, b"e" * 1024)]
        # Not settled, so the note does not speak of it.
        put(pending, 4, {2: b"x"}, 1024)
    with pending_in(directory) as later:
        assert later.restore(note)
        assert list(later.settled_pages()) == expected
        assert (later.page_size_before, later.page_count_before) == (1024, 4)
        assert later.note() == note
        later.drop()
        put(later, 4, {4: b"x"}, 1024)
        later.settle()
        assert later.note() != note
    with pending_in(directory) as last:
        assert not last.restore(note)
        assert list(last.settled_pages()) == []


def test_pages_that_were_taken_are_not_kept(directory: Path) -> None:
    """The file remembers which note's pages the shadow has, in a new process too."""
    with pending_in(directory) as pending:
        put(pending, 1, {1: b"a"})
        pending.settle()
        note = pending.note()
        assert not pending.is_taken(note)
        pending.taken()
        assert list(pending.settled_pages()) == []
        put(pending, 1, {1: b"b"})
        pending.settle()
        later = pending.note()
    with pending_in(directory) as pending:
        assert pending.is_taken(note)
        assert not pending.is_taken(later)


@pytest.mark.parametrize("what", ["empty", "gone"])
def test_a_note_without_a_file_fits_nothing(directory: Path, what: str) -> None:
    """The file may have been lost: then there is nothing to copy."""
    with pending_in(directory) as pending:
        put(pending, 1, {1: b"a"})
        pending.settle()
        note = pending.note()
    if what == "empty":
        os.truncate(directory / "pending", 0)
    else:
        (directory / "pending").unlink()
    with pending_in(directory) as later:
        assert not later.restore(note)


def test_a_state_without_a_page_is_a_state(directory: Path, database: MakeDatabase) -> None:
    """From a database to none: the note says so, and the copy becomes empty."""
    with states(directory) as found:
        found.advance(database())
        assert found.shadow.page_count == 2
        found.pending.begin(0)
        found.pending.settle()
        note = found.pending.note()
    with states(directory) as found:
        assert found.pending.restore(note)
        found.shadow.apply(found.pending)
        assert (found.shadow.page_count, found.shadow.path.stat().st_size) == (0, 0)


# The copy


@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_the_copy_is_the_database(
    directory: Path, database: MakeDatabase, tmp_path: Path, page_size: int
) -> None:
    """Any program can open it; a new process knows its page size and its pages."""
    path = database(sql=f"PRAGMA page_size={page_size}; VACUUM; {ITEMS} {MANY}")
    with states(directory) as found:
        found.advance(path)
        copy = plain_copy(found, tmp_path)
        pages = found.shadow.page_count
    assert contents_of_file(copy) == contents_of_file(path)
    assert integrity(copy) == "ok"
    with closing(Shadow(directory)) as shadow:
        assert (shadow.page_size, shadow.page_count) == (page_size, pages)
        assert shadow.read(16, 0) == b"SQLite format 3\0"
        shadow.clear()
        assert (shadow.page_size, shadow.page_count, shadow.read(16, 0)) == (0, 0, b"")


def test_only_pages_that_differ_are_pending(
    directory: Path, database: MakeDatabase, write: Write
) -> None:
    """One changed row of a database of many pages is one page; nothing changed is none."""
    path = database(sql=ITEMS + MANY)
    with states(directory) as found:
        found.advance(path)
        found.put(path)
        assert len(found.pending) == 0
        write(path, "UPDATE items SET name='m99' WHERE id=99")
        found.put(path)
        assert len(found.pending) == 1
        # The content is as it was, though the change counter is not.
        write(path, "UPDATE items SET name='n99' WHERE id=99")
        found.put(path)
        assert len(found.pending) == 0


# Both side by side

STEPS = {
    "a row": "UPDATE items SET value='new' WHERE id=1",
    "many rows": MANY.replace("SELECT i, ", "SELECT i + 1000, "),
    "another table": "CREATE TABLE more(x); INSERT INTO more VALUES (1)",
    "smaller": "DELETE FROM items WHERE id > 2; VACUUM",
    "other pages": "PRAGMA page_size=1024; VACUUM; DELETE FROM items WHERE id=1",
    "larger pages": "PRAGMA page_size=32768; VACUUM",
    "nothing left": "DROP TABLE items; CREATE TABLE items(id); VACUUM",
}


@pytest.mark.parametrize("sql", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("start", [ITEMS, ITEMS + MANY], ids=["small", "large"])
def test_old_and_new_are_there_at_once(
    directory: Path, database: MakeDatabase, write: Write, sql: str, start: str
) -> None:
    """One connection reads both; the shadow is not touched before it is told to move on."""
    path = database(sql=start)
    with states(directory) as found:
        found.advance(path)
        before, image = rows_of(path), found.shadow.path.read_bytes()
        write(path, sql)
        found.put(path)
        with found.versions.open() as (db, _):
            assert rows(db, "old") == before
            assert rows(db, "new") == rows_of(path)
            assert list(db.execute("PRAGMA new.integrity_check")) == [("ok",)]
        with found.versions.open_new() as (db, _):
            assert rows(db, "new") == rows_of(path)
        with found.versions.open_old() as (db, _):
            assert rows(db, "old") == before
        assert found.shadow.path.read_bytes() == image
        found.pending.settle()
        found.shadow.apply(found.pending)
        with found.versions.open_old() as (db, _):
            assert rows(db, "old") == rows_of(path)
    assert {file.name for file in directory.iterdir()} == {"shadow.db", "pending"}


def test_the_first_state_has_no_old_one(directory: Path, database: MakeDatabase) -> None:
    """An empty shadow is an empty database."""
    with states(directory) as found:
        path = database()
        found.put(path)
        with found.versions.open() as (db, _):
            assert list(db.execute("SELECT * FROM old.sqlite_schema")) == []
            assert rows(db, "new") == rows_of(path)


def test_a_state_that_is_dropped_leaves_no_trace(
    directory: Path, database: MakeDatabase, write: Write
) -> None:
    """Pages of a torn copy can be read or not; the current state is as it was."""
    path = database(sql=ITEMS + MANY)
    with states(directory) as found:
        found.advance(path)
        write(path, "DELETE FROM items WHERE id % 2")
        found.put(path)
        found.pending.put(1, b"SQLite format 3\0" + bytes(4080))
        with found.versions.open_old() as (db, _):
            held = rows(db, "old")
        found.put(path)
        with found.versions.open() as (db, _):
            assert rows(db, "old") == held
            assert rows(db, "new") == rows_of(path)


def test_texts_of_two_encodings_are_not_compared(directory: Path, database: MakeDatabase) -> None:
    """SQLite opens no two of them together; each alone can be read."""
    path = database("eight.db")
    other = database("sixteen.db", sql=f"PRAGMA encoding='UTF-16be'; {ITEMS}")
    with states(directory) as found:
        found.advance(path)
        found.put(other)
        with pytest.raises(EncodingChanged), found.versions.open():
            pass
        with found.versions.open_new() as (db, _):
            assert rows(db, "new") == rows_of(other)
            assert list(db.execute("PRAGMA new.encoding")) == [("UTF-16be",)]
        with found.versions.open_old() as (db, _):
            assert rows(db, "old") == rows_of(path)


def test_nothing_in_a_private_copy_can_be_written_or_run(
    directory: Path, database: MakeDatabase
) -> None:
    """Neither state can be written; a name that is no column is an error and not a text."""
    with states(directory) as found:
        found.advance(database())
        found.put(database("other.db", sql=ITEMS + "CREATE TABLE t(x);"))
        with found.versions.open() as (db, _):
            for name in ("old", "new"):
                with pytest.raises(apsw.ReadOnlyError):
                    db.execute(f"DELETE FROM {name}.items")
                with pytest.raises(apsw.SQLError, match="no such column"):
                    db.execute(f'SELECT "gone" FROM {name}.items')


def test_each_directory_has_a_view_of_its_own(tmp_path: Path, database: MakeDatabase) -> None:
    """Two watchers in one process do not read each other's pages."""
    path = database()
    other = database("other.db", sql="CREATE TABLE items(id, x); INSERT INTO items VALUES (9, 9)")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with states(tmp_path / "one") as one, states(tmp_path / "two") as two:
        one.put(path)
        two.put(other)
        with one.versions.open_new() as (first, _), two.versions.open_new() as (second, _):
            assert rows(first, "new") == rows_of(path)
            assert rows(second, "new") == rows_of(other)


# Killed

KEPT = STAGES[: STAGES.index("after the note")]


@pytest.mark.parametrize("resized", [False, True], ids=["same pages", "other pages"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_kill_at_any_stage_leaves_one_state_or_the_other(
    directory: Path, database: MakeDatabase, write: Write, stage: str, resized: bool
) -> None:
    """Before the note is committed: the old state. After it: the new one, however often resumed."""
    path = database(sql=ITEMS + MANY)
    with closing(HistoryWriter(directory, Limits())) as history, states(directory) as found:
        with history.transaction():
            history.start_epoch(ResetReason.START, ())
        found.advance(path)
    before = rows_of(path)
    size = "PRAGMA page_size=8192;" if resized else ""
    write(path, f"{size} DELETE FROM items WHERE id % 3 = 0; VACUUM")
    after = rows_of(path)
    _kill(directory, path, stage)
    expected = before if stage in KEPT else after
    for _ in range(2):
        with (
            closing(HistoryWriter(directory, Limits())) as history,
            states(directory) as found,
        ):
            # As the reader does when it starts.
            note = history.recall("pending")
            if isinstance(note, bytes):
                assert found.shadow.recover(found.pending, note)
            assert history.position.offset == (0 if stage in KEPT else 1)
            assert found.shadow.page_count * found.shadow.page_size == (
                found.shadow.path.stat().st_size
            )
            with found.versions.open_old() as (db, _):
                assert rows(db, "old") == expected
                assert list(db.execute("PRAGMA old.integrity_check")) == [("ok",)]


def _kill(directory: Path, path: Path, stage: str) -> None:
    command = [sys.executable, "-m", "tests.sqlite.shadow_main", str(directory), str(path), stage]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{stage}\n"
        process.kill()
