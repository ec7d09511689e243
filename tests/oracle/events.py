"""File events for several readers in one process, from one queue of the kernel."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path

from watcher.wakeup import Happening, InotifyWakeup, OnEvent


class Hearing(StrEnum):
    """When readers hear of events."""

    # When they look, as on a machine that has much else to do; a journal is gone by then.
    LATE = "late"
    # While the writer is at work.
    PROMPT = "prompt"
    # Never, as where there is no inotify.
    NEVER = "never"


class Events:
    """What `wakeup.InotifyWakeup` tells, for two readers: which of them asks is told by a bool.

    Args:
        directory: where the database lies.
        names: the files that matter.
    """

    def __init__(self, directory: Path, names: list[str]) -> None:
        self.hearing = Hearing.LATE
        self._runner = asyncio.Runner()

        async def wakeup() -> InotifyWakeup:
            return InotifyWakeup(directory, names, self._tell)

        self._wakeup = self._runner.run(wakeup())
        self._listeners: dict[bool, OnEvent] = {}
        self._names: dict[bool, set[str] | None] = {False: set(), True: set()}

    @property
    def descriptor(self) -> int:
        """Can be read when there are events."""
        return self._wakeup._inotify.fd

    def begin(self, hearing: Hearing) -> None:
        """Forgets all that has happened so far."""
        self.drain()
        self.hearing = hearing
        self._listeners = {}
        self._names = {False: set(), True: set()}

    def listen(self, reader: bool, on_event: OnEvent) -> None:
        """Has a reader told of each event, in the place of the one before it."""
        self._listeners[reader] = on_event

    def _tell(self, name: str, happening: Happening) -> None:
        if self.hearing is not Hearing.NEVER:
            for on_event in self._listeners.values():
                on_event(name, happening)

    def drain(self) -> None:
        """Takes the events that wait."""
        names = self._wakeup.touched()
        for reader, seen in self._names.items():
            self._names[reader] = None if names is None or seen is None else seen | names

    def touched(self, reader: bool) -> frozenset[str] | None:
        """See `wakeup.Wakeup`."""
        self.drain()
        told, self._names[reader] = self._names[reader], set()
        return None if told is None or self.hearing is Hearing.NEVER else frozenset(told)

    def close(self) -> None:
        """Lets go of the queue."""
        self._runner.run(self._wakeup.aclose())
        self._runner.close()
