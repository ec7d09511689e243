"""The page on the protocol: its examples are what is sent, its numbers are those of the code."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from websockets.frames import CloseCode

from tests.served import ROOT
from watcher import wire
from watcher.changes import Change, InvalidText, Op, Position, ResetReason, Value
from watcher.history import PART_BYTES, Limits
from watcher.history.writer import PART_CHANGES
from watcher.hub import Hub, Rows
from watcher.sinks.stdout import JsonLines
from watcher.sqlite import condition, process
from watcher.sqlite.places import decode_place
from watcher.web import capacity, handshake, metrics, reads, request, service, socket, streams
from watcher.web import rows as web_rows
from watcher.web.protocol import GuardedWebSocket
from watcher.wire import Message, values

DIRECTORY = ROOT / "docs"
PAGE = (DIRECTORY / "protocol.md").read_text()


def section(heading: str) -> str:
    """What stands under a heading, up to the next one of its rank or above."""
    level, _, _ = heading.partition(" ")
    _, _, rest = PAGE.partition(f"\n{heading}\n")
    assert rest, f"there is no {heading!r}"
    return re.split(rf"\n#{{2,{len(level)}}} ", rest)[0]


def examples(text: str = PAGE) -> list[Any]:
    """What the fenced blocks of JSON hold."""
    return [json.loads(found) for found in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]


def table(heading: str) -> list[list[str]]:
    """The rows of the table under a heading, cell by cell."""
    lines = [line for line in section(heading).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line[1:-1].split(" | ")] for line in lines[2:]]


def code(cell: str) -> str:
    """What a cell shows as code."""
    return cell.strip("`")


def messages() -> list[dict[str, Any]]:
    """Every example of a message, in frames and alone."""
    return [
        message
        for example in examples()
        for message in (example if isinstance(example, list) else [example])
        if "type" in message and message["type"] != "auth"
    ]


def encoded(message: dict[str, Any]) -> bytes:
    """The same message made by the code that makes those that are sent."""
    match message["type"]:
        case "hello":
            tables = map(wire.decode_table, message["tables"])
            return wire.hello_message(message["database"], message["position"], tables).data
        case "ready":
            return wire.ready_message(message["position"]).data
        case "heartbeat":
            return wire.heartbeat_message(message["position"]).data
        case "reset":
            return wire.reset_message(message["reason"], snapshot=message["snapshot"]).data
        case "status":
            progress = message.get("progress")
            return wire.status_message(message["state"], message["detail"], progress).data
        case "error":
            temporary = message["temporary"]
            return wire.error_message(message["code"], message["detail"], temporary=temporary)
        case "changes":
            return _changes(message).data
    raise AssertionError(message)


def _changes(message: dict[str, Any]) -> Message:
    changes = [wire.encode_change(wire.decode_change(change)) for change in message["changes"]]
    tail = wire.changes_tail(
        time=message["time"],
        commits=message["commits"],
        part=message["part"],
        last=message["last"],
        changes=b",".join(changes),
    )
    position = Position.parse(message["position"]) if "position" in message else None
    return wire.changes_message(tail, position)


@pytest.mark.parametrize("message", messages(), ids=lambda message: message["type"])
def test_an_example_is_what_is_sent(message: dict[str, Any]) -> None:
    """Byte for byte but for the spaces: every field, its order, every value."""
    assert wire.encode_json(message) == encoded(message)


def test_every_message_has_an_example() -> None:
    """And a section of its own."""
    kinds = {"hello", "ready", "changes", "reset", "status", "heartbeat", "error"}
    assert {message["type"] for message in messages()} == kinds
    assert {code(name) for name in re.findall(r"^### (`\w+`)", PAGE, re.MULTILINE)} == kinds


def test_changes_outside_a_message_are_what_is_sent() -> None:
    """The examples of schema changes."""
    found = examples(section("### Schema changes"))
    assert len(found) == 2
    for change in found:
        assert wire.encode_json(change) == wire.encode_change(wire.decode_change(change))


def test_positions_are_positions() -> None:
    """Each in the examples can be sent as `since`."""
    found = [message["position"] for message in messages() if "position" in message]
    assert found
    for position in found:
        assert str(Position.parse(position)) == position


def stored(literal: str) -> Value:
    """What SQLite makes of an expression."""
    with closing(sqlite3.connect(":memory:")) as db:
        db.text_factory = _text
        value: Value = db.execute(f"SELECT {literal}").fetchone()[0]
    return value


def _text(data: bytes) -> str | InvalidText:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return InvalidText(data)


@pytest.mark.parametrize("row", table("## Values"), ids=lambda row: row[0])
def test_a_value_is_encoded_as_told(row: list[str]) -> None:
    """The left column is what SQLite holds, the right one what is sent for it."""
    literal, sent = code(row[0]), code(row[1])
    found = wire.encode_value(stored(literal), lambda _digest, _type, _data: None)
    assert wire.encode_json(found).decode() == sent


def test_every_tag_is_told() -> None:
    """None is missing in the table, and there is none that is not known."""
    told = {match for row in table("## Values") for match in re.findall(r'"(\$\w+)"', row[1])}
    assert told == values._DECODE_TAG.keys()


def states() -> Iterator[str]:
    """Every state that the code says, found where it says it."""
    yield from (state for state, _ in process._NOT_QUIET.values())
    for path in (ROOT / "watcher").rglob("*.py"):
        if path.parent.name == "client":
            # Its states are those of a connection as well.
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield from _state_of(node)
            elif isinstance(node, ast.FunctionDef) and node.name == "_how_it_stands":
                yield from _states_returned(node)


def _state_of(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func).rpartition(".")[2]
    place = {"DatabaseUnavailable": 1, "Status": 0, "_report": 0}.get(name)
    if place is not None and len(call.args) > place:
        argument = call.args[place]
        if isinstance(argument, ast.Constant):
            yield str(argument.value)


def _states_returned(function: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
            first = node.value.elts[0]
            assert isinstance(first, ast.Constant)
            yield str(first.value)


def test_every_state_is_told() -> None:
    """Those of the code, and no others."""
    assert {code(state) for state, _ in table("### `status`")} == set(states())


def test_every_reason_is_told() -> None:
    """Those of the code, and no others."""
    assert {code(reason) for reason, _ in table("### `reset`")} == set(ResetReason)


def test_every_parameter_is_told() -> None:
    """Those of the code, and no others."""
    assert {code(name) for name, _ in table("## Connecting")} == request.STREAM


def test_every_close_code_is_told() -> None:
    """Those of the code and that of the server's library; 45xx are those not to come back from."""
    told = {int(number): back for number, _, back in table("## Closing")}
    assert told.keys() == {
        socket.POLICY_VIOLATION,
        socket.INTERNAL_ERROR,
        socket.SERVICE_RESTART,
        socket.TOO_SLOW,
        socket.BAD_REQUEST,
        handshake.NOT_AUTHORISED,
        capacity.TRY_AGAIN_LATER,
        CloseCode.MESSAGE_TOO_BIG,
    }
    assert {number for number, back in told.items() if back == "no"} == {
        number for number in told if 4500 <= number <= 4999
    }


def test_the_numbers_are_those_of_the_code() -> None:
    """Sizes, times and counts, as the page says them."""
    heartbeat = inspect.signature(Hub).parameters["heartbeat"].default
    kept = Limits()
    for heading, sentence in (
        ("## Connecting", "close code 4502"),
        ("## Connecting", f"or {handshake.FIRST_MESSAGE_TIMEOUT:.0f} seconds without it is close"),
        ("### `changes`", f"at most {PART_CHANGES:,} changes and about {PART_BYTES // 1024} KiB"),
        ("### `heartbeat`", f"After {heartbeat:.0f} seconds without"),
        ("## Values", f"more than {wire.LARGE_VALUE_BYTES // 1024} KiB"),
        ("## Closing", f"longer than {socket.SEND_TIMEOUT:.0f} seconds to make room"),
        ("## Limits", f"up to {socket.MAX_FRAME // 1024} KiB"),
        ("## Limits", f"{kept.seconds / 86400:.0f} days, {kept.changesets:,} changesets"),
        ("## Limits", f"or {kept.bytes // 2**20} MiB"),
        ("## Limits", f"stay full for {GuardedWebSocket.stall_limit:.0f} seconds"),
    ):
        assert sentence in " ".join(section(heading).split()), sentence
    assert f"`hello`, which is {wire.PROTOCOL}." in " ".join(PAGE.split())


def test_answers_over_http_are_what_is_sent() -> None:
    """Health, tables and rows, field by field in their order."""
    health, tables, rows, databases = examples(section("## Reading over HTTP"))
    for report in databases:
        assert service.DatabaseReport.model_validate(report, strict=True).model_dump() == report
    assert list(health) == list(reads.HealthReport.model_fields)
    assert reads.HealthReport.model_validate(health, strict=True).model_dump() == health
    for definition in tables:
        again = wire.table_object(wire.decode_table(definition))
        assert wire.encode_json(definition) == wire.encode_json(again)
    inserts = [
        Change(Op.INSERT, rows["table"], row["key"], None, row["row"]) for row in rows["rows"]
    ]
    page = Rows(rows["position"], b",".join(map(wire.encode_change, inserts)), rows["next"])
    assert rows == json.loads(wire.encode_json(web_rows._page_object(rows["table"], page)))
    assert decode_place(rows["next"]) == [0, 1]
    for database in databases:
        assert list(database) == list(service.DatabaseReport.model_fields)


def test_the_first_message_of_a_client_is_understood() -> None:
    """The only one that a client ever has to send."""
    (message,) = [one for one in examples() if isinstance(one, dict) and one.get("type") == "auth"]
    frame = {"type": "websocket.receive", "text": json.dumps(message)}

    async def receive() -> dict[str, Any]:
        return frame

    assert asyncio.run(handshake.first_token(receive)) == message["token"].encode()


def test_a_line_of_tail_is_what_is_printed() -> None:
    """`changes` as they are; of the others only what the page names."""
    (line,) = examples(section("## `sqlite-watcher tail`"))
    lines = JsonLines()
    assert lines(_changes(line)) == wire.encode_json(line) + b"\n"
    printed = [
        message.type
        for message in (
            wire.hello_message("a", "e:1~abcd", []),
            wire.ready_message("e:1~abcd"),
            wire.status_message("ok", ""),
            wire.reset_message("start", snapshot=True),
            wire.ready_message("e:1~abcd"),
            wire.ready_message("e:1~abcd"),
            wire.heartbeat_message("e:1~abcd"),
        )
        if lines(message)
    ]
    assert printed == ["reset", "ready"]


def test_links_lead_somewhere() -> None:
    """To files beside the page, and to headings on it."""
    links = re.findall(r"\]\(([^)]+)\)", PAGE)
    headings = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    here = {"#" + heading.lower().replace(" ", "-") for heading in headings}
    assert links
    assert [x for x in links if x not in here and not (DIRECTORY / x).exists()] == []


def test_events_are_written_as_shown() -> None:
    """Each message becomes the lines that the page shows."""
    (shown,) = re.findall(r"```\n(retry:.*?)```", section("### `GET /events`"), re.DOTALL)
    retry, hello, ready, heartbeat = shown.strip().split("\n\n")
    assert 1000 <= int(retry.removeprefix("retry: ")) <= 5000
    position = "k3f9ab:12~8c1d"
    assert streams.event(wire.hello_message("test.db", position, [])).decode() == hello + "\n\n"
    assert streams.event(wire.ready_message(position)).decode() == ready + "\n\n"
    later = wire.heartbeat_message("k3f9ab:13~a1b2")
    assert streams.event(later).decode() == heartbeat + "\n\n"


def test_a_long_poll_is_answered_as_shown() -> None:
    """Its parameters are those of the code, and its answer has their form."""
    text = "### `GET /changes`"
    assert {code(name) for name, _ in table(text)} | request.FILTERS == streams._POLL
    ((answer,),) = [examples(section(text))]
    assert streams.ChangesPage.model_validate(answer, strict=True).model_dump() == answer
    assert f"0 to {streams.MAX_WAIT:.0f}; default {streams._WAIT:.0f}" in section(text)
    assert f"1 to {streams.MAX_LIMIT:,}; default {streams._LIMIT}" in section(text)


def test_the_limits_of_a_condition_are_told() -> None:
    """Those of the code."""
    told = " ".join(section("## Filters").split())
    assert f"at most {condition.MAX_EXPRESSION:,} characters" in told
    assert condition.MAX_SECONDS == 0.25
    assert "more than a quarter of a second" in told
    assert f"more than {condition._MAX_MADE // 1024} KiB" in told


def test_every_metric_is_told() -> None:
    """Those of the code, and no others."""
    figures = metrics._Figures({}, {})
    told = {code(name).removesuffix("_total") for name, _ in table("## Reading over HTTP")}
    assert told == {family.name for family in figures.collect()}
