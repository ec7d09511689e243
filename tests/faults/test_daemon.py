"""The daemon's own troubles: refused writes, a held history, lost events, faults upon faults."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ITEMS, MakeDatabase, StartServer, Write
from tests.faults.client import Client
from tests.faults.combinations import combined
from tests.faults.conftest import StartProgram
from tests.faults.running import Running
from tests.faults.standstill import stopped
from tests.faults.system_calls import killing, refusing
from tests.faults.test_every_write import check_chain, run_reader
from tests.faults.visitor import Visitor, resets
from tests.faults.watched import Watched
from tests.oracle.contents import contents_of_file, integrity
from tests.served import Served, reader_of
from watcher import Change

MODE = ["delete", "wal"]
MODES = pytest.mark.parametrize("mode", MODE)


# Writes that fail


@pytest.mark.fault("P4")
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("call", "error", "apart"),
    [
        ("pwrite64", "EIO", 5),
        ("ftruncate", "EIO", 3),
        pytest.param("pwrite64", "EIO", 1, marks=pytest.mark.soak),
        pytest.param("pwrite64", "ENOSPC", 3, marks=pytest.mark.soak),
        pytest.param("pwrite64", "EDQUOT", 3, marks=pytest.mark.soak),
        pytest.param("ftruncate", "ENOSPC", 1, marks=pytest.mark.soak),
    ],
)
def test_a_write_of_the_state_that_fails_is_said_and_made_good(
    call: str,
    error: str,
    apart: int,
    strace: Path,
    database: MakeDatabase,
    state: Path,
    write: Write,
) -> None:
    """Whichever write it is: nothing half is published, and it goes on in the same epoch."""
    path = database()
    said = 0
    with Visitor(path, state) as client:
        client.visit()
        for number in range(1, 26 if call == "pwrite64" else 7, apart):
            write(path, f"UPDATE items SET value='{number}' WHERE id=1")
            before = refusing(strace, call, error, f"{number}..{number + 2}")
            said += asyncio.run(says_no_state(path, state, before))
            received = client.visit()
            assert resets(received) == []
            values = [(c.after or {})["value"] for c in rows(received)]
            assert values == [str(number)]
    assert said, "no write was refused"


def rows(received: Sequence[object]) -> list[Change]:
    """The row changes of changesets."""
    return [c for cs in received for c in getattr(cs, "changes", ()) if isinstance(c, Change)]


async def says_no_state(path: Path, state: Path, before: Sequence[str]) -> bool:
    """Runs a reader until all is well, or it gives up; whether it said the state cannot be used."""
    async with Running(path, state, before) as reader:
        await reader.until_ok_or_end()
    said = {status.state for status in reader.statuses}
    assert said <= {"ok", "state_unavailable"}
    return "state_unavailable" in said or bool(reader.fatal)


@pytest.mark.fault("P4")
@pytest.mark.timeout(300)
def test_a_sync_that_fails_is_no_clean_end(
    strace: Path, database: MakeDatabase, state: Path, write: Write
) -> None:
    """What could not be brought to disk is not said to be there; clients lose nothing by it."""
    path = database()
    with Visitor(path, state) as client:
        client.visit()
        for number in range(1, 7):
            write(path, f"UPDATE items SET value='{number}' WHERE id=1")
            before = refusing(strace, "fsync,fdatasync", "EIO", f"{number}+")
            asyncio.run(says_no_state(path, state, before))
            values = [(c.after or {})["value"] for c in rows(client.visit())]
            assert values == [str(number)]


# The history is held


@pytest.mark.fault("P5")
@MODES
def test_a_history_that_another_program_holds_is_waited_for(
    mode: str, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Somebody looks into the state with a tool that locks it: said, waited for, nothing lost."""
    path = database(mode=mode)

    async def run() -> None:
        async with Watched(path, state) as watched:
            await watched.begun()
            holder = program(state / "state.db")
            holder.run("BEGIN IMMEDIATE")
            writer = program(path)
            writer.run("UPDATE items SET value='held' WHERE id=1")
            await watched.until_status("state_unavailable")
            assert watched.rows() == []
            holder.run("ROLLBACK")
            await watched.caught_up()
            assert [(c.after or {})["value"] for c in watched.rows()] == ["held"]

    asyncio.run(run())


# Processes that stand still


def processes(served: Served) -> dict[str, int]:
    """The process ids of a server and its reader."""
    return {"server": served.process.pid, "reader": reader_of(served.process)}


@pytest.mark.fault("P8")
@pytest.mark.parametrize(
    ("names", "mode"), combined(["reader", "server", "server and reader"], MODE)
)
def test_processes_that_were_stopped_catch_up_once(
    names: str,
    mode: str,
    serve: StartServer,
    database: MakeDatabase,
    program: StartProgram,
) -> None:
    """Whichever stood still: the client gets what it missed, each commit once, without a reset."""
    path = database(mode=mode)
    served = serve(path)
    writer = program(path, timeout=0)
    with Client() as client:
        client.connect(served.url)
        client.receive_until_equal(contents_of_file(path))
        # From here on SQLite's own count of commits is known.
        writer.run("UPDATE items SET value='before' WHERE id=1")
        client.receive_until_equal(contents_of_file(path))
        for _ in range(2):
            before = len(client.received)
            pids = processes(served)
            with stopped(*(pids[name] for name in names.split(" and "))):
                assert writer.commit_many(300) == []
            client.receive_until_equal(contents_of_file(path))
            told = client.received[before:]
            keys = [change.key["id"] for change in rows(told)]
            assert len(keys) == len(set(keys)) == 300
            assert processes(served) == pids
            # Commits that can no longer be told apart are merged, and counted.
            assert sum(changeset.commits or 0 for changeset in told) == 300
        assert client.resets == ["start"]


# Events that do not come


@pytest.mark.fault("P9")
@pytest.mark.parametrize(
    ("call", "mode"), combined(["inotify_init1=EMFILE", "inotify_add_watch=ENOSPC"], MODE)
)
def test_without_events_the_poll_still_finds_it(
    call: str,
    mode: str,
    strace: Path,
    database: MakeDatabase,
    state: Path,
    program: StartProgram,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The machine gives no more of them: it is logged, and every change comes all the same."""
    path = database(mode=mode)
    name, _, error = call.partition("=")

    async def run() -> None:
        async with Running(path, state, refusing(strace, name, error, "1+")) as reader:
            await reader.until("ok")
            writer = program(path)
            for count in (1, 2):
                writer.run(f"UPDATE items SET value='{count}' WHERE id=1")
                await reader.until_changesets(count)

    asyncio.run(run())
    assert re.search("inotify is not available.*\n.*polling only", capfd.readouterr().err)


@pytest.mark.fault("P9")
@MODES
def test_a_commit_whose_event_was_dropped_is_found(
    mode: str, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """The queue of a reader that stands still runs over before the commit is made."""
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 200_000:
        pytest.skip("the queue of this machine is very long")
    path = database(mode=mode)

    async def run() -> None:
        async with Watched(path, state) as watched:
            await watched.begun()
            pid = watched.reader_pid
            assert pid is not None
            with stopped(pid):
                # Equal events in a row are one, so two files take turns.
                files = [os.open(path.parent / name, os.O_RDWR | os.O_CREAT) for name in "pq"]
                for number in range(limit + 100):
                    os.pwrite(files[number % 2], b"x", 0)
                for file in files:
                    os.close(file)
                program(path).run("UPDATE items SET value='unseen' WHERE id=1")
            await watched.caught_up()
            assert [(c.after or {})["value"] for c in watched.rows()] == ["unseen"]
            assert watched.reader_pid == pid

    asyncio.run(run())


# A fault while it recovers from a fault

# Several pages, so that there is much to recover.
MANY = f"""
{ITEMS}
WITH RECURSIVE n(i) AS (VALUES(3) UNION ALL SELECT i+1 FROM n WHERE i<400)
INSERT INTO items SELECT i, 'many', hex(zeroblob(50)) FROM n;
"""
FAR = "INSERT INTO items(name, value) SELECT name, value FROM items WHERE id<200"
# At which write the first reader dies: before the changeset is recorded, and after it, when the
# copy is being brought up to date. Then what happens at a write of the next one, and how many lie
# between two that are tried.
FAULTS: list[Any] = [(14, "KILL", 3)]
FAULTS += [
    pytest.param(first, second, 1, marks=pytest.mark.soak)
    for first in (3, 8, 14, 20)
    for second in ("KILL", "EIO", "ENOSPC")
]


@pytest.mark.fault("P11", "P1")
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("first", "second", "apart"), FAULTS)
def test_a_fault_at_any_write_of_a_recovery_is_made_good(
    first: int,
    second: str,
    apart: int,
    strace: Path,
    database: MakeDatabase,
    state: Path,
    program: StartProgram,
) -> None:
    """A reader died; the next is killed, or refused a write, at its first write or a later one."""
    path = database(sql=MANY)
    writer = program(path)
    with Visitor(path, state) as client:
        client.visit()
        survived, number = False, 1 - apart
        while not survived:
            number += apart
            writer.run("BEGIN", f"UPDATE items SET value='{number}' WHERE id=1", FAR)
            writer.run("DELETE FROM items WHERE id>400", "COMMIT")
            asyncio.run(run_reader(path, state, killing(strace, "pwrite64", first)))
            if second == "KILL":
                before = killing(strace, "pwrite64", number)
                survived = asyncio.run(run_reader(path, state, before))
            else:
                before = refusing(strace, "pwrite64", second, str(number))
                survived = not asyncio.run(says_no_state(path, state, before)) or number > 40
        assert number > 3
        writer.run("UPDATE items SET value='last' WHERE id=1")
        received = client.visit()
        assert resets(received) == []
        check_chain(received, "123", "last")
    assert integrity(path) == "ok"


@pytest.mark.fault("P11")
@MODES
def test_readers_killed_one_after_the_other_as_soon_as_they_are_there(
    mode: str, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Each is killed while it takes up what the one before has left, under load."""
    path = database(mode=mode)

    async def run() -> None:
        async with Watched(path, state) as watched:
            await watched.begun()
            writer = program(path)
            seen = {watched.reader_pid}
            for round_ in range(4):
                commits = asyncio.create_task(asyncio.to_thread(writer.commit_many, 200))
                if watched.reader_pid is not None:
                    os.kill(watched.reader_pid, signal.SIGKILL)
                await watched.until(lambda: watched.reader_pid not in {None, *seen}, "another")
                seen.add(watched.reader_pid)
                # A little later each time: when it starts, when it recovers, when it works.
                await asyncio.sleep(0.1 * round_)
                assert await commits == []
            await watched.caught_up()
            offsets = [c.position.offset for c in watched.received if c.position is not None]
            assert all(right == left + 1 for left, right in pairwise(offsets))
            keys = [change.key["id"] for change in watched.rows()]
            assert len(keys) == len(set(keys)) == 800
            assert len({c.position.epoch for c in watched.received if c.position}) == 1

    asyncio.run(run())
