"""The newest part of a history in memory, in front of the durable one."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path

from watcher import wire
from watcher.changes import Position, ResetReason
from watcher.history import Entry, Head, HistoryReader, sequence
from watcher.wire import Message

_RING_BYTES = 16 * 1024 * 1024
_RING_ENTRIES = 20_000
_LATELY = 8
BATCH_BYTES = 256 * 1024
"""Read at once for one subscriber; what takes longer would hold up the others."""


class Ring:
    """Reads each part from disk once, however many ask for it.

    A reader of the ring is a number, the place of the part it has read last. One that fell out of
    the ring reads from disk; one that fell off the end of the history is told so.

    Args:
        directory: the state directory.
        on_entry: told of each part that comes in.
    """

    def __init__(self, directory: Path, on_entry: Callable[[Entry], None] | None = None) -> None:
        self._on_entry = on_entry
        self._history = HistoryReader(directory)
        self._entries: deque[tuple[int, Entry, Message]] = deque()
        # What was read from disk last, by what was asked for.
        self._lately: OrderedDict[tuple[str, int, int], list[tuple[Entry, Message]]] = OrderedDict()
        self._bytes = 0
        # Parts up to here are older than the ring.
        self._base = 0
        self._end = 0
        self.head: Head = self._history.head()
        self._begin()

    def _begin(self) -> None:
        self._entries.clear()
        self._lately.clear()
        self._bytes = 0
        self._base = self._end = sequence(self.head.offset, None)

    def refresh(self) -> bool:
        """Takes in what the history has gained; True if it has changed at all."""
        before = (self.head.epoch, self._end)
        while True:
            epoch = self.head.epoch
            self.head, entries = self._history.read_on(epoch, self._end, BATCH_BYTES)
            if entries is None:
                # Another epoch, or so much at once that the limits took part of it away again.
                self._begin()
                break
            for entry in entries:
                self._append(entry)
            if not entries or self._end >= sequence(self.head.offset, None):
                break
        return (self.head.epoch, self._end) != before

    def _append(self, entry: Entry) -> None:
        self._entries.append((entry.seq, entry, wire.changes_message(entry.tail, entry.position)))
        if self._on_entry is not None:
            self._on_entry(entry)
        self._end = entry.seq
        self._bytes += len(entry.tail)
        while len(self._entries) > _RING_ENTRIES or self._bytes > _RING_BYTES:
            seq, oldest, _ = self._entries.popleft()
            self._base = seq
            self._bytes -= len(oldest.tail)
            if not self._entries:
                break

    def after(
        self, epoch: str, place: int, *, until: int | None = None, max_bytes: int = BATCH_BYTES
    ) -> list[tuple[Entry, Message]] | ResetReason:
        """Reads the parts after a place.

        Args:
            epoch: the epoch the place belongs to.
            place: number of the part read last.
            until: number of the last part wanted, None for all.
            max_bytes: stop when the parts reach this size.

        Returns:
            The parts, or why there is no way on from that place.
        """
        if epoch != self.head.epoch:
            replaced = epoch == self.head.previous and self.head.reason is ResetReason.REPLACED
            return ResetReason.REPLACED if replaced else ResetReason.UNKNOWN_EPOCH
        if place >= self._base:
            return self._from_memory(place, until, max_bytes)
        found = self._from_disk(epoch, place, max_bytes)
        if found is None:
            return ResetReason.POSITION_EXPIRED
        # The disk may hold more than the head that everybody else knows of.
        last = self._end if until is None else min(until, self._end)
        if not found or found[-1][0].seq <= last:
            return found
        return [(entry, message) for entry, message in found if entry.seq <= last]

    def _from_disk(
        self, epoch: str, place: int, max_bytes: int
    ) -> list[tuple[Entry, Message]] | None:
        # After a restart all come back at once, and most from the same place.
        key = (epoch, place, max_bytes)
        found = self._lately.get(key)
        if found is None:
            entries = self._history.read(epoch, place, max_bytes)
            if entries is None:
                return None
            found = [(entry, wire.changes_message(entry.tail, entry.position)) for entry in entries]
            if found:
                self._lately[key] = found
            if len(self._lately) > _LATELY:
                self._lately.popitem(last=False)
        return found

    def _from_memory(
        self, place: int, until: int | None, max_bytes: int
    ) -> list[tuple[Entry, Message]]:
        if place >= self._end:
            return []
        found: list[tuple[Entry, Message]] = []
        start = bisect_right(self._entries, place, key=lambda item: item[0])
        for index in range(start, len(self._entries)):
            seq, entry, message = self._entries[index]
            if (until is not None and seq > until) or max_bytes <= 0:
                break
            found.append((entry, message))
            max_bytes -= len(entry.tail)
        return found

    def locate(self, position: Position) -> int | ResetReason:
        """Finds the place of a position, or says why it cannot be had."""
        return self._history.locate(position)

    def large(self, sha256: str) -> tuple[str, bytes] | None:
        """Reads a value that is sent beside the stream."""
        return self._history.large(sha256)

    def close(self) -> None:
        """Closes the history; idempotent."""
        self._history.close()
