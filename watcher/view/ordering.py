"""One order of one table, built beside the database and kept up to date from the stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import apsw
import msgspec

from watcher.changes import Position, Row
from watcher.errors import (
    BadFilter,
    MalformedPosition,
    ReaderStopped,
    UnknownTable,
    WatchError,
)
from watcher.hub import Hub
from watcher.sqlite.channel import (
    AskColumns,
    AskKeyed,
    AskStretch,
    AskTable,
    Columns,
    Declared,
    Keyed,
    Stretch,
)
from watcher.sqlite.places import pack_rows
from watcher.view.cursor import Void
from watcher.view.index import MAX_ROWS, Index, OrderLost, TooLarge
from watcher.view.order import Known, Order, Selection, Wanted
from watcher.view.places import Place

MAX_LIMIT = 1000
"""Rows one window may have."""

_CHUNK_ROWS = 4096
_RETRY_SECONDS = 0.2
# Between two rounds of following: what comes in it is dealt with at once.
_ROUND_SECONDS = 0.05
# So long a request waits for an order that is soon built.
_SOON_SECONDS = 0.3
_WAIT_SECONDS = 2.0
# Rows read beside a window, because it may have moved until they are here.
_MARGIN = 16
_WINDOW_BYTES = 8 * 1024 * 1024
# An order nobody has asked for so long is given up.
_IDLE_SECONDS = 300.0
_IDLE_LOOK_SECONDS = 1.0
# So long it is taken for granted that a table is too large.
_TOO_LARGE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Building:
    """The order is not there yet.

    Args:
        progress: the part that is done, 0 to 1.
        rows: rows taken so far.
    """

    progress: float
    rows: int


@dataclass(frozen=True, slots=True)
class Window:
    """Rows by their number, all as of one position.

    Args:
        position: of the state they belong to.
        rows: key and row of each, encoded.
        offset: number of the first.
        total: rows in all.
        index: number of the row that was asked for; None where a number was.
        found: whether that row is there.
    """

    position: str
    rows: list[tuple[msgspec.Raw, msgspec.Raw]]
    offset: int
    total: int
    index: int | None = None
    found: bool = False


class _Insert(msgspec.Struct):
    key: msgspec.Raw
    after: msgspec.Raw


_decode_inserts = msgspec.json.Decoder(list[_Insert | None]).decode


class Ordering:
    """One order of one table; several may ask for its rows.

    Args:
        hub: the watched database.
        wanted: which order.
    """

    def __init__(self, hub: Hub, wanted: Wanted) -> None:
        self._hub = hub
        self.wanted = wanted
        self.used = time.monotonic()
        self.failure: WatchError | None = None
        self._failed = 0.0
        self._is_told = False
        self._order: Order | None = None
        self._built: asyncio.Event = asyncio.Event()
        self._lock = asyncio.Lock()
        self._taken = 0
        self._expected = 0

    async def run(self) -> None:
        """Builds it, and keeps it up to date until cancelled or until it cannot be any more."""
        try:
            while not self._hub.closed and not self._is_idle:
                try:
                    await self._build()
                    await self._follow()
                except (Void, MalformedPosition):
                    # Of the table as it was before its definition changed.
                    self._drop()
                except ReaderStopped:
                    await asyncio.sleep(_RETRY_SECONDS)
        except WatchError as error:
            self.failure = error
        except (apsw.Error, OSError) as error:
            # No room for its file, perhaps.
            self.failure = OrderLost(self.wanted.table, str(error))
        except Exception:
            self.failure = OrderLost(self.wanted.table, "the log of the service says more")
            raise
        finally:
            self._drop()
            self._failed = time.monotonic()
            self._built.set()

    @property
    def has_news(self) -> bool:
        """Whether it has ended with a failure that somebody is still to be told."""
        if isinstance(self.failure, TooLarge):
            # That takes a while to find out.
            return time.monotonic() - self._failed < _TOO_LARGE_SECONDS
        # Who asks once more asks because the table is there again.
        is_away = isinstance(self.failure, UnknownTable)
        return self.failure is not None and not self._is_told and not is_away

    def _drop(self) -> None:
        order, self._order = self._order, None
        self._built.clear()
        if order is not None:
            order.index.close()

    async def _build(self) -> None:
        if self._order is not None:
            return
        self._taken, self._expected = 0, await self._count()
        wanted = self.wanted
        declared = await self._hub.ask(AskTable(0, wanted.table), Declared)
        names = [column.name for column in declared.columns]
        if wanted.column is not None and wanted.column not in names:
            raise BadFilter("order", f"there is no column {wanted.column[:80]!r}")
        order = Order(self._hub, wanted, declared)
        try:
            await self._load(order, names)
            await asyncio.to_thread(order.index.complete)
            await order.advance()
        except BaseException:
            order.index.close()
            raise
        self._order = order
        self._built.set()

    async def _count(self) -> int:
        """How many rows there are about.

        Raises:
            TooLarge: too many.
        """
        count, after = 0, None
        while True:
            found = await self._hub.ask(AskStretch(0, self.wanted.table, after), Stretch)
            count, after = count + found.count, found.next
            if count > MAX_ROWS and self.wanted.where is None:
                raise TooLarge(self.wanted.table)
            if after is None:
                return count

    async def _load(self, order: Order, names: Sequence[str]) -> None:
        selection = Selection(self._hub, self.wanted, names)
        asked: asyncio.Task[Columns] | None = asyncio.create_task(self._columns(selection, None))
        try:
            while asked is not None:
                found = await asked
                if found.too_large:
                    raise TooLarge(self.wanted.table)
                # The reader reads on while these are taken in.
                asked = None
                if found.next is not None:
                    asked = asyncio.create_task(self._columns(selection, found.next))
                # First all up to the state these rows belong to.
                await order.advance(Position.parse(found.position))
                self._taken += await asyncio.to_thread(order.load, selection, found)
        finally:
            if asked is not None:
                asked.cancel()
                await asyncio.gather(asked, return_exceptions=True)

    async def _columns(self, selection: Selection, after: bytes | None) -> Columns:
        question = AskColumns(0, self.wanted.table, selection.columns, after, _CHUNK_ROWS)
        return await self._hub.ask(question, Columns)

    async def _follow(self) -> None:
        while not self._hub.closed and not self._is_idle:
            wake = self._hub.wake
            async with self._lock:
                if self._order is None:
                    return
                await self._order.advance()
                self._require_table()
            if self._hub.wake is wake:
                await asyncio.wait((wake,), timeout=_IDLE_LOOK_SECONDS)
            await asyncio.sleep(_ROUND_SECONDS)

    @property
    def _is_idle(self) -> bool:
        return time.monotonic() - self.used > _IDLE_SECONDS

    def _require_table(self) -> None:
        head = self._hub.head
        if head.epoch and self.wanted.table not in {table.name for table in head.tables}:
            raise UnknownTable(self.wanted.table)

    async def window(
        self,
        *,
        limit: int,
        offset: int = 0,
        around: Row | None = None,
        desc: bool = False,
        at_least: Position | None = None,
    ) -> Window | Building:
        """Reads rows by their number.

        Args:
            limit: at most so many, 1 to 1000; fewer where they are large.
            offset: number of the first.
            around: the key of the row that is to be in the middle, in place of `offset`.
            desc: whether the whole order is turned around.
            at_least: what has to be reached first; it is waited for up to 2 seconds.

        Raises:
            UnknownTable: the table is not there any more.
            BadFilter: the column is not there, or the condition does not fit the table.
            TooLarge: the table is too large.
            OrderLost: the order cannot be kept at the moment.
            ReaderStopped: the rows cannot be read at the moment.
        """
        self.used = time.monotonic()
        if not self._hub.head.epoch:
            raise ReaderStopped("it is being restarted")
        try:
            async with asyncio.timeout(_SOON_SECONDS):
                await self._built.wait()
        except TimeoutError:
            return self._progress()
        if self.failure is not None:
            self._is_told = True
            raise self.failure
        if at_least is not None:
            await self._reach(at_least)
        async with self._lock:
            if self._order is None:
                return self._progress()
            try:
                return await self._window(self._order, limit, offset, around, desc)
            except (Void, MalformedPosition):
                self._drop()
                return self._progress()
            except apsw.Error as error:
                # Another order took its place, perhaps.
                raise OrderLost(self.wanted.table, str(error)) from error

    def _progress(self) -> Building:
        part = min(1.0, self._taken / self._expected) if self._expected else 0.0
        return Building(round(part, 3), self._taken)

    async def _reach(self, position: Position) -> None:
        until = time.monotonic() + _WAIT_SECONDS
        while True:
            wake, order = self._hub.wake, self._order
            if order is None or not order.cursor.behind(position):
                return
            if not order.cursor.is_at_head:
                async with self._lock:
                    if self._order is order:
                        try:
                            await order.advance()
                        except Void:
                            self._drop()
                continue
            done, _ = await asyncio.wait((wake,), timeout=until - time.monotonic())
            if not done:
                return

    async def _window(
        self, order: Order, limit: int, offset: int, around: Row | None, desc: bool
    ) -> Window:
        """Reads a window and its rows as of one state: the index goes where the rows are."""
        seek = None if around is None else _place_of(order, around)
        known = order.noted = {}
        margin = 0
        try:
            while True:
                found = await asyncio.to_thread(
                    _seek, order.index, limit, offset, seek, desc, margin
                )
                if sum(map(_size, map(known.get, found.places))) > _WINDOW_BYTES and limit > 1:
                    limit //= 2
                elif all(place in known for place in found.places):
                    return _window_of(found, known, order)
                else:
                    wanted = dict.fromkeys((*found.places, *found.wider))
                    missing = [place for place in wanted if place not in known]
                    if await self._read(order, missing, known):
                        # What came meanwhile may have moved the window; the faster, the further.
                        margin = min(MAX_LIMIT, 2 * margin + _MARGIN)
        finally:
            order.noted = None

    async def _read(self, order: Order, places: list[Place], known: Known) -> bool:
        """Reads rows, as many as come at once; returns whether these were all."""
        answer = await self._hub.ask(AskKeyed(0, self.wanted.table, pack_rows(places)), Keyed)
        await order.advance(Position.parse(answer.position))
        inserts = _decode_inserts(answer.inserts)
        for place, insert in zip(places, inserts, strict=False):
            known[place] = None if insert is None else (insert.key, insert.after)
        return len(inserts) == len(places)


@dataclass(frozen=True, slots=True)
class _Found:
    """Where a window is in an index; `wider` has the places of the window and some beside it."""

    places: list[Place]
    wider: list[Place]
    offset: int
    total: int
    index: int | None
    is_there: bool


def _seek(
    index: Index, limit: int, offset: int, seek: Place | None, desc: bool, margin: int
) -> _Found:
    number, is_there = None, False
    if seek is not None:
        number, is_there = index.find(seek, desc=desc)
        offset = max(0, min(number - limit // 2, index.rows - limit))
    start = max(0, offset - margin)
    wider = index.window(start, offset - start + limit + margin, desc=desc)
    places = wider[offset - start :][:limit]
    return _Found(places, wider, offset, index.rows, number, is_there)


def _place_of(order: Order, key: Row) -> Place:
    try:
        return order.places.of(key)
    except (KeyError, MalformedPosition):
        raise BadFilter("around", "is no key of this table") from None


def _window_of(found: _Found, known: Known, order: Order) -> Window:
    rows = [known[place] for place in found.places]
    if None in rows:
        # The index has what the table has not: whatever the cause, that mends it.
        raise Void
    return Window(
        str(order.cursor.position),
        [row for row in rows if row is not None],
        found.offset,
        found.total,
        found.index,
        found.is_there,
    )


def _size(row: tuple[msgspec.Raw, msgspec.Raw] | None) -> int:
    return 0 if row is None else len(bytes(row[1]))
