"""A client of the library that comes now and then, and goes on from where it was."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.faults.watched import PATIENCE
from tests.oracle.contents import contents, contents_of_file
from watcher import ChangeSet, ResetReason, apply, watch


class Visitor:
    """Keeps a replica between its visits; a context manager.

    Args:
        path: the database.
        state: its state directory.
    """

    def __init__(self, path: Path, state: Path) -> None:
        self.path = path
        self.state = state
        self.replica = sqlite3.connect(":memory:", isolation_level=None)
        self._since: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.replica.close()

    def visit(self) -> list[ChangeSet]:
        """Watches until the replica equals the file; returns what came."""
        return asyncio.run(self._visit())

    async def _visit(self) -> list[ChangeSet]:
        received: list[ChangeSet] = []
        wanted = contents_of_file(self.path)
        stream = watch(self.path, state=self.state, since=self._since, snapshot=True)
        async with asyncio.timeout(PATIENCE), stream:
            while self._since is None or contents(self.replica) != wanted:
                changeset = await anext(stream)
                apply(self.replica, changeset)
                received.append(changeset)
                if changeset.position is not None:
                    self._since = str(changeset.position)
                elif changeset.reset is not None:
                    self._since = None
        return received


def resets(received: list[ChangeSet]) -> list[ResetReason]:
    """Why what was held before became void, each time it did."""
    return [changeset.reset for changeset in received if changeset.reset is not None]
