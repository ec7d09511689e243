"""How many rows the tables have: counted once, a little at a time, then kept from the stream."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence

from watcher import wire
from watcher.changes import Position, Value
from watcher.errors import ReaderStopped, UnknownTable
from watcher.hub import Hub
from watcher.sqlite.channel import AskStretch, AskTable, Declared, Stretch
from watcher.sqlite.places import unpack
from watcher.view.cursor import Cursor, Void
from watcher.view.places import Places
from watcher.wire import SchemaElement

_log = logging.getLogger(__name__)

# So long a request waits for small tables to be counted.
_SOON_SECONDS = 0.3
_ROUND_SECONDS = 0.1
_RETRY_SECONDS = 0.2
_IDLE_SECONDS = 300.0
_IDLE_LOOK_SECONDS = 10.0
_SIGNS = {"insert": 1, "delete": -1}


class _Underway:
    """A table that is being counted: its rows up to a place."""

    def __init__(self, table: str) -> None:
        self.table = table
        self.rows = 0
        # The place up to which rows have been counted; None before the first.
        self.cut: Sequence[Value] | None = None
        self.places: Places | None = None


class Counts:
    """Counts the rows of the tables of one database, once somebody asks.

    Args:
        hub: the watched database.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._used = 0.0
        self._task: asyncio.Task[None] | None = None
        self._rows: dict[str, int] = {}
        self._underway: _Underway | None = None
        self._counted = asyncio.Event()

    async def all(self) -> Mapping[str, int]:
        """The number of rows of each table that has been counted; the others are on their way."""
        self._used = time.monotonic()
        if self._task is None or self._task.done():
            self._counted.clear()
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(_report)
        try:
            await asyncio.wait_for(self._counted.wait(), _SOON_SECONDS)
        except TimeoutError:
            _log.debug("the rows of some tables are not counted yet")
        return dict(self._rows)

    @property
    def _is_wanted(self) -> bool:
        return not self._hub.closed and time.monotonic() - self._used < _IDLE_SECONDS

    async def _run(self) -> None:
        try:
            while self._is_wanted:
                try:
                    await self._keep()
                except Void:
                    continue
                except ReaderStopped:
                    await asyncio.sleep(_RETRY_SECONDS)
        finally:
            self._rows.clear()
            self._counted.set()

    async def _keep(self) -> None:
        """Counts and follows, until that cannot go on."""
        self._rows.clear()
        self._underway = None
        while not self._hub.head.epoch:
            if not self._is_wanted:
                return
            await asyncio.wait((self._hub.wake,), timeout=_IDLE_LOOK_SECONDS)
        cursor = Cursor(self._hub, str(self._hub.head.position))
        while self._is_wanted:
            wake = self._hub.wake
            await self._follow(cursor)
            missing = [t.name for t in self._hub.head.tables if t.name not in self._rows]
            for table in missing:
                await self._count(cursor, table)
            self._counted.set()
            if not missing and self._hub.wake is wake:
                await asyncio.wait((wake,), timeout=_IDLE_LOOK_SECONDS)
            await asyncio.sleep(_ROUND_SECONDS)

    async def _count(self, cursor: Cursor, table: str) -> None:
        underway = self._underway = _Underway(table)
        after: bytes | None = None
        try:
            while self._is_wanted and self._underway is underway:
                found = await self._hub.ask(AskStretch(0, table, after), Stretch)
                # First all up to the state that was counted: it is not in the stretches before.
                await self._follow(cursor, Position.parse(found.position))
                if self._underway is not underway:
                    return
                underway.rows += found.count
                after = found.next
                if after is None:
                    self._rows[table] = underway.rows
                    return
                underway.cut = unpack(after)
        except UnknownTable:
            # It went while it was counted.
            return
        finally:
            self._underway = None

    async def _follow(self, cursor: Cursor, position: Position | None = None) -> None:
        for entries in cursor.batches(position):
            tails = [entry.tail for entry in entries]
            underway = self._underway
            if underway is not None and underway.cut is not None and underway.places is None:
                mention = wire.encode_json(underway.table)
                if any(mention in tail for tail in tails):
                    underway.places = await self._places(underway.table)
            await asyncio.to_thread(self._apply, tails, underway)

    async def _places(self, table: str) -> Places:
        try:
            return Places(self._hub, await self._hub.ask(AskTable(0, table), Declared))
        except UnknownTable as error:
            raise Void from error

    def _apply(self, tails: Iterable[bytes], underway: _Underway | None) -> None:
        for tail in tails:
            for table in _redefined(tail):
                self._rows.pop(table, None)
                if underway is not None and underway.table == table:
                    self._underway = None
            for (table, op), count in wire.count_changes(tail).items():
                if table in self._rows:
                    self._rows[table] += _SIGNS.get(op, 0) * count
            if self._underway is underway is not None and underway.places is not None:
                underway.rows += _counted(tail, underway, underway.places)


def _redefined(tail: bytes) -> list[str]:
    """Names of the tables that a part of a changeset makes, drops or changes."""
    if not wire.has_schema_change(tail):
        return []
    return [
        table
        for element in wire.decode_elements(wire.split_tail(tail)[1])
        if isinstance(element, SchemaElement) and element.body["object"] == "table"
        for table in element.tables
    ]


def _counted(tail: bytes, underway: _Underway, places: Places) -> int:
    """By how many rows a part of a changeset changes what has been counted of a table."""
    if underway.cut is None or wire.encode_json(underway.table) not in tail:
        return 0
    changes = wire.split_tail(tail)[1]
    return sum(
        _SIGNS.get(element.op, 0)
        for element in (wire.decode_elements(changes) if changes else ())
        if not isinstance(element, SchemaElement) and element.table == underway.table
        if not places.is_behind(places.of_change(element.key), underway.cut)
    )


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("the rows of the tables are not counted any more", exc_info=error)
