"""What an order is made of: rows read from the reader, and what becomes of them in the stream."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from watcher import wire
from watcher.changes import LargeValue, Position, Value
from watcher.history import Entry
from watcher.hub import Filter, Hub, ViewVoid
from watcher.sqlite.channel import Columns, Declared
from watcher.sqlite.condition import Condition
from watcher.sqlite.places import unpack
from watcher.sqlite.slices import MAX_VALUE_BYTES
from watcher.view.cursor import Cursor, Void
from watcher.view.index import Index, TooLarge
from watcher.view.places import Place, Places
from watcher.wire import RowChange, SchemaElement

_MOST_NOTED = 10_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which order is wanted.

    Args:
        table: the table's name.
        column: the column to order by, ties by key; None for the key.
        where: a SQL expression that is true for the rows wanted, None for all.
    """

    table: str
    column: str | None = None
    where: str | None = None


Known = dict[Place, tuple[msgspec.Raw, msgspec.Raw] | None]
"""Key and row by its place, None where there is none."""


class Order:
    """An order as far as it is built: the index, and how far it has followed the stream.

    Args:
        hub: the watched database.
        wanted: which order.
        declared: what is declared of the table, and of which state.
    """

    def __init__(self, hub: Hub, wanted: Wanted, declared: Declared) -> None:
        self._hub = hub
        self._wanted = wanted
        self._mention = wire.encode_json(wanted.table)
        where = Filter.of(tables=(wanted.table,), where=wanted.where)
        self._sieve = None if wanted.where is None else hub.sieves.sieve(where)
        self.places = Places(hub, declared)
        self.index = Index(wanted.table, declared, wanted.column)
        self.cursor = Cursor(hub, declared.position)
        # Whether it is not known how far changes have been applied.
        self._is_torn = False
        # While a request needs them: rows, None where there is none, as they are at the cursor.
        self.noted: Known | None = None

    async def advance(self, position: Position | None = None) -> None:
        """Follows the stream to a position, or to its end.

        Raises:
            Void: the order has to be built anew.
            TooLarge: there are too many rows now.
        """
        if self._is_torn:
            raise Void
        for entries in self.cursor.batches(position):
            tails = await self._tails(entries)
            if tails:
                # Who is cancelled here leaves the thread at work, and nobody may follow it.
                self._is_torn = True
                await asyncio.to_thread(self._apply, tails)
                self._is_torn = False

    def load(self, selection: Selection, found: Columns) -> int:
        """Takes rows while the order is built; returns how many they were. Blocks.

        Args:
            selection: chose what was read of them.
            found: the rows.

        Raises:
            TooLarge: they are too large.
            BadFilter: the condition does not fit them.
        """
        rows = unpack(found.rows)
        self.index.load(found.number, selection.taken(rows))
        return len(rows)

    async def _tails(self, entries: Iterable[Entry]) -> list[bytes]:
        """Of each part what concerns the table.

        Raises:
            Void: what the condition reads is not what it was.
        """
        concerned = [entry for entry in entries if self._mention in entry.tail]
        if self._sieve is None:
            return [entry.tail for entry in concerned]
        try:
            left = [await self._hub.sieves.left(self._sieve, entry) for entry in concerned]
        except ViewVoid as error:
            raise Void from error
        return [message.data for message in left if message is not None]

    def _apply(self, tails: Sequence[bytes]) -> None:
        for tail in tails:
            _, changes = wire.split_tail(tail)
            if not changes:
                continue
            rows: list[RowChange] = []
            for element in wire.decode_elements(changes):
                if isinstance(element, SchemaElement):
                    self._require_same(element)
                elif element.table == self._wanted.table:
                    rows.append(element)
            self._apply_rows(rows)

    def _require_same(self, element: SchemaElement) -> None:
        if element.body["object"] == "table" and self._wanted.table in element.tables:
            raise Void

    def _apply_rows(self, changes: Sequence[RowChange]) -> None:
        gone: list[Place] = []
        new: list[tuple[Place, Value]] = []
        for change in changes:
            place = self.places.of_change(change.key)
            if change.after is None:
                gone.append(place)
            elif change.before is None or self._wanted.column in (change.changed or ()):
                new.append((place, self._value(change.after)))
            self._note(place, change)
        if gone or new:
            self.index.apply(gone, new)

    def _note(self, place: Place, change: RowChange) -> None:
        noted = self.noted
        if noted is None or (len(noted) > _MOST_NOTED and place not in noted):
            return
        after = change.after
        noted[place] = None if after is None else (change.key, msgspec.Raw(wire.encode_json(after)))

    def _value(self, after: Mapping[str, msgspec.Raw]) -> Value:
        if self._wanted.column is None:
            return None
        encoded = wire.decode_json(bytes(after[self._wanted.column]))
        value = wire.decode_value(encoded)
        if isinstance(value, LargeValue) and value.bytes > MAX_VALUE_BYTES:
            raise TooLarge(self._wanted.table)
        return self.places.value(encoded)


class Selection:
    """What is read of each row while an order is built, and which of the rows are taken.

    Args:
        hub: the watched database.
        wanted: the order.
        names: all columns of the table.
    """

    def __init__(self, hub: Hub, wanted: Wanted, names: Sequence[str]) -> None:
        self._wanted = wanted
        self._names = names
        self._declared = hub.head.declared.get(wanted.table, {})
        self._condition = None if wanted.where is None else Condition(wanted.where)
        first = [] if wanted.column is None else [wanted.column]
        reads: frozenset[str] = frozenset()
        if self._condition is not None:
            reads = self._condition.reads(wanted.table, names, self._declared)
        self.columns = [*first, *sorted(reads - {*first})]

    def taken(self, rows: list[list[Value]]) -> list[list[Value]]:
        """The rows that are wanted, without the columns only the condition reads.

        Args:
            rows: what each is known by, then `columns`.
        """
        if self._condition is None:
            return rows
        known = len(rows[0]) - len(self.columns) if rows else 0
        kept = known + (self._wanted.column is not None)
        places = {name: known + number for number, name in enumerate(self.columns)}
        # What it does not read need not be there.
        full = [
            [row[places[name]] if name in places else None for name in self._names] for row in rows
        ]
        table, condition = self._wanted.table, self._condition
        matches = condition.matches(table, self._names, self._declared, full)
        return [row[:kept] for row, is_in in zip(rows, matches, strict=True) if is_in]
