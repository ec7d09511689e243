"""Side files that vanish or cannot be read, and directories that nobody may write."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeDatabase
from tests.faults.conftest import StartProgram
from tests.faults.following import follow
from tests.faults.mounts import mounted
from tests.faults.running import Running
from tests.faults.standstill import stopped
from tests.faults.system_calls import refusing
from tests.faults.watched import Watched


@pytest.mark.fault("D5")
def test_a_deleted_wal_index_hides_no_commit(
    database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Its user goes on with the file that has no name any more; the log itself is read then."""
    path = database(mode="wal")
    writer = program(path)
    writer.run("UPDATE items SET value='0' WHERE id=1")

    async def steps(watched: Watched) -> None:
        path.with_name("app.db-shm").unlink()
        for count in range(1, 4):
            writer.run(f"UPDATE items SET value='{count}' WHERE id=1")
            await watched.until_rows(count)
        assert [(change.after or {})["value"] for change in watched.rows()] == ["1", "2", "3"]
        # Lest another connection begins an index of its own beside it.
        writer.close()

    follow(path, state, steps)


@pytest.mark.fault("D5")
@pytest.mark.parametrize("side", ["-shm", "-wal", ""])
def test_a_file_that_cannot_be_opened_for_a_while_is_tried_again(
    side: str,
    strace: Path,
    database: MakeDatabase,
    state: Path,
    program: StartProgram,
) -> None:
    """The status says `unreadable`; the copy is kept, and the history goes on where it was."""
    path = database(mode="wal")
    writer = program(path)
    writer.run("UPDATE items SET value='before' WHERE id=1")

    async def first() -> None:
        async with Running(path, state) as reader:
            await reader.until("ok")

    async def again() -> None:
        refused = refusing(strace, "openat", "EACCES", "1..2", f"{path}{side}")
        async with Running(path, state, refused) as reader:
            await reader.until_said("unreadable")
            await reader.until("ok")
            await reader.until_changesets(1)

    asyncio.run(first())
    writer.run("UPDATE items SET value='meanwhile' WHERE id=1")
    asyncio.run(again())


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A directory that is mounted twice: `data` inside it can be written, this one cannot."""
    path, data = tmp_path / "read-only", tmp_path / "data"
    data.mkdir()
    with mounted(path, ["--bind", str(data)], ["-o", "remount,bind,ro"]):
        yield path


@pytest.mark.fault("D6")
@pytest.mark.parametrize("mode", ["delete", "truncate", "persist", "wal"])
def test_a_database_on_a_read_only_mount_is_followed(
    mode: str, read_only: Path, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """All that is needed is to read; others may write it where it is mounted otherwise."""
    path = database("data/app.db", mode=mode)
    seen = read_only / "app.db"
    with pytest.raises(OSError, match="Read-only"):
        seen.touch()

    async def run() -> None:
        async with Watched(seen, state) as watched:
            await watched.begun()
            assert len(watched.held["items"][1]) == 2
            writer = program(path)
            writer.run(f"PRAGMA journal_mode={mode}")
            for count in range(1, 4):
                writer.run(f"UPDATE items SET value='{count}' WHERE id=1")
                await watched.until_rows(count)
            writer.close()
            await watched.until_status("ok")

    asyncio.run(run())
    assert list(read_only.iterdir()) == list(read_only.glob("app.db*"))


def test_a_log_is_followed_from_its_first_commit(
    database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Who opens a closed database makes a log: nothing of it is merged, nothing compared."""
    path = database(mode="wal")
    program(path).close()

    async def steps(watched: Watched) -> None:
        await watched.begun()
        for session in range(3):
            writer = program(path)
            for count in range(3):
                writer.run(f"UPDATE items SET value='{session}.{count}' WHERE id=1")
            await watched.until_rows(3 * session + 3)
            writer.close()
            await watched.caught_up()
        assert [changeset.commits for changeset in watched.live()] == [1] * 9

    follow(path, state, steps)


def test_commits_of_a_log_that_was_never_seen_are_not_counted(
    database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """The counter of the main file stands still in WAL mode; it counts no commits made there."""
    path = database(mode="wal")
    program(path).close()

    async def steps(watched: Watched) -> None:
        await watched.begun()
        with stopped(watched.reader_pid):
            writer = program(path)
            for count in range(3):
                writer.run(f"UPDATE items SET value='{count}' WHERE id=1")
            writer.close()
        await watched.caught_up()
        assert [changeset.commits for changeset in watched.live()] == [None]

    follow(path, state, steps)


def test_commits_to_a_log_between_two_journals_are_not_counted(
    database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """A visit to WAL mode moves the change counter by two, whatever was committed meanwhile."""
    path = database()

    async def steps(watched: Watched) -> None:
        await watched.begun()
        writer = program(path)
        with stopped(watched.reader_pid):
            writer.run("PRAGMA journal_mode=wal")
            for count in range(7):
                writer.run(f"UPDATE items SET value='{count}' WHERE id=1")
            writer.run("PRAGMA journal_mode=delete")
        await watched.caught_up()
        assert [changeset.commits for changeset in watched.live()] == [None]
        writer.close()

    follow(path, state, steps)


def test_a_log_beside_a_file_that_was_written_is_compared(
    database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Its beginning may be checkpointed and gone: what it holds is not all that was committed."""
    path = database(mode="wal")
    program(path).close()

    async def steps(watched: Watched) -> None:
        await watched.begun()
        with stopped(watched.reader_pid):
            writer = program(path)
            writer.run("UPDATE items SET value='gone' WHERE id=1", "PRAGMA wal_checkpoint(RESTART)")
            writer.run("UPDATE items SET value='there' WHERE id=2")
        await watched.caught_up()
        assert [changeset.commits for changeset in watched.live()] == [None]
        assert len(watched.rows()) == 2
        writer.close()

    follow(path, state, steps)
