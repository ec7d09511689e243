"""The stream over plain HTTP: server-sent events, long polling, the content in one answer."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.web.service import Service, receive_until, run_service
from tests.web.test_socket import close_code, execute, health, wait_for
from watcher.history import Limits
from watcher.hub import Message
from watcher.web.streams import event, line

MORE = "CREATE TABLE other(k TEXT PRIMARY KEY, n INT); INSERT INTO other VALUES ('a', 1), ('b', 5);"


class Events:
    """A client of `/events` that takes the stream apart as a browser does.

    Args:
        response: the answer, being streamed.
    """

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.last_id = ""
        self._lines = response.iter_lines()

    def block(self) -> list[tuple[str, str]]:
        """The fields up to the next empty line."""
        fields: list[tuple[str, str]] = []
        for text in self._lines:
            if not text:
                return fields
            name, _, value = text.partition(":")
            fields.append((name, value.removeprefix(" ")))
            if name == "id":
                self.last_id = fields[-1][1]
        raise AssertionError("the stream has ended")

    def until(self, type_: str) -> list[dict[str, Any]]:
        """Messages up to and including the first of a type."""
        messages: list[dict[str, Any]] = []
        while not messages or messages[-1]["type"] != type_:
            fields = dict(self.block())
            if "data" in fields:
                messages.append(json.loads(fields["data"]))
                assert messages[-1]["type"] == fields["event"]
        return messages


@contextmanager
def events(service: Service, query: str = "", **headers: str) -> Iterator[Events]:
    """Opens `/events`."""
    with (
        httpx.Client(trust_env=False, timeout=20, headers=headers) as client,
        client.stream("GET", f"{service.url}/events{query}") as response,
    ):
        assert response.status_code == 200, response.read()
        yield Events(response)


def get(service: Service, path: str) -> httpx.Response:
    return httpx.get(f"{service.url}{path}", trust_env=False, timeout=30)


def page(service: Service, **parameters: object) -> dict[str, Any]:
    """What a long poll answers."""
    query = "&".join(f"{name}={quote(str(value))}" for name, value in parameters.items())
    response = get(service, f"/changes?{query}")
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    assert list(answer) == ["messages", "position"]
    return answer


def types(messages: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]


def values(messages: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """Operation and new value of each row change."""
    return [
        (change["op"], (change["after"] or {}).get("value"))
        for message in messages
        for change in message.get("changes", ())
        if change["op"] != "schema"
    ]


# Server-sent events


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (Message("ready", "e:1~0000", b"{}"), b"event: ready\nid: e:1~0000\ndata: {}\n\n"),
        (Message("changes", None, b"{}"), b"event: changes\ndata: {}\n\n"),
        (Message("reset", None, b"{}"), b"event: reset\nid:\ndata: {}\n\n"),
        (Message("hello", None, b"{}"), b"event: hello\ndata: {}\n\n"),
        (Message("heartbeat", "e:1~0000", b"{}"), b"id: e:1~0000\n\n"),
    ],
    ids=lambda value: value.type if isinstance(value, Message) else "",
)
def test_the_bytes_of_an_event(message: Message, expected: bytes) -> None:
    assert event(message) == expected


def test_the_bytes_of_a_line() -> None:
    assert line(Message("ready", "e:1~0000", b"{}")) == b"{}\n"


@pytest.mark.fault("N7")
@pytest.mark.parametrize("path", ["/events", "/events/"])
def test_events_begin_at_once_and_tell_proxies_not_to_wait(service: Service, path: str) -> None:
    """Headers, `retry` and the greeting come without anything else having to happen."""
    with (
        httpx.Client(trust_env=False, timeout=20) as client,
        client.stream("GET", service.url + path) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["x-accel-buffering"] == "no"
        assert response.headers["cache-control"] == "no-store"
        assert "content-length" not in response.headers
        assert "content-encoding" not in response.headers
        stream = Events(response)
        ((name, value),) = stream.block()
        assert name == "retry"
        assert 1000 <= int(value) <= 5000
        hello, ready = stream.until("ready")
        assert hello["type"] == "hello"
        # The greeting's position is no place to come back to.
        assert stream.last_id == ready["position"]


@pytest.mark.fault("N6")
def test_browsers_are_told_to_come_back_at_different_times(service: Service) -> None:
    """After a restart they would else come all at once."""
    found = set()
    for _ in range(12):
        with events(service) as stream:
            found.add(stream.block()[0][1])
    assert len(found) > 6


def test_a_change_is_an_event_with_its_position(service: Service) -> None:
    with events(service, "?tables=items") as stream:
        stream.until("ready")
        execute(service.database, "UPDATE items SET value = 'by event' WHERE id = 1")
        fields = stream.block()
        assert [name for name, _ in fields] == ["event", "id", "data"]
        message = json.loads(fields[2][1])
        assert message["position"] == fields[1][1]
        assert values([message]) == [("update", "by event")]


@pytest.mark.fault("N7", "N4")
def test_a_heartbeat_is_an_id_alone(tmp_path: Path) -> None:
    """It goes through buffers, moves the browser's position and calls no listener."""
    with run_service(tmp_path, watching={"heartbeat": 0.1}) as service, events(service) as stream:
        position = stream.until("ready")[-1]["position"]
        assert [stream.block() for _ in range(2)] == [[("id", position)]] * 2


@pytest.mark.parametrize("way", ["since", "last_event_id", "lastEventId", "header"])
def test_a_browser_that_comes_back_misses_nothing(service: Service, way: str) -> None:
    with events(service) as stream:
        stream.until("ready")
        since = stream.last_id
    execute(service.database, f"UPDATE items SET value = 'meanwhile {way}' WHERE id = 2")
    query, headers = f"?{way}={quote(since)}", {}
    if way == "header":
        # The old address is asked for again, whatever it said.
        query, headers = "?snapshot=true&since=e:0~0000", {"Last-Event-ID": since}
    with events(service, query, **headers) as stream:
        messages = stream.until("changes")
    assert types(messages)[0] == "hello"
    assert "reset" not in types(messages)
    assert values(messages) == [("update", f"meanwhile {way}")]


def test_a_reset_takes_the_position_away_until_the_content_is_complete(service: Service) -> None:
    """A browser that is cut off in the midst of the content asks for all of it again."""
    with events(service, "?snapshot=true") as stream:
        stream.until("ready")
        assert stream.last_id
    with events(service, "?snapshot=true", **{"Last-Event-ID": "zzzzzz:1~0000"}) as stream:
        stream.last_id = "zzzzzz:1~0000"
        (reset,) = stream.until("reset")[1:]
        assert (reset["reason"], stream.last_id) == ("unknown_epoch", "")
        content = stream.until("ready")
        assert len(values(content)) == 2
        assert stream.last_id == content[-1]["position"]


def test_events_end_when_the_service_stops(tmp_path: Path) -> None:
    with run_service(tmp_path) as service, events(service) as stream:
        stream.until("ready")
        service.stop()
        with pytest.raises((AssertionError, httpx.RemoteProtocolError)):
            stream.block()


# Long polling


def test_a_poll_without_a_position_says_where_the_stream_stands(service: Service) -> None:
    answer = page(service)
    assert types(answer["messages"]) == ["hello", "ready"]
    assert answer["position"] == answer["messages"][-1]["position"]
    assert page(service, since=answer["position"], wait=0) == {
        "messages": [],
        "position": answer["position"],
    }


def test_a_poll_waits_for_what_comes_next(service: Service) -> None:
    position = page(service)["position"]
    timer = threading.Timer(
        0.3, execute, (service.database, "UPDATE items SET value = 'awaited' WHERE id = 1")
    )
    timer.start()
    answer = page(service, since=position)
    timer.join()
    assert types(answer["messages"]) == ["changes"]
    assert values(answer["messages"]) == [("update", "awaited")]
    assert answer["position"] == answer["messages"][0]["position"] != position


def test_a_poll_waits_no_longer_than_it_was_asked_to(service: Service) -> None:
    position = page(service)["position"]
    began = time.monotonic()
    assert page(service, since=position, wait=0.3)["messages"] == []
    assert 0.3 <= time.monotonic() - began < 5


def test_a_poll_brings_no_more_than_asked_for_and_the_rest_next(service: Service) -> None:
    """Page by page it is the same as in one piece."""
    position = page(service)["position"]
    for number in range(5):
        execute(service.database, f"UPDATE items SET value = 'page {number}' WHERE id = 1")
        wait_for(lambda: page(service)["position"] != position)
    wait_for(lambda: len(page(service, since=position, wait=0)["messages"]) >= 5)
    whole = page(service, since=position)
    found: list[dict[str, Any]] = []
    at = position
    while at != whole["position"]:
        answer = page(service, since=at, limit=2)
        assert 0 < len(answer["messages"]) <= 2
        at = answer["position"]
        found += answer["messages"]
    assert found == whole["messages"]
    assert values(found) == [("update", f"page {number}") for number in range(5)]


def test_a_poll_from_a_position_there_is_no_way_on_from_is_a_reset(service: Service) -> None:
    answer = page(service, since="zzzzzz:1~0000")
    assert types(answer["messages"]) == ["hello", "reset", "ready"]
    assert answer["messages"][1] == {
        "type": "reset",
        "reason": "unknown_epoch",
        "snapshot": False,
    }
    assert page(service, since=answer["position"], wait=0)["messages"] == []


@pytest.mark.fault("N2")
def test_an_expired_position_is_a_reset_on_every_way(tmp_path: Path) -> None:
    with run_service(tmp_path, watching={"limits": Limits(changesets=2)}) as service:
        position = page(service)["position"]
        old, since = position, quote(position)
        for number in range(5):
            position = page(service)["position"]
            execute(service.database, f"UPDATE items SET value = '{number}' WHERE id = 1")
            page(service, since=position)
        told = page(service, since=old)["messages"]
        with events(service, f"?since={since}") as stream:
            by_event = stream.until("ready")
        with service.websocket(f"?since={since}") as client:
            by_socket = receive_until(client, "ready")
        for messages in (told, by_event, by_socket):
            assert types(messages) == ["hello", "reset", "ready"]
            assert messages[1]["reason"] == "position_expired"


@pytest.mark.fault("N2")
@pytest.mark.parametrize(
    "since", ["x", "e:1", "e:-1~0000", "e:1~zz zz", "e:" + "9" * 400 + "~0000"]
)
def test_a_malformed_position_is_a_clear_error_on_every_way(service: Service, since: str) -> None:
    for path in ("/events", "/changes"):
        response = get(service, f"{path}?since={quote(since)}")
        assert response.status_code == 422
        assert "position" in response.json()["detail"]
    with service.websocket(f"?since={quote(since)}") as client:
        (error,) = json.loads(client.recv(timeout=10))
        assert "position" in error["detail"]
        assert close_code(client) == 4502


def test_a_poll_through_a_filter_skips_nothing_of_a_large_commit(tmp_path: Path) -> None:
    """Where a long stretch holds nothing that is wanted, it goes on to what there is, at once."""
    rows = "WITH RECURSIVE i(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM i WHERE x<30000)"
    large = f"{rows} INSERT INTO items SELECT x+10, hex(zeroblob(60)), 'many' FROM i"
    with run_service(tmp_path, script=MORE) as service:
        position = page(service)["position"]
        execute(service.database, large)
        execute(service.database, "UPDATE other SET n = 7 WHERE k = 'a'")
        wait_for(
            lambda: bool(
                values(page(service, since=position, tables="other", wait=5)["messages"])
                or page(service)["position"].split(":")[1].startswith("2")
            )
        )
        began = time.monotonic()
        with service.websocket(f"?tables=other&since={quote(position)}") as client:
            messages = receive_until(client, "ready")
        at = position
        found: list[dict[str, Any]] = []
        while not found:
            answer = page(service, since=at, tables="other", wait=0)
            at = answer["position"]
            found = [c for m in answer["messages"] for c in m["changes"]]
        assert [change["after"]["n"] for change in found] == [7]
        assert [c["after"]["n"] for m in messages for c in m.get("changes", ())] == [7]
        assert time.monotonic() - began < 10


# The content in one answer


def test_a_snapshot_is_lines_from_hello_to_ready(service: Service) -> None:
    response = get(service, "/snapshot")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/x-ndjson")
    assert response.headers["x-accel-buffering"] == "no"
    assert response.text.endswith("\n")
    messages = [json.loads(text) for text in response.text.splitlines()]
    assert types(messages) == ["hello", "reset", "changes", "changes", "ready"]
    assert messages[1] == {"type": "reset", "reason": "start", "snapshot": True}
    assert len(values(messages)) == 2
    assert page(service, since=messages[-1]["position"], wait=0)["messages"] == []


# What cannot be understood, and filters, on every way


@pytest.mark.parametrize("path", ["/events", "/changes", "/snapshot"])
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("nothing=1", 422),
        ("tables=nothing", 404),
        ("columns=nothing", 422),
        ("ops=upsert", 422),
        ("where=1&where=2", 422),
        ("where=nothing%20is", 422),
        ("since=x", 422),
    ],
)
def test_what_cannot_be_understood_is_a_status(
    service: Service, path: str, query: str, status: int
) -> None:
    response = get(service, f"{path}?{query}")
    assert response.status_code == status
    assert list(response.json()) == ["detail"]


@pytest.mark.parametrize(
    "query", ["wait=x", "wait=-1", "wait=61", "wait=nan", "limit=0", "limit=x"]
)
def test_a_number_that_is_none_is_422(service: Service, query: str) -> None:
    assert get(service, f"/changes?{query}").status_code == 422


@pytest.mark.fault("H8")
@pytest.mark.parametrize(
    "where",
    [
        "id IN (SELECT 1)",
        "1); PRAGMA writable_schema=1; SELECT (1",
        "1); ATTACH '/tmp/x' AS x; SELECT (1",
        "load_extension('x')",
        "length(randomblob(1000000000)) > 0",
        "missing > 1",
        "id > ?",
        "1) LIMIT (1",
        "x" * 5000,
    ],
)
def test_a_condition_that_is_not_taken_is_said_on_every_way(service: Service, where: str) -> None:
    query = f"?tables=items&where={quote(where)}"
    for path in ("/events", "/changes", "/snapshot"):
        response = get(service, path + query)
        assert response.status_code == 422
        assert response.json()["detail"].startswith("where")
    with service.websocket(query) as client:
        (error,) = json.loads(client.recv(timeout=10))
        assert (error["type"], error["code"], error["temporary"]) == ("error", 4502, False)
        assert error["detail"].startswith("where")
        assert close_code(client) == 4502


@pytest.mark.fault("H8")
def test_a_condition_that_takes_too_long_ends_its_own_stream_alone(tmp_path: Path) -> None:
    """The rows are told to others meanwhile; who asked too much is told so."""
    rows = "WITH RECURSIVE i(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM i WHERE x<900)"
    costly = quote(" AND ".join(["length(hex(hex(hex(hex(value))))) > id"] * 80))
    with run_service(tmp_path) as service, ExitStack() as stack:
        asking = [
            stack.enter_context(service.websocket(f"?where={costly}%20AND%20id<>{number}"))
            for number in range(8)
        ]
        for client in asking:
            receive_until(client, "ready")
        with service.websocket(max_size=None) as other:
            receive_until(other, "ready")
            began = time.monotonic()
            sql = f"{rows} INSERT INTO items SELECT x+10, 'n', hex(zeroblob(1000)) FROM i"
            execute(service.database, sql)
            receive_until(other, "changes")
            assert get(service, "/health").status_code == 200
            assert time.monotonic() - began < 3
        assert [close_code(client) for client in asking] == [4502] * 8


def test_filters_hold_on_every_way(tmp_path: Path) -> None:
    """A row that enters arrives as insert, one that leaves as delete."""
    query = "tables=other&columns=n&where=" + quote("n > 3")
    with (
        run_service(tmp_path, script=MORE) as service,
        events(service, f"?{query}&snapshot=true") as stream,
        service.websocket(f"?{query}&snapshot=true") as client,
    ):
        content = (stream.until("ready"), receive_until(client, "ready"))
        lines = [json.loads(t) for t in get(service, f"/snapshot?{query}").text.splitlines()]
        for messages in (*content, lines):
            inserted = [c for m in messages for c in m.get("changes", ()) if c["op"] == "insert"]
            assert [change["after"] for change in inserted] == [{"k": "b", "n": 5}]
        position = page(service)["position"]
        execute(service.database, "UPDATE other SET n = 6 - n")  # 1 becomes 5, and 5 becomes 1
        by_event, by_socket = stream.until("changes")[-1], receive_until(client, "changes")[-1]
        (polled,) = page(service, since=position, tables="other", columns="n", where="n > 3")[
            "messages"
        ]
        assert by_event == by_socket == polled
        assert [(c["op"], c["key"]["k"]) for c in polled["changes"]] == [
            ("insert", "a"),
            ("delete", "b"),
        ]
        only = page(service, since=position, tables="other", where="n > 3", ops="delete")
        assert [c["op"] for m in only["messages"] for c in m["changes"]] == ["delete"]


def test_no_answer_leaves_anything_behind(service: Service) -> None:
    before = service.open_tasks()
    for _ in range(5):
        with events(service) as stream:
            stream.until("ready")
        page(service)
        get(service, "/snapshot")
    wait_for(lambda: health(service)["clients"] == 0 and service.open_tasks() <= before)


def test_every_retry_is_a_number_of_milliseconds(service: Service) -> None:
    with events(service) as stream:
        assert re.fullmatch(r"\d{4}", stream.block()[0][1])
