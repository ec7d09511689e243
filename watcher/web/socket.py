"""The WebSocket endpoint: hands a subscription's messages to one client.

What to send is decided by the subscription; this module owns the connection: its parameters, its
limits and its close codes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass

from starlette.datastructures import QueryParams
from starlette.websockets import WebSocket, WebSocketDisconnect

from watcher import wire
from watcher.errors import HubClosed, MalformedPosition, UnknownTable, WatchError
from watcher.hub import Hub, Message, Subscription

SEND_TIMEOUT = 10.0
"""Seconds a client may take to make room for one frame."""
MAX_INBOUND_RATE = 100
"""Messages a client may send within a second; what they say is ignored."""
MAX_FRAME = 512 * 1024
"""Bytes of messages joined in one frame; a single longer message still goes in one."""

POLICY_VIOLATION = 1008
INTERNAL_ERROR = 1011
SERVICE_RESTART = 1012
TOO_SLOW = 4008
BAD_REQUEST = 4502

_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_SWITCHES = {"since", "snapshot", "tables"}


class BadParameter(WatchError):
    """A parameter of the request cannot be understood.

    Args:
        name: the parameter.
        detail: what is wrong with it.
    """

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(name, detail)
        self.name = name
        self.detail = detail

    def __str__(self) -> str:
        return f"parameter {self.name[:80]!r}: {self.detail}"


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """What a client asks for.

    Args:
        since: position to go on from, None to start now.
        snapshot: whether all rows come first.
        tables: names of the tables wanted, None for all.
    """

    since: str | None
    snapshot: bool
    tables: frozenset[str] | None

    @classmethod
    def parse(cls, parameters: QueryParams, known: Collection[str]) -> StreamRequest:
        """Reads the parameters of a request.

        Args:
            parameters: the query.
            known: names of the watched tables; one that holds a comma is taken as a whole.

        Raises:
            BadParameter: one is unknown, given twice or malformed.
        """
        for name in parameters:
            if name not in _SWITCHES:
                raise BadParameter(name, "there is none of this name")
        snapshot = _single(parameters, "snapshot")
        if snapshot is not None and snapshot not in _FLAGS:
            raise BadParameter("snapshot", "must be true or false")
        tables: set[str] = set()
        for text in parameters.getlist("tables"):
            tables.update([text] if text in known else text.split(","))
        return cls(
            since=_single(parameters, "since"),
            snapshot=_FLAGS[snapshot or "false"],
            tables=frozenset(tables) if "tables" in parameters else None,
        )


@dataclass(frozen=True, slots=True)
class Closing:
    """How a connection is to end.

    Args:
        code: close code.
        reason: a few words for a person, at most 123 bytes.
    """

    code: int
    reason: str


async def stream(hub: Hub, websocket: WebSocket, *, send_timeout: float = SEND_TIMEOUT) -> None:
    """Serves one client until either side ends.

    Args:
        hub: the watched database.
        websocket: the connection, not yet accepted.
        send_timeout: seconds a client may take to make room for one frame.
    """
    with suppress(WebSocketDisconnect):  # the client has gone; there is nobody to tell
        await websocket.accept()
        try:
            closing = await _serve(hub, websocket, send_timeout)
        except Exception:
            # The server logs it; the client shall come back.
            await _close(websocket, Closing(INTERNAL_ERROR, "internal error"), send_timeout)
            raise
        if closing is not None:
            await _close(websocket, closing, send_timeout)


async def _serve(hub: Hub, websocket: WebSocket, send_timeout: float) -> Closing | None:
    try:
        known = {table.name for table in hub.tables()}
        wanted = StreamRequest.parse(websocket.query_params, known)
        subscription = hub.subscribe(
            since=wanted.since, snapshot=wanted.snapshot, tables=wanted.tables
        )
    except (BadParameter, MalformedPosition, UnknownTable) as error:
        message = wire.error_message(BAD_REQUEST, str(error), temporary=False)
        await websocket.send_text(f"[{message.decode()}]")
        return Closing(BAD_REQUEST, "bad request")
    with subscription:
        return await _converse(subscription, websocket, send_timeout)


async def _converse(
    subscription: Subscription, websocket: WebSocket, send_timeout: float
) -> Closing | None:
    """Sends and receives side by side; the first of the two to end decides how it ends."""
    async with asyncio.TaskGroup() as group:
        sender = group.create_task(_send(subscription, websocket, send_timeout))
        receiver = group.create_task(_drain(websocket))
        done, rest = await asyncio.wait({sender, receiver}, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
    return sender.result() if sender in done else receiver.result()


async def _send(
    subscription: Subscription, websocket: WebSocket, send_timeout: float
) -> Closing | None:
    try:
        while True:
            for frame in frames(await subscription.next()):
                async with asyncio.timeout(send_timeout):
                    await websocket.send_text(frame)
    except HubClosed:
        return Closing(SERVICE_RESTART, "the service is stopping")
    except TimeoutError:
        return Closing(TOO_SLOW, "too slow; come back with your position")
    except (WebSocketDisconnect, RuntimeError):
        # uvicorn raises RuntimeError where it has begun to close the connection by itself.
        return None


async def _drain(websocket: WebSocket) -> Closing | None:
    clock = asyncio.get_running_loop().time
    window, count = clock(), 0
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        if clock() - window >= 1.0:
            window, count = clock(), 0
        count += 1
        if count > MAX_INBOUND_RATE:
            return Closing(POLICY_VIOLATION, "too many messages")


async def _close(websocket: WebSocket, closing: Closing, patience: float) -> None:
    """Says why, if the client makes room for it in time; the server then drops the connection."""
    with suppress(TimeoutError, RuntimeError):
        async with asyncio.timeout(patience):
            await websocket.close(closing.code, closing.reason)


def frames(messages: list[Message], limit: int = MAX_FRAME) -> Iterator[str]:
    """Joins messages into JSON arrays of at most `limit` bytes, one message at least in each."""
    batch: list[bytes] = []
    size = 0
    for message in messages:
        if batch and size + len(message.data) > limit:
            yield _array(batch)
            batch, size = [], 0
        batch.append(message.data)
        size += len(message.data)
    if batch:
        yield _array(batch)


def _array(batch: list[bytes]) -> str:
    return (b"[" + b",".join(batch) + b"]").decode()


def _single(parameters: QueryParams, name: str) -> str | None:
    values = parameters.getlist(name)
    if len(values) > 1:
        raise BadParameter(name, "is given more than once")
    return values[0] if values else None
