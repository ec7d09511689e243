"""Writers at full speed, alone and against each other, and a reader that falls behind them."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import MakeDatabase
from tests.faults.busy_writer import BusyWriter, busy_writer
from tests.faults.conftest import StartProgram
from tests.faults.following import follow
from tests.faults.program import Refused
from tests.faults.standstill import stopped
from tests.faults.watched import Watched
from tests.oracle.contents import integrity
from watcher import ChangeSet
from watcher.sqlite.options import HoldLimits

# SQLite begins a log anew after 1,000 pages; a commit and its frames may come on top of it.
BOUNDED_LOG = 1300 * 4096
LONG = pytest.mark.timeout(300)
SECONDS = [
    pytest.param(1.0, id="a second", marks=LONG),
    pytest.param(60.0, id="a minute", marks=(pytest.mark.soak, pytest.mark.timeout(2400))),
]


class Counting(Watched):
    """A follower of very many changesets, of which each is looked at once."""

    commits = 0
    uncounted = 0
    _offset: int | None = None

    def _check_order(self, changeset: ChangeSet) -> None:
        if changeset.position is None:
            return
        if self._offset is not None:
            assert changeset.position.offset == self._offset + 1, "offsets have a gap"
            self.commits += changeset.commits or 0
            self.uncounted += changeset.commits is None
        self._offset = changeset.position.offset

    async def until_counted(self, commits: int, seconds: float) -> None:
        """Waits until so many commits are accounted for, as long as there is progress at all."""
        end = time.monotonic() + seconds
        while self.commits < commits:
            assert time.monotonic() < end, f"{self.commits} of {commits} commits, {self.status}"
            before = self.commits
            await self.until(partial(self._has_counted, before + 1), "any further commit")

    def _has_counted(self, commits: int) -> bool:
        return self.commits >= commits


@pytest.mark.fault("D26")
@pytest.mark.parametrize("seconds", SECONDS)
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_every_commit_of_two_writers_is_accounted_for(
    mode: str, seconds: float, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Two at full speed: no commit uncounted, none counted twice, and it catches up."""
    path = database(mode=mode)
    # Its connection keeps the wal-index, in which the commits are counted.
    program(path).run("SELECT * FROM items")

    async def run() -> None:
        async with Counting(path, state) as watched:
            await watched.begun()
            with busy_writer(path, first=1000) as one, busy_writer(path, first=2000) as other:
                await asyncio.sleep(seconds)
                done = await asyncio.to_thread(lambda: (one.stop(), other.stop()))
            # Without a log two of them can starve each other, watched or not.
            assert mode == "delete" or [writer.errors for writer in done] == [[], []]
            total = sum(writer.commits for writer in done)
            # However far it is behind, it goes on.
            await watched.until_counted(total, 60 + 30 * seconds)
            await watched.caught_up()
            assert (watched.commits, watched.uncounted) == (total, 0)

    asyncio.run(run())
    assert integrity(path) == "ok"


@pytest.mark.fault("D2")
@pytest.mark.parametrize("seed", range(3))
def test_the_log_stays_bounded_whenever_the_reader_is_stopped(
    seed: int, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Where it may not hold the log: stopped at any moment of a burst, it keeps no checkpoint."""
    path = database(mode="wal")
    chance = random.Random(seed)
    log = path.with_name("app.db-wal")

    async def run() -> None:
        async with Watched(path, state, hold=HoldLimits(seconds=0)) as watched:
            await watched.begun()
            writer = program(path, timeout=0)
            for _ in range(4):
                commits = asyncio.create_task(
                    asyncio.to_thread(writer.commit_many, chance.randrange(1, 300))
                )
                await asyncio.sleep(chance.random() / 50)
                with stopped(watched.reader_pid):
                    assert await commits == []
                    # More pages than a log has, several times.
                    assert await asyncio.to_thread(writer.commit_many, 2500) == []
                    assert log.stat().st_size < BOUNDED_LOG
                await watched.caught_up()

    asyncio.run(run())
    assert integrity(path) == "ok"


@pytest.mark.fault("D17")
@pytest.mark.parametrize(
    ("seed", "wanted"), [(0, 8), pytest.param(1, 20, marks=(pytest.mark.soak, LONG))]
)
def test_the_journal_mode_is_switched_while_others_write(
    seed: int, wanted: int, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Another program switches it in a loop, when the writers leave it a gap; nothing is lost."""
    path = database()
    chance = random.Random(seed)
    others = ("delete", "truncate", "persist")

    async def steps(_watched: Watched) -> None:
        with ExitStack() as stack:
            writers = [
                stack.enter_context(busy_writer(path, first=1000 * n, reconnect=5)) for n in (1, 2)
            ]
            switches = await asyncio.to_thread(switch_often, others)
            errors = await asyncio.to_thread(stop, writers)
        assert errors == []
        assert switches >= wanted

    def switch_often(modes: tuple[str, ...]) -> int:
        switches, end = 0, time.monotonic() + 30
        while switches < wanted and time.monotonic() < end:
            for mode in ("wal", chance.choice(modes)):
                # A connection for each: one that stays open would keep the log.
                switcher = program(path, timeout=0.2)
                try:
                    switches += switcher.run(f"PRAGMA journal_mode={mode}") == [[mode]]
                except Refused:
                    # A writer was in its way, as without any watcher.
                    continue
                finally:
                    switcher.close()
        return switches

    def stop(writers: list[BusyWriter]) -> list[str]:
        return [error for writer in writers for error in writer.stop().errors]

    follow(path, state, steps)
