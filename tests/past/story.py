"""A database, what is done to it, and what it held after each commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.core.listener import opened
from tests.faults.program import Program
from tests.past.oracle import Held, held, position_when, told
from watcher.errors import PastUnavailable
from watcher.hub import Hub
from watcher.past.tables import Past

CLOCK = "CREATE TABLE clock(id INTEGER PRIMARY KEY, n); INSERT INTO clock VALUES (1, 0);"


class Story:
    """A database, what is done to it, and what was.

    Args:
        hub: watches it.
        program: writes to it.
        path: where it is.
    """

    def __init__(self, hub: Hub, program: Program, path: Path) -> None:
        self.hub = hub
        self.past = Past(hub)
        self._program = program
        self._path = path
        self.moments: list[tuple[str, dict[str, Held]]] = []

    async def after(self, *statements: str) -> str:
        """Runs statements as one commit; the position after it."""
        self._program.run("BEGIN", *statements, f"UPDATE clock SET n={len(self.moments)}", "COMMIT")
        position = await position_when(self.hub, len(self.moments))
        self.moments.append((position, held(self._path)))
        return position

    async def compare(self, table: str, limit: int = 2) -> None:
        """Requires a table to be told as it was at all moments."""
        for position, tables in reversed(self.moments):
            was = tables[table]
            assert await told(self.past, table, position, limit) == (was.columns, was.rows)

    async def why_not(self, table: str, position: str) -> str:
        """The reason for which a table is not told."""
        with pytest.raises(PastUnavailable) as caught:
            await self.past.page(table, position)
        assert str(caught.value).endswith(".")
        return caught.value.reason


@asynccontextmanager
async def story(path: Path, **options: Any) -> AsyncIterator[Story]:
    async with opened(path, **options) as hub:
        with Program(path) as program:
            told_of = Story(hub, program, path)
            await told_of.after()
            yield told_of


def play(path: Path, tell: Callable[[Story], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        async with story(path, **options) as told_of:
            await tell(told_of)

    asyncio.run(run())
