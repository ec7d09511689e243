"""Fan-out: one history, any number of subscribers, none of whom can hold up another."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from watcher.changes import Position, ResetReason, Table
from watcher.errors import DatabaseUnavailable, UnknownTable
from watcher.history import Entry, Head, HistoryReader, Limits, Size
from watcher.hub.audience import Audience
from watcher.hub.filters import ALL, Filter
from watcher.hub.meter import Meter
from watcher.hub.ring import BATCH_BYTES, Ring
from watcher.hub.sharing import Sieves
from watcher.hub.subscription import Subscription
from watcher.sqlite.channel import (
    AskMade,
    AskRows,
    Columns,
    Declared,
    Keyed,
    Made,
    Question,
    Status,
    Stretch,
)
from watcher.sqlite.channel import Rows as ReadRows
from watcher.sqlite.exclusion import NOTHING, Exclusion
from watcher.sqlite.options import HoldLimits, Options
from watcher.sqlite.state_directory import default_directory
from watcher.sqlite.supervisor import ReaderSupervisor
from watcher.wire import Message

_log = logging.getLogger(__name__)

_A = TypeVar("_A", ReadRows, Made, Declared, Columns, Keyed, Stretch)

# States in which there is nothing to watch: whoever starts a hub wants to know at once.
_HOPELESS = ("missing", "not_a_database", "unreadable")


@dataclass(frozen=True, slots=True)
class Health:
    """How things stand.

    Args:
        status: of the watched file.
        position: where the history stands, None before the first copy is complete.
        lag: seconds for which the file has been known to have changes not yet in the history.
        clients: number of subscriptions.
    """

    status: Status
    position: str | None
    lag: float
    clients: int


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of the current state.

    Args:
        position: of the state they belong to.
        inserts: JSON objects of inserts, joined by commas.
        next: token to go on with, None at the end.
    """

    position: str
    inserts: bytes
    next: str | None


class Hub:
    """Watches one database for any number of subscribers; an async context manager.

    Args:
        path: the database.
        state: the state directory; None for one under the user's own.
        poll: seconds between two looks through a connection; None for raw reading and events.
        heartbeat: seconds of silence after which a subscriber gets a sign of life.
        limits: how much history to keep.
        hold: how far a write-ahead log may be kept from being restarted.
        exclusion: what no subscriber gets and no history keeps.
    """

    def __init__(
        self,
        path: Path,
        *,
        state: Path | None = None,
        poll: float | None = None,
        heartbeat: float = 15.0,
        limits: Limits | None = None,
        hold: HoldLimits | None = None,
        exclusion: Exclusion = NOTHING,
    ) -> None:
        # SQLite resolves links before it names the side files, so their names follow from this.
        self.path = path.resolve()
        self.name = os.fsencode(path.name).decode("utf-8", "replace")
        self.heartbeat = heartbeat
        self.exclusion = exclusion
        self.closed = False
        self.status = Status("starting", "the reader process is starting")
        self.status_number = 0
        self.wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._behind_since: float | None = None
        self._directory = (state or default_directory(self.path)).absolute()
        self.state_directory = self._directory.resolve()
        self._subscriptions: set[Subscription] = set()
        self._ring: Ring | None = None
        self.sieves = Sieves(lambda: self.head, self.stored_value)
        self.audience = Audience(self)
        self.meter = Meter()
        limits, hold = limits or Limits(), hold or HoldLimits()
        self.limits = limits
        self._reader = ReaderSupervisor(
            Options(
                path=os.fsencode(self.path),
                state=os.fsencode(self._directory),
                poll=poll,
                seconds=limits.seconds,
                changesets=limits.changesets,
                size=limits.bytes,
                hold_seconds=hold.seconds,
                hold_bytes=hold.bytes,
                exclusion=exclusion,
            ),
            on_more=self._take_more,
            on_status=self._take_status,
        )

    async def __aenter__(self) -> Self:
        """Starts the reader process; the first copy may still be under way then, see `started`.

        Raises:
            DatabaseUnavailable: there is no database at the path, or it cannot be read.
            StateUnavailable: the state directory cannot be used.
        """
        try:
            first = await self._reader.start()
            if first.state in _HOPELESS:
                raise DatabaseUnavailable(str(self.path), first.state, first.detail)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def started(self) -> None:
        """Waits until the first copy is complete, or something is in its way: see `status`."""
        while self.status.state == "starting" and not self.closed:
            await asyncio.wait((self.wake,))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stops the reader process and wakes all subscribers, who get `HubClosed`; idempotent."""
        self.closed = True
        self.audience.dismiss()
        self._wake_all()
        await self._reader.stop()
        if self._ring is not None:
            self._ring.close()
            self._ring = None

    @property
    def reader_pid(self) -> int | None:
        """Process id of the reader, None while none is running."""
        return self._reader.pid

    def _take_more(self) -> None:
        if self._ring is None:
            self._ring = Ring(self._directory, self.meter.took)
        self._ring.refresh()
        self._wake_all()

    def _take_status(self, status: Status) -> None:
        if status.state == "starting" and self._ring is not None:
            # The next reader may put a damaged history aside; the file must be opened anew.
            self._ring.close()
            self._ring = None
        if status.behind:
            self._behind_since = self._behind_since or time.monotonic()
        else:
            self._behind_since = None
        self.status = status
        self.status_number += 1
        self.audience.dismiss()
        self._wake_all()

    def _wake_all(self) -> None:
        # Those who have everything first, for they are many and it costs little.
        self.audience.publish()
        woken, self.wake = self.wake, asyncio.get_running_loop().create_future()
        if not woken.done():
            woken.set_result(None)

    async def woken(self, wake: asyncio.Future[None]) -> bool:
        """Waits for news; False if only the time for a sign of life has come."""
        done, _ = await asyncio.wait((wake,), timeout=self.heartbeat)
        return bool(done)

    @property
    def head(self) -> Head:
        """Where the history stands; its epoch is empty where there is none yet."""
        return _NO_HEAD if self._ring is None else self._ring.head

    def locate(self, position: Position) -> int | ResetReason:
        """Finds the place of a position, or says why it cannot be had."""
        return ResetReason.UNKNOWN_EPOCH if self._ring is None else self._ring.locate(position)

    def after(
        self, epoch: str, place: int, *, until: int | None = None, max_bytes: int = BATCH_BYTES
    ) -> list[tuple[Entry, Message]] | ResetReason:
        """Reads the parts after a place, see `Ring.after`; none while the reader restarts."""
        if self._ring is None:
            return []
        return self._ring.after(epoch, place, until=until, max_bytes=max_bytes)

    def subscribe(
        self,
        *,
        since: str | None = None,
        snapshot: bool = False,
        wanted: Filter = ALL,
    ) -> Subscription:
        """Opens a subscription.

        Args:
            since: position to go on from, None to begin at the present.
            snapshot: whether to send the content where there is nothing to go on from.
            wanted: what of it is wanted.

        Raises:
            MalformedPosition: `since` is no position.
            UnknownTable: a table is named that is not watched.
            BadFilter: the filter is malformed, or does not fit the tables.
        """
        position = None if since is None else Position.parse(since)
        sieve = None if wanted == ALL else self.sieves.sieve(wanted)
        if sieve is not None and self.head.epoch:
            for name in sorted((wanted.tables or set()) - {t.name for t in self.head.tables}):
                raise UnknownTable(name)
            sieve.check(self.head.tables)
        subscription = Subscription(self, since=position, snapshot=snapshot, sieve=sieve)
        self._subscriptions.add(subscription)
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """Counts a subscription no longer; idempotent."""
        self._subscriptions.discard(subscription)

    async def rows(self, table: str, *, after: str | None = None, limit: int = 100) -> Rows:
        """Reads rows of the current state, in the order of their keys.

        Args:
            table: the table's name.
            after: the `next` of the rows before them, None for the first.
            limit: at most so many, 1 to 1000; fewer where they are large.

        Raises:
            UnknownTable: no watched table has that name.
            MalformedPosition: `after` is no such token.
            ReaderStopped: the reader process ended, or cannot read.
        """
        found = await self.ask(AskRows(0, table, after, limit), ReadRows)
        return Rows(found.position, bytes(found.inserts)[1:-1], found.next)

    async def made(self, tables: Collection[str]) -> Made:
        """Reads the definitions of tables, as schema changes that make them.

        Raises:
            ReaderStopped: the reader process ended, or cannot read.
        """
        return await self.ask(AskMade(0, list(tables)), Made)

    async def ask(self, question: Question, kind: type[_A]) -> _A:
        """Asks the reader for something of the current state; see `ReaderSupervisor.ask`.

        When the answer is here, the history has all up to the state it belongs to.
        """
        answer = await self._reader.ask(question, kind)
        # It may belong to a state whose `more` has not been read yet.
        if self._ring is not None and self._ring.refresh():
            self._wake_all()
        return answer

    def tables(self) -> list[Table]:
        """The watched tables."""
        return list(self.head.tables)

    def value(self, sha256: str) -> tuple[str, bytes] | None:
        """Reads a value that is sent beside the stream: `text` or `blob`, and its bytes."""
        return None if self._ring is None else self._ring.large(sha256)

    def stored_value(self, sha256: str) -> tuple[str, bytes] | None:
        """Does what `value` does; blocks, and may be called from any thread."""
        history = HistoryReader(self._directory)
        try:
            return history.large(sha256)
        finally:
            history.close()

    def history_size(self) -> Size | None:
        """Tells how much history is kept; blocks, and may be called from any thread."""
        if self._ring is None:
            return None
        history = HistoryReader(self._directory)
        try:
            return history.size()
        finally:
            history.close()

    def health(self) -> Health:
        """Tells how things stand."""
        since = self._behind_since
        return Health(
            status=self.status,
            position=str(self.head.position) if self.head.epoch else None,
            lag=0.0 if since is None else time.monotonic() - since,
            clients=len(self._subscriptions),
        )


_NO_HEAD = Head("", 0, b"", 0, (), ResetReason.START, "", {})
