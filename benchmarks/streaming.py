"""How benchmarks speak to `stream_main.py`."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import Child

_STOP_SECONDS = 10.0


class Arrival(NamedTuple):
    """A changeset that came.

    Args:
        at: nanoseconds of the monotonic clock.
        commits: how many commits it merges, None where unknown.
        values: of the rows after the change.
    """

    at: int
    commits: int | None
    values: list[str]


class StreamProcess(Child):
    """Another process that watches a database with `watch()`.

    Args:
        path: the database.
        state: an empty directory.
    """

    def __init__(self, path: Path, state: Path) -> None:
        super().__init__("stream_main", str(path), str(state))
        if self.receive() != "ready":
            raise RuntimeError("the stream did not begin")

    def arrivals(self, changes: int, seconds: float) -> list[Arrival]:
        """Gives the changesets since the last call.

        Args:
            changes: wait until they hold so many changes.
            seconds: but no longer than this.
        """
        return [Arrival(*found) for found in self.ask(changes=changes, seconds=seconds)]

    def close(self) -> None:
        """Lets it end by itself, so that its reader ends with it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        super().close()
