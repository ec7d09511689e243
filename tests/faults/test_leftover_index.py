"""A wal-index that nobody uses any more says nothing of the log beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import MakeDatabase
from tests.faults.conftest import StartProgram
from tests.faults.following import follow
from tests.faults.test_states import reader_of
from tests.faults.watched import Watched

EXCLUSIVE = ("PRAGMA locking_mode=EXCLUSIVE", "UPDATE items SET value='first' WHERE id=1")


def killed_writer(path: Path, program: StartProgram) -> None:
    """Leaves a log and a wal-index as a program does that is killed."""
    writer = program(path)
    writer.run("UPDATE items SET value='in the log'")
    writer.kill()
    assert path.with_name("app.db-shm").exists()


@pytest.mark.fault("D5", "D8")
@pytest.mark.parametrize("restart", [False, True], ids=["it fits the log", "it does not"])
def test_a_writer_with_an_index_of_its_own_is_followed(
    restart: bool, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """A writer that locks exclusively leaves the index of its dead predecessor as it is."""
    path = database(mode="wal")
    killed_writer(path, program)
    writer = program(path)
    writer.run(*EXCLUSIVE)
    if restart:
        writer.run("PRAGMA wal_checkpoint(TRUNCATE)", "UPDATE items SET value='new log'")

    async def steps(watched: Watched) -> None:
        for count in range(1, 6):
            writer.run(f"UPDATE items SET value='{count}' WHERE id=1")
            await watched.until_rows(count)
        assert [(row.after or {})["value"] for row in watched.rows()] == list("12345")
        writer.close()

    follow(path, state, steps)


def test_where_no_index_counts_commits_none_are_counted(
    database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """The number of a log that was opened once is none of a wal-index that was opened once."""
    path = database(mode="wal")
    killed_writer(path, program)
    with reader_of(path, state) as reader:
        assert reader.step()
        assert reader._mark is None
        writer = program(path)
        writer.run("UPDATE items SET value='counted from here'")
        assert reader.step()
        assert reader._mark is not None
        assert reader._mark.kind == "wal"


@pytest.mark.fault("D5")
def test_the_log_of_a_killed_exclusive_writer_counts(
    database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """What it committed stays, though the old index knows nothing of it."""
    path = database(mode="wal")
    killed_writer(path, program)
    writer = program(path)

    async def steps(watched: Watched) -> None:
        writer.run(*EXCLUSIVE)
        await watched.until_rows(1)
        writer.kill()
        program(path).run("UPDATE items SET value='recovered' WHERE id=2")
        await watched.until_rows(2)
        assert [(r.before or {})["value"] for r in watched.rows()] == ["in the log", "in the log"]

    follow(path, state, steps)
