"""The library's face: a database's changesets as an asynchronous iterator."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Collection
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from watcher import wire
from watcher.changes import ChangeSet, LargeValue, Op, Position, Table, Value
from watcher.errors import HubClosed, ProtocolError
from watcher.history import Limits
from watcher.hub import Filter, Hub, Status, Subscription
from watcher.sqlite.exclusion import Exclusion
from watcher.sqlite.options import HoldLimits


def watch(
    path: str | os.PathLike[str],
    *,
    tables: Collection[str] | None = None,
    columns: Collection[str] | None = None,
    ops: Collection[Op | str] | None = None,
    where: str | None = None,
    exclude: Collection[str] = (),
    since: Position | str | None = None,
    snapshot: bool = False,
    state: str | os.PathLike[str] | None = None,
    poll: float | None = None,
    limits: Limits | None = None,
    hold: HoldLimits | None = None,
) -> Watch:
    """Watches a SQLite database and yields what each commit of any program did to it.

    Use it as `async for changeset in watch("app.db")`, or as `async with watch("app.db") as stream`
    where the iteration ends before the program does. A process of its own reads the file; this one
    does not touch it.

    Args:
        path: the database file, which must exist.
        tables: names of the tables wanted, None for all.
        columns: names of the columns wanted, each `column` or `table.column`, None for all; those
            of a key always come.
        ops: of `insert`, `update` and `delete` those wanted, None for all.
        where: a SQL expression over the columns of a row, None for all rows; one that comes to
            fulfil it arrives as an insert, one that no longer does as a delete.
        exclude: names of tables, and of columns as `table.column`, that do not exist for this
            watching: nothing of them is sent or kept in the history. With other names than last
            time a `state` begins anew.
        since: position of the last changeset that was dealt with, to get all later ones; needs the
            same `state` as then. None begins at the present.
        snapshot: yield the whole content first, where there is no position to go on from:
            changesets without position, the first with `reset`, then an empty one with the position
            reached.
        state: directory for what is known of the database; None for a temporary one, which is
            removed at the end.
        poll: seconds between two looks through a connection; None reads raw and waits for events,
            where the system allows it.
        limits: how much history to keep in `state`.
        hold: how far a write-ahead log may be kept from being restarted while the watching is
            behind a fast writer, so that each commit can still be told from the next.

    Raises (when the iteration begins):
        DatabaseUnavailable: there is no database at the path, or it cannot be read.
        StateUnavailable: the state directory cannot be used.
        MalformedPosition: `since` is no position.
        UnknownTable: a table is named that is not watched.
        BadFilter: `columns` or `where` do not fit the tables; unknown `ops` are a fault at once.
    """
    return Watch(
        Path(path),
        wanted=Filter.of(tables=tables, columns=columns, ops=ops, where=where),
        exclusion=Exclusion.of(exclude=exclude),
        since=None if since is None else str(since),
        snapshot=snapshot,
        state=None if state is None else Path(state),
        poll=poll,
        limits=limits,
        hold=hold,
    )


class Watch:
    """The stream `watch` returns; iterate it, or enter it with `async with`."""

    # Also where the arguments were wrong and `__init__` was not run.
    _hub: Hub | None = None

    def __init__(
        self,
        path: Path,
        *,
        wanted: Filter,
        exclusion: Exclusion,
        since: str | None,
        snapshot: bool,
        state: Path | None,
        poll: float | None,
        limits: Limits | None,
        hold: HoldLimits | None,
    ) -> None:
        self._path = path
        self._wanted = wanted
        self._exclusion = exclusion
        self._since = since
        self._snapshot = snapshot
        self._state = state
        self._poll = poll
        self._limits = limits
        self._hold = hold
        self._subscription: Subscription | None = None
        self._step: asyncio.Future[list[wire.Message]] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._remove_state: weakref.finalize[..., Any] | None = None
        self._closed = False
        self._due: deque[ChangeSet] = deque()
        self._assembler = wire.Assembler()

    @property
    def status(self) -> Status:
        """What state the watched file is in; `ok` while all is well."""
        if self._hub is None:
            return Status("starting", "the watching has not begun")
        return self._hub.status

    @property
    def watched_tables(self) -> list[Table]:
        """The tables that are watched, as they are now; empty before the iteration begins."""
        return [] if self._hub is None else self._hub.tables()

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChangeSet:
        if self._closed:
            raise StopAsyncIteration
        if self._subscription is None:
            await self._start()
        hub, subscription = self._hub, self._subscription
        assert subscription is not None
        while not self._due:
            try:
                messages = await self._messages(subscription)
            except HubClosed:
                raise StopAsyncIteration from None
            assert hub is not None
            self._take(messages, hub)
        return self._due.popleft()

    async def _messages(self, subscription: Subscription) -> list[wire.Message]:
        # Who gives up waiting, after a time-out for example, finds them when it asks again.
        if self._step is None:
            self._step = asyncio.ensure_future(subscription.next())
            self._step.add_done_callback(_retrieve)
        step = self._step
        try:
            return await asyncio.shield(step)
        finally:
            if step.done():
                self._step = None

    def _take(self, messages: list[wire.Message], hub: Hub) -> None:
        for message in messages:
            changeset = self._assembler.take(wire.decode_object(message.data))
            if changeset is not None:
                self._due.append(_whole(changeset, hub))

    async def _start(self) -> None:
        if self._subscription is not None:
            return
        state = self._state or Path(tempfile.mkdtemp(prefix="sqlite-watcher-"))
        hub = Hub(
            self._path,
            state=state,
            poll=self._poll,
            limits=self._limits,
            hold=self._hold,
            exclusion=self._exclusion,
        )
        if self._state is None:
            # With the hub, which outlives a stream that nobody closes, or at the program's end.
            self._remove_state = weakref.finalize(hub, shutil.rmtree, state, ignore_errors=True)
        self._hub, self._loop = hub, asyncio.get_running_loop()
        _open[hub] = None
        try:
            await hub.__aenter__()
            # Which tables there are is known only with the first copy.
            await hub.started()
            self._subscription = hub.subscribe(
                since=self._since, snapshot=self._snapshot, wanted=self._wanted
            )
        except BaseException:
            await self._end()
            raise

    async def aclose(self) -> None:
        """Stops watching and ends the iteration; idempotent."""
        self._closed = True
        await self._end()

    async def _end(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
        hub, self._hub = self._hub, None
        if hub is not None:
            await _close(hub, self._remove_state)

    def __del__(self) -> None:
        # A `break` leaves a bare `async for` without any way to wait for the end of the watching.
        hub, loop = self._hub, self._loop
        if hub is None or loop is None or hub.closed:
            return
        if not loop.is_closed():
            _close_soon(loop, hub, self._remove_state)
        elif hub.reader_pid is None:
            return  # its end came with that of the loop
        else:
            with suppress(ProcessLookupError):
                os.kill(hub.reader_pid, signal.SIGTERM)
            del _open[hub]
        warnings.warn(
            f"the watching of {self._path} was not closed; leave the iteration only within "
            "`async with watch(...) as stream`, or await its aclose()",
            ResourceWarning,
            stacklevel=1,
            source=self,
        )


# The hubs of all streams, each with the task that closes it where nobody else does. An event loop
# refers to its tasks weakly: without this a hub would be collected with its stream, at work.
_open: dict[Hub, asyncio.Task[None] | None] = {}


def _close_soon(
    loop: asyncio.AbstractEventLoop, hub: Hub, remove_state: Callable[[], object] | None
) -> None:
    def begin() -> None:
        _open[hub] = loop.create_task(_close(hub, remove_state))

    with suppress(RuntimeError):  # another thread has closed the loop meanwhile
        # The garbage collector may run in any thread.
        loop.call_soon_threadsafe(begin)


async def _close(hub: Hub, remove_state: Callable[[], object] | None) -> None:
    with ExitStack() as stack:
        if remove_state is not None:
            stack.callback(remove_state)
        stack.callback(_open.pop, hub, None)
        await hub.aclose()


def _retrieve(step: asyncio.Future[list[wire.Message]]) -> None:
    # Nobody may be waiting any more for it to say that the hub is closed.
    if not step.cancelled():
        step.exception()


def _whole(changeset: ChangeSet, hub: Hub) -> ChangeSet:
    large = wire.large_values(changeset)
    return wire.with_values(changeset, {v: _large(hub, v) for v in large}) if large else changeset


def _large(hub: Hub, value: LargeValue) -> Value:
    found = hub.value(value.sha256)
    if found is None:
        raise ProtocolError(f"the large value {value.sha256} is no longer kept")
    return wire.large_content(*found)
