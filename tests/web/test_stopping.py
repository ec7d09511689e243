"""The end of the server: soon, quiet and told to everyone, whatever is going on at that moment."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.conftest import MakeDatabase, StartServer, Write
from tests.served import Served
from tests.web.service import receive_until
from watcher.cli.serve import _is_no_expected_end

MANY_ROWS = (
    "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 70) "
    "INSERT INTO items SELECT i, hex(randomblob(100000)), NULL FROM n"
)
ENDLESS = (
    "CREATE TRIGGER t AFTER INSERT ON items BEGIN UPDATE items SET value = (WITH RECURSIVE "
    "n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n); END;"
)


class Clients:
    """Connections to one server, closed at the end of a test.

    Args:
        served: the server.
        stack: closes them.
    """

    def __init__(self, served: Served, stack: ExitStack) -> None:
        self._served = served
        self._stack = stack

    def plain(self, request: bytes) -> socket.socket:
        """Sends a request, or the beginning of one, and sees that the server has read it."""
        client = socket.socket()
        self._stack.enter_context(client)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", self._served.port))
        client.settimeout(10)
        client.sendall(request.replace(b"HOST", b"Host: 127.0.0.1:%d\r\n" % self._served.port))
        # What was sent first is read first.
        httpx.get(f"{self._served.url}/health").raise_for_status()
        return client

    def stuck(self) -> None:
        """A WebSocket that is sent far more than it reads, which is nothing."""
        self.plain(
            b"GET /ws?snapshot=true HTTP/1.1\r\nHOSTConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        address = f"{self._served.url.replace('http', 'ws')}/ws?snapshot=true"
        # Whoever reads the same in the meantime shows that it has been sent.
        with connect(address, proxy=None, max_size=None) as reading:
            receive_until(reading, "ready")

    def live(self) -> Callable[[], int | None]:
        """A WebSocket that reads; gives what to call for its close code."""
        address = f"{self._served.url.replace('http', 'ws')}/ws"
        client = self._stack.enter_context(connect(address, proxy=None, max_size=None))
        receive_until(client, "ready")

        def close_code() -> int | None:
            with contextlib.suppress(ConnectionClosed):
                while True:
                    client.recv(timeout=10)
            return client.close_code

        return close_code

    def idle(self) -> None:
        """A connection that is kept open after its request."""
        http = self._stack.enter_context(httpx.Client(base_url=self._served.url))
        assert http.get("/health").status_code == 200

    def half_a_body(self) -> socket.socket:
        return self.plain(b"POST /items HTTP/1.1\r\nHOSTContent-Length: 100\r\n\r\n{")


MakeClients = Callable[[Served], Clients]


@pytest.fixture
def clients() -> Iterator[MakeClients]:
    with ExitStack() as stack:
        yield lambda served: Clients(served, stack)


def answer(client: socket.socket) -> str:
    """All that the server answers until it closes the connection."""
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts).decode()


def is_told_of_the_end(text: str) -> bool:
    return text.startswith("HTTP/1.1 503 ") and '{"detail": "The service is stopping' in text


def test_it_ends_soon_and_quietly_with_everything_at_once(
    serve: StartServer, database: MakeDatabase, write: Write, clients: MakeClients
) -> None:
    path = database()
    write(path, MANY_ROWS)
    served = serve(path, "--allow-writes")
    each = clients(served)
    each.stuck()
    each.idle()
    half = each.half_a_body()
    close_codes = [each.live() for _ in range(10)]
    served.stop(signal.SIGINT)
    assert served.errors.read_text() == ""
    assert is_told_of_the_end(answer(half))
    assert [code() for code in close_codes] == [1012] * 10


def stored(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM items").fetchone()
    return int(count)


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_it_ends_soon_though_a_write_waits_for_another_program(
    mode: str, serve: StartServer, database: MakeDatabase, clients: MakeClients
) -> None:
    path = database(mode=mode)
    served = serve(path, "--allow-writes")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = clients(served).plain(b"GET /add/a/b HTTP/1.1\r\nHOST\r\n")
        served.stop()
    assert is_told_of_the_end(answer(writing))
    assert served.errors.read_text() == ""
    assert stored(path) == 2


def test_it_ends_soon_though_a_write_never_ends(
    serve: StartServer, database: MakeDatabase, write: Write, clients: MakeClients
) -> None:
    path = database()
    write(path, ENDLESS)
    served = serve(path, "--allow-writes")
    writing = clients(served).plain(b"GET /add/a/b HTTP/1.1\r\nHOST\r\n")
    served.stop()
    assert is_told_of_the_end(answer(writing))
    assert served.errors.read_text() == ""
    assert stored(path) == 2


def test_half_a_handshake_does_not_delay_the_end(
    serve: StartServer, database: MakeDatabase, clients: MakeClients
) -> None:
    served = serve(database())
    half = clients(served).plain(b"GET /ws HTTP/1.1\r\nHOSTConnection: Upgrade\r\nUpgrade: webs")
    served.stop()
    assert served.errors.read_text() == ""
    assert answer(half) == ""


def test_malformed_requests_of_any_page_fill_no_log(
    serve: StartServer, database: MakeDatabase, clients: MakeClients
) -> None:
    served = serve(database())
    for request in (
        b"nonsense\r\n\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHOST\r\n",
        b"GET / HTTP/1.1\r\nHOSTConnection: Upgrade\r\nUpgrade: other\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHOSTConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ):
        clients(served).plain(request)
    served.stop()
    assert served.errors.read_text() == ""


def record(message: str, error: BaseException | None = None) -> logging.LogRecord:
    information = None if error is None else (type(error), error, None)
    return logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, message, (), information)


def test_failures_at_the_end_are_still_told() -> None:
    """Only what the end itself brings about is left out."""
    assert _is_no_expected_end(record("Exception in ASGI application\n", ValueError("x")))
    assert _is_no_expected_end(record("ASGI callable returned without starting response."))
