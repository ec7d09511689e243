"""All that the kept history says of one row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from watcher import wire
from watcher.changes import Position, ResetReason, Table
from watcher.errors import HubClosed, PastUnavailable, ReaderStopped
from watcher.history import Head, HistoryReader, sequence
from watcher.past.lineage import Lineage
from watcher.past.named_key import ROWID, Key, encoded, ordered
from watcher.past.reading import opened
from watcher.past.rewind import expired, schema_changes


class Version(NamedTuple):
    """A change of the row.

    Args:
        position: of its changeset.
        time: when it was seen, as in the stream.
        commits: how many commits are merged, None where unknown.
        change: the change.
    """

    position: str
    time: str
    commits: int | None
    change: RowVersion


class Versions(NamedTuple):
    """Changes of the row, newest first.

    Args:
        versions: the changes.
        next: position to go on before, None at the end.
        reaches: `birth` where the oldest is its insert, `history` where the history ends before,
            `limit` where there are more.
    """

    versions: list[Version]
    next: str | None
    reaches: str


class RowVersion(msgspec.Struct, gc=False):
    """A change as it stands in the stream; of schema changes only the first two."""

    op: str
    table: str
    key: msgspec.Raw = msgspec.Raw(b"null")
    changed: list[str] = []
    before: msgspec.Raw = msgspec.Raw(b"null")
    after: msgspec.Raw = msgspec.Raw(b"null")


class _Part(msgspec.Struct, gc=False):
    time: str
    commits: int | None
    changes: list[RowVersion]


# Beyond it a page has no further version.
_MOST_BYTES = 4 * 1024 * 1024
# Where the history loses its oldest parts while it is looked through.
_ATTEMPTS = 5
_decode_part = msgspec.json.Decoder(_Part).decode


class RowHistory:
    """The history of one row; blocks, and is used from one thread.

    Args:
        directory: the state directory.
        head: where the history stands.
        table: the table as it is.
        key: of the row.
        is_closed: whether to give up.
    """

    def __init__(
        self, directory: Path, head: Head, table: Table, key: Key, is_closed: Callable[[], bool]
    ) -> None:
        self._directory = directory
        self._head = head
        self._table = table
        self._values, self._is_rowid = ordered("key", key, table.key)
        self._is_closed = is_closed

    @property
    def key(self) -> bytes:
        """The key as it stands in the stream."""
        return self._key(self._table)

    def _key(self, table: Table) -> bytes:
        return encoded([ROWID] if self._is_rowid else table.key, self._values)

    def versions(self, before: Position | None, limit: int) -> Versions:
        """Reads changes, all of a changeset at once.

        Args:
            before: position of the changeset before which to go on, None for the newest.
            limit: stop where there are so many; fewer where they are large.

        Raises:
            PastUnavailable: `before` is not of this history.
            HubClosed: it was given up.
        """
        with opened(self._directory) as history:
            until = self._head.offset if before is None else self._before(before)
            lineage = self._lineage(history)
            found: list[Version] = []
            size = 0
            for versions in self._changesets(history, lineage, until):
                if len(found) >= limit or size > _MOST_BYTES:
                    return Versions(found, found[-1].position, "limit")
                found += versions
                size += sum(map(_size, versions))
        return Versions(found, None, "birth" if _is_born(found, lineage) else "history")

    def _before(self, before: Position) -> int:
        if before.epoch != self._head.epoch or before.offset > self._head.offset:
            raise expired(ResetReason.UNKNOWN_EPOCH)
        return before.offset - 1

    def _lineage(self, history: HistoryReader) -> Lineage:
        epoch, newest = self._head.epoch, self._head.offset
        for _ in range(_ATTEMPTS):
            floor = history.head().floor
            lineage = Lineage(self._table.name, self._table)
            try:
                changes = list(schema_changes(history, epoch, floor, newest, self._is_closed))
            except PastUnavailable:
                # The oldest has gone meanwhile.
                continue
            for offset, body in reversed(changes):
                lineage.step_back(offset, body)
            return lineage
        raise ReaderStopped("the history begins anew all the time")

    def _changesets(
        self, history: HistoryReader, lineage: Lineage, until: int
    ) -> Iterator[list[Version]]:
        """Yields the changes of each changeset that has some, newest first."""
        for low, high, table in reversed(lineage.stretches(0, until)):
            key = self._key(table)
            needle = b'"table":' + wire.encode_json(table.name) + b',"key":' + key + b","
            yield from self._in_stretch(history, low, high, needle, (table.name, key))

    def _in_stretch(
        self, history: HistoryReader, low: int, high: int, needle: bytes, what: tuple[str, bytes]
    ) -> Iterator[list[Version]]:
        held: list[Version] = []
        offset = -1
        for at, tail in self._parts(history, low, high, needle):
            if at != offset and held:
                yield held
                held = []
            offset = at
            held += self._versions_in(history, at, tail, what)
        if held:
            yield held

    def _parts(
        self, history: HistoryReader, low: int, high: int, needle: bytes
    ) -> Iterator[tuple[int, bytes]]:
        after, until = sequence(low, None), sequence(high, None)
        while after < until:
            if self._is_closed():
                raise HubClosed
            found = history.search(self._head.epoch, after, until, needle, newest_first=True)
            if found is None:
                raise expired(ResetReason.UNKNOWN_EPOCH)
            yield from found.parts
            after, until = found.after, found.until

    def _versions_in(
        self, history: HistoryReader, offset: int, tail: bytes, what: tuple[str, bytes]
    ) -> list[Version]:
        part = _decode_part(b"{" + tail)
        end = history.end_of(self._head.epoch, offset)
        if end is None:
            # It has gone between the two looks.
            return []
        return [
            Version(str(end.position), part.time, part.commits, _kept(change))
            for change in reversed(part.changes)
            if (change.table, bytes(change.key)) == what
        ]


def _kept(change: RowVersion) -> RowVersion:
    """A change by itself; as it was decoded it holds on to all of the part it stands in."""
    return msgspec.structs.replace(
        change, key=change.key.copy(), before=change.before.copy(), after=change.after.copy()
    )


def _size(version: Version) -> int:
    return len(bytes(version.change.before)) + len(bytes(version.change.after))


def _is_born(found: list[Version], lineage: Lineage) -> bool:
    """Whether the oldest version is the row's birth, and not one of all the table's rows anew."""
    if not found or found[-1].change.op != "insert":
        return False
    return Position.parse(found[-1].position).offset not in lineage.renewals
