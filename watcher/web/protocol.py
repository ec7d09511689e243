"""uvicorn's WebSocket protocol with two limits that an application behind it cannot set.

A client that stops reading keeps its connection for ever: the application gives up and returns,
but the transport closes only after its buffer is empty. And control frames and empty fragments
never become messages, so the application cannot count them. Pass `ws=GuardedWebSocket` to uvicorn.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class GuardedWebSocket(WebSocketsSansIOProtocol):
    """Drops connections that stand still, and closes those that send too much."""

    stall_limit: ClassVar[float] = 30.0
    """Seconds after which a connection is dropped whose buffer has not drained."""
    inbound_limit: ClassVar[int] = 256 * 1024
    """Bytes a client may send within a second."""

    _stalled: asyncio.TimerHandle | None = None
    _window: float = 0.0
    _received: int = 0

    def pause_writing(self) -> None:
        """The buffer is full: from now on the client has `stall_limit` seconds."""
        super().pause_writing()
        self._stop_timer()
        self._stalled = self.loop.call_later(self.stall_limit, self.transport.abort)

    def resume_writing(self) -> None:
        """The buffer has drained."""
        self._stop_timer()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whichever side."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts what comes in before it is parsed."""
        now = self.loop.time()
        if now - self._window >= 1.0:
            self._window, self._received = now, 0
        self._received += len(data)
        if self._received > self.inbound_limit:
            self._close_flooding()
        else:
            super().data_received(data)

    def _close_flooding(self) -> None:
        if self.handshake_complete and not self.close_sent and not self.transport.is_closing():
            self.conn.fail(1008, "too much data")
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
