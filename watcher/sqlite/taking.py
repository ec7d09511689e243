"""Takes file events in a thread, while the step that is under way cannot.

A rollback journal is there no longer than its commit takes, a millisecond perhaps. Whoever reads
the rows of many pages meanwhile comes too late to open it, and without it the whole database has
to be compared.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

# The rows of fewer pages are read before a journal is gone.
_MANY_PAGES = 4
_INTERVAL_SECONDS = 0.0003


class Taking:
    """Takes events while a block is being run.

    Args:
        take: takes those there are; called in another thread, while the block does nothing that
            has to do with events.
    """

    def __init__(self, take: Callable[[], None]) -> None:
        self._take = take
        self._executor = ThreadPoolExecutor(1, "events")

    @contextmanager
    def meanwhile(self, pages: int) -> Iterator[None]:
        """Takes events until the block is left.

        Args:
            pages: how many pages the block has to do with; few are not worth the trouble.
        """
        if pages < _MANY_PAGES:
            yield
            return
        done = threading.Event()
        future = self._submit(done)
        try:
            yield
        finally:
            done.set()
            if future is not None:
                future.result()

    def _submit(self, done: threading.Event) -> Future[None] | None:
        try:
            return self._executor.submit(self._take_until, done)
        except RuntimeError:
            # There are no more threads: it goes on without, and with another queue the next time.
            done.set()
            self._executor = ThreadPoolExecutor(1, "events")
            return None

    def _take_until(self, done: threading.Event) -> None:
        while not done.wait(_INTERVAL_SECONDS):
            self._take()

    def close(self) -> None:
        """Ends the thread; idempotent."""
        self._executor.shutdown()
