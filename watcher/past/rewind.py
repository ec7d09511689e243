"""One table as it was at any position of a stretch of history.

What a row was after a changeset is what the first later change of it says was before; a row that
no later change speaks of is what it is now. So the versions of the rows are read from the history,
from the position asked for up to the present, and laid over the rows there are. What was read
serves all positions in the stretch; an earlier one, and whatever comes, are read in addition.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from watcher import wire
from watcher.changes import LargeValue, Position, ResetReason, Table, Value
from watcher.errors import HubClosed, PastUnavailable
from watcher.history import Head, HistoryReader, sequence
from watcher.past.lineage import Lineage
from watcher.past.named_key import ROWID
from watcher.past.reel import Line, Place, Reel, Was

# Versions are taken in by so many. Few, so that they are gone before Python's collector counts
# them as old; it would stop all threads to look at everything there is.
_BATCH = 50
_MOST_KNOWN = 10_000
# Beyond it a page has no further row.
_PAGE_BYTES = 1024 * 1024
# So begins the list of changes of every part with schema changes, and nothing else in it.
_SCHEMA = b'"changes":[{"op":"schema",'


class Outdated(Exception):
    """The table has changed its definition since the rewind was begun: begin another."""


class Former(NamedTuple):
    """A row as it was.

    Args:
        key: its key.
        row: its columns.
        place: where it stands, to go on behind it.
    """

    key: msgspec.Raw
    row: msgspec.Raw
    place: Place


class _Change(msgspec.Struct, gc=False):
    """What is asked of a row change; schema changes have only the first two."""

    op: str
    table: str
    key: msgspec.Raw = msgspec.Raw(b"null")
    before: msgspec.Raw = msgspec.Raw(b"null")


class _Insert(msgspec.Struct, gc=False):
    """A row there is now."""

    key: msgspec.Raw
    after: msgspec.Raw


class _Changes(msgspec.Struct, gc=False):
    changes: list[_Change]


_NULL = b"null"
_decode_changes = msgspec.json.Decoder(_Changes).decode
_decode_inserts = msgspec.json.Decoder(list[_Insert]).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Rewind:
    """The versions of one table's rows; its methods block, and are called from any thread.

    Args:
        directory: the state directory.
        name: the table's name.
        head: where the history stands.
        reel: takes the versions.
        is_closed: whether to give up.
    """

    def __init__(
        self, directory: Path, name: str, head: Head, reel: Reel, is_closed: Callable[[], bool]
    ) -> None:
        self._directory = directory
        self._epoch = head.epoch
        self._lineage = Lineage(name, next(t for t in head.tables if t.name == name))
        self._key_columns = self._lineage.newest.key
        self._reel = reel
        self._is_closed = is_closed
        # The changesets read: after the one, up to the other.
        self._low = self._high = head.offset
        # Of positions that were found to be of this history: their hashes.
        self._known = {head.offset: head.position.hash}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Lets everything go; idempotent."""
        with self._lock:
            self._reel.close()

    @property
    def defined(self) -> int:
        """Offset of the changeset that last changed the definition, as far as is known."""
        steps = self._lineage.steps
        return steps[0].offset if steps else self._lineage.end or 0

    def table(self, offset: int) -> Table:
        """The table after a changeset.

        Raises:
            PastUnavailable: there was no such table, or it is not the one that is there now.
        """
        return self._lineage.at(offset)

    @property
    def present(self) -> Table:
        """The table as it is."""
        return self._lineage.newest

    def fits(self, place: Place) -> bool:
        """Whether a place can be one of this table's."""
        return self._reel.fits(place)

    def cover(self, position: Position, head: Head) -> None:
        """Reads what is missing between a position and the present.

        Args:
            position: the earliest that will be asked for.
            head: where the history stands.

        Raises:
            Outdated: the table's definition has changed, or the epoch has ended.
            PastUnavailable: the history does not reach so far.
            HubClosed: it was given up.
        """
        with self._lock, closing(HistoryReader(self._directory)) as history:
            if head.epoch != self._epoch:
                raise Outdated
            self._follow(history, head.offset)
            self._require(history, position)
            if position.offset < self._low:
                self._reach(history, position.offset)

    def _follow(self, history: HistoryReader, offset: int) -> None:
        if offset <= self._high:
            return
        try:
            for _, body in self._schema_changes(history, self._high, offset):
                if self._lineage.concerns(body):
                    raise Outdated
            self._take(history, self._lineage, self._high, offset)
        except PastUnavailable as error:
            # It was not asked for so long that the history has lost what came meanwhile.
            raise Outdated from error
        self._high = offset

    def _require(self, history: HistoryReader, position: Position) -> None:
        is_of_epoch = position.epoch == self._epoch
        if is_of_epoch and self._known.get(position.offset) == position.hash:
            return
        found = history.locate(position)
        if isinstance(found, ResetReason):
            raise expired(found)
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        self._known[position.offset] = position.hash

    def _reach(self, history: HistoryReader, offset: int) -> None:
        lineage = self._lineage.copy()
        for at, body in reversed(list(self._schema_changes(history, offset, self._low))):
            lineage.step_back(at, body)
        self._take(history, lineage, offset, self._low)
        # Only now: what was given up in between is read again.
        self._lineage, self._low = lineage, offset

    def _schema_changes(
        self, history: HistoryReader, after: int, until: int
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        return schema_changes(history, self._epoch, after, until, self._is_closed)

    def _take(self, history: HistoryReader, lineage: Lineage, after: int, until: int) -> None:
        for low, high, table in lineage.stretches(after, until):
            needle = b'"table":' + wire.encode_json(table.name) + b',"key":'
            found = parts(history, self._epoch, low, high, needle, self._is_closed)
            versions = (
                version
                for offset, tail in found
                for version in self._versions(history, table, offset, tail)
            )
            while batch := list(islice(versions, _BATCH)):
                self._reel.add(batch)

    def _versions(
        self, history: HistoryReader, table: Table, offset: int, tail: bytes
    ) -> Iterator[Was]:
        for change in _decode_changes(b"{" + tail).changes:
            if change.table == table.name and change.op != "schema":
                row = bytes(change.before)
                key, place = self._known_identity(history, table, bytes(change.key))
                yield Was(offset, key, place, None if row == _NULL else row)

    def _known_identity(
        self, history: HistoryReader, table: Table, key: bytes
    ) -> tuple[bytes, Place | None]:
        if table.key == self._key_columns and self._reel.knows(key):
            return key, None
        return self._identity(history, table, key)

    def _identity(self, history: HistoryReader, table: Table, key: bytes) -> tuple[bytes, Place]:
        """The bytes that name a row whatever its columns were called, and its place."""
        fields = wire.decode_json(key)
        values = [_full(history, wire.decode_value(value)) for value in fields.values()]
        is_rowid = ROWID in fields and ROWID not in table.key
        newest = self._key_columns
        if not is_rowid and table.key != newest:
            key = wire.encode_json(dict(zip(newest, fields.values(), strict=True)))
        return key, [1 if is_rowid and newest else 0, *values]

    def rows(
        self, offset: int, present: bytes, after: Place | None, end: Place | None, limit: int
    ) -> tuple[list[Former], Place | None]:
        """Rows as they were, in the order of their keys.

        Args:
            offset: of the changeset after which they were so; `cover` has reached it.
            present: all rows there are now in the stretch asked for, as inserts.
            after: as for `Reel.merged`.
            end: place of the last row of the stretch, None for the end of the table.
            limit: at most so many.

        Returns:
            The rows, and the place behind which there may be more, None where there are none.

        Raises:
            PastUnavailable: a column there was is gone.
        """
        found: list[Former] = []
        with self._lock, closing(HistoryReader(self._directory)) as history:
            was = self.table(offset)
            now = (
                (*self._identity(history, self.present, bytes(insert.key)), bytes(insert.after))
                for insert in _decode_inserts(b"[" + present + b"]")
            )
            size = 0
            # One more, which tells whether there are more.
            for line in self._reel.merged(offset, now, after, end, limit + 1):
                if len(found) == limit or size > _PAGE_BYTES:
                    return found, found[-1].place
                found.append(self._former(history, was, offset, line))
                size += len(line.row)
        return found, end

    def _former(self, history: HistoryReader, was: Table, offset: int, line: Line) -> Former:
        held = self._high if line.offset is None else line.offset
        row = _renamed(line.row, self._lineage.names(held, offset), was.columns)
        place = self._identity(history, self.present, line.key)[1]
        return Former(self._key(was, line.key), msgspec.Raw(row), place)

    def _key(self, was: Table, key: bytes) -> msgspec.Raw:
        newest = self._key_columns
        if was.key == newest:
            return msgspec.Raw(key)
        fields = _decode_fields(key)
        if ROWID in fields and ROWID not in newest:
            return msgspec.Raw(key)
        return msgspec.Raw(wire.encode_json(dict(zip(was.key, fields.values(), strict=True))))


def parts(
    history: HistoryReader,
    epoch: str,
    after: int,
    until: int,
    needle: bytes,
    is_closed: Callable[[], bool],
) -> Iterator[tuple[int, bytes]]:
    """Yields offset and tail of the parts that contain some bytes, oldest first.

    It reads in steps, between which others may write.

    Args:
        history: where they are.
        epoch: the epoch they are expected in.
        after: offset of the changeset before the first.
        until: offset of the last changeset.
        needle: what they contain.
        is_closed: whether to give up.

    Raises:
        PastUnavailable: some of them are gone.
        HubClosed: it was given up.
    """
    place, end = sequence(after, None), sequence(until, None)
    while place < end:
        if is_closed():
            raise HubClosed
        found = history.search(epoch, place, end, needle)
        if found is None:
            raise expired(ResetReason.POSITION_EXPIRED)
        yield from found.parts
        place = found.after


def schema_changes(
    history: HistoryReader, epoch: str, after: int, until: int, is_closed: Callable[[], bool]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the schema changes of a stretch: offset and JSON object; as for `parts`."""
    for offset, tail in parts(history, epoch, after, until, _SCHEMA, is_closed):
        for element in wire.decode_elements(wire.split_tail(tail)[1]):
            if isinstance(element, wire.SchemaElement):
                yield offset, element.body


def _renamed(row: bytes, names: dict[str, str] | None, columns: Sequence[str]) -> bytes:
    if names is None:
        return row
    fields = {names[name]: value for name, value in _decode_fields(row).items() if name in names}
    return wire.encode_json({name: fields[name] for name in columns})


def _full(history: HistoryReader, value: Value) -> Value:
    if not isinstance(value, LargeValue):
        return value
    found = history.large(value.sha256)
    if found is None:
        raise PastUnavailable("changed", "A large value of a key is not kept any more.")
    return wire.large_content(*found)


def expired(reason: ResetReason) -> PastUnavailable:
    """Says why a position cannot be gone back to."""
    return PastUnavailable("expired", _EXPIRED.get(reason, _EXPIRED[ResetReason.UNKNOWN_EPOCH]))


_EXPIRED = {
    ResetReason.POSITION_EXPIRED: "The history does not reach back to this position any more.",
    ResetReason.UNKNOWN_EPOCH: "This position is not of the history that is kept.",
    ResetReason.REPLACED: "The file has been replaced since this position.",
}
