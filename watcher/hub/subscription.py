"""One client's way through the protocol: greeting, content, changes.

It is the same for every transport. What a client gets is decided by a place in the history and
nothing else, so a reconnecting, a slow and a late client are the same case.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Self

from watcher import wire
from watcher.changes import Position, ResetReason, Table
from watcher.errors import HubClosed, MalformedPosition, ReaderStopped, UnknownTable
from watcher.history import Entry, sequence
from watcher.hub.audience import Outlet, Standing
from watcher.hub.filters import Sieve, ViewVoid
from watcher.wire import Message

if TYPE_CHECKING:
    from watcher.hub.hub import Hub, Rows

_CHUNK_ROWS = 1000
_RETRY_SECONDS = 0.2


class Subscription:
    """A cursor into the hub's history; made by `Hub.subscribe`.

    Args:
        hub: whose history it reads.
        since: where to go on, None to begin at the present.
        snapshot: whether to send the content where there is nothing to go on from.
        sieve: what is wanted, None for all.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        since: Position | None,
        snapshot: bool,
        sieve: Sieve | None,
    ) -> None:
        self._hub = hub
        self._since = since
        self._wants_snapshot = snapshot
        self._sieve = sieve
        # The present is now, not when the first message is asked for.
        self._epoch = ""
        self._place = sequence(0, None)
        # Where the client stands, as a position: of the newest part it was sent or need not have.
        self._position = ""
        if hub.head.epoch:
            self._go_to_head()
        self._greeted = False
        self._ready = False
        self._told_status = 0
        self._content: _Content | None = None
        # When the oldest commit was seen of what was handed out last, None where it was no news.
        self._seen: float | None = None
        # When messages were asked for.
        self._asked = 0.0
        # The position up to which nothing was wanted of what came after the last message.
        self.reached: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the subscription; idempotent."""
        self._hub.forget(self)

    async def next(self, outlet: Outlet | None = None) -> list[Message]:
        """Waits for messages and returns all that are due, at least one.

        Args:
            outlet: where the caller sends them; all earlier ones have been. While there is nothing
                to catch up with, it is written to without coming back here.

        Raises:
            HubClosed: the hub is shutting down.
            BadFilter: the filter does not fit the tables any more, or takes too long.
        """
        # Who has much to catch up with, and room for it, would else never let others have a turn.
        await asyncio.sleep(0)
        self._asked = asyncio.get_running_loop().time()
        while True:
            if self._hub.closed:
                raise HubClosed
            # Taken before looking: what comes while we look wakes us again.
            wake, place = self._hub.wake, self._place
            in_content = self._content is not None and bool(self._hub.head.epoch)
            messages = await self._due()
            if messages:
                return messages
            if in_content or self._place != place:
                # An empty table gives no message, nor does a stretch of which nothing is wanted;
                # neither is a reason to wait. The others have their turn in between.
                self.reached = self._position
                if self._is_silent_for_long():
                    return [wire.heartbeat_message(self._position)]
                await asyncio.sleep(0)
                continue
            if outlet is not None and self._may_stay():
                await self._stay(outlet)
            elif not await self._hub.woken(wake) and self._ready:
                return [wire.heartbeat_message(self._position)]

    async def _due(self) -> list[Message]:
        """What there is to say at this moment."""
        if not self._greeted:
            return await self._greet()
        if not self._hub.head.epoch:
            # The next reader is starting; until it has, nothing says what there is.
            return self._status_news()
        if self._content is not None:
            return self._status_news() + await self._content_step(self._content)
        return self._status_news() + await self._follow()

    def _is_silent_for_long(self) -> bool:
        """Whether a long stretch of which nothing is wanted calls for a sign of life."""
        now = asyncio.get_running_loop().time()
        is_long = now - self._asked > self._hub.heartbeat
        return is_long and self._content is None and bool(self._position)

    def _may_stay(self) -> bool:
        hub, is_costly = self._hub, self._sieve is not None and self._sieve.is_costly
        # Exactly there: a place that was read from disk can be ahead of what the hub knows.
        is_at_head = self._epoch == hub.head.epoch and self._place == sequence(
            hub.head.offset, None
        )
        is_told = self._told_status == hub.status_number
        return self._ready and is_at_head and is_told and not is_costly and not hub.closed

    async def _stay(self, outlet: Outlet) -> None:
        standing = Standing(self._epoch, self._place, self._position)
        standing = await self._hub.audience.stay(self._sieve, outlet, standing)
        self._place, self._position = standing.place, standing.position

    def delivered(self) -> None:
        """Counts the messages handed out last as written to the client."""
        if self._seen is not None:
            self._hub.meter.delivered(self._seen)
            self._seen = None

    def _status_news(self) -> list[Message]:
        number, status = self._hub.status_number, self._hub.status
        if number == self._told_status:
            return []
        first, self._told_status = self._told_status == 0, number
        # Only a change is news, or a warning: whoever connects takes it that all is well.
        if first and status.state == "ok" and not status.detail:
            return []
        return [wire.status_message(status.state, status.detail, status.progress)]

    async def _greet(self) -> list[Message]:
        if not self._hub.head.epoch:
            # Nothing to greet with yet, but perhaps a reason.
            return self._status_news()
        self._greeted = True
        return [self._hello(), *self._status_news(), *await self._begin()]

    def _hello(self) -> Message:
        head = self._hub.head
        tables: list[Table] = list(head.tables)
        if self._sieve is not None:
            wanted = self._sieve.filter
            tables = [wanted.reduced(table) for table in tables if wanted.takes(table.name)]
        return wire.hello_message(self._hub.name, str(head.position), tables)

    async def _begin(self) -> list[Message]:
        if self._since is not None:
            place = self._hub.locate(self._since)
            if isinstance(place, ResetReason):
                return self._reset(place)
            self._epoch, self._place = self._since.epoch, place
            self._position = str(self._since)
            self._hub.meter.resumes += 1
            return await self._follow()
        if self._wants_snapshot:
            return self._reset(ResetReason.START)
        if not self._epoch:
            # There was no history yet: all of it is news.
            self._epoch, self._position = self._hub.head.epoch, str(self._hub.head.position)
        return await self._follow()

    def _go_to_head(self) -> None:
        head = self._hub.head
        self._epoch, self._place = head.epoch, sequence(head.offset, None)
        self._position = str(head.position)

    def _reset(self, reason: ResetReason) -> list[Message]:
        self._ready = False
        self._hub.meter.resets[reason.value] += 1
        self._go_to_head()
        if self._wants_snapshot:
            self._content = _Content()
        return [wire.reset_message(reason.value, snapshot=self._wants_snapshot)]

    def _begin_anew(self, reason: ResetReason) -> list[Message]:
        # The tables may be others than those of the first greeting.
        return [self._hello(), *self._reset(reason)]

    async def _follow(self) -> list[Message]:
        found = self._hub.after(self._epoch, self._place)
        if isinstance(found, ResetReason):
            return self._begin_anew(found)
        messages: list[Message] = []
        was_live = self._ready
        for entry, message in found:
            try:
                messages += await self._left(entry, message)
            except ViewVoid:
                return [*messages, *self._begin_anew(ResetReason.START)]
            self._place, self._position = entry.seq, message.position or ""
        if found and was_live:
            self._seen = found[0][0].time
        # Not only when nothing comes: under steady writes that would be never.
        if not self._ready and (not found or self._is_at(self._hub.head.offset)):
            self._ready = True
            messages.append(wire.ready_message(self._position))
        return messages

    def _is_at(self, offset: int) -> bool:
        return self._place >= sequence(offset, None)

    async def _left(self, entry: Entry, message: Message) -> list[Message]:
        """What the filter leaves of a part: at most one message."""
        if self._sieve is None:
            return [message]
        left = await self._hub.sieves.left(self._sieve, entry)
        return [] if left is None else [left]

    async def _left_of(self, changes: bytes) -> bytes:
        """What the filter leaves of encoded changes."""
        if self._sieve is None:
            return changes
        if not self._sieve.is_costly:
            return self._sieve.sift_changes(changes)
        return await asyncio.to_thread(self._sieve.sift_changes, changes)

    async def _content_step(self, content: _Content) -> list[Message]:
        try:
            if content.tables is None:
                return await self._make_tables(content)
            if content.tables:
                return await self._send_rows(content, content.tables[-1])
        except ReaderStopped:
            # The next reader goes on where this one stopped, or its epoch tells us to begin anew.
            await asyncio.sleep(_RETRY_SECONDS)
            return (await self._up_to(None))[0]
        except (UnknownTable, MalformedPosition):
            # The table is gone, or another one. The pause is for one that only looks so each time.
            await asyncio.sleep(_RETRY_SECONDS)
            return self._begin_anew(ResetReason.START)
        # Until the client is told that it is live, even the changes are content.
        messages, reached = await self._up_to(None)
        if self._content is not content or not reached:
            return messages
        self._content = None
        return messages + await self._follow()

    async def _make_tables(self, content: _Content) -> list[Message]:
        wanted = self._wanted_tables()
        made = await self._hub.made(wanted)
        if self._wanted_tables() != wanted:
            # A table has come or gone since we looked, and the answer may lack it.
            return []
        position = Position.parse(made.position)
        # The client holds nothing yet: what led to this state need not be sent.
        self._epoch, self._place = position.epoch, sequence(position.offset, None)
        self._position = made.position
        content.tables = wanted[::-1]
        return content.message(await self._left_of(bytes(made.changes)[1:-1]))

    def _wanted_tables(self) -> list[str]:
        names = [table.name for table in self._hub.head.tables]
        return [name for name in names if self._sieve is None or self._sieve.filter.takes(name)]

    async def _send_rows(self, content: _Content, table: str) -> list[Message]:
        if content.rows is None:
            content.rows = await self._hub.rows(table, after=content.after, limit=_CHUNK_ROWS)
        rows = content.rows
        # First everything up to the state the rows belong to: then they fit what the client holds.
        messages, reached = await self._up_to(Position.parse(rows.position))
        if self._content is not content or not reached:
            return messages
        content.rows, content.after = None, rows.next
        if rows.next is None:
            content.next_table()
        return messages + content.message(await self._left_of(rows.inserts))

    async def _up_to(self, position: Position | None) -> tuple[list[Message], bool]:
        """Sends some of the changes up to a position, as content without positions.

        Returns:
            The messages, and whether these were all: there may be more than memory should hold.
        """
        target = self._hub.head.offset if position is None else position.offset
        found = self._hub.after(self._epoch, self._place, until=sequence(target, None))
        if position is not None and position.epoch != self._epoch:
            found = ResetReason.UNKNOWN_EPOCH
        if isinstance(found, ResetReason):
            return self._begin_anew(found), False
        messages: list[Message] = []
        for entry, message in found:
            if wire.has_schema_change(entry.tail):
                # The tables being sent may not be there any more, or not the same.
                return [*messages, *self._begin_anew(ResetReason.START)], False
            messages += map(_without_position, await self._left(entry, message))
            self._place, self._position = entry.seq, str(entry.position)
        return messages, not found or self._is_at(target)


def _without_position(message: Message) -> Message:
    assert message.position is not None
    head = b'{"type":"changes","position":"' + message.position.encode() + b'",'
    return Message("changes", None, b'{"type":"changes",' + message.data[len(head) :])


class _Content:
    """How far the content has been sent."""

    def __init__(self) -> None:
        # Names of the tables still to be sent, the current one last; None before they are known.
        self.tables: list[str] | None = None
        self.after: str | None = None
        # Rows that wait until the changes before them are sent.
        self.rows: Rows | None = None
        self._part = 0

    def next_table(self) -> None:
        """The current table is complete."""
        assert self.tables is not None
        self.tables.pop()
        self.after = None

    def message(self, changes: bytes) -> list[Message]:
        """Wraps encoded changes; none for none."""
        if not changes:
            return []
        tail = wire.changes_tail(
            time=None, commits=None, part=self._part, last=False, changes=changes
        )
        self._part += 1
        return [wire.changes_message(tail, None)]
