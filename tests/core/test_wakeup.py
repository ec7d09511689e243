"""Hints that a file may have changed: which come, which do not, and what happens without any."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from watcher.wakeup import (
    Happening,
    InotifyWakeup,
    TimerWakeup,
    Wakeup,
    WatchfilesWakeup,
    open_wakeup,
)

NAMES = ["app.db", "app.db-wal"]
PATIENCE = 20.0
# Long enough for a hint that is on its way to arrive, where none is expected.
SILENCE = 0.15

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")

Scenario = Callable[[Wakeup], Awaitable[None]]


def run(directory: Path, scenario: Scenario, kind: type[InotifyWakeup | WatchfilesWakeup]) -> None:
    async def opened() -> None:
        wakeup = kind(directory, NAMES)
        try:
            await scenario(wakeup)
        finally:
            await wakeup.aclose()
            await wakeup.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(opened())


def _rename(path: Path) -> None:
    other = path.with_name("other.tmp")
    other.write_text("another")
    other.rename(path)


DEEDS: dict[str, Callable[[Path], object]] = {
    "written": lambda path: path.write_text("more"),
    "deleted": lambda path: path.unlink(),
    "replaced": _rename,
    "moved away": lambda path: path.rename(path.with_name("away.db")),
    "side file made": lambda path: path.with_name("app.db-wal").touch(),
}


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
def test_what_happens_to_a_file_wakes(tmp_path: Path, deed: Callable[[Path], object]) -> None:
    """Writing, making, removing and replacing are told at once, and which file it was."""
    path = tmp_path / "app.db"
    path.write_text("some")

    async def scenario(wakeup: Wakeup) -> None:
        assert wakeup.touched() == frozenset()
        deed(path)
        assert await wakeup.wait(PATIENCE)
        touched = wakeup.touched()
        assert touched
        assert touched <= set(NAMES)
        assert wakeup.touched() == frozenset()
        assert not await wakeup.wait(SILENCE)

    run(tmp_path, scenario, InotifyWakeup)


def test_other_files_do_not_wake(tmp_path: Path) -> None:
    """Nor does reading: only what the names say, and only what changes it."""
    (tmp_path / "app.db").write_text("some")

    async def scenario(wakeup: Wakeup) -> None:
        (tmp_path / "app.db-other").write_text("x")
        (tmp_path / "app.db").read_text()
        (tmp_path / "folder").mkdir()
        assert not await wakeup.wait(SILENCE)
        assert wakeup.touched() == frozenset()

    run(tmp_path, scenario, InotifyWakeup)


def test_what_was_touched_is_known_without_waiting(tmp_path: Path) -> None:
    """The question is answered from the kernel's queue, not from what has been taken from it."""

    async def scenario(wakeup: Wakeup) -> None:
        (tmp_path / "app.db-wal").write_text("x")
        assert wakeup.touched() == frozenset({"app.db-wal"})

    run(tmp_path, scenario, InotifyWakeup)


def test_a_hint_before_the_waiting_is_not_lost(tmp_path: Path) -> None:
    """It wakes the next one who waits, once."""

    async def scenario(wakeup: Wakeup) -> None:
        (tmp_path / "app.db").write_text("x")
        wakeup.touched()
        assert await wakeup.wait(PATIENCE)
        assert not await wakeup.wait(SILENCE)

    run(tmp_path, scenario, InotifyWakeup)


def test_a_cancelled_wait_is_cancelled(tmp_path: Path) -> None:
    """Also where the hint comes at the same moment."""

    async def scenario(wakeup: Wakeup) -> None:
        for write in (False, True):
            task = asyncio.create_task(wakeup.wait(PATIENCE))
            await asyncio.wait((task,), timeout=0.01)
            if write:
                (tmp_path / "app.db").write_text("x")
                wakeup.touched()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(tmp_path, scenario, InotifyWakeup)


def test_a_directory_that_is_not_there_yet(tmp_path: Path) -> None:
    """Nothing can be told of it, only time goes by; when it is there, it is watched."""
    directory = tmp_path / "later"

    async def scenario(wakeup: Wakeup) -> None:
        assert not await wakeup.wait(0.01)
        assert wakeup.touched() is None
        directory.mkdir()
        assert not await wakeup.wait(0.01)
        assert wakeup.touched() == frozenset()
        (directory / "app.db").write_text("x")
        assert await wakeup.wait(PATIENCE)

    run(directory, scenario, InotifyWakeup)


def _remove(directory: Path) -> None:
    directory.rmdir()


def _move_away(directory: Path) -> None:
    directory.rename(directory.with_name("moved"))


def _move_and_remove(directory: Path) -> None:
    directory.rename(directory.with_name("gone"))
    directory.with_name("gone").rmdir()


@pytest.mark.parametrize("end", [_remove, _move_away, _move_and_remove])
def test_a_directory_that_is_another_now(tmp_path: Path, end: Callable[[Path], None]) -> None:
    """Its end wakes, since anything may be different; then the new one is watched."""
    directory = tmp_path / "some"
    directory.mkdir()

    async def scenario(wakeup: Wakeup) -> None:
        end(directory)
        assert await wakeup.wait(PATIENCE)
        assert wakeup.touched() is None
        directory.mkdir()
        # Within a few waits, as the end of the old watch may still be on its way.
        async with asyncio.timeout(PATIENCE):
            while wakeup.touched() is None:
                await wakeup.wait(0.01)
        moved = tmp_path / "moved"
        if moved.exists():
            (moved / "app.db").write_text("x")
            assert not await wakeup.wait(SILENCE)
            assert wakeup.touched() == frozenset()
        (directory / "app.db").write_text("x")
        assert await wakeup.wait(PATIENCE)
        assert wakeup.touched() == frozenset({"app.db"})

    run(directory, scenario, InotifyWakeup)


@pytest.mark.fault("P9")
def test_an_overflow_of_the_queue_touches_everything(tmp_path: Path) -> None:
    """Where the kernel dropped events nobody can say which: any file may have been written."""
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 200_000:
        pytest.skip("the queue of this machine is very long")

    async def scenario(wakeup: Wakeup) -> None:
        # Equal events in a row are one, so two files take turns.
        files = [os.open(tmp_path / name, os.O_RDWR | os.O_CREAT) for name in ("p", "q")]
        for number in range(limit + 100):
            os.pwrite(files[number % 2], b"x", 0)
        for file in files:
            os.close(file)
        # So long a queue is taken in pieces, and until it is empty nothing can be told.
        assert wakeup.touched() is None
        while (names := wakeup.touched()) is None:
            pass
        assert names == frozenset(NAMES)
        assert await wakeup.wait(PATIENCE)

    run(tmp_path, scenario, InotifyWakeup)


def test_watchfiles_stands_in(tmp_path: Path) -> None:
    """Where there is no inotify: it wakes for the named files only, and never says which."""

    async def scenario(wakeup: Wakeup) -> None:
        # Its thread needs a moment to begin, of which nobody tells.
        async with asyncio.timeout(PATIENCE):
            while not await wakeup.wait(0.1):
                (tmp_path / "app.db").write_text("x")
        while await wakeup.wait(SILENCE):
            pass
        assert wakeup.touched() is None
        (tmp_path / "other").write_text("x")
        assert not await wakeup.wait(SILENCE)
        (tmp_path / "app.db-wal").write_text("x")
        assert await wakeup.wait(PATIENCE)

    run(tmp_path, scenario, WatchfilesWakeup)


def test_where_nothing_can_be_watched_the_time_goes_by(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither inotify nor watchfiles: it is logged, and the waiting ends with its time."""
    directory = tmp_path / ("x" * 300)

    async def opened() -> None:
        wakeup = open_wakeup(directory, NAMES)
        assert isinstance(wakeup, WatchfilesWakeup)
        assert not await wakeup.wait(0.1)
        assert wakeup.touched() is None
        await wakeup.aclose()

    with caplog.at_level(logging.WARNING, "watcher.wakeup"):
        asyncio.run(opened())
    inotify, watchfiles = caplog.messages
    assert inotify.startswith("inotify is not available")
    assert watchfiles.startswith("no file events")


def test_each_event_is_told_in_its_order(tmp_path: Path) -> None:
    """Whoever must act at once is told what happened, also of a file that is gone by then."""
    (tmp_path / "app.db").touch()
    told: list[tuple[str, Happening]] = []

    def on_event(name: str, happening: Happening) -> None:
        told.append((name, happening))

    async def opened() -> None:
        wakeup = open_wakeup(tmp_path, NAMES, on_event=on_event)
        (tmp_path / "app.db-wal").write_text("x")
        (tmp_path / "app.db").write_text("x")
        (tmp_path / "other").write_text("x")
        (tmp_path / "app.db-wal").unlink()
        _rename(tmp_path / "app.db")
        assert wakeup.touched() == frozenset(NAMES)
        tmp_path.joinpath("app.db").rename(tmp_path / "away.db")
        wakeup.touched()
        await wakeup.aclose()

    asyncio.run(opened())
    assert told == [
        ("app.db-wal", "made"),
        ("app.db-wal", "written"),
        ("app.db", "written"),
        ("app.db-wal", "removed"),
        ("app.db", "made"),
        ("app.db", "removed"),
    ]


def test_events_that_were_lost_are_told(tmp_path: Path) -> None:
    """The end of the directory is the end of all that could be told of it."""
    directory = tmp_path / "some"
    directory.mkdir()
    told: list[tuple[str, Happening]] = []

    async def opened() -> None:
        wakeup = open_wakeup(
            directory, NAMES, on_event=lambda name, happening: told.append((name, happening))
        )
        _move_away(directory)
        assert await wakeup.wait(PATIENCE)
        await wakeup.aclose()

    asyncio.run(opened())
    assert ("", "lost") in told


@pytest.mark.parametrize("passing", [False, True])
@pytest.mark.parametrize("neighbours", [62, 128, 500])
def test_a_busy_neighbour_hides_nothing(tmp_path: Path, neighbours: int, passing: bool) -> None:
    """What the library has read ahead is taken though the descriptor tells of nothing."""

    async def opened() -> None:
        path, journal = tmp_path / "app.db", tmp_path / "app.db-journal"
        wakeup = InotifyWakeup(tmp_path, [path.name, journal.name], passing=[journal.name])
        if passing:
            journal.touch()
            assert not await wakeup.wait(0.005)
        with (tmp_path / "one").open("w") as one, (tmp_path / "two").open("w") as two:
            # In turns, because equal ones are joined.
            for number in range(neighbours):
                (one, two)[number % 2].write("x")
                (one, two)[number % 2].flush()
        path.write_text("changed")
        if passing:
            journal.unlink()
        assert await wakeup.wait(PATIENCE)
        await wakeup.aclose()

    asyncio.run(opened())


def test_a_passing_file_wakes_when_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its making and what is written meanwhile wake nobody; all of it is told when it is gone."""
    monkeypatch.setattr("watcher.wakeup._PASSING_SECONDS", PATIENCE)
    told: list[tuple[str, Happening]] = []

    async def opened() -> None:
        path, passing = tmp_path / "app.db", tmp_path / "app.db-journal"
        path.touch()
        wakeup = InotifyWakeup(
            tmp_path, [path.name, passing.name], lambda *event: told.append(event), [passing.name]
        )
        for _ in range(3):
            passing.touch()
            # It is taken at once, for it may soon be gone; but nothing has changed yet.
            assert not await wakeup.wait(0.01)
            assert told == [(passing.name, "made")]
            path.write_text("more")
            assert not await wakeup.wait(0.01)
            passing.unlink()
            assert await wakeup.wait(PATIENCE)
            assert told[-1] == (passing.name, "removed")
            assert (path.name, "written") in told
            told.clear()
            assert not await wakeup.wait(0)
        await wakeup.aclose()

    asyncio.run(opened())


def test_a_file_that_does_not_pass_does_not_keep_others_waiting(tmp_path: Path) -> None:
    """It is made and stays: soon any write wakes again."""

    async def opened() -> None:
        path, passing = tmp_path / "app.db", tmp_path / "app.db-journal"
        names = [path.name, passing.name]
        wakeup = InotifyWakeup(tmp_path, names, passing=[passing.name])
        passing.touch()
        path.touch()
        assert await wakeup.wait(PATIENCE)
        path.write_text("more")
        assert await wakeup.wait(PATIENCE)
        await wakeup.aclose()

    asyncio.run(opened())


def test_the_best_way_there_is(tmp_path: Path) -> None:
    """Inotify on Linux, and a timer where events are not wanted."""

    async def opened() -> None:
        wakeup = open_wakeup(tmp_path, NAMES)
        assert isinstance(wakeup, InotifyWakeup)
        await wakeup.aclose()
        timer = open_wakeup(tmp_path, NAMES, events=False)
        assert isinstance(timer, TimerWakeup)
        (tmp_path / "app.db").write_text("x")
        assert not await timer.wait(0.01)
        assert timer.touched() is None
        await timer.aclose()

    asyncio.run(opened())
