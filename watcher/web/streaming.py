"""Messages as the body of an HTTP answer that does not end, or ends when all has been told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from watcher import wire
from watcher.errors import BadFilter, HubClosed
from watcher.hub import Hub, Message, Subscription

SEND_TIMEOUT = 10.0
"""Seconds a client may take to make room for what is sent at once."""
BAD_REQUEST = 4502
"""Code of an error that coming back does not mend."""

_JOINED_BYTES = 256 * 1024


class MessageStream(Response):
    """Sends the messages of a subscription.

    Args:
        hub: whose subscription it is.
        subscription: taken over, and closed at the end.
        encode: makes the bytes of a message.
        transport: what the clients of this kind are counted as.
        media_type: of the whole.
        first: sent before the first message.
        until: type of the message after which the answer is complete; None for never.
        headers: of the answer, beside the type.
        send_timeout: seconds a client may take to make room.
    """

    def __init__(
        self,
        hub: Hub,
        subscription: Subscription,
        encode: Callable[[Message], bytes],
        *,
        transport: str,
        media_type: str,
        first: bytes = b"",
        until: str | None = None,
        headers: Mapping[str, str] | None = None,
        send_timeout: float = SEND_TIMEOUT,
    ) -> None:
        super().__init__(media_type=media_type, headers=headers)
        # Of a body without end the length is not known.
        del self.headers["content-length"]
        self._hub = hub
        self._subscription = subscription
        self._encode = encode
        self._transport = transport
        self._first = first
        self._until = until
        self._send_timeout = send_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        with self._subscription, self._hub.meter.connected(self._transport):
            async with asyncio.TaskGroup() as group:
                sender = group.create_task(self._send(send))
                leaving = group.create_task(_until_gone(receive))
                await asyncio.wait({sender, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if sender.done() and not sender.exception() and not sender.result():
                    # It made no room; the server drops the connection, there is no other end.
                    await leaving
                leaving.cancel()
                sender.cancel()

    async def _send(self, send: Send) -> bool:
        """Sends until the end; False where the client made no room in time."""
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        try:
            if self._first:
                await self._body(send, self._first)
            while not await self._batch(send, await self._subscription.next()):
                pass
        except HubClosed:
            pass  # the end of the body says it: clients come back
        except BadFilter as error:
            message = wire.error_message(BAD_REQUEST, str(error), temporary=False)
            await self._body(send, self._encode(Message("error", None, message)))
        except TimeoutError:
            self._hub.meter.slow += 1
            return False
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return True

    async def _batch(self, send: Send, messages: list[Message]) -> bool:
        """Sends messages; True where the last one of all is among them."""
        joined: list[bytes] = []
        size = 0
        for message in messages:
            joined.append(self._encode(message))
            size += len(joined[-1])
            if size >= _JOINED_BYTES:
                await self._body(send, b"".join(joined))
                joined, size = [], 0
        if joined:
            await self._body(send, b"".join(joined))
        self._subscription.delivered()
        return any(message.type == self._until for message in messages)

    async def _body(self, send: Send, data: bytes) -> None:
        async with asyncio.timeout(self._send_timeout):
            await send({"type": "http.response.body", "body": data, "more_body": True})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
