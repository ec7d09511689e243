"""Tables as they were: pages of the present with what has happened since undone."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import apsw
import msgspec

from watcher import wire
from watcher.changes import Position, Table
from watcher.errors import BadFilter, MalformedPosition, ReaderStopped, UnknownTable
from watcher.history import Head
from watcher.hub import Hub, Rows
from watcher.sqlite.channel import decode_place, encode_place
from watcher.sqlite.declared import table_by
from watcher.view.named_key import Key, ordered
from watcher.view.reel import Place, Reel
from watcher.view.rewind import Former, Outdated, Rewind

KEPT = 3
"""Tables of which the versions are kept."""
KEPT_SECONDS = 300.0
"""How long they are kept without use."""

# Where the table changes its definition while it is read.
_ATTEMPTS = 5
_MAX_BYTES = 1024 * 1024
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


class _Insert(msgspec.Struct, gc=False):
    key: msgspec.Raw
    after: msgspec.Raw


_decode_inserts = msgspec.json.Decoder(list[_Insert]).decode


class Past:
    """The tables of a hub as they were.

    Args:
        hub: the watched database.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._turns: dict[str, _Turn] = {}
        self._kept: OrderedDict[str, Rewind] = OrderedDict()
        self._timers: dict[str, asyncio.TimerHandle] = {}

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
        async with self._turn(name):
            for _ in range(_ATTEMPTS):
                try:
                    return await self._page(name, position, place, begin, limit)
                except Outdated:
                    self._drop(name)
                except apsw.Error as error:
                    self._drop(name)
                    raise ReaderStopped(f"the history cannot be read ({error})") from error
        raise ReaderStopped("the table changes its definition all the time")

    def _turn(self, name: str) -> _Turn:
        return self._turns.setdefault(name, _Turn(self._turns, name))

    async def _page(
        self, name: str, position: Position, place: Place | None, begin: Key | None, limit: int
    ) -> Page:
        rewind = await self._rewind(name)
        await self._cover(rewind, position)
        was = rewind.table(position.offset)
        if begin is not None:
            place = _beginning(begin, rewind.present, was)
        if place is not None and not rewind.fits(place if place[0] in (0, 1) else [0, *place[1:]]):
            raise MalformedPosition("after")
        rows: list[Former] = []
        until = asyncio.get_running_loop().time() + _SKIP_SECONDS
        while True:
            wanted = limit - len(rows)
            asked = wanted if not rows and place is None else max(wanted, _SKIP_ROWS)
            found, place = await self._step(rewind, name, position, place, wanted, asked)
            rows += found
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
        if rewind.defined > Position.parse(present.position).offset:
            raise Outdated
        end = None if present.next is None else decode_place(present.next)
        found = await asyncio.to_thread(
            rewind.rows, position.offset, _rows(present), place, end, wanted, _MAX_BYTES
        )
        if len(found) == wanted or _size(found) >= _MAX_BYTES:
            return found, found[-1].place
        return found, end

    async def _cover(self, rewind: Rewind, position: Position) -> None:
        await asyncio.to_thread(rewind.cover, position, self._head())

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
            reel = Reel(await self._collations(name), self._encoding())
            head = self._head()
            if all(table.name != name for table in head.tables):
                raise Outdated
            rewind = Rewind(self._hub.state_directory, name, head, reel, lambda: self._hub.closed)
        self._keep(name, rewind)
        return rewind

    def _keep(self, name: str, rewind: Rewind) -> None:
        self._kept[name] = rewind
        self._kept.move_to_end(name)
        if name in self._timers:
            self._timers[name].cancel()
        loop = asyncio.get_running_loop()
        self._timers[name] = loop.call_later(KEPT_SECONDS, self._drop, name)
        while len(self._kept) > KEPT:
            self._drop(next(iter(self._kept)))

    def _drop(self, name: str) -> None:
        rewind = self._kept.pop(name, None)
        if rewind is not None:
            self._timers.pop(name).cancel()
            # It may be at work.
            asyncio.get_running_loop().run_in_executor(None, rewind.close)

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


class _Turn:
    """One page of a table at a time; what is forgotten when nobody waits for it.

    Args:
        turns: where it is kept.
        name: under which.
    """

    def __init__(self, turns: dict[str, _Turn], name: str) -> None:
        self._turns = turns
        self._name = name
        self._lock = asyncio.Lock()
        self._waiting = 0

    async def __aenter__(self) -> None:
        self._waiting += 1
        try:
            await self._lock.acquire()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()
        self._leave()

    def _leave(self) -> None:
        self._waiting -= 1
        if not self._waiting:
            with suppress(KeyError):
                del self._turns[self._name]


def _beginning(begin: Key, present: Table, was: Table) -> Place:
    values, is_rowid = ordered("from", begin, present.key, was.key)
    # The complement of the number: the row at the place is the first, not the last before it.
    return [~(1 if is_rowid and present.key else 0), *values]


def _rows(present: Rows) -> list[tuple[bytes, bytes]]:
    inserts = _decode_inserts(b"[" + present.inserts + b"]")
    return [(bytes(insert.key), bytes(insert.after)) for insert in inserts]


def _size(rows: Sequence[Former]) -> int:
    return sum(len(bytes(row.row)) for row in rows)
