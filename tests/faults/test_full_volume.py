"""The volume of the state is full, or the system refuses to let a file of it grow."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ITEMS, MakeDatabase
from tests.faults.conftest import StartProgram
from tests.faults.following import POLLS, follow
from tests.faults.mounts import mounted
from tests.faults.watched import PATIENCE, Watched
from watcher.errors import StateUnavailable
from watcher.hub import Hub

GROW = """
WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<100)
INSERT INTO items(name, value) SELECT 'grown', hex(randomblob({size})) FROM n
"""
# Bytes of the row that is written, which takes as much in `pending`, more in the history, as much
# in the copy; and KiB that are free, so that each of the three fails in its turn. Large pages are
# written in part where there is room for a part.
ROOMS = [(4096, 60_000, free) for free in (0, 30, 60, 120, 150, 180)]
ROOMS += [(65536, 200_000, free) for free in (100, 300, 600)]


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A volume of 4 MiB that can be filled."""
    path = tmp_path / "volume"
    # Where this is not possible, the test with a limit stands in.
    with mounted(path, ["-t", "tmpfs", "-o", "size=4m", "tmpfs"]):
        yield path


@pytest.mark.fault("P4")
@pytest.mark.parametrize(("page_size", "row", "free"), ROOMS)
def test_a_full_state_volume_stops_it_until_there_is_room(
    page_size: int,
    row: int,
    free: int,
    volume: Path,
    database: MakeDatabase,
    program: StartProgram,
) -> None:
    """It says that the state cannot be written, invents nothing, and goes on by itself."""
    path = database(sql=f"PRAGMA page_size={page_size}; {ITEMS}")

    async def steps(watched: Watched) -> None:
        writer = program(path)
        writer.run("UPDATE items SET value='before' WHERE id=1")
        await watched.caught_up()
        ballast = fill(volume, free * 1024)
        writer.run(f"INSERT INTO items(name) VALUES (hex(zeroblob({row // 2})))")
        # What is in the history is told, whatever becomes of the copy.
        await watched.until(
            lambda: watched.status.state == "state_unavailable" or len(watched.rows()) == 2,
            "full",
        )
        assert watched.operations() in (["update"], ["update", "insert"])
        writer.run("UPDATE items SET value='meanwhile' WHERE id=1")
        ballast.unlink()
        await watched.caught_up()
        # A copy that is not whole would show with the next change.
        writer.run("UPDATE items SET value='after' WHERE id=1")
        await watched.caught_up()
        assert sorted(watched.operations()) == ["insert", "update", "update", "update"]

    follow(path, volume / "state", steps)


def fill(volume: Path, free: int) -> Path:
    """Leaves so many bytes of a volume free; returns the file that takes all others."""
    ballast = volume / "ballast"
    with ballast.open("wb") as file:
        found = os.statvfs(volume)
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - free)
    return ballast


def test_a_volume_full_from_the_start_is_an_error(volume: Path, database: MakeDatabase) -> None:
    """Without room for any state the start fails, and says which directory is the cause."""
    path = database()
    with (volume / "more").open("wb", buffering=0) as file:
        found = os.statvfs(volume)
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize)

    async def run() -> None:
        async with asyncio.timeout(PATIENCE):
            await Hub(path, state=volume / "state").__aenter__()

    with pytest.raises(StateUnavailable) as caught:
        asyncio.run(run())
    assert caught.value.directory == str(volume / "state")


@pytest.mark.fault("P4")
@POLLS
def test_a_limit_on_the_size_of_files_is_said_and_got_over(
    poll: float | None, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """What the system refuses to write is written later; nothing is told twice."""
    path = database(mode="wal")

    async def run() -> None:
        async with Watched(path, state, poll=poll) as watched:
            await watched.begun()
            pid = watched.reader_pid
            assert pid is not None
            writer = program(path)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
            writer.run(GROW.format(size=600))
            await watched.until_status("state_unavailable")
            assert watched.live() == []
            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
            await watched.caught_up()
            assert (watched.reader_pid, len(watched.rows())) == (pid, 100)
            assert len({row.key["id"] for row in watched.rows()}) == 100

    asyncio.run(run())
