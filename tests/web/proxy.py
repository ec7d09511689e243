"""A TCP proxy that does to connections what networks do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import repeat


class Proxy:
    """Stands between a client and a server.

    Args:
        port: of the server.
        allowances: for each connection, in turn, how many bytes from the server reach the client
            before it is cut.
        piece: bytes handed on at a time.
        stall: whether a connection whose allowance is used up stays open, and silent.
    """

    def __init__(
        self, port: int, allowances: Iterator[int], *, piece: int = 65536, stall: bool = False
    ) -> None:
        self._port = port
        self._allowances = allowances
        self._piece = piece
        self._stall = stall
        self.port = 0
        self.cuts = 0
        self.connections = 0

    @property
    def url(self) -> str:
        """The address of the service behind it."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handles one connection."""
        self.connections += 1
        allowance = next(self._allowances)
        try:
            with suppress(OSError):
                await self._between(reader, writer, allowance)
        finally:
            writer.transport.abort()

    async def _between(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, allowance: int
    ) -> None:
        upstream, to_server = await asyncio.open_connection("127.0.0.1", self._port)
        up = asyncio.create_task(_hand_on(reader, to_server))
        try:
            await self._down(upstream, writer, allowance)
        finally:
            up.cancel()
            to_server.transport.abort()
            await asyncio.wait((up,))

    async def _down(
        self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int
    ) -> None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while left and (data := await upstream.read(min(self._piece, left))):
            writer.write(data)
            await writer.drain()
            left -= len(data)
        if not left:
            self.cuts += 1
            if self._stall:
                await upstream.read()


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


def never() -> Iterator[int]:
    """The allowances of connections that are not cut."""
    return repeat(1 << 60)


@asynccontextmanager
async def proxied(
    gate: socket.socket,
    port: int,
    allowances: Callable[[], Iterator[int]] = never,
    *,
    piece: int = 65536,
    stall: bool = False,
) -> AsyncIterator[Proxy]:
    """A proxy in front of a port of this machine.

    Args:
        gate: where it listens; stays open.
        port: of the server.
        allowances: makes those of `Proxy`.
        piece: as for `Proxy`.
        stall: as for `Proxy`.
    """
    proxy = Proxy(port, allowances(), piece=piece, stall=stall)
    handlers: set[asyncio.Task[None]] = set()

    def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.serve(reader, writer))
        handlers.add(task)
        task.add_done_callback(handlers.discard)

    server = await asyncio.start_server(handle, sock=gate.dup())
    proxy.port = gate.getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in list(handlers):
            task.cancel()
        if handlers:
            await asyncio.wait(list(handlers))
        # Transports close in the next round of the loop.
        await asyncio.sleep(0)
