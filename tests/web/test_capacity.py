"""So many clients and no more; whoever asks how it goes, or writes, is answered all the same."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send
from websockets.exceptions import InvalidStatus

from tests.web.service import Service, receive_until, run_service
from tests.web.test_handshake import auth, refused
from tests.web.test_socket import close_code, wait_for
from watcher.cli.arguments import parser
from watcher.cli.descriptors import room
from watcher.web.capacity import MAX_CLIENTS, Capacity
from watcher.web.protocol import GuardedHttp

TOKEN = "a token of some length"  # the tests' own
CLIENTS = 3


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("small")
    with run_service(directory, allow_writes=True, max_clients=CLIENTS) as running:
        yield running


def is_full(service: Service) -> bool:
    """Whether a WebSocket and every kind of stream is refused, with a status before it begins."""
    with pytest.raises(InvalidStatus) as caught:
        service.websocket()
    answers = [
        httpx.get(service.url + path, trust_env=False)
        for path in ("/events", "/events/", "/changes", "/snapshot", "/db/test.db/changes")
    ]
    statuses = {(answer.status_code, answer.headers["retry-after"]) for answer in answers}
    response = caught.value.response
    statuses.add((response.status_code, response.headers["retry-after"]))
    return statuses == {(503, "5")}


def has_room(service: Service) -> bool:
    return httpx.get(f"{service.url}/changes", trust_env=False).status_code == 200


def test_websockets_and_streams_count_together(small: Service) -> None:
    """And each makes room when it goes."""
    with ExitStack() as stack:
        for _ in range(CLIENTS - 1):
            receive_until(stack.enter_context(small.websocket()), "ready")
        http = stack.enter_context(httpx.Client(base_url=small.url, trust_env=False))
        with http.stream("GET", "/events") as events:
            assert events.status_code == 200
            assert is_full(small)
        wait_for(lambda: has_room(small))
    wait_for(lambda: has_room(small))


def test_all_else_is_answered_where_there_is_no_room(small: Service) -> None:
    with ExitStack() as stack:
        for _ in range(CLIENTS):
            receive_until(stack.enter_context(small.websocket()), "ready")
        assert is_full(small)
        http = stack.enter_context(httpx.Client(base_url=small.url, trust_env=False))
        paths = ("/livez", "/readyz", "/metrics", "/health", "/tables", "/add/a/b", "/")
        assert [http.get(path).status_code for path in paths] == [200] * len(paths)
        assert http.post("/items", json={"name": "a", "value": "b"}).status_code == 201
    wait_for(lambda: has_room(small))


def test_who_shows_the_token_too_late_for_a_status_is_closed_with_1013(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with run_service(tmp_path_factory.mktemp("full"), token=TOKEN, max_clients=1) as service:
        with service.websocket() as first, service.websocket() as late:
            first.send(auth(TOKEN))
            receive_until(first, "ready")
            late.send(auth(TOKEN))
            assert close_code(late) == 1013
            # Full: who shows nothing is not even waited for.
            with pytest.raises(InvalidStatus) as caught:
                service.websocket()
            assert caught.value.response.status_code == 503
        with service.websocket() as client:
            client.send("{}")
            assert refused(client)


def test_a_server_that_cannot_answer_a_handshake_closes_with_1013() -> None:
    """The code reaches only an accepted WebSocket."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def app(_: Scope, __: Receive, ___: Send) -> None:
        raise AssertionError("there is no room")

    scope: dict[str, Any] = {"type": "websocket", "path": "/ws", "headers": []}
    asyncio.run(Capacity(app, limit=0)(scope, receive, send))
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
    assert sent[-1]["code"] == 1013


def test_connections_beyond_the_limit_are_closed_before_they_ask(
    small: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for(lambda: small.open_connections() == 0)
    monkeypatch.setattr(GuardedHttp, "connection_limit", 1)
    with socket.create_connection(("127.0.0.1", small.port), timeout=10) as first:
        wait_for(lambda: small.open_connections() == 1)
        with socket.create_connection(("127.0.0.1", small.port), timeout=10) as second:
            assert second.recv(65536).startswith(b"HTTP/1.1 503 ")
            assert second.recv(65536) == b""
        first.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert first.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_negative_number_of_clients_is_an_error() -> None:
    with pytest.raises(ValueError, match="number of clients"):
        Capacity(Capacity, limit=-1)  # type: ignore[arg-type]  # it is never called


def test_the_command_line_asks_for_as_many_as_the_library() -> None:
    assert parser().parse_args(["serve"]).max_clients == MAX_CLIENTS


@pytest.mark.parametrize("limit", [64, 128, 256, 1024, 4096, 20_000, 524_288, 2**20])
def test_clients_leave_room_for_the_service_itself(limit: int) -> None:
    used = 30
    found = room(limit, used, MAX_CLIENTS)
    assert 0 <= found.clients <= min(found.connections, MAX_CLIENTS)
    # Four batches may be taken in before the first connection of one too many is closed.
    assert used + 64 + found.connections + 4 * found.backlog <= max(limit, used + 64 + 5)
    if limit >= 1024:
        assert found.clients >= min(MAX_CLIENTS, limit // 2)
