"""Single looks at the file, with programs that act in the middle of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import MakeDatabase
from tests.faults.conftest import StartProgram
from tests.faults.program import Program
from tests.faults.test_states import SPILL
from tests.oracle.contents import contents_of_file
from watcher.sqlite.capture import RawCapture
from watcher.sqlite.captured import NotQuiet
from watcher.sqlite.files import DatabaseFiles
from watcher.sqlite.shadow import Pending, Shadow
from watcher.wakeup import InotifyWakeup


class Interrupted(Pending):
    """Pending pages that let a program act before the file is read and when the first page comes.

    Args:
        directory: the state directory.
        shadow: what the pages are laid over.
        program: the program.
        before: its statements before the file is read.
        amid: its statements after a part of it has been read.
    """

    def __init__(
        self,
        directory: Path,
        shadow: Shadow,
        program: Program,
        before: Sequence[str],
        amid: Sequence[str],
    ) -> None:
        super().__init__(directory, shadow)
        self._program = program
        self._due = [before, amid]

    def begin(self, page_size: int) -> None:
        super().begin(page_size)
        self._act()

    def put(self, page: int, image: bytes) -> None:
        super().put(page, image)
        self._act()

    def _act(self) -> None:
        if self._due:
            self._program.run(*self._due.pop(0))


def look(path: Path, state: Path, program: Program, *steps: Sequence[str]) -> None:
    """Looks while a program acts, and puts what was seen into the shadow.

    Raises:
        NotQuiet: the look is void.
    """
    state.mkdir()

    async def run() -> None:
        files = DatabaseFiles(path)
        names = [file.path.name for file in (files.main, files.log, files.index, files.journal)]
        wakeup = InotifyWakeup(path.parent, names)
        try:
            take(RawCapture(files, wakeup.touched), state, program, steps)
        finally:
            await wakeup.aclose()

    asyncio.run(run())


def take(
    capture: RawCapture, state: Path, program: Program, steps: Sequence[Sequence[str]]
) -> None:
    before, amid = steps
    with (
        closing(capture),
        closing(Shadow(state)) as shadow,
        closing(Interrupted(state, shadow, program, before, amid)) as pending,
    ):
        capture.capture(shadow, pending)
        pending.settle()
        shadow.apply(pending)


COMMIT = "UPDATE items SET value='meanwhile' WHERE id=1"
INTO_PAGES = "UPDATE items SET value='never'"


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist"])
@pytest.mark.parametrize(
    ("before", "amid"),
    [
        ([COMMIT], []),
        ([], [COMMIT]),
        (["BEGIN", INTO_PAGES, SPILL], ["ROLLBACK"]),
        ([], ["PRAGMA journal_mode=wal", COMMIT]),
    ],
    ids=["commit before", "commit amid", "rolled back", "to a log"],
)
def test_a_look_across_a_write_is_void(
    before: list[str],
    amid: list[str],
    mode: str,
    database: MakeDatabase,
    state: Path,
    program: StartProgram,
) -> None:
    """Without a log nothing may be written to the file while it is read, not even to be undone."""
    path = database(mode=mode)
    writer = program(path)
    writer.run(f"PRAGMA journal_mode={mode}", "PRAGMA cache_size=5")
    with pytest.raises(NotQuiet):
        look(path, state, writer, before, amid)


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist"])
@pytest.mark.parametrize("statement", [INTO_PAGES, SPILL], ids=["kept in memory", "written"])
def test_a_look_beside_an_open_transaction(
    statement: str, mode: str, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """A transaction that has not written to the file yet voids no look; one that has does."""
    path = database(mode=mode)
    writer = program(path)
    writer.run(f"PRAGMA journal_mode={mode}", "PRAGMA cache_size=5", "BEGIN", statement)
    if statement == SPILL:
        with pytest.raises(NotQuiet, match="writing"):
            look(path, state, writer, [], [])
    else:
        look(path, state, writer, [], [])
        writer.run("ROLLBACK")
        assert contents_of_file(state / "shadow.db") == contents_of_file(path)


@pytest.mark.parametrize("when", [0, 1], ids=["before", "amid"])
@pytest.mark.parametrize(
    "statements",
    [
        [COMMIT],
        [COMMIT, SPILL, "DELETE FROM items WHERE id=2"],
        [COMMIT, "PRAGMA wal_checkpoint(PASSIVE)"],
        ["BEGIN", INTO_PAGES, SPILL],
        ["BEGIN", INTO_PAGES, SPILL, "ROLLBACK"],
        [SPILL, "DELETE FROM items WHERE id>2", "VACUUM", COMMIT],
    ],
    ids=["commit", "commits", "checkpoint", "open", "rolled back", "vacuum"],
)
def test_a_look_with_a_log_is_completed(
    statements: list[str],
    when: int,
    database: MakeDatabase,
    state: Path,
    program: StartProgram,
) -> None:
    """While one generation of the log lasts, what is committed in the middle of a look is in it."""
    path = database(mode="wal")
    writer = program(path)
    writer.run("PRAGMA cache_size=5", "PRAGMA wal_autocheckpoint=0")
    writer.run("UPDATE items SET value='in the log' WHERE id=2")
    steps: list[list[str]] = [[], []]
    steps[when] = statements
    look(path, state, writer, *steps)
    assert contents_of_file(state / "shadow.db") == contents_of_file(path)


@pytest.mark.parametrize("when", [0, 1], ids=["before", "amid"])
@pytest.mark.parametrize(
    "statements",
    [
        ["PRAGMA wal_checkpoint(PASSIVE)", COMMIT],
        ["PRAGMA wal_checkpoint(RESTART)", COMMIT],
        ["PRAGMA wal_checkpoint(TRUNCATE)"],
        ["PRAGMA wal_checkpoint(TRUNCATE)", COMMIT],
        ["PRAGMA journal_mode=delete"],
        ["PRAGMA journal_mode=delete", COMMIT, "PRAGMA journal_mode=wal", COMMIT],
    ],
    ids=[
        "passive, commit",
        "restart, commit",
        "truncate",
        "truncate, commit",
        "no log",
        "another log",
    ],
)
def test_a_look_across_the_end_of_a_log_is_void(
    statements: list[str],
    when: int,
    database: MakeDatabase,
    state: Path,
    program: StartProgram,
) -> None:
    """With another generation of the log, what was read belongs to no one state."""
    path = database(mode="wal")
    writer = program(path)
    writer.run("UPDATE items SET value='in the log' WHERE id=2")
    steps: list[list[str]] = [[], []]
    steps[when] = statements
    with pytest.raises(NotQuiet):
        look(path, state, writer, *steps)
