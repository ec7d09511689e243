"""Follows a service over its WebSocket, however often the connection breaks."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import warnings
from collections import deque
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from types import TracebackType
from typing import Any, NoReturn, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from watcher import wire
from watcher.changes import ChangeSet, LargeValue, Op, Position, Value
from watcher.client.address import Address, query
from watcher.client.backoff import Backoff
from watcher.client.values import ValueGone, fetch_value, is_final
from watcher.errors import ProtocolError, Refused, WatchError

SILENCE_SECONDS = 40.0
"""After so long without a message the peer is dead: heartbeats come every 15 s."""
CLOSE_SECONDS = 1.0
"""How long to wait for the other side when closing."""

# Where one is needed the service refuses at once, instead of waiting for it for 10 seconds.
_FIRST_MESSAGE = '{"type":"auth","token":""}'
_FINAL_CODES = range(4500, 5000)
# The position in `hello` says where the service stands, not what has been received.
_POSITIONED = frozenset(("ready", "changes", "heartbeat"))

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Status:
    """How the following goes.

    Args:
        state: `connecting` while there is no connection, else the state of the watched file as in
            `status` messages, `ok` while all is well.
        detail: one sentence for a person; empty where all is well.
    """

    state: str
    detail: str


def subscribe(
    url: str,
    *,
    tables: Collection[str] | None = None,
    columns: Collection[str] | None = None,
    ops: Collection[Op | str] | None = None,
    where: str | None = None,
    since: Position | str | None = None,
    snapshot: bool = False,
    token: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> RemoteWatch:
    """Follows a service and yields what each commit did, as `watch()` does beside the file.

    Use it as `async with subscribe(url) as stream`, which waits until the service has answered, or
    as `async for changeset in subscribe(url)`. It reads only while it is iterated, so a slow
    iteration costs neither side memory. It comes back by itself after every break, from where it
    was: each changeset comes once and in order, or a changeset with `reset` says why not.

    Args:
        url: of the service, such as `http://127.0.0.1:8000`, `https://host/db/a.db` or
            `ws://host/ws`.
        tables: names of the tables wanted, None for all.
        columns: names of the columns wanted, each `column` or `table.column`, None for all; those
            of a key always come.
        ops: of `insert`, `update` and `delete` those wanted, None for all.
        where: a SQL expression over the columns of a row, None for all rows; one that comes to
            fulfil it arrives as an insert, one that no longer does as a delete.
        since: position of the last changeset that was dealt with, to get all later ones; of a
            stream with the same filter. None begins at the present.
        snapshot: yield the whole content first, where there is no position to go on from:
            changesets without position, the first with `reset`, then one with the position reached.
        token: what the service asks for, sent as `Authorization: Bearer`.
        tls: for `https` and `wss`, None for the system's certificates.

    Raises:
        ValueError: the address has another form.

    Raises (when the iteration begins, or later):
        Refused: the service refuses for good: no or a wrong token, a filter that does not fit its
            tables, a malformed position.
        ProtocolError: it speaks another protocol, or a large value is no longer kept.
    """
    return RemoteWatch(
        Address.parse(url),
        wanted={"tables": tables, "columns": columns, "ops": ops, "where": where},
        since=Position.parse(since) if isinstance(since, str) else since,
        snapshot=snapshot,
        token=token,
        tls=tls,
    )


class RemoteWatch:
    """The stream `subscribe` returns; iterate it, or enter it with `async with`."""

    # Also where the arguments were wrong and `__init__` was not run.
    _connection: ClientConnection | None = None

    def __init__(
        self,
        address: Address,
        *,
        wanted: dict[str, Any],
        since: Position | None,
        snapshot: bool,
        token: str | None,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._address = address
        self._wanted = wanted
        self._snapshot = snapshot
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._tls = tls
        self._status = Status("connecting", "")
        self._backoff = Backoff()
        self._next_try = 0.0
        # Of what has been received, and of what has been given to whoever iterates. None where
        # nothing can be gone on from: at the beginning, and within content.
        self._received = since
        self._given = since
        self._due: deque[ChangeSet] = deque()
        self._values: dict[LargeValue, Value] = {}
        self._missed: LargeValue | None = None
        self._assembler = wire.Assembler()
        self._greeted = False
        self._heard = False
        self._complaint = ""
        self._closed = False
        self._waiting: asyncio.Timeout | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def position(self) -> Position | None:
        """Where to go on after the changeset that was yielded last.

        None while there is no such place: before the service has answered, and within content.
        """
        return self._given if self._due or self._assembler.is_under_way else self._received

    @property
    def status(self) -> Status:
        """Whether it is connected, and what state the watched file is in."""
        return self._status

    async def __aenter__(self) -> Self:
        with suppress(StopAsyncIteration):
            await self._until_closed(greet=True)
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
        changeset = await self._until_closed()
        assert changeset is not None
        return changeset

    async def aclose(self) -> None:
        """Ends the iteration, for whoever waits as well; idempotent."""
        self._closed = True
        if self._waiting is not None:
            self._waiting.reschedule(asyncio.get_running_loop().time())
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _until_closed(self, *, greet: bool = False) -> ChangeSet | None:
        """Waits for the next changeset, or only for the greeting, and for `aclose()`."""
        self._loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as self._waiting:
                return await (self._greeting() if greet else self._next())
        except TimeoutError:
            assert self._closed  # nobody else lets it run out
            raise StopAsyncIteration from None
        except WatchError:
            self._closed = True
            self._abandon()
            raise
        except asyncio.CancelledError:
            if greet:  # it was not entered, so nobody closes it
                self._abandon()
            raise
        finally:
            self._waiting = None

    async def _greeting(self) -> None:
        while not self._greeted and not self._closed:
            await self._receive()

    async def _next(self) -> ChangeSet:
        # Whatever is waited for here may be cancelled, and be waited for again: only what follows
        # the waiting changes anything.
        while not self._closed:
            if not self._due:
                await self._receive()
                continue
            try:
                changeset = await self._whole(self._due[0])
            except ValueGone:
                self._go_back()
                continue
            self._due.popleft()
            self._given, self._missed = changeset.position, None
            self._values.clear()
            return changeset
        raise StopAsyncIteration

    async def _receive(self) -> None:
        """Takes the next frame, or does something towards there being one."""
        if self._connection is None:
            await self._connect()
            return
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                frame = await self._connection.recv(decode=False)
        except TimeoutError:
            self._failed("the service has fallen silent")
        except ConnectionClosed as error:
            self._disconnected(error)
        else:
            self._take_frame(frame)

    async def _connect(self) -> None:
        await asyncio.sleep(self._next_try - asyncio.get_running_loop().time())
        since = None if self._received is None else str(self._received)
        asked = query(**self._wanted, since=since, snapshot=self._snapshot)
        try:
            connection = await connect(
                self._address.stream(asked),
                additional_headers=self._headers,
                compression=None,  # it costs the service more than it saves
                proxy=None,  # what the environment names is for the program to read
                max_size=None,  # a single change is as large as its row
                ping_interval=None,  # heartbeats do the same
                close_timeout=CLOSE_SECONDS,
                ssl=(self._tls or True) if self._address.is_secure else None,
            )
        except InvalidStatus as error:
            if is_final(error.response.status_code):
                raise _refusal(error) from None
            self._failed(str(error))
        except (OSError, InvalidHandshake) as error:
            self._failed(str(error))
        else:
            self._connection, self._heard, self._complaint = connection, False, ""
            self._assembler.break_off(resumes=since is not None)
            if not self._headers:
                with suppress(ConnectionClosed):  # the next look at it says why
                    await connection.send(_FIRST_MESSAGE)

    def _failed(self, why: str) -> None:
        """Lets go of the connection, if there is one, and says when to try again."""
        self._abandon()
        now = asyncio.get_running_loop().time()
        delay = self._backoff.failed(now)
        self._next_try = now + delay
        self._status = Status("connecting", why)
        _log.info("%s: %s; next try in %.1f s", self._address.host, why, delay)

    def _disconnected(self, error: ConnectionClosed) -> None:
        if error.rcvd is not None and error.rcvd.code in _FINAL_CODES:
            raise Refused(error.rcvd.code, self._complaint or error.rcvd.reason)
        self._failed(self._complaint or str(error))

    def _abandon(self) -> None:
        # A dead peer completes no close, so nobody waits for it.
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.transport.abort()

    def _go_back(self) -> None:
        """Begins again after what was given last: a value of what follows is gone.

        The service then sends the same again, with a value that is kept, or a reset.
        """
        self._abandon()
        self._due.clear()
        self._received = self._given
        self._assembler.break_off(resumes=False)

    def _take_frame(self, frame: bytes) -> None:
        if not self._heard:
            # The service tells the state of the file only where it is another.
            self._heard, self._status = True, Status("ok", "")
        for message in wire.decode_messages(frame):
            try:
                self._take(message)
            except (KeyError, TypeError) as error:
                _malformed(message, error)

    def _take(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "hello":
            self._take_hello(message)
        elif kind == "status":
            self._status = Status(message["state"], message["detail"])
        elif kind == "error":
            self._complaint = message["detail"]
        else:
            self._take_news(message)

    def _take_hello(self, message: dict[str, Any]) -> None:
        if message["protocol"] != wire.PROTOCOL:
            raise ProtocolError(f"the service speaks protocol {message['protocol']!r:.20}")
        self._greeted = True
        self._backoff.well(asyncio.get_running_loop().time())
        if self._received is None and not self._snapshot:
            # The present, at which it begins. All later changes are wanted even if the connection
            # breaks before the first.
            self._received = self._given = Position.parse(message["position"])

    def _take_news(self, message: dict[str, Any]) -> None:
        changeset = self._assembler.take(message)
        if changeset is not None:
            self._due.append(changeset)
            if changeset.position is None:
                # What was held is void now, and what comes has no position yet.
                self._received = None
        if message["type"] in _POSITIONED and message.get("position") is not None:
            self._received = Position.parse(message["position"])

    async def _whole(self, changeset: ChangeSet) -> ChangeSet:
        large = wire.large_values(changeset)
        if not large:
            return changeset
        for value in large - self._values.keys():
            self._values[value] = await self._fetched(value)
        return wire.with_values(changeset, self._values)

    async def _fetched(self, large: LargeValue) -> Value:
        backoff, loop = Backoff(), asyncio.get_running_loop()
        fetch = partial(fetch_value, self._address, large, self._headers, self._tls)
        while True:
            try:
                return await asyncio.to_thread(fetch)
            except (OSError, HTTPException) as error:
                delay = backoff.failed(loop.time())
                _log.info("a large value: %s; next try in %.1f s", error, delay)
            except ValueGone:
                if large == self._missed:
                    detail = f"the large value {large.sha256} is no longer kept"
                    raise ProtocolError(detail) from None
                self._missed = large
                raise
            await asyncio.sleep(delay)

    def __del__(self) -> None:
        connection, loop = self._connection, self._loop
        if connection is None or loop is None or loop.is_closed():
            return
        with suppress(RuntimeError):  # another thread has closed the loop meanwhile
            # The garbage collector may run in any thread.
            loop.call_soon_threadsafe(connection.transport.abort)
        warnings.warn(
            f"the subscription to {self._address.host} was not closed; leave the iteration only "
            "within `async with subscribe(...) as stream`, or await its aclose()",
            ResourceWarning,
            stacklevel=1,
            source=self,
        )


def _malformed(message: dict[str, Any], error: Exception) -> NoReturn:
    raise ProtocolError(f"not a message: {str(message)[:80]}") from error


def _refusal(error: InvalidStatus) -> Refused:
    answer = error.response
    try:
        detail = str(json.loads(answer.body or b"")["detail"])
    except (ValueError, KeyError, TypeError):
        detail = answer.reason_phrase
    return Refused(answer.status_code, detail)
