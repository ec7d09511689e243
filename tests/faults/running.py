"""A reader process that is started as the supervisor does it, with anything put before it."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from tests.faults.watched import PATIENCE
from tests.served import environment
from watcher.history import HistoryReader
from watcher.sqlite.channel import Channel, Fatal, Status, open_channel
from watcher.sqlite.options import Options


class Running:
    """One reader process and what it says; an async context manager.

    Args:
        path: the database.
        state: its state directory.
        before: what to put before the command.
    """

    def __init__(self, path: Path, state: Path, before: Sequence[str] = ()) -> None:
        self._options = Options(os.fsencode(path), os.fsencode(state), None, 1e6, 100_000, 1 << 30)
        self._state = state
        self._before = before
        self._channel: Channel | None = None
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()
        self.process: asyncio.subprocess.Process | None = None
        self.statuses: list[Status] = []
        self.fatal: str | None = None
        self.code: int | None = None

    async def __aenter__(self) -> Self:
        ours, theirs = socket.socketpair()
        command = [*self._before, sys.executable, "-P", "-m", "watcher.sqlite.process"]
        command += [str(theirs.fileno()), msgspec.json.encode(self._options).decode()]
        with theirs:
            self.process = await asyncio.create_subprocess_exec(
                *command, pass_fds=(theirs.fileno(),), env=environment()
            )
        self._channel = await open_channel(ours)
        self._task = asyncio.create_task(self._listen(self._channel))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self.process is not None
        assert self._channel is not None
        assert self._task is not None
        await self._channel.aclose()
        self.code = await self.process.wait()
        await self._task

    async def _listen(self, channel: Channel) -> None:
        async for message in channel.from_reader():
            if isinstance(message, Status):
                self.statuses.append(message)
            elif isinstance(message, Fatal):
                self.fatal = message.detail
            self._moved.set()
        self._moved.set()

    async def until(self, *states: str) -> Status:
        """Waits until what it said last is one of these states."""
        await self._until(lambda: bool(self.statuses) and self.statuses[-1].state in states)
        return self.statuses[-1]

    async def until_ok_or_end(self) -> None:
        """Waits until it says that all is well, or that it cannot work."""
        await self._until(
            lambda: self.fatal is not None or [s.state for s in self.statuses[-1:]] == ["ok"]
        )

    async def until_ok_or_dead(self) -> None:
        """Waits until it says that all is well, or is gone without a word."""
        assert self._task is not None
        task = self._task
        await self._until(lambda: task.done() or [s.state for s in self.statuses[-1:]] == ["ok"])

    async def until_said(self, state: str) -> None:
        """Waits until it has said once that the file is in a state."""
        await self._until(lambda: any(status.state == state for status in self.statuses))

    async def until_changesets(self, count: int, *, seconds: float = PATIENCE) -> None:
        """Waits until the history has so many changesets."""
        history = HistoryReader(self._state)
        try:
            await self._until(lambda: history.head().offset >= count, seconds)
        finally:
            history.close()

    async def _until(self, condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self._moved.clear()
                await self._moved.wait()
                assert self._task is not None
                if self._task.done() and not condition():
                    raise AssertionError(f"the reader has ended; it said {self.statuses}")
