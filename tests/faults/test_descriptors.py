"""There are fewer descriptors than clients: new ones are refused, and watching goes on."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.conftest import MakeDatabase, StartServer, Write
from tests.served import Served, reader_of
from tests.web.service import receive_until
from tests.web.test_socket import wait_for
from watcher.cli.descriptors import complains_of_lack

FEW = 160


@contextmanager
def joined(served: Served) -> Iterator[ClientConnection]:
    """A client that is live; again and again, where a server needs a moment to make room."""
    deadline = time.monotonic() + 20
    with ExitStack() as stack:
        while True:
            try:
                client = stack.enter_context(websocket(served))
            except (OSError, InvalidStatus, EOFError):
                assert time.monotonic() < deadline
                continue
            receive_until(client, "ready")
            break
        yield client


def websocket(served: Served) -> ClientConnection:
    client: ClientConnection = connect(
        f"ws://127.0.0.1:{served.port}/ws", proxy=None, compression=None
    )
    return client


def fill(served: Served, stack: ExitStack) -> tuple[list[ClientConnection], InvalidStatus]:
    """Clients until one is refused, and how it was."""
    clients: list[ClientConnection] = []
    while len(clients) < FEW:
        try:
            clients.append(stack.enter_context(websocket(served)))
        except InvalidStatus as refusal:
            return clients, refusal
        receive_until(clients[-1], "ready")
    raise AssertionError("none was refused")


def hears(client: ClientConnection, value: str) -> bool:
    """Whether the change to a value arrives, as the next there is."""
    message = receive_until(client, "changes")[-1]
    return bool(message["changes"][0]["after"]["value"] == value)


def answers(served: Served, path: str) -> int:
    return httpx.get(served.url + path, trust_env=False, timeout=20).status_code


def used(served: Served) -> int:
    """Descriptors that the server has in use."""
    return len(list(Path(f"/proc/{served.process.pid}/fd").iterdir()))


@pytest.mark.fault("P6")
def test_with_few_descriptors_new_clients_are_refused_first(
    serve: StartServer, database: MakeDatabase, write: Write
) -> None:
    """The limit of clients follows from that of the process, and all else is still answered."""
    path = database()
    served = serve(path, "--allow-writes", descriptors=FEW)
    with ExitStack() as stack:
        clients, refusal = fill(served, stack)
        assert refusal.response.status_code == 503
        assert clients
        statuses = [answers(served, name) for name in ("/livez", "/readyz", "/metrics", "/health")]
        assert statuses == [200] * 4
        assert answers(served, "/add/a/b") == 200
        for client in clients:
            assert hears(client, "b")
        write(path, "UPDATE items SET value='seen' WHERE id=1")
        assert all(hears(client, "seen") for client in clients)
        clients[0].close()
        stack.enter_context(joined(served))
    assert f"limit of {FEW} open files" in served.errors.read_text()


@pytest.mark.fault("P6")
def test_connections_that_ask_for_nothing_leave_the_service_its_files(
    serve: StartServer, database: MakeDatabase, write: Write
) -> None:
    """They are closed at once beyond a number, so that a reader that dies can be replaced."""
    path = database()
    served = serve(path, descriptors=FEW)
    with joined(served) as client, idle(served, 2 * FEW):
        before = reader_of(served.process)
        os.kill(before, 9)
        wait_for(lambda: _has_other_reader(served, before))
        write(path, "UPDATE items SET value='seen' WHERE id=1")
        assert hears(client, "seen")
        assert used(served) < FEW
    with joined(served):
        pass


@pytest.mark.fault("P6")
def test_no_descriptor_at_all_is_got_over(
    serve: StartServer, database: MakeDatabase, write: Write
) -> None:
    """Connections cannot even be taken in; those there are hear on, and one sentence says so."""
    path = database()
    served = serve(path)
    with joined(served) as client:
        limits = resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE, (used(served), limits[1]))
        with idle(served, 50):
            wait_for(lambda: "have to wait" in served.errors.read_text())
            for value in ("one", "two"):
                write(path, f"UPDATE items SET value='{value}' WHERE id=1")
                assert hears(client, value)
        resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE, limits)
        with joined(served) as later:
            write(path, "UPDATE items SET value='three' WHERE id=1")
            assert hears(client, "three")
            assert hears(later, "three")
    assert served.errors.read_text().count("have to wait") == 1


def test_other_complaints_of_the_event_loop_are_made_as_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Only what the lack of descriptors brings is said once instead of each time."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        handle = complains_of_lack()
        lack = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        for error in (lack, lack, OSError(errno.EPIPE, "pipe"), ValueError("other")):
            handle(loop, {"message": "complaint", "exception": error, "socket": None})

    asyncio.run(run())
    said = [record.getMessage() for record in caplog.records]
    assert ["have to wait" in text for text in said] == [True, False, False]


@contextmanager
def idle(served: Served, count: int) -> Iterator[None]:
    """Holds connections that ask for nothing, as far as the server takes them."""
    with ExitStack() as stack:
        for _ in range(count):
            opened = socket.socket()
            stack.callback(opened.close)
            opened.setblocking(False)
            opened.connect_ex(("127.0.0.1", served.port))
        yield


def _has_other_reader(served: Served, before: int) -> bool:
    pid = served.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return children != [] and int(children[0]) != before
