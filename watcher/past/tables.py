"""Tables as they were: pages of the present with what has happened since undone."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar
from weakref import WeakValueDictionary

import apsw

from watcher import wire
from watcher.changes import Position, Table
from watcher.errors import BadFilter, MalformedPosition, ReaderStopped, UnknownTable
from watcher.history import Head
from watcher.hub import Hub
from watcher.past.named_key import Key, ordered
from watcher.past.reel import Place, Reel
from watcher.past.rewind import Former, Outdated, Rewind
from watcher.sqlite.declared import table_by
from watcher.sqlite.places import decode_place, encode_place

KEPT = 3
"""Tables of which the versions are kept."""
KEPT_SECONDS = 300.0
"""How long they are kept without use."""
THREADS = 2
"""So many read at once."""

T = TypeVar("T")

# Where the table changes its definition while it is read.
_ATTEMPTS = 5
# Most rows of the present may be younger than the past that is asked for.
_SKIP_ROWS = 1000
_SKIP_SECONDS = 0.25


class Page(NamedTuple):
    """Rows of a table as it was.

    Args:
        columns: names of its columns then.
        rows: the rows, in the order of their keys.
        next: token to go on with, None at the end.
    """

    columns: tuple[str, ...]
    rows: list[Former]
    next: str | None


class Past:
    """The tables of a hub as they were.

    Args:
        hub: the watched database.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        # One page of a table at a time, and of so many tables as versions are kept of.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._room = asyncio.Semaphore(KEPT)
        self._at_work: set[str] = set()
        # Its own, for others need those of the event loop and what is read here may take seconds.
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="past")
        self._kept: OrderedDict[str, Rewind] = OrderedDict()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def kept(self) -> int:
        """Of how many tables versions are kept."""
        return len(self._kept)

    async def in_thread(self, read: Callable[[], T]) -> T:
        """Runs what reads the history, of which there is little at once.

        Args:
            read: may block.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, read)

    async def page(
        self,
        name: str,
        at: str,
        *,
        after: str | None = None,
        begin: Key | None = None,
        limit: int = 100,
    ) -> Page:
        """Reads rows of a table as it was after a changeset.

        Args:
            name: the table's name now.
            at: the position of the changeset.
            after: the `next` of the page before, None for the first.
            begin: key of the row to begin with, or of the place where it would be.
            limit: at most so many rows; fewer where they are large, or few of those there are now
                were there then.

        Raises:
            UnknownTable: no watched table has that name.
            MalformedPosition: `at` is no position, or `after` no such token.
            BadFilter: `at` is within a changeset, or the table has no such keys.
            PastUnavailable: what was then cannot be told.
            ReaderStopped: the reader process cannot answer.
            HubClosed: the hub is shutting down.
        """
        position = Position.parse(at)
        if position.part is not None:
            raise BadFilter("at", "is the position of a part of a changeset")
        if after is not None and begin is not None:
            raise BadFilter("from", "is given beside after")
        place = None if after is None else decode_place(after)
        turn = self._turns.setdefault(name, asyncio.Lock())
        async with turn, self._room, self._working(name):
            for _ in range(_ATTEMPTS):
                try:
                    return await self._page(name, position, place, begin, limit)
                except Outdated:
                    self._drop(name)
                except apsw.Error as error:
                    self._drop(name)
                    raise ReaderStopped(f"the history cannot be read ({error})") from error
        raise ReaderStopped("the table changes its definition all the time")

    @asynccontextmanager
    async def _working(self, name: str) -> AsyncIterator[None]:
        self._at_work.add(name)
        try:
            yield
        finally:
            self._at_work.discard(name)

    async def _page(
        self, name: str, position: Position, place: Place | None, begin: Key | None, limit: int
    ) -> Page:
        rewind = await self._rewind(name)
        await self._cover(rewind, position)
        was = rewind.table(position.offset)
        if begin is not None:
            place = _beginning(begin, rewind.present, was)
        elif place is not None and not rewind.fits(place):
            raise MalformedPosition(encode_place(place))
        rows: list[Former] = []
        until = asyncio.get_running_loop().time() + _SKIP_SECONDS
        asked = limit
        while True:
            wanted = limit - len(rows)
            found, place = await self._step(rewind, name, position, place, wanted, asked)
            rows, asked = rows + found, _SKIP_ROWS
            is_over = asyncio.get_running_loop().time() > until
            if place is None or len(rows) >= limit or is_over or self._hub.closed:
                token = None if place is None else encode_place(place)
                return Page(was.columns, rows, token)

    async def _step(
        self,
        rewind: Rewind,
        name: str,
        position: Position,
        place: Place | None,
        wanted: int,
        asked: int,
    ) -> tuple[list[Former], Place | None]:
        """Some rows, and the place to go on from."""
        token = None if place is None else encode_place(place)
        present = await self._hub.rows(name, after=token, limit=asked)
        await self._cover(rewind, position)
        read = Position.parse(present.position).offset
        if read < max(rewind.defined, position.offset):
            raise Outdated
        end = None if present.next is None else decode_place(present.next)
        return await self.in_thread(
            lambda: rewind.rows(position.offset, present.inserts, place, end, wanted)
        )

    async def _cover(self, rewind: Rewind, position: Position) -> None:
        head = self._head()
        await self.in_thread(lambda: rewind.cover(position, head))

    def _head(self) -> Head:
        head = self._hub.head
        if not head.epoch:
            raise ReaderStopped("it is starting")
        return head

    async def _rewind(self, name: str) -> Rewind:
        head = self._head()
        if all(table.name != name for table in head.tables):
            self._drop(name)
            raise UnknownTable(name)
        rewind = self._kept.get(name)
        if rewind is None:
            # Made for the table as it is from that head on; were it changed since, it would tell.
            reel = Reel(await self._collations(name), self._encoding())
            rewind = Rewind(self._hub.state_directory, name, head, reel, lambda: self._hub.closed)
        self._keep(name, rewind)
        return rewind

    def _keep(self, name: str, rewind: Rewind) -> None:
        self._kept[name] = rewind
        self._kept.move_to_end(name)
        if name in self._timers:
            self._timers[name].cancel()
        loop = asyncio.get_running_loop()
        self._timers[name] = loop.call_later(KEPT_SECONDS, self._expire, name)
        if len(self._kept) > KEPT:
            # No more are at work than there is room for, and this one is.
            self._drop(next(kept for kept in self._kept if kept not in self._at_work))

    def _expire(self, name: str) -> None:
        if name in self._at_work:
            self._keep(name, self._kept[name])
        else:
            self._drop(name)

    def _drop(self, name: str) -> None:
        rewind = self._kept.pop(name, None)
        if rewind is not None:
            self._timers.pop(name).cancel()
            # It may be at work.
            self._threads.submit(rewind.close)

    async def _collations(self, name: str) -> Sequence[str]:
        """Collations of the columns of a table's key."""
        made = await self._hub.made([name])
        bodies: list[dict[str, Any]] = wire.decode_json(bytes(made.changes))
        if not bodies:
            raise Outdated
        table = table_by(bodies[0]["sql"]["after"])
        key = tuple(bodies[0]["definition"]["key"])
        if table is not None and table.key == key and table.identities and key:
            return table.identities[0].collations
        # A statement that only the application of the file can run.
        declared = self._head().declared.get(name, {})
        return [declared.get(column, ("", "BINARY"))[1] for column in key]

    def _encoding(self) -> str:
        with (self._hub.state_directory / "shadow.db").open("rb") as shadow:
            return _ENCODINGS.get(int.from_bytes(shadow.read(60)[56:60]), "UTF-8")


_ENCODINGS = {2: "UTF-16le", 3: "UTF-16be"}


def _beginning(begin: Key, present: Table, was: Table) -> Place:
    values, is_rowid = ordered("from", begin, present.key, was.key)
    # The complement of the number: the row at the place is the first, not the last before it.
    return [~(1 if is_rowid and present.key else 0), *values]
