"""A replica that is built only from the stream."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.oracle.contents import Contents, contents
from watcher import ChangeSet, apply, watch
from watcher.sqlite.options import HoldLimits


class Follower:
    """Watches a database and keeps a replica in memory; an async context manager.

    Args:
        path: the database.
        state: its state directory.
        poll: as for `watch`.
        hold: as for `watch`.
    """

    def __init__(
        self, path: Path, state: Path, *, poll: float | None = None, hold: HoldLimits | None = None
    ) -> None:
        self._stream = watch(path, state=state, snapshot=True, poll=poll, hold=hold)
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()
        self.replica = sqlite3.connect(":memory:", isolation_level=None)
        self.received: list[ChangeSet] = []

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stream.aclose()
        assert self._task is not None
        try:
            await self._task
        finally:
            self.replica.close()

    async def _follow(self) -> None:
        try:
            async for changeset in self._stream:
                apply(self.replica, changeset)
                self._check_order(changeset)
                self.received.append(changeset)
                self._moved.set()
        finally:
            self._moved.set()

    def _check_order(self, changeset: ChangeSet) -> None:
        before = [c.position for c in self.received if c.position is not None]
        if before and changeset.position is not None and changeset.reset is None:
            assert changeset.position.offset == before[-1].offset + 1, "offsets have a gap"

    async def until_equal(self, wanted: Contents, seconds: float = 8) -> None:
        """Waits until the replica equals what the file holds."""
        try:
            async with asyncio.timeout(seconds):
                while contents(self.replica) != wanted:
                    assert self._task is not None
                    if self._task.done():
                        self._task.result()
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            held = contents(self.replica)
            raise AssertionError(f"{difference(held, wanted)}; {self._stream.status}") from None


def difference(held: Contents, wanted: Contents) -> str:
    """Says where a replica differs from the file, shortly."""
    if held.keys() != wanted.keys():
        return f"tables: held {sorted(held)}, wanted {sorted(wanted)}"
    for name, (columns, rows) in wanted.items():
        held_columns, held_rows = held[name]
        if columns != held_columns:
            return f"columns of {name!r}: held {held_columns}, wanted {columns}"
        extra = [row for row in held_rows if row not in rows][:3]
        missing = [row for row in rows if row not in held_rows][:3]
        if held_rows != rows:
            return f"rows of {name!r}: held without reason {extra}, missing {missing}"
    return "no difference"
