"""What there is of the history: how far it reaches, and changesets spread over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from watcher import wire
from watcher.changes import Position, ResetReason
from watcher.errors import HubClosed, ReaderStopped
from watcher.history import HistoryReader, Mark, sequence
from watcher.past.reading import opened
from watcher.past.rewind import expired

MOST = 500
"""Marks that are given at once."""

# Changesets that are looked through before others may write and it may be given up.
_STEP = 256


class Counted(NamedTuple):
    """A mark and how many changes its changeset has.

    Args:
        mark: position and time.
        changes: their number.
    """

    mark: Mark
    changes: int


class Stretch(NamedTuple):
    """A stretch of the history.

    Args:
        changesets: their number.
        oldest: the position before the first of them.
        began: when the first of them was seen, None where there is none.
        newest: the position after the last, and its time.
        marks: some of them, oldest first.
    """

    changesets: int
    oldest: Position
    began: float | None
    newest: Position
    ended: float | None
    marks: list[Counted]


def stretch(
    directory: Path,
    begin: Position | None,
    end: Position | None,
    marks: int,
    table: str | None,
    is_closed: Callable[[], bool],
) -> Stretch:
    """Looks at a stretch of the history; blocks, and may be called from any thread.

    Args:
        directory: the state directory.
        begin: the position before it, None for the oldest there is.
        end: the position after it, None for the present.
        marks: so many at most, 1 to 500.
        table: only changesets that touch a table of this name, None for all.
        is_closed: whether to give up.

    Raises:
        HubClosed: it was given up.
        PastUnavailable: a position is not in the history.
        ReaderStopped: there is no history yet, or another one has just begun.
    """
    with opened(directory) as history:
        head, (floor, _) = history.head(), history.floor()
        if not head.epoch or floor.epoch != head.epoch:
            raise ReaderStopped("it is starting")
        for position in (begin, end):
            if position is not None:
                found = history.locate(position)
                if isinstance(found, ResetReason):
                    raise expired(found)
        oldest, newest = begin or floor, end or head.position
        offsets: Sequence[int] = range(oldest.offset + 1, newest.offset + 1)
        first = history.end_of(head.epoch, oldest.offset + 1) if offsets else None
        last = history.end_of(head.epoch, newest.offset)
        if table is not None:
            offsets = _touching(history, oldest, newest, table, is_closed)
        chosen = [
            _counted(history, head.epoch, offset, is_closed) for offset in _spread(offsets, marks)
        ]
    return Stretch(
        changesets=len(offsets),
        oldest=oldest,
        began=None if first is None else first.time,
        newest=newest,
        ended=None if last is None else last.time,
        marks=[counted for counted in chosen if counted is not None],
    )


def _spread(offsets: Sequence[int], most: int) -> Sequence[int]:
    """At most so many of them, evenly, the last always among them."""
    count = len(offsets)
    if count <= most:
        return offsets
    return [offsets[(number + 1) * count // most - 1] for number in range(most)]


def _touching(
    history: HistoryReader,
    oldest: Position,
    newest: Position,
    table: str,
    is_closed: Callable[[], bool],
) -> list[int]:
    needle = b'"table":' + wire.encode_json(table) + b","
    offsets: list[int] = []
    for first in range(oldest.offset, newest.offset, _STEP):
        _require_open(is_closed)
        last = min(first + _STEP, newest.offset)
        place, end = sequence(first, None), sequence(last, None)
        found = history.touching(newest.epoch, place, end, needle)
        if found is None:
            raise expired(ResetReason.UNKNOWN_EPOCH)
        offsets += found
    return offsets


def _require_open(is_closed: Callable[[], bool]) -> None:
    if is_closed():
        raise HubClosed


def _counted(
    history: HistoryReader, epoch: str, offset: int, is_closed: Callable[[], bool]
) -> Counted | None:
    mark = history.end_of(epoch, offset)
    if mark is None:
        # It has just gone.
        return None
    return Counted(mark, _changes(history, epoch, offset, is_closed))


def _changes(history: HistoryReader, epoch: str, offset: int, is_closed: Callable[[], bool]) -> int:
    place, end, count = sequence(offset - 1, None), sequence(offset, None), 0
    while place < end:
        _require_open(is_closed)
        found = history.search(epoch, place, end, b"")
        if found is None:
            return count
        count += sum(wire.count_changes(tail).total() for _, tail in found.parts)
        place = found.after
    return count
