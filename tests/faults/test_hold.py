"""While the reader is far behind, the log is kept from being restarted, at no cost to others."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.conftest import MakeDatabase
from tests.faults import holding_main
from tests.faults.conftest import StartProgram
from tests.faults.program import Program
from tests.faults.watched import PATIENCE, Watched, ended
from tests.oracle.contents import integrity
from tests.served import environment
from tests.sqlite.logs import index_path, log_path
from tests.sqlite.states import states
from watcher.sqlite import supervisor
from watcher.sqlite.capture import RawCapture
from watcher.sqlite.captured import Discontinuity, NotQuiet
from watcher.sqlite.fileformat import WAL_INDEX_HEADER_SIZE, parse_wal_index
from watcher.sqlite.files import FLOCK, DatabaseFiles
from watcher.sqlite.hold import Hold, HoldPolicy
from watcher.sqlite.hold_note import HoldNote
from watcher.sqlite.options import HoldLimits
from watcher.sqlite.supervisor import _ending_overdue_hold

# SQLite restarts the log after 1,000 pages, unless it is told otherwise.
ENOUGH_FOR_A_RESTART = 3000
BEHIND = 100
SLOWLY_FOLLOWED = 3000
LONG = HoldLimits(seconds=2 * PATIENCE, bytes=1 << 40)


class Held:
    """A hold on a database, and what can be seen of it."""

    def __init__(self, path: Path, limits: HoldLimits) -> None:
        self.path = path
        self.files = DatabaseFiles(path)
        note = HoldNote.create()
        assert note is not None
        self.note = note
        self.hold = Hold(self.files, limits, note)

    def refresh(self) -> None:
        """Opens the files that are there now."""
        for file in (self.files.main, self.files.log, self.files.index):
            file.refresh()

    def begin(self) -> bool:
        """Begins to hold."""
        self.refresh()
        return self.hold.begin()

    def wait(self) -> None:
        """Waits until the hold has ended by itself."""
        assert self.hold._held is not None
        assert self.hold._held._over.wait(PATIENCE), "it is still held"

    def close(self) -> None:
        """Lets go."""
        self.hold.close()
        self.files.close()


@contextmanager
def opened(path: Path, limits: HoldLimits = LONG) -> Iterator[Held]:
    """What is needed to hold the log of a database."""
    with closing(Held(path, limits)) as held:
        yield held


@pytest.fixture
def path(database: MakeDatabase) -> Path:
    """A database with a log."""
    return database(mode="wal")


@pytest.fixture
def writer(path: Path, program: StartProgram) -> Program:
    """A program without patience that has written to it."""
    writer = program(path, timeout=0)
    assert writer.commit_many(1) == []
    return writer


def generation(path: Path) -> bytes:
    """What tells the log from the one before it, as the wal-index has it."""
    with index_path(path).open("rb") as file:
        found = parse_wal_index(file.read(WAL_INDEX_HEADER_SIZE))
    assert found is not None
    return found.salts


def restarts(path: Path, writer: Program) -> bool:
    """Whether many commits, which must all succeed, restart the log."""
    before = generation(path)
    assert writer.commit_many(ENOUGH_FOR_A_RESTART) == []
    return generation(path) != before


def lock_holder(path: Path, slot: int) -> int | None:
    """Which process has a read lock of the log; -1 where it was not taken by SQLite."""
    query = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 123 + slot, 1, 0)
    with index_path(path).open("rb") as file:
        answer = FLOCK.unpack(fcntl.fcntl(file, fcntl.F_OFD_GETLK, query))
    return None if answer[0] == fcntl.F_UNLCK else int(answer[4])


def is_held_by_us(path: Path) -> bool:
    """Whether a read lock that keeps the log from being restarted was not taken by SQLite."""
    return any(lock_holder(path, slot) == -1 for slot in (1, 2, 3, 4))


# What a hold does


def test_a_held_log_is_not_restarted(path: Path, writer: Program) -> None:
    """Held, the log grows; before and after, the writer restarts it, and it meets no error."""
    assert restarts(path, writer)
    with opened(path) as held:
        assert held.begin()
        assert is_held_by_us(path)
        assert not restarts(path, writer)
        held.hold.release()
        assert not held.hold.is_held
        assert not is_held_by_us(path)
        assert restarts(path, writer)
    assert log_path(path).stat().st_size > ENOUGH_FOR_A_RESTART * 4096


def test_a_log_that_could_be_restarted_at_once_is_held_as_well(path: Path, writer: Program) -> None:
    """Where a checkpoint has taken all of the log, a reader through SQLite would not protect it."""
    with opened(path) as held:
        assert writer.run("PRAGMA wal_checkpoint(PASSIVE)")[0][0] == 0
        before = generation(path)
        assert held.begin()
        assert writer.commit_many(10) == []
        assert generation(path) == before
        held.hold.release()
        writer.run("PRAGMA wal_checkpoint(PASSIVE)")
        assert writer.commit_many(1) == []
        assert generation(path) != before


def test_checkpoints_of_a_held_log_stop_before_it(path: Path, writer: Program) -> None:
    """PASSIVE succeeds, the others say busy; none copies a frame, and all do when the hold ends."""
    with opened(path) as held:
        assert held.begin()
        assert writer.commit_many(100) == []
        for kind, busy in (("PASSIVE", 0), ("FULL", 1), ("RESTART", 1), ("TRUNCATE", 1)):
            [[said, frames, copied]] = writer.run(f"PRAGMA wal_checkpoint({kind})")
            assert (said, frames >= 100, copied < frames) == (busy, True, True)
        held.hold.release()
        assert writer.run("PRAGMA wal_checkpoint(RESTART)")[0][0] == 0
        assert writer.run("PRAGMA wal_checkpoint(TRUNCATE)") == [[0, 0, 0]]


@pytest.mark.parametrize("kind", ["RESTART", "TRUNCATE"])
def test_a_hold_gives_way_to_a_checkpoint_with_patience(
    kind: str, path: Path, writer: Program, program: StartProgram
) -> None:
    """A checkpoint that wants to restart the log, and can wait for a moment, does so."""
    patient = program(path, timeout=PATIENCE)
    assert writer.commit_many(100) == []
    with opened(path) as held:
        assert held.begin()
        assert patient.run(f"PRAGMA wal_checkpoint({kind})")[0][0] == 0
        assert not held.hold.is_held
        held.refresh()
        held.hold.follow(1000)
        assert not held.hold.is_held
    assert restarts(path, writer)


def test_a_writer_leaves_wal_mode_while_the_log_is_held(path: Path, writer: Program) -> None:
    """`journal_mode=delete` succeeds, and the log and its index are gone."""
    with opened(path) as held:
        assert held.begin()
        assert writer.run("PRAGMA journal_mode=delete") == [["delete"]]
        assert not log_path(path).exists()
        assert not index_path(path).exists()
        held.wait()
    assert writer.commit_many(10) == []


@pytest.mark.parametrize("held_until_then", [True, False])
def test_the_last_close_folds_the_log_into_the_file(
    held_until_then: bool, path: Path, writer: Program
) -> None:
    """Also while the log is held: nothing is lost, nothing is left over."""
    with opened(path) as held:
        assert held.begin()
        assert writer.commit_many(500) == []
        if not held_until_then:
            held.hold.release()
        writer.close()
        assert sorted(path.parent.iterdir()) == [path]
        assert is_unused(held)
    assert sorted(path.parent.iterdir()) == [path]
    assert integrity(path) == "ok"


def is_unused(held: Held) -> bool:
    """Whether the hold has ended, or ends by itself now that nobody uses the log."""
    if held.hold.is_held:
        held.wait()
    return not held.hold.is_held


def test_readers_with_snapshots_of_their_own_get_along_with_a_hold(
    path: Path, writer: Program, program: StartProgram
) -> None:
    """More readers than there are slots, each at another commit, meet no error."""
    with opened(path) as held:
        assert held.begin()
        readers = [program(path, timeout=0) for _ in range(6)]
        for reader in readers:
            reader.run("BEGIN", "SELECT count(*) FROM items")
            assert writer.commit_many(20) == []
        counts = [reader.run("SELECT count(*) FROM items")[0][0] for reader in readers]
        assert counts == [counts[0] + 20 * n for n in range(6)]
        assert writer.run("PRAGMA wal_checkpoint(PASSIVE)")[0][0] == 0
        assert held.hold.is_held


def test_a_log_all_of_whose_slots_are_used_is_held_beside_a_reader(
    path: Path, writer: Program, program: StartProgram
) -> None:
    """Four readers leave no slot of our own, but slots are shared; they end as they would alone."""
    readers = [program(path, timeout=0) for _ in range(4)]
    for reader in readers:
        reader.run("BEGIN", "SELECT count(*) FROM items")
        assert writer.commit_many(20) == []
    with opened(path) as held:
        assert held.begin()
        for reader in readers:
            reader.run("COMMIT")
        held.hold.release()
        assert writer.run("PRAGMA wal_checkpoint(RESTART)")[0][0] == 0


# Where there is nothing to hold


def test_a_closed_database_is_not_held(path: Path) -> None:
    """Nothing is made beside it."""
    with opened(path) as held:
        assert not held.begin()
        assert not held.hold.is_held
    assert sorted(path.parent.iterdir()) == [path]


def test_a_log_that_nobody_uses_is_not_held(path: Path, writer: Program) -> None:
    """The wal-index of a killed program is left to who recovers it."""
    writer.kill()
    assert index_path(path).exists()
    with opened(path) as held:
        assert not held.begin()
        assert not is_held_by_us(path)


def test_a_log_whose_last_user_is_killed_is_let_go(
    path: Path, writer: Program, program: StartProgram
) -> None:
    """The next program recovers the log at once, without an error."""
    with opened(path) as held:
        assert held.begin()
        writer.kill()
        held.wait()
        assert not is_held_by_us(path)
        successor = program(path, timeout=0)
        assert successor.commit_many(1) == []
        assert restarts(path, successor)
    successor.close()
    assert sorted(path.parent.iterdir()) == [path]
    assert integrity(path) == "ok"


def test_a_log_recovered_while_it_is_held_is_none_the_worse(
    path: Path, writer: Program, program: StartProgram
) -> None:
    """The next program is quicker than the hold's end: it meets no error and loses nothing."""
    assert writer.commit_many(100) == []
    with opened(path) as held:
        held.refresh()
        # A lock as a hold takes it, of which nobody takes care.
        request = FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, 127, 1, 0)
        fcntl.fcntl(held.files.index.descriptor, fcntl.F_OFD_SETLK, request)
        writer.kill()
        successor = program(path, timeout=0)
        assert successor.commit_many(2000) == []
        assert successor.run("SELECT count(*) FROM items") == [[2103]]
        successor.close()
        assert sorted(path.parent.iterdir()) == [path]
    assert integrity(path) == "ok"


def test_without_limits_to_speak_of_the_log_is_never_held(path: Path, writer: Program) -> None:
    """0 seconds or 0 bytes switch it off."""
    for limits in (HoldLimits(seconds=0), HoldLimits(bytes=0)):
        with opened(path, limits) as held:
            assert not held.begin()
            assert restarts(path, writer)


def test_a_hold_goes_over_to_the_log_that_is_in_use_now(path: Path, writer: Program) -> None:
    """A lock on an index that was deleted holds nothing."""
    with opened(path) as held:
        assert held.begin()
        writer.run("PRAGMA journal_mode=delete", "PRAGMA journal_mode=wal")
        assert writer.commit_many(1) == []
        assert not is_held_by_us(path)
        held.refresh()
        held.hold.follow(HoldPolicy.FAR_BEHIND + 1)
        assert is_held_by_us(path)
        assert not restarts(path, writer)


# Its limits


@pytest.mark.usefixtures("writer")
def test_a_hold_ends_by_itself_in_time(path: Path) -> None:
    """After its seconds the log can be restarted, and is not held again before the cool-down."""
    with opened(path, HoldLimits(seconds=0.3)) as held:
        started = time.monotonic()
        held.refresh()
        held.hold.follow(1000)
        assert held.hold.is_held
        until = held.note.read()
        assert until is not None
        assert until - started < 0.4
        held.wait()
        assert time.monotonic() - started >= 0.3
        assert held.note.read() is None
        assert not is_held_by_us(path)
        held.hold.follow(1000)
        assert not held.hold.is_held
        held.hold.follow(0)
        held.hold.follow(1000)
        assert held.hold.is_held


def test_a_hold_ends_when_the_log_is_large(path: Path, writer: Program) -> None:
    """At its limit of bytes it is let go, and not held again as long as it is as large."""
    limit = 2 << 20
    with opened(path, HoldLimits(seconds=2 * PATIENCE, bytes=limit)) as held:
        assert held.begin()
        deadline = time.monotonic() + PATIENCE
        while held.hold.is_held and time.monotonic() < deadline:
            assert writer.commit_many(20) == []
        size = log_path(path).stat().st_size
        assert limit <= size < 8 * limit
        assert restarts(path, writer)


def test_a_log_that_is_too_large_is_not_held(path: Path, writer: Program) -> None:
    """What counts is not the size of the file, which never shrinks, but what of it is in use."""
    with opened(path, HoldLimits(bytes=100_000)) as held:
        assert held.begin()
        held.hold.release()
        assert writer.commit_many(100) == []
        assert not held.begin()
        assert writer.run("PRAGMA wal_checkpoint(RESTART)")[0][0] == 0
        assert writer.commit_many(1) == []
        assert log_path(path).stat().st_size > 100_000
        assert held.begin()


def test_a_hold_begins_far_behind_and_ends_caught_up() -> None:
    """In between it goes on if it has begun, and does not begin if it has not."""
    policy = HoldPolicy(cool_down=10.0)
    far, near = policy.FAR_BEHIND, policy.CAUGHT_UP
    wanted = [
        policy.wants(backlog, 0.0, held=held)
        for backlog, held in [(0, False), (far, False), (far + 1, False), (far, True)]
    ]
    assert wanted == [False, False, True, True]
    assert policy.wants(near + 1, 0.0, held=True)
    assert not policy.wants(near, 0.0, held=True)


def test_a_spent_hold_does_not_begin_again_before_its_time() -> None:
    """It needs the cool-down, or that the reader has caught up once."""
    policy = HoldPolicy(cool_down=10.0)
    policy.spent(100.0)
    assert not policy.wants(1000, 109.9, held=False)
    assert policy.wants(1000, 110.0, held=False)
    policy.spent(200.0)
    assert not policy.wants(0, 201.0, held=False)
    assert policy.wants(1000, 201.0, held=False)


# A reader that is slower than the writer


def follow_slowly(path: Path, directory: Path, writer: Program, hold: HoldLimits) -> int:
    """Follows commits one by one, and more slowly than they are made; counts them."""
    files, directory = DatabaseFiles(path), directory / "slow"
    directory.mkdir()
    capture = RawCapture(files, frozenset, Hold(files, hold))
    with closing(capture), states(directory) as (shadow, pending, _):
        capture.settle(capture.capture(shadow, pending))
        # It is behind before the race begins.
        assert writer.commit_many(BEHIND) == []
        count = 0
        with ThreadPoolExecutor() as threads:
            errors = None
            while count < BEHIND + SLOWLY_FOLLOWED:
                captured = capture.follow(shadow, pending)
                if captured is None:
                    continue
                assert captured.commits == 1
                pending.settle()
                capture.settle(captured)
                count += 1
                # What the reader would be doing with the pages.
                time.sleep(0.0005)
                errors = errors or threads.submit(writer.commit_many, SLOWLY_FOLLOWED)
            assert errors is not None
            assert errors.result() == []
        assert capture.follow(shadow, pending) is None
        assert not is_held_by_us(path)
    return count


def test_a_slow_reader_follows_each_commit_of_a_fast_writer(
    path: Path, writer: Program, tmp_path: Path
) -> None:
    """The log is held while it is behind, and let go when it has caught up."""
    assert follow_slowly(path, tmp_path, writer, LONG) == BEHIND + SLOWLY_FOLLOWED
    assert restarts(path, writer)


def test_without_a_hold_a_slow_reader_loses_track(
    path: Path, writer: Program, tmp_path: Path
) -> None:
    """What the test before it shows is due to the hold."""
    with pytest.raises((Discontinuity, NotQuiet)):
        follow_slowly(path, tmp_path, writer, HoldLimits(seconds=0))


def test_a_burst_is_told_commit_by_commit(path: Path, writer: Program, state: Path) -> None:
    """Whoever watches gets a changeset for each of many commits made at full speed."""

    async def run() -> None:
        async with Watched(path, state) as watched:
            await watched.begun()
            assert await asyncio.to_thread(writer.commit_many, SLOWLY_FOLLOWED) == []
            await watched.until_rows(SLOWLY_FOLLOWED)
            await watched.caught_up()
            assert [changeset.commits for changeset in watched.live()] == [1] * SLOWLY_FOLLOWED
            assert not is_held_by_us(path)

    asyncio.run(run())
    assert restarts(path, writer)
    writer.close()
    assert sorted(path.parent.iterdir()) == [path, state]
    assert integrity(path) == "ok"


# A reader that cannot let go


def stop_while_it_holds(path: Path, pid: int) -> None:
    """Stops a reader in the middle of a hold."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if is_held_by_us(path):
            os.kill(pid, signal.SIGSTOP)
            os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
            if is_held_by_us(path):
                return
            os.kill(pid, signal.SIGCONT)
    pytest.fail("it never held the log")


def test_a_reader_stopped_while_it_holds_the_log_is_replaced(
    path: Path, writer: Program, state: Path
) -> None:
    """The log does not grow for ever, and the next reader tells all that was written."""

    async def run() -> None:
        async with Watched(path, state, hold=HoldLimits(seconds=1)) as watched:
            await watched.begun()
            pid = watched.reader_pid
            assert pid is not None
            reader_has_ended = ended(pid)
            writer.insert_until_stopped()
            await asyncio.to_thread(stop_while_it_holds, path, pid)
            assert writer.stop_inserting() == []
            assert await asyncio.to_thread(reader_has_ended)
            await watched.until(lambda: watched.reader_pid not in {None, pid}, "another reader")
            await watched.caught_up()

    asyncio.run(run())
    assert not is_held_by_us(path)
    assert restarts(path, writer)
    writer.close()
    assert integrity(path) == "ok"


def test_a_stopped_process_that_holds_the_log_is_ended(path: Path, writer: Program) -> None:
    """The supervisor ends it a moment after the limit, and the log is restarted."""

    async def run() -> int:
        note = HoldNote.create()
        assert note is not None
        with closing(note):
            process = await holding_process(path, note, seconds=0.5)
            process.send_signal(signal.SIGSTOP)
            assert is_held_by_us(path)
            async with asyncio.timeout(PATIENCE), _ending_overdue_hold(process, note):
                assert not await asyncio.to_thread(restarts, path, writer)
                return await process.wait()

    assert asyncio.run(run()) == -signal.SIGKILL
    assert not is_held_by_us(path)
    assert restarts(path, writer)


class LateNote(HoldNote):
    """The note of a process that always lets go after its limit, and at once holds again."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self.looks = 0
        self.looked_often = asyncio.Event()

    def read(self) -> float | None:
        self.looks += 1
        if self.looks == 100:
            self.looked_often.set()
        self.write(time.monotonic() - 1)
        return super().read()


def test_a_process_that_still_lets_go_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it is another hold each time, the process is not ended."""
    monkeypatch.setattr(supervisor, "_HOLD_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(supervisor, "_HOLD_GRACE_SECONDS", 0.001)

    async def run() -> int:
        note = LateNote.create()
        assert isinstance(note, LateNote)
        process = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE)
        assert process.stdin is not None
        with closing(note):
            async with asyncio.timeout(PATIENCE), _ending_overdue_hold(process, note):
                await note.looked_often.wait()
        process.stdin.close()
        return await process.wait()

    assert asyncio.run(run()) == 0


async def holding_process(path: Path, note: HoldNote, seconds: float) -> asyncio.subprocess.Process:
    """Starts a process that holds the log."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, holding_main.__file__, str(path), str(note.descriptor), str(seconds)),
        pass_fds=(note.descriptor,),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"held\n"
    return process
