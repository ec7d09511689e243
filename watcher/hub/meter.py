"""Counts what the fan-out does, for whoever wants to see it work. No I/O."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from watcher import wire
from watcher.history import Entry

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0, 300.0)
"""Upper bounds of the delivery latencies that are told apart, in seconds."""


OTHER_TABLES = "(other tables)"
"""What all tables are counted as that come when there are too many."""

_MOST_LABELS = 3000


class Meter:
    """What has happened since the start."""

    def __init__(self) -> None:
        self.changesets = 0
        self.changes: Counter[tuple[str, str]] = Counter()
        """By table and operation."""
        self.resumes = 0
        self.resets: Counter[str] = Counter()
        """By reason."""
        self.connections: Counter[str] = Counter()
        """Clients connected now, by transport."""
        self.slow = 0
        """Clients that were closed because they made no room."""
        self.latencies = [0] * (len(BUCKETS) + 1)
        """Deliveries by the first of `BUCKETS` that is not smaller; the last are above all."""
        self.latency_sum = 0.0

    @contextmanager
    def connected(self, transport: str) -> Iterator[None]:
        """Counts a client as long as it is connected.

        Args:
            transport: `websocket`, `events`, `poll` or `snapshot`.
        """
        self.connections[transport] += 1
        try:
            yield
        finally:
            self.connections[transport] -= 1

    def took(self, entry: Entry) -> None:
        """Counts a part that has come into the history."""
        self.changesets += entry.last
        for (table, op), count in wire.count_changes(entry.tail).items():
            known = (table, op) in self.changes or len(self.changes) < _MOST_LABELS
            # A program may make and drop tables without end.
            self.changes[(table if known else OTHER_TABLES), op] += count

    def delivered(self, seen: float, clients: int = 1) -> None:
        """Counts messages that were written to sockets.

        Args:
            seen: when their commit was seen, in seconds since 1970.
            clients: how many sockets.
        """
        # The clock of the day is set back at times, and a latency is never negative.
        latency = max(0.0, time.time() - seen)
        self.latencies[bisect_left(BUCKETS, latency)] += clients
        self.latency_sum += latency * clients
