"""How far a log is committed, found by checksums alone, in logs that SQLite has written."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults.program import Program
from tests.sqlite.logs import copied, frames, index_path, log_path, opened, with_byte_order, writer
from watcher.sqlite.fileformat import (
    FRAME_HEADER_SIZE,
    WAL_HEADER_SIZE,
    parse_frame_header,
    parse_wal_index,
)
from watcher.sqlite.log import EMPTY, Log, LogChanged, LogEnd

FRAME = FRAME_HEADER_SIZE + 4096
SPILL = """
WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<300)
INSERT INTO t SELECT hex(zeroblob(200)) FROM n
"""


def end_of(log: Log) -> tuple[int, int]:
    """Last committed frame and size in pages, by checksums."""
    end = log.verified_end()
    return end.frame, end.page_count


def recovered(database: Path) -> list[tuple[object, ...]]:
    """What SQLite finds in `t` when it recovers the log."""
    with closing(sqlite3.connect(database)) as db:
        return db.execute("SELECT x FROM t").fetchall()


def indexed_end(database: Path) -> tuple[int, int]:
    """Last committed frame and size in pages, as the wal-index says."""
    found = parse_wal_index(index_path(database).read_bytes())
    assert found is not None
    return found.max_frame, found.page_count


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database whose table and six rows are in the log alone."""
    database = tmp_path_factory.mktemp("crashed") / "app.db"
    with writer(database) as program:
        program.run("CREATE TABLE t(x)")
        for number in range(6):
            program.run(f"INSERT INTO t VALUES ({number})")
    return copied(database, database.parent / "copy")


@contextmanager
def opened_after(program: Program, database: Path) -> Iterator[Log]:
    """Makes the table, then opens the log."""
    program.run("CREATE TABLE t(x)")
    with opened(log_path(database)) as log:
        yield log


def test_the_end_grows_with_each_commit(database: Path) -> None:
    """After every commit it is what the wal-index says, of this opening as of a new one."""
    with writer(database) as program:
        program.run("CREATE TABLE t(x)")
        with opened(log_path(database)) as kept:
            for number in range(5):
                program.run(f"INSERT INTO t VALUES ({number}), (zeroblob(9000))")
                with opened(log_path(database)) as fresh:
                    assert end_of(kept) == end_of(fresh) == indexed_end(database)


def test_what_is_not_committed_does_not_count(database: Path) -> None:
    """Frames that a transaction has spilled are in the file, but the log ends before them."""
    with writer(database, "PRAGMA cache_size=5") as program, opened_after(program, database) as log:
        before = end_of(log)
        size = log_path(database).stat().st_size
        program.run("PRAGMA cache_size=5", "BEGIN", SPILL)
        assert log_path(database).stat().st_size > size
        assert end_of(log) == before
        program.run("COMMIT")
        assert end_of(log) == indexed_end(database) > before


def test_a_rolled_back_spill_is_written_over(database: Path) -> None:
    """Frames beyond the end are looked at anew: others take their place."""
    with writer(database) as program, opened_after(program, database) as log:
        program.run("PRAGMA cache_size=5", "BEGIN", SPILL)
        log.verified_end()
        program.run("ROLLBACK", "INSERT INTO t VALUES (1)")
        assert end_of(log) == indexed_end(database)
        with opened(log_path(database)) as fresh:
            assert end_of(fresh) == end_of(log)


def test_a_restarted_log_ends_where_its_new_frames_end(database: Path) -> None:
    """After a checkpoint the log begins anew; the old generation's tail behind it is stale."""
    with writer(database) as program, opened_after(program, database) as log:
        for number in range(10):
            program.run(f"INSERT INTO t VALUES ({number})")
        old = log.verified_end()
        size = log_path(database).stat().st_size
        program.run("PRAGMA wal_checkpoint(RESTART)", "INSERT INTO t VALUES ('new')")
        assert log_path(database).stat().st_size == size
        new = log.verified_end()
        assert (new.frame, new.page_count) == indexed_end(database)
        assert new.frame < old.frame
        assert new.salts != old.salts
        # The tail is there, and has the old salts.
        tail = frames(log_path(database).read_bytes())[new.frame]
        assert parse_frame_header(tail[:FRAME_HEADER_SIZE]).salts == old.salts
        with pytest.raises(LogChanged):
            log.pages(1, old, 4096)
        with pytest.raises(LogChanged):
            log.pages(new.frame, LogEnd(new.salts, new.frame + 1, new.page_count), 4096)


@pytest.mark.parametrize("more", [0, 1, 20])
def test_a_truncated_log_is_empty_until_it_is_written_again(database: Path, more: int) -> None:
    """TRUNCATE leaves no header; what comes then is another generation."""
    with writer(database) as program, opened_after(program, database) as log:
        old = log.verified_end()
        program.run("PRAGMA wal_checkpoint(TRUNCATE)")
        assert log.header() is None
        assert log.verified_end() == EMPTY
        assert log.seal(1, 4096) == b""
        for number in range(more):
            program.run(f"INSERT INTO t VALUES ({number})")
        end = log.verified_end()
        assert (end == EMPTY) == (more == 0)
        assert end.salts != old.salts
        assert (end.frame, end.page_count) == (indexed_end(database) if more else (0, 0))


def test_a_new_generation_is_noticed_however_alike(database: Path) -> None:
    """A log that has been replaced by another one of the same length is read from its start."""
    with writer(database) as program:
        program.run("CREATE TABLE t(x)", "INSERT INTO t VALUES ('a')")
    crashed = copied(database, database.parent / "crashed")
    with opened(log_path(crashed)) as log:
        first = log.verified_end()
        other = database.with_name("other.db")
        with writer(other) as program:
            program.run("CREATE TABLE t(x)", "INSERT INTO t VALUES ('b')")
        data = log_path(other).read_bytes()
        assert len(data) == log_path(crashed).stat().st_size
        log_path(crashed).write_bytes(data)
        second = log.verified_end()
    assert second.salts != first.salts
    assert (second.frame, second.page_count) == (first.frame, first.page_count)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), big_endian=st.booleans())
def test_a_torn_log_ends_where_sqlite_would_end_it(
    crashed: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, big_endian: bool
) -> None:
    """Cut off, or with one wrong byte anywhere: just the commits before it count."""
    directory = tmp_path_factory.mktemp("torn")
    torn = copied(crashed, directory / "copy")
    whole = with_byte_order(log_path(crashed).read_bytes(), big_endian=big_endian)
    at = data.draw(st.integers(0, len(whole) - 1), "at")
    if data.draw(st.booleans(), "cut"):
        log_path(torn).write_bytes(whole[:at])
    else:
        bit = data.draw(st.integers(0, 7), "bit")
        log_path(torn).write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
    with opened(log_path(torn)) as log:
        end = log.verified_end()
    intact = max(0, at - WAL_HEADER_SIZE) // FRAME
    commits = [
        number
        for number, frame in enumerate(frames(whole), 1)
        if parse_frame_header(frame[:FRAME_HEADER_SIZE]).commit_size
    ]
    assert end.frame == max((number for number in commits if number <= intact), default=0)
    # One row for each commit after the one that made the table.
    rows = [(number,) for number in range(sum(number <= end.frame for number in commits) - 1)]
    if end.frame:
        assert recovered(torn) == rows
    else:
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            recovered(torn)


@pytest.mark.parametrize("at", range(FRAME_HEADER_SIZE))
def test_no_byte_of_a_frame_header_can_be_wrong(crashed: Path, tmp_path: Path, at: int) -> None:
    """Page, size, salts and checksum: with one bit of another value the log ends before it."""
    torn = copied(crashed, tmp_path / "copy")
    data = bytearray(log_path(crashed).read_bytes())
    commits = [
        number
        for number, frame in enumerate(frames(bytes(data)), 1)
        if parse_frame_header(frame[:FRAME_HEADER_SIZE]).commit_size
    ]
    data[WAL_HEADER_SIZE + (commits[3] - 1) * FRAME + at] ^= 1
    log_path(torn).write_bytes(data)
    with opened(log_path(torn)) as log:
        assert log.verified_end().frame == commits[2]
    assert recovered(torn) == [(0,), (1,)]


def test_a_log_that_has_lost_its_end_is_read_again(crashed: Path, tmp_path: Path) -> None:
    """An earlier copy of it in its place has the same header; what was verified is not believed."""
    torn = copied(crashed, tmp_path / "copy")
    whole = log_path(crashed).read_bytes()
    with opened(log_path(torn)) as log:
        before = log.verified_end()
        # In place, as `cp` writes.
        os.truncate(log_path(torn), len(whole) - FRAME)
        after = log.verified_end()
        assert after.salts == before.salts
        assert after.frame == before.frame - 1
        log_path(torn).write_bytes(whole)
        assert log.verified_end() == before


def test_the_newest_frame_of_a_page_counts(database: Path) -> None:
    """Main file and log together are, page by page, what a checkpoint makes of them."""
    with writer(database, "PRAGMA page_size=512") as program:
        program.run("CREATE TABLE t(x)", SPILL, "UPDATE t SET x=rowid WHERE rowid % 3 = 0")
        program.run("DELETE FROM t WHERE rowid > 250", "INSERT INTO t VALUES ('last')")
        with opened(log_path(database)) as log:
            end = log.verified_end()
            pages = log.pages(1, end, 512)
            state = bytearray(database.read_bytes().ljust(end.page_count * 512, b"\0"))
            for page, frame in pages.items():
                state[(page - 1) * 512 : page * 512] = log.page(frame, 512)
            newer = log.pages(end.frame, end, 512)
            assert newer.items() <= pages.items()
            assert list(newer.values()) == [end.frame]
            with pytest.raises(LogChanged):
                log.page(end.frame + 1, 512)
        program.run("PRAGMA wal_checkpoint(TRUNCATE)")
        assert bytes(state) == database.read_bytes()


def test_without_a_log_there_is_nothing(tmp_path: Path) -> None:
    """An empty file, and one that is no log."""
    for name, data in (("empty-wal", b""), ("noise-wal", os.urandom(9000))):
        (tmp_path / name).write_bytes(data)
        with opened(tmp_path / name) as log:
            assert log.header() is None
            assert log.verified_end() == EMPTY
