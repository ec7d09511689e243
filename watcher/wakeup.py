"""Tells that something may have changed in a directory. A hint, never the truth.

A lost hint costs latency: whoever waits here waits no longer than a poll interval and then looks
for himself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Protocol

import watchfiles

if sys.platform == "linux":
    import asyncinotify

_log = logging.getLogger(__name__)


class Wakeup(Protocol):
    """Waits for hints about files of one directory."""

    async def wait(self, seconds: float) -> bool:
        """Waits until something may have changed; False if so many seconds have gone by instead."""

    def touched(self) -> frozenset[str] | None:
        """Names of the files written, made or removed since the last call.

        None where that cannot be told at once: no answer is not "none".
        """

    async def aclose(self) -> None:
        """Lets go of all resources; idempotent."""


async def _wait(event: asyncio.Event, seconds: float) -> bool:
    try:
        # Not `wait_for`: in Python 3.11 it drops a cancellation that comes with the event.
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    event.clear()
    return True


class InotifyWakeup:
    """Linux: the kernel's own queue, read without a thread.

    Events of other files in the directory do not wake.

    Args:
        directory: the directory to watch; watching the file itself would end when it is replaced.
        names: the files in it that matter.

    Raises:
        OSError: there are no watches left, or the directory cannot be read.
    """

    def __init__(self, directory: Path, names: Collection[str]) -> None:
        self._directory = directory
        self._names = frozenset(names)
        self._touched: set[str] = set()
        self._event = asyncio.Event()
        self._inotify = asyncinotify.Inotify(cache_size=64, sync_timeout=0)
        self._loop = asyncio.get_running_loop()
        self._watching = False
        try:
            self._watch()
        except (FileNotFoundError, NotADirectoryError):
            # There may be a directory one day; until then the poll stands in.
            self._watching = False
        except OSError:
            self._inotify.close()
            raise
        self._loop.add_reader(self._inotify.fd, self._drain)

    def _watch(self) -> None:
        mask = asyncinotify.Mask
        self._inotify.add_watch(
            self._directory,
            mask.MODIFY | mask.CREATE | mask.DELETE | mask.MOVE | mask.ONLYDIR,
        )
        self._watching = True

    def _drain(self) -> None:
        while (event := self._inotify.sync_get()) is not None:
            self._take(event)

    def _take(self, event: asyncinotify.Event) -> None:
        if event.mask & asyncinotify.Mask.IGNORED:
            # The directory itself is gone; another may come in its place.
            self._watching = False
        lost = event.mask & (asyncinotify.Mask.Q_OVERFLOW | asyncinotify.Mask.IGNORED)
        names: Iterable[str] = self._names if lost else self._names & {str(event.name)}
        if names:
            self._touched.update(names)
            self._event.set()

    async def wait(self, seconds: float) -> bool:
        if not self._watching:
            with contextlib.suppress(OSError):  # not there yet: the poll stands behind it
                self._watch()
        return await _wait(self._event, seconds)

    def touched(self) -> frozenset[str] | None:
        self._drain()
        names = frozenset(self._touched)
        self._touched.clear()
        return names if self._watching else None

    async def aclose(self) -> None:
        with contextlib.suppress(ValueError):  # already closed
            self._loop.remove_reader(self._inotify.fd)
        self._inotify.close()


class WatchfilesWakeup:
    """Other systems, and Linux without inotify: the watchfiles library, in its thread.

    Args:
        directory: the directory to watch.
        names: the files in it that matter.
    """

    def __init__(self, directory: Path, names: Collection[str]) -> None:
        self._directory = directory
        self._names = frozenset(names)
        self._event = asyncio.Event()
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        changes = watchfiles.awatch(
            self._directory,
            watch_filter=lambda _change, path: Path(path).name in self._names,
            debounce=50,
            step=5,
            stop_event=self._stop,
            recursive=False,
        )
        try:
            async for _ in changes:
                self._event.set()
        except (OSError, RuntimeError) as error:
            _log.warning("no file events for %s, polling only: %s", self._directory, error)

    async def wait(self, seconds: float) -> bool:
        return await _wait(self._event, seconds)

    def touched(self) -> frozenset[str] | None:
        return None

    async def aclose(self) -> None:
        self._stop.set()
        await self._task


class TimerWakeup:
    """No events at all: waits the whole interval."""

    async def wait(self, seconds: float) -> bool:
        await asyncio.sleep(seconds)
        return False

    def touched(self) -> frozenset[str] | None:
        return None

    async def aclose(self) -> None:
        return None


def open_wakeup(directory: Path, names: Collection[str], *, events: bool = True) -> Wakeup:
    """Opens the best source of hints this system has.

    Args:
        directory: the directory of the watched files.
        names: the files in it that matter.
        events: False to poll only.
    """
    if not events:
        return TimerWakeup()
    if sys.platform == "linux":
        try:
            return InotifyWakeup(directory, names)
        except OSError as error:
            _log.warning("inotify is not available for %s: %s", directory, error)
    return WatchfilesWakeup(directory, names)
