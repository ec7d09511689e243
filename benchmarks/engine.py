"""The engine in this very process, to measure its work without what carries the result away."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.processes import PATIENCE_SECONDS, own_processor_seconds
from watcher.history import HistoryWriter, Limits
from watcher.sqlite.capture import RawCapture
from watcher.sqlite.captured import NotQuiet
from watcher.sqlite.files import DatabaseFiles
from watcher.sqlite.reader import Reader


@dataclass(frozen=True, slots=True)
class Cost:
    """What a piece of work took.

    Args:
        wall: seconds on the clock.
        processor: seconds of processor time.
    """

    wall: float
    processor: float


class Engine:
    """Reader and history as the reader process has them; a context manager.

    No file event is missed by it, because nobody writes while it looks.

    Args:
        path: the database. This process must have no SQLite connection on it.
        state: an empty directory.
    """

    def __init__(self, path: Path, state: Path) -> None:
        self.history = HistoryWriter(state, Limits())
        self._reader = Reader(path, state, RawCapture(DatabaseFiles(path), frozenset), self.history)

    def first_copy(self) -> Cost:
        """Copies the database; until then it knows nothing."""
        return self.work()

    def work(self) -> Cost:
        """Looks until the history has grown; returns what all looks have cost.

        Raises:
            RuntimeError: it does not grow.
        """
        wall, processor = time.perf_counter(), own_processor_seconds()
        while not self.look():
            if time.perf_counter() - wall > PATIENCE_SECONDS:
                raise RuntimeError("the engine does not see the change")
        return Cost(time.perf_counter() - wall, own_processor_seconds() - processor)

    def look_in_vain(self) -> Cost:
        """Looks once where the file seems changed and is not; returns what it has cost.

        Raises:
            RuntimeError: there was a change.
        """
        wall, processor = time.perf_counter(), own_processor_seconds()
        if self._reader.step():
            raise RuntimeError("the engine sees a change that nobody has made")
        return Cost(time.perf_counter() - wall, own_processor_seconds() - processor)

    def catch_up(self) -> Cost:
        """Looks until there is nothing new; returns what all looks have cost."""
        wall, processor = time.perf_counter(), own_processor_seconds()
        while self.look():
            pass
        return Cost(time.perf_counter() - wall, own_processor_seconds() - processor)

    def look(self) -> bool:
        """Takes one look; whether the history has grown."""
        try:
            return self._reader.step()
        except NotQuiet:
            return False

    def close(self) -> None:
        """Lets go of everything."""
        self._reader.close()
        self.history.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
