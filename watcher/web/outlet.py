"""Where the messages of a WebSocket client go: through ASGI, or as ready frames where it can.

ASGI encodes a text anew for each client. `GuardedWebSocket` therefore offers itself in the scope
(`EXTENSION`), to take frames that were made once for all clients; under another server, or behind a
middleware that replaces the scope, ASGI is the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from starlette.websockets import WebSocket
from websockets.frames import Frame, Opcode

from watcher.hub import Message, Outlet

EXTENSION = "watcher.frames"
"""Name under which a server offers `FrameSink` among the extensions of a scope."""


class FrameSink(Protocol):
    """What a server offers that takes whole frames."""

    def write_frame(self, frame: bytes) -> bool:
        """Writes a frame if there is room for it.

        Raises:
            ConnectionError: the connection is closing.
        """

    async def has_room(self) -> None:
        """Waits until there is room."""


def text_frame(messages: Sequence[Message]) -> bytes:
    """Makes the frame that carries messages as a JSON array, RFC 6455 section 5.2."""
    return Frame(Opcode.TEXT, array(messages)).serialize(mask=False)


def array(messages: Sequence[Message]) -> bytes:
    """The JSON array of messages."""
    return b"[" + b",".join([message.data for message in messages]) + b"]"


class _Direct:
    """Writes frames of a group; see `hub.Outlet`."""

    encode = staticmethod(text_frame)

    def __init__(self, sink: FrameSink) -> None:
        self._sink = sink

    def write(self, data: bytes) -> bool:
        try:
            return self._sink.write_frame(data)
        except ConnectionError:
            # Its own task finds out too, and ends.
            return False


class SocketOutlet:
    """Sends messages to one client.

    Args:
        websocket: the connection, accepted.
        sink: what takes frames, None where only ASGI does.
    """

    def __init__(self, websocket: WebSocket, sink: FrameSink | None) -> None:
        self._websocket = websocket
        self._sink = sink
        self.direct: Outlet | None = None if sink is None else _Direct(sink)

    async def send(self, messages: Sequence[Message]) -> None:
        """Sends messages in one frame, and waits until there is room for another.

        Raises:
            ConnectionError: the connection is closing.
            WebSocketDisconnect: it is closed.
        """
        if self._sink is None:
            await self._websocket.send_text(array(messages).decode())
            return
        # The frame is not kept while it waits: the transport holds what it could not send of it.
        while not self._sink.write_frame(text_frame(messages)):
            await self._sink.has_room()
        await self._sink.has_room()


def outlet_of(websocket: WebSocket) -> SocketOutlet:
    """The outlet of a connection that has been accepted."""
    return SocketOutlet(websocket, websocket.scope.get("extensions", {}).get(EXTENSION))
