"""A real service for the tests: hub, application and uvicorn in a thread of their own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from websockets.sync.client import ClientConnection, connect

from watcher.hub import Hub
from watcher.web import create_app
from watcher.web.protocol import GuardedHttp, GuardedWebSocket

MakeApp = Callable[[Hub], ASGIApp]


def make_database(path: Path, script: str = "") -> Path:
    """A database with the table of the demo, and whatever a test needs beside it."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT NOT NULL, value TEXT);"
            "INSERT INTO items VALUES (1, 'Test', '123'), (2, 'Lamp', 'off');" + script
        )
    return path


def stored(path: Path) -> list[tuple[Any, ...]]:
    """What the table holds, as another program sees it."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT id, name, value FROM items ORDER BY id").fetchall()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: threading.Event) -> None:
        super().__init__(config)
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started.set()


class Service:
    """A service on a free loopback port.

    Args:
        database: what it watches.
        state: its state directory.
        make_app: makes the application around the hub.
        root: path under which the application is mounted.
        watching: further arguments of the hub.
    """

    def __init__(
        self, database: Path, state: Path, make_app: MakeApp, root: str, watching: dict[str, Any]
    ) -> None:
        self.database = database
        self._watching = watching
        self._state = state
        self._make_app = make_app
        self._root = root
        self._socket = socket.create_server(("127.0.0.1", 0))
        # Connections inherit it; else an answer waits 40 ms until its head is acknowledged.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._socket.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}{root}"
        self._started = threading.Event()
        self._server: _Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Ends it as Ctrl-C does, and reports what went wrong in its thread."""
        if self._server is not None:
            self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error

    def open_tasks(self) -> int:
        """How many tasks its event loop has."""
        assert self._loop is not None
        return len(asyncio.all_tasks(self._loop))

    def open_connections(self) -> int:
        """How many connections its server holds."""
        assert self._server is not None
        return len(self._server.server_state.connections)

    def websocket(self, query: str = "", **options: Any) -> ClientConnection:
        """A client that is no browser: it sends no Origin."""
        options.setdefault("compression", None)
        client: ClientConnection = connect(
            f"ws://{self.host}{self._root}/ws{query}", proxy=None, **options
        )
        return client

    def raw(self, request: bytes) -> tuple[int, bytes]:
        """Sends bytes as they are; the status of the answer and all of it."""
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(request)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        return int(answer.split(b" ", 2)[1]), answer

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001  # handed to the test's own thread
            self._error = error
        finally:
            self._socket.close()
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with Hub(self.database, state=self._state, **self._watching) as hub:
            config = uvicorn.Config(
                self._make_app(hub),
                http=GuardedHttp,
                ws=GuardedWebSocket,
                ws_max_size=65536,
                ws_per_message_deflate=False,
                lifespan="off",
                log_config=None,
                timeout_graceful_shutdown=1,
            )
            self._server = _Server(config, self._started)
            await self._server.serve(sockets=[self._socket])


@contextlib.contextmanager
def run_service(
    directory: Path,
    *,
    script: str = "",
    make_app: MakeApp | None = None,
    root: str = "",
    watching: dict[str, Any] | None = None,
    **options: Any,
) -> Iterator[Service]:
    """Serves a new database until the end of the block.

    Args:
        directory: an empty directory.
        script: SQL to run on the database before.
        make_app: makes the application; by default `create_app` with `options`.
        root: path under which the application is mounted.
        watching: for `Hub`, such as `heartbeat`.
        options: for `create_app`.
    """
    database = make_database(directory / "test.db", script)

    def default(hub: Hub) -> ASGIApp:
        return create_app(hub, **options)

    service = Service(database, directory / "state", make_app or default, root, watching or {})
    service.start()
    try:
        yield service
    finally:
        service.stop()


def receive_until(client: ClientConnection, type_: str) -> list[dict[str, Any]]:
    """Messages up to and including the first of a type."""
    messages: list[dict[str, Any]] = []
    while not any(message["type"] == type_ for message in messages):
        messages += json.loads(client.recv(timeout=10))
    return messages
