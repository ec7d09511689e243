"""uvicorn's two protocols with limits and answers that an application behind them cannot give.

A client that stops reading keeps its connection for ever: the application gives up and returns,
but the transport closes only after its buffer is empty. And control frames and empty fragments
never become messages, so the application cannot count them. A handshake that cannot be read never
reaches it, nor does a request that is begun and not gone on with. Pass `http=GuardedHttp` and
`ws=GuardedWebSocket` to uvicorn.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from watcher.web.outlet import EXTENSION

_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class _DropsStalled(asyncio.Protocol):
    """Drops connections that stand still while there is something to send."""

    stall_limit: ClassVar[float] = 30.0
    """Seconds after which a connection is dropped whose buffer has not drained."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _stalled: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """The buffer is full: from now on the client has `stall_limit` seconds."""
        super().pause_writing()
        self._stop_stall_timer()
        self._stalled = self.loop.call_later(self.stall_limit, self.transport.abort)

    def resume_writing(self) -> None:
        """The buffer has drained."""
        self._stop_stall_timer()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whichever side."""
        self._stop_stall_timer()
        super().connection_lost(exc)

    def _stop_stall_timer(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


class GuardedHttp(_DropsStalled, H11Protocol):
    """Closes connections whose request, which may ask for a WebSocket, does not become complete."""

    head_limit: ClassVar[float] = 10.0
    """Seconds a client may take for a request without its body."""

    connection_limit: ClassVar[int | None] = None
    """Connections of any kind that are held at once; further ones are closed. None for any."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """From now on the client has `head_limit` seconds."""
        super().connection_made(transport)
        if self.connection_limit is not None and len(self.connections) > self.connection_limit:
            # Before it has asked for anything: descriptors are what there are too few of.
            self.transport.write(_FULL)
            self.transport.close()
            return
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Looks whether a request is complete, or another one has begun."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._waiting is None:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whichever side."""
        self._stop_timer()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self._waiting = self.loop.call_later(self.head_limit, self.timeout_keep_alive_handler)

    def _stop_timer(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


def guarded_http(connection_limit: int) -> type[GuardedHttp]:
    """`GuardedHttp` for a server that holds at most so many connections."""
    return type("BoundedHttp", (GuardedHttp,), {"connection_limit": connection_limit})


class GuardedWebSocket(_DropsStalled, WebSocketsSansIOProtocol):
    """Closes connections that send too much, and takes frames that are made already."""

    inbound_limit: ClassVar[int] = 256 * 1024
    """Bytes a client may send within a second."""

    linger_limit: ClassVar[float] = 1.0
    """Seconds for which a client that is refused may go on sending. What comes is thrown away;
    to close with it unread would take back the close code that is on its way."""

    _window: float = 0.0
    _received: int = 0
    _refused: bool = False

    def data_received(self, data: bytes) -> None:
        """Counts what comes in before it is parsed."""
        if self._refused:
            return
        now = self.loop.time()
        if now - self._window >= 1.0:
            self._window, self._received = now, 0
        self._received += len(data)
        if self._received > self.inbound_limit:
            self._close_flooding()
            return
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.close_sent:
            self._refuse_handshake()

    def send_receive_event_to_app(self) -> None:
        """Refuses text that is not UTF-8; uvicorn would log a traceback for each."""
        if self.curr_msg_data_type == "text" and not _is_utf8(b"".join(self.frames)):
            self.frames = []
            if not self.close_sent:
                self.conn.send_close(1007)
                self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    async def run_asgi(self) -> None:
        """Runs the application, and offers it to take frames that are made already."""
        self.scope["extensions"][EXTENSION] = self  # type: ignore[assignment]  # ASGI allows any
        await super().run_asgi()

    def write_frame(self, frame: bytes) -> bool:
        """Writes a whole frame if there is room for it.

        Raises:
            ConnectionError: the connection is closing.
        """
        if self.close_sent or self.disconnected or self.transport.is_closing():
            raise ConnectionError("the connection is closing")
        if not self.writable.is_set():
            return False
        self.transport.write(frame)
        return True

    async def has_room(self) -> None:
        """Waits until there is room for a frame."""
        await self.writable.wait()

    async def send(self, message: Any) -> None:
        """Sends what the application says."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            # The refusal is the end of the handshake; without this it would be logged as an error.
            self.handshake_complete = True

    def _refuse_handshake(self) -> None:
        """Answers a request that websockets cannot take: uvicorn would leave it unanswered."""
        self.handshake_complete = self.close_sent = True
        # Where it can, websockets has prepared the answer, such as 414 for too long an address.
        answer = b"".join(self.conn.data_to_send()) or _BAD_REQUEST
        self.transport.write(answer)
        self.transport.close()

    def handle_parser_exception(self) -> None:
        """Closes after something that is not to be parsed, with the code that says so."""
        assert self.conn.close_sent is not None
        code, reason = self.conn.close_sent.code, self.conn.close_sent.reason
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self._refuse()

    def _close_flooding(self) -> None:
        if not self.handshake_complete or self.close_sent or self.transport.is_closing():
            self.transport.close()
            return
        self.conn.fail(1008, "too much data")
        self._refuse()

    def _refuse(self) -> None:
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = self._refused = True
        # The application may have stopped it at the last message.
        self.transport.resume_reading()
        # As long as there is this timer uvicorn leaves the connection open.
        self.close_timer = self.loop.call_later(self.linger_limit, self.transport.close)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
