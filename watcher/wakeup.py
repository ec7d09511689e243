"""Tells that something may have changed in a directory. A hint, never the truth.

A lost hint costs latency: whoever waits here waits no longer than a poll interval and then looks
for himself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Literal, Protocol

import watchfiles

if sys.platform == "linux":
    import asyncinotify

_log = logging.getLogger(__name__)

# Some 20 ms of work.
_EVENTS_AT_ONCE = 2000
# A fast writer makes events as fast as they are taken; between so many there is time to look.
_EVENTS_BETWEEN_LOOKS = 64
# After a passing file was made its removal is waited for, and for so long the next one.
_PASSING_SECONDS = 0.05


# The state of the database says these already, and events would change nothing about them.
_SAID_ELSEWHERE = (FileNotFoundError, NotADirectoryError, PermissionError)


def _level(error: Exception) -> int:
    return logging.INFO if isinstance(error, _SAID_ELSEWHERE) else logging.WARNING


Happening = Literal["made", "written", "removed", "lost"]
"""What an event says of a file; `lost` of all of them: events may have gone by unseen."""

OnEvent = Callable[[str, Happening], None]
"""Told the name of a file and what happened to it, in the order in which things happened."""


class Wakeup(Protocol):
    """Waits for hints about files of one directory."""

    async def wait(self, seconds: float) -> bool:
        """Waits until something may have changed; False if so many seconds have gone by instead."""

    def take(self) -> None:
        """Takes what has been said until now; whoever is told of events is told of these."""

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

    Events of other files in the directory do not wake. Whoever makes an event has to wake us, and
    that takes his time; so while files come and go that are made and removed for each change, only
    that they are made and removed is waited for, and the writes are taken with it.

    Args:
        directory: the directory to watch; watching the file itself would end when it is replaced.
        names: the files in it that matter.
        passing: those of them that are made and removed for each change; nothing has changed yet
            when one is made.
        on_event: told each of their events the moment it is taken from the queue.

    Raises:
        OSError: there are no watches left, or the directory cannot be read.
    """

    def __init__(
        self,
        directory: Path,
        names: Collection[str],
        on_event: OnEvent | None = None,
        passing: Collection[str] = (),
    ) -> None:
        self._directory = directory
        self._names = frozenset(names)
        self._passing = frozenset(passing)
        self._on_event = on_event
        self._touched: set[str] = set()
        self._event = asyncio.Event()
        self._inotify = asyncinotify.Inotify(cache_size=64, sync_timeout=0)
        # Tells only of files that are made and removed, to be woken by these alone.
        self._comings = _second() if self._passing else None
        self._coming: asyncinotify.Watch | None = None
        self._loop = asyncio.get_running_loop()
        self._more: asyncio.Handle | None = None
        self._later: asyncio.Handle | None = None
        self._is_passing, self._passing_until = False, 0.0
        self._watching = False
        try:
            self._watch()
        except (FileNotFoundError, NotADirectoryError):
            # There may be a directory one day; until then the poll stands in.
            self._watching = False
        except OSError:
            self._close()
            raise
        self._loop.add_reader(self._inotify.fd, self._hear)

    def _watch(self) -> None:
        mask = asyncinotify.Mask
        comings = mask.CREATE | mask.DELETE | mask.MOVE
        self._inotify.add_watch(
            self._directory, comings | mask.MODIFY | mask.MOVE_SELF | mask.ONLYDIR
        )
        self._watching = True
        if self._comings is not None:
            with contextlib.suppress(OSError):  # then each event wakes
                self._coming = self._comings.add_watch(self._directory, comings | mask.ONLYDIR)

    def _hear(self) -> None:
        """Takes some events."""
        taken = self._drain(_EVENTS_BETWEEN_LOOKS)
        if self._is_passing and self._comings is not None:
            taken = max(taken, _emptied(self._comings))
        if self._more is not None:
            self._more.cancel()
            self._more = None
        if taken == _EVENTS_BETWEEN_LOOKS:
            # A busy neighbour must not keep everything else waiting; and there may be more that
            # the library has read, of which the descriptor does not tell.
            self._more = self._loop.call_soon(self._hear)
        elif not self._is_passing and self._coming and self._passing_until > self._loop.time():
            self._pass(self._comings, self._inotify)
            self._later = self._loop.call_later(_PASSING_SECONDS, self._has_passed)

    def _pass(self, to: asyncinotify.Inotify | None, of: asyncinotify.Inotify | None) -> None:
        assert to is not None
        assert of is not None
        self._is_passing = to is self._comings
        self._loop.remove_reader(of.fd)
        self._loop.add_reader(to.fd, self._hear)

    def _has_passed(self) -> None:
        rest = self._passing_until - self._loop.time()
        if rest > 0:
            self._later = self._loop.call_later(rest, self._has_passed)
            return
        self._pass(self._inotify, self._comings)
        self._hear()

    def _drain(self, most: int = _EVENTS_AT_ONCE) -> int:
        """Takes events from the queue; fewer than asked if that are all."""
        for taken in range(most):
            event = self._inotify.sync_get()
            if event is None:
                return taken
            self._take(event)
        return most

    def _take(self, event: asyncinotify.Event) -> None:
        mask = asyncinotify.Mask
        if event.mask & mask.MOVE_SELF and event.watch is not None:
            with contextlib.suppress(OSError):  # it may have been removed since
                self._inotify.rm_watch(event.watch)
            if self._comings is not None and self._coming is not None:
                with contextlib.suppress(OSError):
                    self._comings.rm_watch(self._coming)
                self._coming = None
        if event.mask & (mask.IGNORED | mask.MOVE_SELF):
            # The directory itself is gone; another may come in its place.
            self._watching = False
        lost = event.mask & (mask.Q_OVERFLOW | mask.IGNORED | mask.MOVE_SELF)
        names: Iterable[str] = self._names if lost else self._names & {str(event.name)}
        if names:
            self._touched.update(names)
            name = "" if lost else str(event.name)
            happening: Happening = "lost" if lost else _happening(event)
            if happening == "made" and name in self._passing:
                self._passing_until = self._loop.time() + _PASSING_SECONDS
            else:
                self._event.set()
            if self._on_event is not None:
                self._on_event(name, happening)

    async def wait(self, seconds: float) -> bool:
        if not self._watching:
            with contextlib.suppress(OSError):  # not there yet: the poll stands behind it
                self._watch()
        return await _wait(self._event, seconds)

    def take(self) -> None:
        self._drain()

    def touched(self) -> frozenset[str] | None:
        drained = self._drain() < _EVENTS_AT_ONCE
        names = frozenset(self._touched)
        self._touched.clear()
        return names if self._watching and drained else None

    async def aclose(self) -> None:
        for handle in (self._more, self._later):
            if handle is not None:
                handle.cancel()
        self._close()

    def _close(self) -> None:
        for inotify in (self._inotify, self._comings):
            if inotify is not None:
                with contextlib.suppress(ValueError):  # already closed
                    self._loop.remove_reader(inotify.fd)
                inotify.close()


def _second() -> asyncinotify.Inotify | None:
    """Opens a further queue; None where there are none left."""
    try:
        return asyncinotify.Inotify(cache_size=64, sync_timeout=0)
    except OSError:
        return None


def _emptied(inotify: asyncinotify.Inotify) -> int:
    """Drops events; fewer than is possible at once if these were all."""
    for dropped in range(_EVENTS_BETWEEN_LOOKS):
        if inotify.sync_get() is None:
            return dropped
    return _EVENTS_BETWEEN_LOOKS


def _happening(event: asyncinotify.Event) -> Happening:
    mask = asyncinotify.Mask
    if event.mask & (mask.CREATE | mask.MOVED_TO):
        return "made"
    return "removed" if event.mask & (mask.DELETE | mask.MOVED_FROM) else "written"


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
            reason = error.strerror if isinstance(error, OSError) else None
            # watchfiles sets no strerror: its sentence ends with a number and a quoted path.
            reason = reason or str(error).partition(" (os error")[0]
            _log.log(
                _level(error), "no file events for %s, polling only: %s", self._directory, reason
            )

    async def wait(self, seconds: float) -> bool:
        return await _wait(self._event, seconds)

    def take(self) -> None:
        return None

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

    def take(self) -> None:
        return None

    def touched(self) -> frozenset[str] | None:
        return None

    async def aclose(self) -> None:
        return None


def open_wakeup(
    directory: Path,
    names: Collection[str],
    *,
    events: bool = True,
    on_event: OnEvent | None = None,
    passing: Collection[str] = (),
) -> Wakeup:
    """Opens the best source of hints this system has.

    Args:
        directory: the directory of the watched files.
        names: the files in it that matter.
        events: False to poll only.
        on_event: told each event at once, where the source gives them one by one.
        passing: those of the files that are made and removed for each change.
    """
    if not events:
        return TimerWakeup()
    if sys.platform == "linux":
        try:
            return InotifyWakeup(directory, names, on_event, passing)
        except OSError as error:
            reason = error.strerror or str(error)
            _log.log(_level(error), "inotify is not available for %s: %s", directory, reason)
    return WatchfilesWakeup(directory, names)
