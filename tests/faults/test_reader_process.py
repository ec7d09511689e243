"""The reader, the server or both are killed or stopped: nothing is lost, nothing is repeated."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import ITEMS, MakeDatabase, StartServer, Write
from tests.faults import dying_reader
from tests.faults.client import Client
from tests.faults.combinations import combined
from tests.faults.conftest import StartProgram
from tests.faults.following import POLLS
from tests.faults.returning import Left, Returning
from tests.faults.standstill import stopped
from tests.faults.watched import Watched, ended
from tests.oracle.contents import contents_of_file, integrity
from tests.served import ROOT, environment, reader_of
from watcher import ResetReason
from watcher.changes import Change
from watcher.errors import StateUnavailable
from watcher.hub import Hub

# Rows on more pages than one, so that a crash can come between two of them.
MANY = f"""
{ITEMS}
WITH RECURSIVE n(i) AS (VALUES(3) UNION ALL SELECT i+1 FROM n WHERE i<400)
INSERT INTO items(id, name, value) SELECT i, 'many', hex(zeroblob(50)) FROM n;
"""
OFFLINE = """
BEGIN;
UPDATE items SET value='offline' WHERE id<=100;
DELETE FROM items WHERE id BETWEEN 101 AND 150;
WITH RECURSIVE n(i) AS (VALUES(1001) UNION ALL SELECT i+1 FROM n WHERE i<1300)
INSERT INTO items(id, name, value) SELECT i, 'more', hex(zeroblob(50)) FROM n;
COMMIT;
"""


def epochs(watched: Watched) -> set[str]:
    """The epochs of all that was received."""
    return {c.position.epoch for c in watched.received if c.position is not None}


def assert_told_once(watched: Watched, rows: list[Change]) -> None:
    """The history is one, and says of no row twice that it is new."""
    assert len(epochs(watched)) == 1
    inserted = [row.key["id"] for row in rows if row.op == "insert"]
    assert len(inserted) == len(set(inserted))


def has_received(watched: Watched, count: int) -> bool:
    """Whether so many changesets have come, those of the content included."""
    return len(watched.received) >= count


def has_news(watched: Watched, told: int) -> bool:
    """Whether there are more row changes than that, or a status that says why not."""
    return len(watched.rows()) > told or watched.status.state != "ok"


async def kill_reader(watched: Watched) -> None:
    """Kills the reader and waits for the next one."""
    pid = watched.reader_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await watched.until(lambda: watched.reader_pid not in {None, pid}, "another reader")


# The reader is killed


@pytest.mark.fault("P1")
@POLLS
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_reader_killed_while_idle_is_replaced(
    mode: str, poll: float | None, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Another reader goes on in the same epoch; a commit made in between is not missed."""
    path = database(mode=mode)

    async def run() -> None:
        async with Watched(path, state, poll=poll) as watched:
            await watched.begun()
            writer = program(path)
            writer.run("UPDATE items SET value='before' WHERE id=1")
            await watched.caught_up()
            pid = watched.reader_pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            writer.run("UPDATE items SET value='between' WHERE id=2")
            await watched.caught_up()
            assert watched.reader_pid != pid
            writer.run("UPDATE items SET value='after' WHERE id=1")
            await watched.caught_up()
            told = [(row.key["id"], (row.after or {})["value"]) for row in watched.rows()]
            assert told == [(1, "before"), (2, "between"), (1, "after")]
            assert_told_once(watched, watched.rows())

    asyncio.run(run())
    assert integrity(path) == "ok"


@pytest.mark.fault("P1")
@POLLS
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_reader_killed_in_a_stream_of_commits_loses_and_repeats_none(
    mode: str, poll: float | None, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """However often it is killed under load: each row comes once, positions have no gap."""
    path = database(mode=mode)

    async def run() -> None:
        async with Watched(path, state, poll=poll) as watched:
            await watched.begun()
            writer = program(path)
            for _ in range(3):
                commits = asyncio.create_task(asyncio.to_thread(writer.commit_many, 400))
                await watched.until_rows(len(watched.rows()) + 1)
                await kill_reader(watched)
                assert await commits == []
            await watched.until_rows(len(contents_of_file(path)["items"][1]) - 2)
            await watched.caught_up()
            assert_told_once(watched, watched.rows())
            assert len(watched.rows()) == len(watched.held["items"][1]) - 2
            # All those that count commits count different ones.
            assert sum(c.commits or 0 for c in watched.live()) <= len(watched.rows())

    asyncio.run(run())
    assert integrity(path) == "ok"


def test_a_reader_killed_while_the_content_is_sent_is_replaced(
    database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """The content is completed by the next reader; changes made meanwhile are in it or follow."""
    rows = "WITH RECURSIVE n(i) AS (VALUES(3) UNION ALL SELECT i+1 FROM n WHERE i<30000)"
    path = database(mode="wal", sql=f"{ITEMS} {rows} INSERT INTO items SELECT i,'n','v' FROM n")

    async def run() -> None:
        async with Watched(path, state) as watched:
            writer = program(path)
            for count in (3, 10):
                await watched.until(partial(has_received, watched, count), "some content")
                assert not any(c.position for c in watched.received)
                writer.run("UPDATE items SET value='meanwhile' WHERE id % 1000 = 1")
                await kill_reader(watched)
            await watched.caught_up()
            await watched.begun()
            assert [c.reset for c in watched.received if c.reset] == [ResetReason.START]
            assert_told_once(watched, watched.rows())

    asyncio.run(run())


# At the worst moments


DEATHS = {
    "before anything": ("Pending.begin", 1),
    "before a page is pending": ("Pending.put", 1),
    "between pending pages": ("Pending.put", 2),
    "before the changeset": ("HistoryWriter.append", 1),
    "before the note": ("HistoryWriter.remember", 1),
    "before the commit": ("HistoryWriter.remember", 2),
    "before the shadow moves on": ("Shadow.apply", 1),
    "before a page of the shadow": ("Shadow.put", 1),
    "between pages of the shadow": ("Shadow.put", 3),
    "before the shadow has its size": ("Shadow.resize", 1),
}


def die(path: Path, state: Path, when: str, method: str, number: int) -> None:
    """Lets a reader take a look that ends in its death."""
    died = subprocess.run(
        [sys.executable, dying_reader.__file__, path, state, when, method, str(number)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr


def leave(path: Path, state: Path, change: str, write: Write) -> Left:
    """Watches through a change and stops; gives what is needed to come back."""

    async def run() -> Left:
        async with Watched(path, state) as watched:
            await watched.begun()
            write(path, change)
            await watched.caught_up()
            return Left.by(watched)

    return asyncio.run(run())


def come_back(path: Path, state: Path, left: Left) -> list[Change]:
    """Comes back until all is told, in the same epoch without reset; gives the row changes."""

    async def run() -> list[Change]:
        async with Returning(path, state, left) as watched:
            await watched.caught_up()
            assert watched.resets == []
            assert epochs(watched) <= {left.epoch}
            offsets = [c.position.offset for c in watched.received if c.position is not None]
            first = int(left.position.partition(":")[2].partition("~")[0]) + 1
            assert offsets == list(range(first, first + len(offsets)))
            return [c for cs in watched.received for c in cs.changes if isinstance(c, Change)]

    return asyncio.run(run())


def assert_content_is_right(path: Path, state: Path) -> None:
    """A replica that is built anew equals the file."""

    async def run() -> None:
        async with Watched(path, state) as watched:
            await watched.begun()
            await watched.caught_up()

    asyncio.run(run())


def count(rows: list[Change]) -> dict[str, int]:
    """How many changes there are of each kind."""
    return {op: sum(row.op == op for row in rows) for op in ("insert", "update", "delete")}


@pytest.mark.fault("P1")
@pytest.mark.parametrize(("when", "then"), combined([*DEATHS], ["", "the file moves on"]))
def test_a_crash_within_a_step_is_made_good(
    when: str, then: str, database: MakeDatabase, state: Path, write: Write
) -> None:
    """Whatever call was the last: each change comes once, and the content is right."""
    death, moved_on = DEATHS[when], bool(then)
    path = database(sql=MANY)
    left = leave(path, state, "UPDATE items SET value='seen' WHERE id=400", write)
    write(path, OFFLINE)
    die(path, state, "look", *death)
    if moved_on:
        write(path, "UPDATE items SET value='moved on' WHERE id>=1291; VACUUM")
    rows = come_back(path, state, left)
    recorded = death[0].startswith("Shadow")
    updated = 110 if moved_on and recorded else 100
    assert count(rows) == {"insert": 300, "update": updated, "delete": 50}
    assert_content_is_right(path, state)


@pytest.mark.fault("P11")
@pytest.mark.parametrize("death", [("Shadow.apply", 1), ("Shadow.put", 2), ("Shadow.resize", 1)])
def test_a_crash_within_the_recovery_from_a_crash_is_made_good(
    death: tuple[str, int], database: MakeDatabase, state: Path, write: Write
) -> None:
    """A reader that dies while it takes up what a dead one has left does no more harm than that."""
    path = database(sql=MANY)
    left = leave(path, state, "UPDATE items SET value='seen' WHERE id=400", write)
    write(path, OFFLINE)
    die(path, state, "look", "Shadow.put", 3)
    for _ in range(2):
        die(path, state, "recovery", *death)
    assert count(come_back(path, state, left)) == {"insert": 300, "update": 100, "delete": 50}
    assert_content_is_right(path, state)


# Stopped processes


# Not with a connection in delete mode: stopped in the moment of its lock, it would stop the writer.
@pytest.mark.fault("D2", "P8")
@pytest.mark.parametrize(("mode", "poll"), [("delete", None), ("wal", None), ("wal", 0.02)])
def test_a_stopped_reader_catches_up(
    mode: str, poll: float | None, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """What was committed meanwhile comes as one changeset, though the log was begun anew twice."""
    path = database(mode=mode)

    async def run() -> None:
        async with Watched(path, state, poll=poll) as watched:
            await watched.begun()
            writer = program(path)
            # From here on SQLite's own count of commits is known.
            writer.run("UPDATE items SET value='before' WHERE id=1")
            await watched.caught_up()
            pid = watched.reader_pid
            with stopped(pid):
                for kind in ("TRUNCATE", "RESTART", "PASSIVE"):
                    assert await asyncio.to_thread(writer.commit_many, 200) == []
                    writer.run(f"PRAGMA wal_checkpoint({kind})")
                assert len(watched.rows()) == 1
            await watched.caught_up()
            assert watched.reader_pid == pid
            (_, changeset) = watched.live()
            assert (len(changeset.changes), changeset.commits) == (600, None if poll else 600)

    asyncio.run(run())
    assert integrity(path) == "ok"


# The server is killed, stopped, started twice


def test_the_reader_of_a_killed_server_ends(database: MakeDatabase, serve: StartServer) -> None:
    """No reader outlives its server."""
    served = serve(database())
    reader_has_ended = ended(reader_of(served.process))
    served.kill()
    assert reader_has_ended()


@pytest.mark.fault("P1")
def test_both_processes_killed_at_once_lose_nothing(
    database: MakeDatabase, serve: StartServer, write: Write
) -> None:
    """The next server goes on in the same epoch with what was written in between."""
    path = database(mode="wal")
    served = serve(path)
    with Client() as client:
        client.connect(served.url)
        client.receive_until_equal(contents_of_file(path))
        for number in range(3):
            write(path, f"UPDATE items SET value='{number}' WHERE id=1")
            os.kill(reader_of(served.process), signal.SIGKILL)
            served.kill()
            client.receive_until_closed()
            write(path, f"UPDATE items SET value='offline {number}' WHERE id=2")
            served.restart()
            client.connect(served.url)
            client.receive_until_equal(contents_of_file(path))
        assert client.resets == ["start"]


@pytest.mark.fault("P5", "P10")
def test_a_second_daemon_on_a_state_directory_says_so_and_ends(
    database: MakeDatabase, state: Path
) -> None:
    """The library raises StateUnavailable, the command line ends with 3 and one sentence."""
    path = database()

    async def run() -> tuple[bytes, bytes, int | None]:
        async with Watched(path, state) as watched:
            await watched.begun()
            second = await asyncio.create_subprocess_exec(
                sys.executable,
                ROOT / "server.py",
                "--port=0",
                f"--state={state}",
                str(path),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment(),
            )
            with pytest.raises(StateUnavailable, match="another daemon"):
                await Hub(path, state=state).__aenter__()
            output, errors = await second.communicate()
            await watched.caught_up()
        return output, errors, second.returncode

    output, errors, code = asyncio.run(run())
    assert (output, code) == (b"", 3)
    (line,) = errors.decode().splitlines()
    assert str(state) in line
    assert "another daemon is watching" in line
