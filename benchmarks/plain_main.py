"""The plain ways to send one text to all WebSocket clients, for comparison.

`python -m benchmarks.plain_main WAY [FILE]` says at which port it listens. `fastapi` is an endpoint
as tutorials have it, which sends to one client after the other; `broadcast` is that of the library
websockets, without a web framework. Each request names a text; the answer, when it is sent, is to
how many. FastAPI's `/lines` sends the lines of a file, one in each message.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from websockets.asyncio.server import ServerConnection, broadcast, serve

_READY = '[{"type":"ready"}]'


class Server(uvicorn.Server):
    """uvicorn that says where it listens."""

    async def startup(self, sockets: Any = None) -> None:
        """Begins to listen."""
        await super().startup(sockets)
        _print(self.servers[0].sockets[0].getsockname()[1])


async def one_after_the_other() -> None:
    """Serves with FastAPI."""
    app = FastAPI()
    clients: set[WebSocket] = set()

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await websocket.accept()
        clients.add(websocket)
        try:
            await websocket.send_text(_READY)
            while True:
                await websocket.receive_text()
        except WebSocketDisconnect:
            clients.discard(websocket)

    @app.websocket("/lines")
    async def lines(websocket: WebSocket) -> None:
        await websocket.accept()
        with Path(sys.argv[2]).open() as file:  # noqa: ASYNC230 - a file just written; to wait elsewhere would cost more
            for line in file:
                await websocket.send_text(line)
        await websocket.send_text(_READY)

    async def send(text: str) -> int:
        for websocket in clients:
            await websocket.send_text(text)
        return len(clients)

    # The same protocol as the watcher's, with as little to do.
    config = uvicorn.Config(
        app,
        port=0,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    await asyncio.gather(Server(config).serve(), _answer(send))


async def all_at_once() -> None:
    """Serves with websockets alone."""
    clients: set[ServerConnection] = set()

    async def handler(connection: ServerConnection) -> None:
        clients.add(connection)
        await connection.send(_READY)
        await connection.wait_closed()
        clients.discard(connection)

    async def send(text: str) -> int:
        broadcast(clients, text)
        return len(clients)

    async with serve(handler, "127.0.0.1", 0, compression=None) as server:
        _print(next(iter(server.sockets)).getsockname()[1])
        await _answer(send)


async def _answer(send: Callable[[str], Awaitable[int]]) -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        _print(await send(json.loads(line)["text"]))


def _print(answer: object) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run({"fastapi": one_after_the_other, "broadcast": all_at_once}[sys.argv[1]]())
