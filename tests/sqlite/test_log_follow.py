"""Commit by commit out of the log, beside writers that SQLite runs in other processes."""

from __future__ import annotations

import os
import sqlite3
import struct
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.faults.program import Program
from tests.sqlite.logs import copied, frames, index_path, log_path, writer
from watcher.sqlite.capture import RawCapture
from watcher.sqlite.captured import Captured, Discontinuity, NotQuiet
from watcher.sqlite.fileformat import (
    FRAME_HEADER_SIZE,
    WAL_HEADER_SIZE,
    parse_frame_header,
    parse_wal_header,
    wal_checksum,
)
from watcher.sqlite.files import DatabaseFiles, read_header
from watcher.sqlite.log_capture import LogCapture
from watcher.sqlite.log_place import Place
from watcher.sqlite.shadow import Pending, Shadow

SPILL = (
    "INSERT INTO t(x) WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<300)"
    "SELECT hex(zeroblob(200)) FROM n"
)
FRAME = FRAME_HEADER_SIZE + 4096


class Follower:
    """A capture of the log with what it fills, as the reader has them; a context manager.

    Args:
        database: what is watched.
        state: the directory for shadow and pending pages.
        place: where an earlier one has stopped, None to begin with the whole state.
    """

    def __init__(self, database: Path, state: Path, place: bytes | None = None) -> None:
        state.mkdir(exist_ok=True)
        self.files = DatabaseFiles(database)
        self.shadow = Shadow(state)
        self.pending = Pending(state, self.shadow)
        self.capture = LogCapture(self.files)
        self._copy = state / "copy.db"
        self.place = place
        if place is None:
            self.begin()
        else:
            self.capture.resume(place)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.pending.close()
        self.shadow.close()
        self.capture.close()
        self.files.close()

    def begin(self) -> Captured:
        """Compares the whole."""
        main = self.files.main.refresh()
        assert main is not None
        header = read_header(self.files)
        captured = self.capture.capture(header, main, self.shadow, self.pending)
        self.settle(captured)
        return captured

    def settle(self, captured: Captured) -> None:
        self.pending.settle()
        self.shadow.apply(self.pending)
        self.capture.settle(captured)
        self.place = captured.place

    def next(self) -> Captured | None:
        """Follows one commit, without settling it."""
        self.files.log.refresh()
        self.files.index.refresh()
        main = self.files.main.refresh()
        assert main is not None
        return self.capture.follow(main, self.pending)

    def commits(self) -> Iterator[Captured]:
        """Settles commit after commit, until there is none; the state is that of the one given."""
        while (captured := self.next()) is not None:
            assert captured.commits == 1
            assert captured.page_count == self.pending.page_count
            yield captured
            self.settle(captured)

    def all(self, sql: str = "SELECT max(x) FROM t") -> list[object]:
        """What a statement gives in the state after each commit that follows."""
        return [self.ask(sql) for _ in self.commits()]

    def ask(self, sql: str = "SELECT max(x) FROM t") -> object:
        """What a statement gives in the state that was put last; that state has to be sound."""
        pages = range(1, self.pending.page_count + 1)
        self._copy.write_bytes(b"".join(map(self.pending.read_after, pages)))
        with closing(sqlite3.connect(self._copy)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            return db.execute(sql).fetchone()[0]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


@pytest.fixture
def program(database: Path) -> Iterator[Program]:
    """A writer whose table holds one row, which it counts up."""
    with writer(database) as program:
        program.run("CREATE TABLE t(x)", "INSERT INTO t VALUES (0)")
        yield program


@pytest.fixture
def follower(program: Program, database: Path, tmp_path: Path) -> Iterator[Follower]:
    assert program.pid
    with Follower(database, tmp_path / "state") as follower:
        yield follower


def count(program: Program, *numbers: int) -> None:
    """Makes one commit for each number."""
    program.run(*(f"UPDATE t SET x={number}" for number in numbers))


def checkpoint(program: Program, kind: str = "PASSIVE") -> None:
    ((busy, _, _),) = program.run(f"PRAGMA wal_checkpoint({kind})")
    assert busy == 0


# One generation of the log


def test_each_commit_is_its_own(program: Program, follower: Follower) -> None:
    """One at a time or many between two looks: each comes alone, in order, counted."""
    assert follower.next() is None
    count(program, 1)
    assert follower.all() == [1]
    assert follower.all() == []
    count(program, 2, 3, 4)
    marks = [captured.mark for captured in follower.commits()]
    assert [mark and mark.kind for mark in marks] == ["wal"] * 3
    counts = [mark.count for mark in marks if mark]
    assert counts == list(range(counts[0], counts[0] + 3))


def test_a_thousand_commits_between_two_looks(program: Program, follower: Follower) -> None:
    """More than are read ahead at once: none is lost, none comes twice."""
    count(program, *range(2, 1002))
    numbers = []
    for captured in follower.commits():
        assert [page for page in follower.pending.fresh_pages() if page > 2] == []
        image = follower.pending.read_after(2)
        numbers.append(int.from_bytes(image[-2:], "big") & 0x7FFF)
        assert captured.commits == 1
    # The one value is the end of the page, one or two bytes long.
    assert [number & 0xFF for number in numbers] == [number & 0xFF for number in range(2, 1002)]
    assert follower.ask() == 1001


def test_a_commit_that_is_not_settled_comes_again(program: Program, follower: Follower) -> None:
    """Whoever failed to deal with it gets it once more, whether by itself or from its place."""
    count(program, 1, 2)
    assert follower.place is not None
    for again in (False, False, True, True):
        if again:
            follower.capture.resume(follower.place)
        assert follower.next() is not None
        assert follower.ask() == 1
    assert follower.all() == [1, 2]


def test_a_large_commit_flows_through(program: Program, follower: Follower) -> None:
    """A commit of many megabytes, with the first page and pages written twice, arrives whole."""
    program.run("PRAGMA cache_size=10", "BEGIN", SPILL, "CREATE INDEX i ON t(x)")
    for _ in range(4):
        program.run("INSERT INTO t SELECT x FROM t")
    program.run("COMMIT", "UPDATE t SET x=x WHERE rowid=5")
    assert log_path(follower.files.path).stat().st_size > 4 << 20
    assert follower.all("SELECT count(*) FROM t") == program.run("SELECT count(*) FROM t")[0] * 2


def test_what_is_not_committed_is_not_given(program: Program, follower: Follower) -> None:
    """Frames that were spilled, and those rolled back, are nobody's."""
    program.run("PRAGMA cache_size=5", "BEGIN", SPILL)
    assert follower.next() is None
    program.run("ROLLBACK")
    assert follower.next() is None
    count(program, 1)
    assert follower.all() == [1]
    program.run("BEGIN", SPILL)
    assert follower.next() is None
    program.run("UPDATE t SET x=2", "COMMIT")
    assert follower.all() == [2]


def test_a_state_that_became_smaller(program: Program, follower: Follower) -> None:
    """VACUUM in the log: the size is that of the commit, and no page beyond it is put."""
    program.run(SPILL, "DELETE FROM t WHERE rowid > 1")
    follower.all("SELECT 1")
    before = follower.pending.page_count
    program.run("VACUUM")
    (captured,) = list(follower.commits())
    assert captured.page_count < before
    assert follower.ask() == 0
    assert max(follower.pending.fresh_pages(), default=0) <= captured.page_count


def test_pages_beyond_the_end_are_left_out(database: Path, tmp_path: Path) -> None:
    """A commit that has grown and shrunk again holds frames of pages that are not in the state."""
    with writer(database, "PRAGMA auto_vacuum=FULL", "PRAGMA cache_size=5") as program:
        program.run("CREATE TABLE t(x)", "INSERT INTO t VALUES (0)")
        with Follower(database, tmp_path / "state") as follower:
            size = log_path(database).stat().st_size
            program.run("BEGIN", SPILL, "DELETE FROM t WHERE rowid > 1", "UPDATE t SET x=1")
            program.run("COMMIT")
            assert log_path(database).stat().st_size > size + 20 * FRAME
            (captured,) = [
                captured
                for captured in follower.commits()
                if len(follower.pending) == len(follower.pending.fresh_pages())
            ]
            assert captured.page_count < 10
            assert follower.ask() == 1


@pytest.mark.parametrize("page_size", [512, 65536])
def test_any_page_size(page_size: int, database: Path, tmp_path: Path) -> None:
    """The smallest and the largest."""
    with writer(database, f"PRAGMA page_size={page_size}") as program:
        program.run("CREATE TABLE t(x)", "INSERT INTO t VALUES (0)")
        with Follower(database, tmp_path / "state") as follower:
            count(program, *range(1, 31))
            assert follower.all() == list(range(1, 31))


# Checkpoints and restarts


@pytest.mark.parametrize("kind", ["PASSIVE", "FULL", "RESTART"])
def test_a_checkpoint_is_nothing(kind: str, program: Program, follower: Follower) -> None:
    """The main file is written, but the state is the same; the next commit restarts the log."""
    for number in range(1, 6):
        count(program, number)
        assert follower.all() == [number]
        checkpoint(program, kind)
        assert follower.next() is None


def test_a_truncated_log_goes_on(program: Program, follower: Follower) -> None:
    """If all of it had been followed, nothing was lost with it."""
    count(program, 1)
    assert follower.all() == [1]
    checkpoint(program, "TRUNCATE")
    assert follower.next() is None
    count(program, 2, 3)
    assert follower.all() == [2, 3]
    checkpoint(program, "TRUNCATE")
    count(program, 4, 5)
    assert follower.all() == [4, 5]


def test_commits_lost_with_a_truncated_log_are_missed(program: Program, follower: Follower) -> None:
    """What was not followed before it was cut off cannot come one by one."""
    count(program, 1)
    checkpoint(program, "TRUNCATE")
    for number in (2, 3):
        with pytest.raises(Discontinuity, match="written over"):
            follower.next()
        count(program, number)
    follower.begin()
    assert follower.ask() == 3


@pytest.mark.parametrize("newer", [1, 3, 7])
def test_the_end_of_a_restarted_log_is_read(
    newer: int, program: Program, follower: Follower
) -> None:
    """While the new frames have not come so far, the old ones behind them come first."""
    count(program, *range(1, 6))
    assert follower.all() == [1, 2, 3, 4, 5]
    count(program, 6, 7, 8)
    checkpoint(program)
    count(program, *range(9, 9 + newer))
    assert follower.all() == list(range(6, 9 + newer))
    count(program, 20)
    assert follower.all() == [20]


def test_an_old_frame_that_was_written_over_is_missed(program: Program, follower: Follower) -> None:
    """One commit that cannot be read any more is noticed."""
    count(program, 1, 2)
    assert follower.all() == [1, 2]
    count(program, 3, 4)
    checkpoint(program)
    # Just one frame more than were followed.
    followed = Place.decode(follower.place)
    assert followed is not None
    count(program, *range(5, 5 + followed.frame + 1))
    with pytest.raises(Discontinuity, match="written over"):
        follower.next()


def test_a_log_restarted_after_all_was_followed(program: Program, follower: Follower) -> None:
    """However far the new frames have come: the count of commits shows that none is missing."""
    count(program, 1, 2, 3)
    assert follower.all() == [1, 2, 3]
    checkpoint(program)
    count(program, *range(4, 40))
    assert follower.all() == list(range(4, 40))


def test_a_restart_while_the_end_is_being_followed(program: Program, follower: Follower) -> None:
    """New frames that come over the old end before it is read put an end to following."""
    count(program, 1, 2)
    follower.all()
    count(program, *range(3, 200))
    checkpoint(program)
    count(program, 200)
    given = follower.commits()
    next(given)
    assert follower.ask() == 3
    count(program, *range(201, 420))
    numbers: list[object] = [3]
    # What has been read is what was committed, and comes; no more of it.
    with pytest.raises(Discontinuity):
        numbers.extend(follower.ask() for _ in given)
    assert numbers == [*range(3, 3 + len(numbers))]
    assert len(numbers) < 150
    follower.begin()
    assert follower.ask() == 419


def test_a_log_restarted_twice(program: Program, follower: Follower) -> None:
    """A whole generation was not seen: nothing is known of its commits."""
    for number in (1, 2):
        checkpoint(program)
        count(program, number)
    with pytest.raises(Discontinuity, match="more than once"):
        follower.next()
    follower.begin()
    count(program, 3)
    assert follower.all() == [3]


def test_a_log_restarted_with_each_commit(program: Program, follower: Follower) -> None:
    """With a checkpoint after every commit each generation has one, and each comes."""
    program.run("PRAGMA wal_autocheckpoint=1")
    for number in range(1, 60):
        count(program, number)
        assert follower.all() == [number]


def test_a_limited_log_is_cut_off(program: Program, follower: Follower) -> None:
    """`journal_size_limit` shortens the file at a restart; what was followed is not missed."""
    program.run("PRAGMA journal_size_limit=8272")
    count(program, *range(1, 9))
    assert follower.all() == list(range(1, 9))
    checkpoint(program)
    count(program, 9)
    assert log_path(follower.files.path).stat().st_size == 8272
    assert follower.all() == [9]
    count(program, *range(10, 15))
    checkpoint(program)
    count(program, 15)
    with pytest.raises(Discontinuity, match="written over"):
        follower.next()


def test_a_count_that_began_anew_proves_nothing(
    program: Program, follower: Follower, database: Path
) -> None:
    """After a crash SQLite counts from zero; lost commits must not pass for those counted twice."""
    count(program, 1)
    assert follower.all() == [1]
    followed = Place.decode(follower.place)
    assert followed is not None
    assert followed.change
    program.kill()
    with Program(database) as other:
        other.run("PRAGMA wal_autocheckpoint=0")
        # As many as had been counted, and these are lost.
        count(other, *range(100, 100 + followed.change))
        checkpoint(other)
        count(other, *range(200, 200 + followed.frame + 4))
        with pytest.raises(Discontinuity, match="made anew"):
            follower.next()


def test_another_connection_goes_on_in_a_restarted_log(
    program: Program, follower: Follower, database: Path
) -> None:
    """Whose connection restarts the log makes no difference."""
    with Program(database) as other:
        # Where a process writes into the index for the first time, that may be a recovery.
        count(other, 1)
        assert follower.all() == [1]
        for number in range(2, 20):
            one = (program, other)[number % 2]
            count(one, number)
            assert follower.all() == [number]
            checkpoint((other, program)[number % 2])


# The log is removed


def test_a_log_deleted_by_the_last_to_close(
    program: Program, follower: Follower, database: Path
) -> None:
    """Its last commits are read after it is gone; then the whole has to be looked at."""
    count(program, 1)
    assert follower.all() == [1]
    count(program, 2, 3)
    program.close()
    assert not log_path(database).exists()
    given = [follower.ask() for _ in _until_discontinuity(follower, "log deleted")]
    assert given == [2, 3]
    with pytest.raises(Discontinuity, match="log deleted"):
        follower.next()


def _until_discontinuity(follower: Follower, reason: str) -> Iterator[Captured]:
    with pytest.raises(Discontinuity, match=reason):
        yield from follower.commits()


def test_a_failed_commit_of_a_deleted_log_is_not_given(
    program: Program, follower: Follower, database: Path
) -> None:
    """The index that went with the log knows how far it was committed."""
    count(program, 1)
    _append_commit(database)
    assert follower.all() == [1]
    log_path(database).rename(database.with_name("gone-wal"))
    index_path(database).rename(database.with_name("gone-shm"))
    assert [follower.ask() for _ in _until_discontinuity(follower, "log deleted")] == []


def test_a_log_of_another_mode(program: Program, follower: Follower) -> None:
    """Switched to a rollback journal, the log's last commits come before the end of following."""
    count(program, 1)
    program.run("PRAGMA journal_mode=delete", "UPDATE t SET x=2")
    assert [follower.ask() for _ in _until_discontinuity(follower, "log deleted")] == [1]


class RawFollower(Follower):
    """A capture of the file, with a log and without."""

    def begin(self) -> Captured:
        self.raw = RawCapture(self.files, lambda: None)
        while True:
            with suppress(NotQuiet):
                return self.compare()

    def compare(self) -> Captured:
        captured = self.raw.capture(self.shadow, self.pending)
        self.settle(captured)
        return captured

    def settle(self, captured: Captured) -> None:
        self.pending.settle()
        self.shadow.apply(self.pending)
        self.raw.settle(captured)

    def next(self) -> Captured | None:
        return self.raw.follow(self.shadow, self.pending)

    def see(self, seen: list[int], last: int) -> None:
        """Looks until the last number is seen; those that come alone follow one another."""
        while seen[-1] < last:
            try:
                for _ in self.commits():
                    assert self.ask() == seen[-1] + 1
                    seen.append(seen[-1] + 1)
            except Discontinuity:
                with suppress(NotQuiet):
                    self.compare()
                    found = self.ask()
                    assert isinstance(found, int)
                    seen += [found] if found != seen[-1] else []
            except NotQuiet:
                continue


def test_fifty_edits_by_fifty_shells(sqlite3_shell: Path, database: Path, tmp_path: Path) -> None:
    """Each makes a log and deletes it: every edit is seen, alone or in an honest comparison."""
    with Program(database) as program:
        program.run("PRAGMA journal_mode=wal", "CREATE TABLE t(x)", "INSERT INTO t VALUES (0)")
    seen = [0]
    with RawFollower(database, tmp_path / "state") as follower:
        for number in range(1, 51):
            with subprocess.Popen([sqlite3_shell, database], stdin=subprocess.PIPE) as shell:
                assert shell.stdin is not None
                shell.stdin.write(f"UPDATE t SET x={number};".encode())
                shell.stdin.close()
                follower.see(seen, number)
    assert seen == list(range(51))


# After the process was restarted


def test_following_is_resumed(program: Program, follower: Follower, tmp_path: Path) -> None:
    """Another process goes on from the place: at once, and after more commits and a restart."""
    place = follower.place
    assert place is not None
    for first in (1, 10):
        with Follower(follower.files.path, tmp_path / "state", place) as other:
            assert other.next() is None
            count(program, *range(first, first + 5))
            assert other.all() == list(range(first, first + 5))
            assert other.place is not None
            place = other.place
    count(program, *range(20, 25))
    checkpoint(program)
    count(program, 25)
    with Follower(follower.files.path, tmp_path / "state", place) as other:
        assert other.all() == list(range(20, 26))


def test_a_place_that_is_gone_is_not_resumed(
    program: Program, follower: Follower, database: Path, tmp_path: Path
) -> None:
    """Where its frame cannot be found any more, nothing says what has come since."""
    place = follower.place
    assert place is not None
    checkpoint(program)
    count(program, *range(1, 10))
    _refuses(database, tmp_path, place, "made anew")
    checkpoint(program)
    count(program, 10)
    _refuses(database, tmp_path, place, "more than once")
    other = copied(database, tmp_path / "elsewhere")
    _refuses(other, tmp_path, place, "file replaced")
    program.close()
    _refuses(database, tmp_path, place, "log deleted")


def _refuses(database: Path, tmp_path: Path, place: bytes, reason: str) -> None:
    with (
        Follower(database, tmp_path / "state", place) as other,
        pytest.raises(Discontinuity, match=reason),
    ):
        other.next()


def test_a_place_is_stored_as_bytes() -> None:
    """It comes back as it was, with and without a count; other bytes are no place."""
    for change in (None, 0, 7):
        place = Place(b"saltsalt", 9, b"saltsaltchecksum", change, 65536, 12, 1 << 40, 1 << 60)
        assert Place.decode(place.encode()) == place
    assert Place.decode(None) is Place.decode(b"") is Place.decode(b"R" + bytes(65)) is None


# Odd logs


def test_what_fills_a_sector_is_no_commit(
    sqlite3_shell: Path, database: Path, tmp_path: Path
) -> None:
    """Without safe overwriting SQLite repeats the last frame of a commit, with its mark."""
    with writer(database, "PRAGMA page_size=512") as program:
        program.run("CREATE TABLE t(x)", "INSERT INTO t VALUES (0)")
        shell = subprocess.Popen(
            [sqlite3_shell, f"file:{database}?psow=0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with Follower(database, tmp_path / "state") as follower, shell:
            assert shell.stdin is not None
            assert shell.stdout is not None

            def run(sql: str) -> None:
                assert shell.stdin is not None
                assert shell.stdout is not None
                shell.stdin.write(f"{sql};\n.print done\n")
                shell.stdin.flush()
                assert "done" in iter(lambda: shell.stdout.readline().strip(), None)  # type: ignore[union-attr]  # asserted

            size = log_path(database).stat().st_size
            run("PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; UPDATE t SET x=1")
            assert log_path(database).stat().st_size >= size + 2 * (FRAME_HEADER_SIZE + 512)
            assert follower.all() == [1]
            for number in range(2, 6):
                run(f"UPDATE t SET x={number}")
            count(program, 6)
            assert follower.all() == [2, 3, 4, 5, 6]
            run("UPDATE t SET x=7; UPDATE t SET x=8; PRAGMA wal_checkpoint(PASSIVE)")
            run("UPDATE t SET x=9")
            assert follower.all() == [7, 8, 9]
            shell.stdin.close()


def _append_commit(database: Path) -> None:
    """Writes what a commit leaves whose sync has failed: whole frames that nobody counts."""
    data = log_path(database).read_bytes()
    header = parse_wal_header(data)
    assert header is not None
    last = frames(data)[-1]
    body = last[FRAME_HEADER_SIZE:-1] + b"\x63"
    checksum = wal_checksum(
        last[:8], parse_frame_header(last[:FRAME_HEADER_SIZE]).checksum, big_endian=False
    )
    checksum = wal_checksum(body, checksum, big_endian=header.big_endian)
    with log_path(database).open("ab") as file:
        file.write(last[:16] + struct.pack(">II", *checksum) + body)


def test_a_commit_whose_sync_failed_is_never_given(
    program: Program, follower: Follower, database: Path
) -> None:
    """It is in the log with its mark and right checksums, and is written over by the next one."""
    count(program, 1)
    assert follower.all() == [1]
    _append_commit(database)
    assert follower.next() is None
    count(program, 2)
    assert follower.all() == [2]
    _append_commit(database)
    checkpoint(program)
    assert follower.next() is None
    count(program, 3)
    # One commit more than was counted stands behind the new end, and is not trusted.
    with pytest.raises(Discontinuity, match="uncounted"):
        follower.next()


def test_frames_read_as_the_log_is_written_over_do_not_count(
    program: Program, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart between looking and reading is noticed, and what was put is void."""
    count(program, 1)
    assert follower.all() == [1]
    count(program, 2)
    log = follower.capture._follower
    read = log._kept.read

    def late(size: int, offset: int) -> bytes:
        if size == 2 * FRAME:
            monkeypatch.undo()
            checkpoint(program)
            count(program, *range(3, 9))
        return read(size, offset)

    monkeypatch.setattr(log._kept, "read", late)
    with pytest.raises(NotQuiet, match="log"):
        follower.next()
    with pytest.raises(Discontinuity):
        follower.next()


def test_a_frame_followed_is_looked_at_again(
    program: Program, follower: Follower, database: Path
) -> None:
    """Where the last commit is not what it was, nothing is known of those behind it."""
    count(program, 1)
    assert follower.all() == [1]
    followed = Place.decode(follower.place)
    assert followed is not None
    count(program, 2)
    with log_path(database).open("r+b") as file:
        file.seek(WAL_HEADER_SIZE + (followed.frame - 1) * FRAME + 16)
        file.write(b"otherwise")
    with pytest.raises(Discontinuity, match="log written over"):
        follower.next()


def test_a_file_overwritten_beside_its_log(
    program: Program, follower: Follower, database: Path
) -> None:
    """Only checkpoints write the main file; whatever else does ends the following."""
    count(program, 1)
    assert follower.all() == [1]
    checkpoint(program)
    assert follower.next() is None
    with database.open("r+b") as file:
        file.seek(4096)
        file.write(b"\x0d")
    os.utime(database, ns=(1, 1))
    with pytest.raises(Discontinuity, match="beside its log"):
        follower.next()
    follower.begin()
    count(program, 2)
    assert follower.all() == [2]


# Without a wal-index


def test_a_writer_without_an_index_is_followed(database: Path, tmp_path: Path) -> None:
    """Checksums tell the commits; a restart cannot be proven, and ends the following."""
    with Program(database) as program:
        program.run("PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=wal")
        program.run("CREATE TABLE t(x)", "INSERT INTO t VALUES (0)")
        assert not index_path(database).exists()
        with Follower(database, tmp_path / "state") as follower:
            assert follower.next() is None
            count(program, 1, 2, 3)
            marks = [captured.mark for captured in follower.commits()]
            assert marks == [None, None, None]
            count(program, 4)
            with Follower(database, tmp_path / "state", follower.place) as other:
                assert other.all() == [4]
            assert follower.all() == [4]
            program.run("PRAGMA cache_size=5", "BEGIN", SPILL)
            assert follower.next() is None
            program.run("ROLLBACK")
            count(program, 5)
            assert follower.all() == [5]
            checkpoint(program)
            assert follower.next() is None
            count(program, 6)
            with pytest.raises(Discontinuity, match="not counted"):
                follower.next()


def test_a_leftover_index_gives_way_to_checksums(
    program: Program, follower: Follower, database: Path
) -> None:
    """When all are gone in a crash, the log is followed as it stands, and further by the next."""
    count(program, 1)
    program.kill()
    assert follower.all() == [1]
    with Program(database) as other:
        other.run("PRAGMA wal_autocheckpoint=0")
        count(other, 2)
        assert follower.all() == [2]
        count(other, 3, 4)
        assert follower.all() == [3, 4]


# Beside a writer that does not wait


def test_beside_a_writer_at_full_speed(database: Path, tmp_path: Path) -> None:
    """Whatever restarts the log in between: each commit is whole, and has one row more."""
    query = "SELECT count(*) FROM items"
    with writer(database) as program:
        program.run("CREATE TABLE items(id INTEGER PRIMARY KEY, name, value)")
        program.run("PRAGMA wal_autocheckpoint=2000")
        with Follower(database, tmp_path / "state") as follower:
            program.insert_until_stopped()
            rows, alone = 0, 0
            while alone < 1000:
                try:
                    for _ in follower.commits():
                        rows, alone = rows + 1, alone + 1
                        if alone % 20 == 0:
                            assert follower.ask(query) == rows
                except NotQuiet:
                    continue
                except Discontinuity:
                    with suppress(NotQuiet):
                        follower.begin()
                        found = follower.ask(query)
                        assert isinstance(found, int)
                        assert found >= rows
                        rows = found
            assert program.stop_inserting() == []
