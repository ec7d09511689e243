"""Following a database through a fault, raw and by polling."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.faults.watched import Watched
from tests.oracle.contents import integrity

# How a database is looked at: through raw descriptors, or through a connection at intervals.
POLLS = pytest.mark.parametrize("poll", [None, 0.02], ids=["raw", "poll"])

Steps = Callable[[Watched], Awaitable[None]]


def follow(path: Path, state: Path, steps: Steps, poll: float | None = None) -> None:
    """Follows a database through some steps, at the end of which the replica equals the file."""

    async def run() -> None:
        async with Watched(path, state, poll=poll) as watched:
            await watched.begun()
            await steps(watched)
            await watched.caught_up()

    asyncio.run(run())
    assert integrity(path) == "ok"
