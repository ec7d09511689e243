"""The WebSocket endpoint: hands a subscription's messages to one client.

What to send is decided by the subscription; this module owns the connection: its parameters, its
limits and its close codes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from starlette.websockets import WebSocket, WebSocketDisconnect

from watcher import wire
from watcher.errors import BadFilter, HubClosed, MalformedPosition, UnknownTable, WatchError
from watcher.hub import Hub, Message, Subscription
from watcher.web.outlet import SocketOutlet, outlet_of
from watcher.web.request import BadParameter, StreamRequest

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
        asked = StreamRequest.parse(websocket.query_params, known)
        subscription = hub.subscribe(
            since=asked.since, snapshot=asked.snapshot, wanted=asked.wanted
        )
    except (BadParameter, MalformedPosition, UnknownTable, BadFilter) as error:
        return await _refuse(websocket, error)
    outlet = outlet_of(websocket)
    with subscription, hub.meter.connected("websocket"):
        closing = await _converse(subscription, websocket, outlet, send_timeout)
    if closing is not None and closing.code == TOO_SLOW:
        hub.meter.slow += 1
    return closing


async def _refuse(websocket: WebSocket, error: WatchError) -> Closing:
    message = wire.error_message(BAD_REQUEST, str(error), temporary=False)
    await websocket.send_text(f"[{message.decode()}]")
    return Closing(BAD_REQUEST, "bad request")


async def _converse(
    subscription: Subscription, websocket: WebSocket, outlet: SocketOutlet, send_timeout: float
) -> Closing | None:
    """Sends and receives side by side; the first of the two to end decides how it ends."""
    async with asyncio.TaskGroup() as group:
        sender = group.create_task(_send(subscription, websocket, outlet, send_timeout))
        receiver = group.create_task(_drain(websocket))
        done, rest = await asyncio.wait({sender, receiver}, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
    return sender.result() if sender in done else receiver.result()


async def _send(
    subscription: Subscription, websocket: WebSocket, outlet: SocketOutlet, send_timeout: float
) -> Closing | None:
    try:
        while True:
            for batch in batches(await subscription.next(outlet.direct)):
                async with asyncio.timeout(send_timeout):
                    await outlet.send(batch)
            subscription.delivered()
    except HubClosed:
        return Closing(SERVICE_RESTART, "the service is stopping")
    except BadFilter as error:
        return await _refuse(websocket, error)
    except TimeoutError:
        return Closing(TOO_SLOW, "too slow; come back with your position")
    except (WebSocketDisconnect, RuntimeError, ConnectionError):
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


def batches(messages: list[Message], limit: int = MAX_FRAME) -> Iterator[list[Message]]:
    """Splits messages into frames of at most `limit` bytes, one message at least in each."""
    batch: list[Message] = []
    size = 0
    for message in messages:
        if batch and size + len(message.data) > limit:
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += len(message.data)
    if batch:
        yield batch
