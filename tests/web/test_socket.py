"""The WebSocket: its parameters, its limits, its close codes, and that nothing is left behind."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from starlette.datastructures import QueryParams
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from tests.web.service import Service, receive_until, run_service
from watcher.errors import BadFilter
from watcher.hub import ALL, Filter, Message
from watcher.web.outlet import array, text_frame
from watcher.web.protocol import GuardedHttp, GuardedWebSocket
from watcher.web.request import BadParameter, StreamRequest
from watcher.web.socket import batches


def parse(query: str) -> StreamRequest:
    return StreamRequest.parse(QueryParams(query), {"items", "a,b", ""})


def of(**wanted: Any) -> StreamRequest:
    return StreamRequest(None, False, Filter.of(**wanted))


@pytest.mark.parametrize(
    ("query", "request_"),
    [
        ("", StreamRequest(None, False, ALL)),
        ("since=e:1~abcd", StreamRequest("e:1~abcd", False, ALL)),
        ("snapshot=true", StreamRequest(None, True, ALL)),
        ("snapshot=1&tables=a", StreamRequest(None, True, Filter(tables=frozenset({"a"})))),
        ("snapshot=false", StreamRequest(None, False, ALL)),
        ("snapshot=0", StreamRequest(None, False, ALL)),
        ("tables=a,c", StreamRequest(None, False, Filter(tables=frozenset({"a", "c"})))),
        (
            "tables=a&tables=c,d",
            StreamRequest(None, False, Filter(tables=frozenset({"a", "c", "d"}))),
        ),
        ("tables=a,b", StreamRequest(None, False, Filter(tables=frozenset({"a,b"})))),
        ("columns=a,items.b", of(columns=["a", "items.b"])),
        ("ops=insert,delete", of(ops=["insert", "delete"])),
        ("ops=update&ops=update", of(ops=["update"])),
        ("where=x%3E1", of(where="x>1")),
        ("last_event_id=e:1~abcd", StreamRequest("e:1~abcd", False, ALL)),
        ("lastEventId=e:1~abcd", StreamRequest("e:1~abcd", False, ALL)),
        ("tables=", StreamRequest(None, False, Filter(tables=frozenset({""})))),
    ],
)
def test_parameters_are_read(query: str, request_: StreamRequest) -> None:
    assert parse(query) == request_


@pytest.mark.parametrize(
    "query",
    [
        "snapshot=yes",
        "snapshot=",
        "snapshot=TRUE",
        "snapshot=1&snapshot=1",
        "since=a&since=b",
        "where=1&where=1",
        "ops=schema",
        "ops=",
        "since=a&last_event_id=a",
        "Since=x",
        "token=x",
        "=x",
    ],
)
def test_parameters_that_cannot_be_understood_are_refused(query: str) -> None:
    with pytest.raises((BadParameter, BadFilter)):
        parse(query)


def test_messages_are_joined_up_to_a_size() -> None:
    messages = [Message("changes", None, b'"%b"' % (b"x" * size)) for size in (1, 1, 50, 1)]
    one, two, three, four = messages
    assert list(batches(messages, limit=10)) == [[one, two], [three], [four]]
    assert list(batches(messages, limit=1000)) == [messages]
    assert list(batches([])) == []
    assert array([one, two]) == b'["x","x"]'


def test_a_frame_is_what_the_standard_says() -> None:
    """Final, of text, not masked, with its length in the shortest form (RFC 6455, section 5.2)."""
    for size, head in (
        (1, b"\x81\x05"),
        (200, b"\x81\x7e\x00\xcc"),
        (70_000, b"\x81\x7f" + (70_004).to_bytes(8, "big")),
    ):
        frame = text_frame([Message("changes", None, b'"%b"' % (b"x" * size))])
        assert frame == head + b'["' + b"x" * size + b'"]'


def close_code(client: ClientConnection) -> int | None:
    """Reads on until the server closes; the code it gives."""
    while True:
        try:
            client.recv(timeout=20)
        except ConnectionClosed as closed:
            return None if closed.rcvd is None else closed.rcvd.code


def wait_for(condition: Callable[[], bool]) -> None:
    """Waits until something is so, 20 seconds at most."""
    deadline = time.monotonic() + 20
    turn = threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        turn.wait(0.01)


def execute(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path, timeout=5)) as connection, connection:
        connection.execute(sql)


def test_frames_are_arrays_that_begin_with_hello(service: Service) -> None:
    with service.websocket() as client:
        messages = json.loads(client.recv(timeout=10))
        assert isinstance(messages, list)
        assert messages[0]["type"] == "hello"
        assert messages[0]["database"] == "test.db"


def test_a_change_of_another_program_arrives(service: Service) -> None:
    with service.websocket("?tables=items") as client:
        receive_until(client, "ready")
        execute(service.database, "UPDATE items SET value = 'changed' WHERE id = 1")
        (change,) = receive_until(client, "changes")[-1]["changes"]
    assert change["op"] == "update"
    assert change["before"]["value"] == "123"
    assert change["after"]["value"] == "changed"


@pytest.mark.parametrize(
    "query",
    [
        "?since=x",
        "?snapshot=2",
        "?tables=nothing",
        "?columns=nothing",
        "?ops=replace",
        "?where=nothing=1",
        "?where=random()",
        "?since=e:0~0000&since=x",
    ],
)
def test_a_malformed_request_is_told_and_closed_with_4502(service: Service, query: str) -> None:
    with service.websocket(query) as client:
        (error,) = json.loads(client.recv(timeout=10))
        assert error["type"] == "error"
        assert error["code"] == 4502
        assert error["detail"]
        assert error["temporary"] is False
        assert close_code(client) == 4502


def test_what_a_client_says_is_ignored(service: Service) -> None:
    with service.websocket() as client:
        for text in ("", "{", "[" * 60_000, '{"type":"hello"}'):
            client.send(text)
        client.send(b"\xff\x00")
        assert receive_until(client, "ready")


def test_too_long_a_message_closes(service: Service) -> None:
    with service.websocket() as client:
        client.send("x" * 65_537)
        assert close_code(client) == 1009


def test_fragments_are_counted_together(service: Service) -> None:
    with service.websocket() as client:
        with suppress(ConnectionClosed):  # it may be closed while we are still sending
            client.send("x" * 1000 for _ in range(70))
        assert close_code(client) == 1009


def test_too_many_messages_close(service: Service) -> None:
    with service.websocket() as client:
        with suppress(ConnectionClosed):  # it may be closed while we are still sending
            for _ in range(1000):
                client.send("x")
        assert close_code(client) == 1008


def test_a_flood_of_pings_closes(service: Service) -> None:
    with service.websocket() as client:
        with suppress(ConnectionClosed):  # it may be closed while we are still sending
            for number in range(20_000):
                client.ping(b"%0100d" % number)
        assert close_code(client) in {1008, None}


def test_a_restart_tells_every_client(tmp_path: Path) -> None:
    with run_service(tmp_path) as service, ExitStack() as stack:
        clients = [stack.enter_context(service.websocket()) for _ in range(3)]
        for client in clients:
            receive_until(client, "ready")
        service.stop()
        assert [close_code(client) for client in clients] == [1012] * 3


def test_a_snapshot_brings_all_rows_before_ready(service: Service) -> None:
    with service.websocket("?snapshot=true&tables=items") as client:
        messages = receive_until(client, "ready")
    assert [message["type"] for message in messages][:2] == ["hello", "reset"]
    changes = [change for message in messages for change in message.get("changes", [])]
    keys = [change["key"]["id"] for change in changes if change["op"] == "insert"]
    assert sorted(keys) == [1, 2]


def test_a_client_that_comes_back_misses_nothing(service: Service) -> None:
    with service.websocket() as client:
        position = receive_until(client, "ready")[-1]["position"]
    execute(service.database, "UPDATE items SET value = 'meanwhile' WHERE id = 2")
    with service.websocket(f"?since={quote(position)}") as client:
        messages = receive_until(client, "changes")
    assert "reset" not in [message["type"] for message in messages]
    (changes,) = [message for message in messages if message["type"] == "changes"]
    assert changes["changes"][0]["after"]["value"] == "meanwhile"


def test_clients_that_go_leave_no_task_behind(service: Service) -> None:
    before = service.open_tasks()
    for _ in range(20):
        with service.websocket() as client:
            receive_until(client, "ready")
    with socket.create_connection(("127.0.0.1", service.port)):
        pass
    wait_for(lambda: service.open_tasks() <= before)


class _Stalled:
    """A client that opens a WebSocket and never reads."""

    def __init__(self, service: Service) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", service.port))
        self.socket.sendall(
            b"GET /ws HTTP/1.1\r\nHost: %b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            % service.host.encode()
        )

    def reads(self, expected: bytes) -> bool:
        """Reads on; whether this comes before the end of the connection."""
        tail = b""
        while expected not in tail:
            chunk = self.socket.recv(1 << 20)
            if not chunk:
                return False
            tail = tail[-len(expected) :] + chunk
        return True


def change_until(service: Service, client: ClientConnection, clients: int) -> None:
    """Makes large changes, each after the client has seen the one before, until some are gone."""
    number = 0
    while health(service)["clients"] > clients:
        number += 1
        sql = f"UPDATE items SET value = '{number}:' || hex(randomblob(100000))"
        execute(service.database, sql)
        arrived = False
        while not arrived:
            arrived = any(
                change["key"] == {"id": 2} and change["after"]["value"].startswith(f"{number}:")
                for message in receive_until(client, "changes")
                for change in message.get("changes", [])
            )


def health(service: Service) -> dict[str, Any]:
    report: dict[str, Any] = httpx.get(f"{service.url}/health", trust_env=False).json()
    return report


@pytest.mark.fault("N3")
def test_a_client_that_never_reads_is_told_so_and_disturbs_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GuardedWebSocket, "stall_limit", 60.0)
    with run_service(tmp_path, send_timeout=1.0) as service, ExitStack() as stack:
        stalled = [_Stalled(service) for _ in range(3)]
        for each in stalled:
            stack.enter_context(each.socket)
        with service.websocket(max_size=None) as client:
            receive_until(client, "ready")
            wait_for(lambda: health(service)["clients"] == 4)
            change_until(service, client, 1)
        # Those that read on now, while the server still tries to tell them, learn why.
        too_slow = b"\x0f\xa8too slow"  # 4008 in network order
        assert [each.reads(too_slow) for each in stalled] == [True] * 3


@pytest.mark.fault("N3")
def test_a_connection_that_stands_still_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GuardedWebSocket, "stall_limit", 1.0)
    with (
        run_service(tmp_path, send_timeout=0.2) as service,
        service.websocket(max_size=None) as client,
        _Stalled(service).socket,
    ):
        receive_until(client, "ready")
        wait_for(lambda: health(service)["clients"] == 2)
        change_until(service, client, 1)
        wait_for(lambda: service.open_connections() == 1)


def handshake(
    service: Service, target: bytes = b"/ws", *further: bytes, host: bytes | None = None
) -> tuple[int, bytes]:
    """Asks for a WebSocket in so many bytes; the status and the whole answer."""
    lines = (
        b"Host: " + (host or service.host.encode()),
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *further,
    )
    return service.raw(b"\r\n".join((b"GET " + target + b" HTTP/1.1", *lines, b"", b"")))


@pytest.mark.parametrize(
    ("target", "further", "status"),
    [
        (b"/ws?since=" + b"x" * 9000, [], 414),
        (b"/ws", [b"X-Long: " + b"x" * 9000], 431),
        (b"/ws", [b"X-Many: x"] * 200, 431),
        (b"/ws", [b"Content-Length: 5"], 400),
    ],
    ids=["long-address", "long-header", "many-headers", "body"],
)
def test_a_handshake_that_cannot_be_taken_is_answered_and_closed(
    service: Service,
    caplog: pytest.LogCaptureFixture,
    target: bytes,
    further: list[bytes],
    status: int,
) -> None:
    assert handshake(service, target, *further)[0] == status
    wait_for(lambda: service.open_connections() == 0)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("host", "further", "status"),
    [(None, [b"Origin: http://evil.example"], 403), (b"evil.example", [], 421)],
)
def test_a_refused_handshake_is_no_error_of_the_server(
    service: Service,
    caplog: pytest.LogCaptureFixture,
    host: bytes | None,
    further: list[bytes],
    status: int,
) -> None:
    before = service.open_tasks()
    answered, text = handshake(service, b"/ws", *further, host=host)
    assert answered == status
    assert text.endswith(b'."}')
    wait_for(lambda: service.open_connections() == 0 and service.open_tasks() <= before)
    assert caplog.messages == []


HALF = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgr"


@pytest.mark.parametrize(
    ("beginning", "earlier"), [(b"", 0), (b"\r\n", 0), (HALF, 0), (b"\r\n", 1), (HALF, 1)]
)
def test_a_request_that_is_not_gone_on_with_is_closed(
    service: Service, monkeypatch: pytest.MonkeyPatch, beginning: bytes, earlier: int
) -> None:
    monkeypatch.setattr(GuardedHttp, "head_limit", 0.3)
    complete = b"GET /health HTTP/1.1\r\nHost: " + service.host.encode() + b"\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        client.sendall(complete * earlier + beginning)
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    assert answer.count(b"HTTP/1.1 200") == earlier


def test_a_websocket_and_a_kept_connection_outlast_the_limit_of_requests(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GuardedHttp, "head_limit", 0.2)
    with (
        service.websocket() as client,
        httpx.Client(base_url=service.url, trust_env=False) as kept,
        socket.create_connection(("127.0.0.1", service.port)) as late,
    ):
        receive_until(client, "ready")
        assert kept.get("/health").status_code == 200
        # The last of the three has been closed for its limit: that of the others is over too.
        assert late.recv(1) == b""
        connections = service.open_connections()
        assert kept.get("/health").status_code == 200
        assert service.open_connections() == connections
        execute(service.database, "UPDATE items SET value = 'later' WHERE id = 1")
        receive_until(client, "changes")
