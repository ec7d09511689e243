"""How benchmarks speak to `writer.py`."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.databases import value
from benchmarks.processes import Child


@dataclass(frozen=True, slots=True)
class Edits:
    """One-row commits that were made.

    Args:
        values: what the rows got, each value once.
        returned: when each COMMIT returned, in nanoseconds of the monotonic clock.
        seconds: for all of them.
        errors: how many failed.
    """

    values: list[str]
    returned: list[int]
    seconds: float
    errors: int


class WriterProcess(Child):
    """Another process that writes a database.

    Args:
        path: the database.
        rows: how many it has, to draw from.
        pragmas: for its connection.
        timeout: how long it waits for locks, in seconds.
    """

    def __init__(self, path: Path, rows: int, *pragmas: str, timeout: float = 10.0) -> None:
        options = json.dumps({"timeout": timeout, "pragmas": pragmas})
        super().__init__("writer", str(path), options)
        self._rows = rows
        self._edits = 0
        self._asked: list[str] = []

    def insert(self, rows: int) -> None:
        """Appends rows in one commit."""
        self.ask(do="insert", rows=rows, after=self._rows)
        self._rows += rows

    def update(self, rows: int) -> None:
        """Updates the first rows, so many, in one commit."""
        self.ask(do="update", rows=rows)

    def edit(self) -> None:
        """Updates one row, drawn at random."""
        self.edits(1)

    def edits(self, commits: int, *, pause: float = 0.0) -> Edits:
        """Updates one row in each commit, and waits until all are done.

        Args:
            commits: how many; each takes another row as long as there are enough.
            pause: the longest pause before a commit, in seconds.
        """
        self.begin_edits(commits, pause=pause)
        return self.end_edits()

    def begin_edits(self, commits: int, *, pause: float = 0.0, rate: float = 0.0) -> list[str]:
        """Begins edits without waiting; returns the values the rows get.

        Args:
            commits: as `edits` has it.
            pause: the longest pause before a commit, in seconds.
            rate: commits a second that are kept to on the whole; 0 for as many as there can be.
        """
        self._asked = [value(f"v{self._edits + n}") for n in range(commits)]
        self._edits += commits
        rows = self._draw(commits)
        self.send(do="edits", rows=rows, values=self._asked, pause=pause, rate=rate)
        return self._asked

    def end_edits(self) -> Edits:
        """Waits for the edits that were begun."""
        answer = self.receive()
        errors = sum(answer["errors"].values())
        return Edits(self._asked, answer["returned"], answer["seconds"], errors)

    def _draw(self, commits: int) -> Sequence[int]:
        # Each row once, so that no value is overwritten before it was seen.
        ids = range(1, self._rows + 1)
        return (
            random.sample(ids, commits) if commits <= self._rows else random.choices(ids, k=commits)
        )
