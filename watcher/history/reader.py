"""The reading side of the history: any number, in other processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from watcher.changes import Position, ResetReason
from watcher.history.head import (
    FILE_NAME,
    PART_BITS,
    PART_MASK,
    Entry,
    Head,
    read_head,
    sequence,
    short_hash,
)

# What one step of a search looks at, and what it gives at most.
_STEP_CHANGESETS = 4096
_STEP_BYTES = 64 * 1024
_SEARCH = "SELECT seq, tail FROM history WHERE seq>? AND seq<=? AND instr(tail, ?)"


@dataclass(frozen=True, slots=True)
class Size:
    """How much history is kept.

    Args:
        changesets: their number.
        bytes: of the encoded changes, and of the values beside them.
        oldest: when the oldest was seen, in seconds since 1970; None where there is none.
    """

    changesets: int
    bytes: int
    oldest: float | None


class Found(NamedTuple):
    """What a step of a search gave.

    Args:
        parts: of each part found the offset of its changeset and its tail, in the order asked for.
        after: the parts still to be searched are those behind this place,
        until: up to this one; the same where none are.
    """

    parts: list[tuple[int, bytes]]
    after: int
    until: int


class Mark(NamedTuple):
    """The end of a changeset.

    Args:
        position: where the stream stands after it.
        time: when it was seen, in seconds since 1970.
    """

    position: Position
    time: float


class HistoryReader:
    """The reading side; each call sees one consistent state and holds no transaction after it.

    Args:
        directory: the state directory.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / FILE_NAME
        # Read-write, because reading a WAL database needs its -shm; query_only forbids the rest.
        self._db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        self._db.set_busy_timeout(5000)
        self._db.execute("PRAGMA query_only=ON").fetchall()

    @contextmanager
    def _snapshot(self) -> Iterator[apsw.Connection]:
        self._db.execute("BEGIN")
        try:
            yield self._db
        finally:
            self._db.execute("ROLLBACK")

    def head(self) -> Head:
        """Reads where the history stands."""
        with self._snapshot() as db:
            return read_head(db)

    def read_on(self, epoch: str, after: int, max_bytes: int) -> tuple[Head, list[Entry] | None]:
        """Reads where the history stands and, as of the same moment, the parts that follow.

        Args:
            epoch: as for `read`.
            after: as for `read`.
            max_bytes: as for `read`.

        Returns:
            Both, the parts as `read` gives them.
        """
        with self._snapshot() as db:
            head = read_head(db)
            if head.epoch != epoch or after < sequence(head.floor, None):
                return head, None
            return head, _parts_after(db, epoch, after, max_bytes)

    def read(self, epoch: str, after: int, max_bytes: int) -> list[Entry] | None:
        """Reads the parts that follow.

        Args:
            epoch: the epoch they are expected in.
            after: sequence number of the part before them.
            max_bytes: stop when the parts read so far reach this size.

        Returns:
            The parts in order, or None where the epoch has ended or parts in between are gone.
        """
        with self._snapshot() as db:
            if _meta(db, "epoch") != epoch or after < sequence(_meta(db, "floor"), None):
                return None
            return _parts_after(db, epoch, after, max_bytes)

    def locate(self, position: Position) -> int | ResetReason:
        """Finds the place of a position, to `read` on from there, or says why it cannot be had."""
        with self._snapshot() as db:
            return _locate(db, read_head(db), position)

    def search(
        self, epoch: str, after: int, until: int, needle: bytes, *, newest_first: bool = False
    ) -> Found | None:
        """Takes one step of a search for parts that contain some bytes.

        Args:
            epoch: the epoch they are expected in.
            after: sequence number of the part before them.
            until: sequence number of the last one.
            needle: what a part must contain.
            newest_first: whether to begin at the end. Then parts that are gone are none.

        Returns:
            The parts, or None where the epoch has ended, or parts of the stretch are gone.
        """
        with self._snapshot() as db:
            floor = sequence(_meta(db, "floor"), None)
            if _meta(db, "epoch") != epoch or (after < floor and not newest_first):
                return None
            if newest_first:
                return _search_back(db, max(after, floor), until, needle)
            return _search_on(db, after, until, needle)

    def touching(self, epoch: str, after: int, until: int, needle: bytes) -> list[int] | None:
        """Finds the changesets with parts that contain some bytes, all at once.

        Parts that are gone are none.

        Args:
            epoch: as for `search`.
            after: as for `search`.
            until: as for `search`.
            needle: as for `search`.

        Returns:
            Their offsets in order, or None where the epoch has ended.
        """
        with self._snapshot() as db:
            if _meta(db, "epoch") != epoch:
                return None
            rows = db.execute(
                f"SELECT DISTINCT seq >> {PART_BITS} FROM history"  # noqa: S608 - a number
                " WHERE seq>? AND seq<=? AND instr(tail, ?) ORDER BY seq",
                (after, until, needle),
            )
            return [offset for (offset,) in rows]

    def floor(self) -> tuple[Position, float | None]:
        """The position before the first changeset that is kept, and when this was seen."""
        with self._snapshot() as db:
            head = read_head(db)
            chain = _meta(db, "floor_chain") or b""
            time = db.execute("SELECT time FROM history ORDER BY seq LIMIT 1").get
        return Position(head.epoch, head.floor, short_hash(chain)), time

    def end_of(self, epoch: str, offset: int) -> Mark | None:
        """Finds the end of a changeset.

        Args:
            epoch: the epoch it is expected in.
            offset: its offset.

        Returns:
            Its position and time, None where it is not kept.
        """
        with self._snapshot() as db:
            row = db.execute(
                "SELECT chain, time FROM history WHERE seq BETWEEN ? AND ?"
                " ORDER BY seq DESC LIMIT 1",
                (sequence(offset, 0), sequence(offset, None)),
            ).get
            if row is None or _meta(db, "epoch") != epoch:
                return None
        return Mark(Position(epoch, offset, short_hash(row[0])), row[1])

    def large(self, sha256: str) -> tuple[str, bytes] | None:
        """Reads a value that is sent beside the stream: its type and bytes, None if not kept."""
        with self._snapshot() as db:
            row = db.execute("SELECT type, data FROM large WHERE sha256=?", (sha256,)).get
        return None if row is None else (row[0], row[1])

    def size(self) -> Size:
        """Tells how much is kept; looks at every part, without reading it."""
        with self._snapshot() as db:
            head = read_head(db)
            size = db.execute(
                "SELECT (SELECT total(length(tail)) FROM history)"
                " + (SELECT total(length(data)) FROM large)"
            ).get
            oldest = db.execute("SELECT time FROM history ORDER BY seq LIMIT 1").get
        return Size(head.offset - head.floor, int(size), oldest)

    def close(self) -> None:
        """Closes the file; idempotent."""
        self._db.close()


def _meta(db: apsw.Connection, name: str) -> Any:
    return db.execute("SELECT value FROM meta WHERE name=?", (name,)).get


def _parts_after(db: apsw.Connection, epoch: str, after: int, max_bytes: int) -> list[Entry]:
    rows = db.execute(
        "SELECT seq, last, chain, tail, time FROM history WHERE seq>? ORDER BY seq", (after,)
    )
    return list(_entries(epoch, rows, max_bytes))


def _entries(epoch: str, rows: Iterator[Any], max_bytes: int) -> Iterator[Entry]:
    for seq, last, chain, tail, time in rows:
        part = None if last else seq & PART_MASK
        position = Position(epoch, seq >> PART_BITS, short_hash(chain), part)
        # Who has the last part is at the end of the changeset.
        yield Entry(seq | PART_MASK if last else seq, position, tail, bool(last), time)
        max_bytes -= len(tail)
        if max_bytes <= 0:
            return


def _search_on(db: apsw.Connection, after: int, until: int, needle: bytes) -> Found:
    end = min(until, after + (_STEP_CHANGESETS << PART_BITS))
    rows = db.execute(_SEARCH + " ORDER BY seq", (after, end, needle))
    found, last = _some(rows)
    return Found(found, end if last is None else last, until)


def _search_back(db: apsw.Connection, after: int, until: int, needle: bytes) -> Found:
    begin = max(after, until - (_STEP_CHANGESETS << PART_BITS))
    rows = db.execute(_SEARCH + " ORDER BY seq DESC", (begin, until, needle))
    found, last = _some(rows)
    return Found(found, after, max(after, begin if last is None else last - 1))


def _some(rows: Iterator[Any]) -> tuple[list[tuple[int, bytes]], int | None]:
    """As many parts as a step gives, and the place of the last one where there may be more."""
    found: list[tuple[int, bytes]] = []
    size = 0
    for seq, tail in rows:
        found.append((seq >> PART_BITS, tail))
        size += len(tail)
        if size >= _STEP_BYTES:
            return found, seq
    return found, None


def _locate(db: apsw.Connection, head: Head, position: Position) -> int | ResetReason:
    if position.epoch != head.epoch:
        replaced = position.epoch == head.previous and head.reason is ResetReason.REPLACED
        return ResetReason.REPLACED if replaced else ResetReason.UNKNOWN_EPOCH
    if position.offset > head.offset:
        return ResetReason.UNKNOWN_EPOCH
    if position.offset <= head.floor:
        return _locate_floor(db, head, position)
    wanted = sequence(position.offset, position.part)
    row = db.execute(
        "SELECT seq, last, chain FROM history WHERE seq<=? ORDER BY seq DESC LIMIT 1", (wanted,)
    ).get
    fits = row is not None and row[0] >> PART_BITS == position.offset
    if position.part is None:
        fits = fits and bool(row[1])
    else:
        fits = fits and row[0] == wanted
    if not fits or short_hash(row[2]) != position.hash:
        return ResetReason.UNKNOWN_EPOCH
    return int(row[0]) if position.part is not None else sequence(position.offset, None)


def _locate_floor(db: apsw.Connection, head: Head, position: Position) -> int | ResetReason:
    if position.offset < head.floor or position.part is not None:
        return ResetReason.POSITION_EXPIRED
    if short_hash(_meta(db, "floor_chain")) != position.hash:
        return ResetReason.UNKNOWN_EPOCH
    return sequence(head.floor, None)
