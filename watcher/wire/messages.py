"""JSON of whole messages, and filters that act on their bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from watcher.changes import Position, Table
from watcher.errors import ProtocolError
from watcher.wire.changes import table_object
from watcher.wire.values import decode_json, encode_json

PROTOCOL = 1


class Message(NamedTuple):
    """One message, encoded once and shared by everyone who gets it.

    Args:
        type: the message's `type`.
        position: the position it carries, None where it has none.
        data: the complete JSON object, UTF-8.
    """

    type: str
    position: str | None
    data: bytes


def decode_messages(frame: bytes | str) -> list[dict[str, Any]]:
    """Reads a WebSocket frame.

    Raises:
        ProtocolError: it is not a JSON array of objects.
    """
    try:
        messages = decode_json(frame)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolError(f"not JSON: {error}") from error
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        raise ProtocolError("a frame is an array of messages")
    return messages


def decode_object(data: bytes | str) -> dict[str, Any]:
    """Reads a single message.

    Raises:
        ProtocolError: it is not a JSON object.
    """
    return decode_messages(
        b"[" + data + b"]" if isinstance(data, bytes) else f"[{data}]",
    )[0]


def changes_tail(
    *, time: str | None, commits: int | None, part: int, last: bool, changes: bytes
) -> bytes:
    """Encodes a `changes` message from its time on; `changes_message` puts the head before it.

    The tail does not depend on the position, so history keeps it and content after a reset, which
    has no position, is made from the same bytes.

    Args:
        time: when the commit was seen, ISO 8601 in UTC; None for content after a reset.
        commits: number of commits merged, None where unknown.
        part: number of this part, from 0.
        last: whether no further part follows.
        changes: the encoded changes, joined by commas.
    """
    head = encode_json({"time": time, "commits": commits, "part": part, "last": last})
    return head[1:-1] + b',"changes":[' + changes + b"]}"


def changes_message(tail: bytes, position: Position | None) -> Message:
    """Completes a `changes` message.

    Args:
        tail: what `changes_tail` made.
        position: where the stream stands after it, None while content after a reset is coming.
    """
    if position is None:
        return Message("changes", None, b'{"type":"changes",' + tail)
    text = str(position)
    head = b'{"type":"changes","position":"' + text.encode() + b'",'
    return Message("changes", text, head + tail)


def hello_message(database: str, position: str, tables: Iterable[Table]) -> Message:
    """Encodes the first message of every connection.

    Args:
        database: the database's display name.
        position: where the history stands.
        tables: the watched tables.
    """
    body = {
        "type": "hello",
        "protocol": PROTOCOL,
        "database": database,
        "position": position,
        "tables": [table_object(table) for table in tables],
    }
    return Message("hello", None, encode_json(body))


def ready_message(position: str) -> Message:
    """Encodes the message that says the stream is live from here on."""
    return Message("ready", position, encode_json({"type": "ready", "position": position}))


def reset_message(reason: str, *, snapshot: bool) -> Message:
    """Encodes the message that voids what a client holds.

    Args:
        reason: a `ResetReason`.
        snapshot: whether the content follows.
    """
    body = {"type": "reset", "reason": reason, "snapshot": snapshot}
    return Message("reset", None, encode_json(body))


def status_message(state: str, detail: str, progress: float | None = None) -> Message:
    """Encodes what state the watched database is in.

    Args:
        state: one of the states of `docs/protocol.md`.
        detail: one sentence for a person.
        progress: the part of the first copy that is done, 0 to 1; None while none is being made.
    """
    body: dict[str, object] = {"type": "status", "state": state, "detail": detail}
    if progress is not None:
        body["progress"] = progress
    return Message("status", None, encode_json(body))


def heartbeat_message(position: str) -> Message:
    """Encodes the sign of life of a quiet stream."""
    return Message("heartbeat", position, encode_json({"type": "heartbeat", "position": position}))


def error_message(code: int, detail: str, *, temporary: bool) -> bytes:
    """Encodes the reason a connection is about to be closed.

    Args:
        code: the close code.
        detail: one sentence for a person.
        temporary: whether coming back may help.
    """
    body = {"type": "error", "code": code, "detail": detail, "temporary": temporary}
    return encode_json(body)


class _Kind(msgspec.Struct):
    op: str
    table: str


class _Kinds(msgspec.Struct):
    changes: list[_Kind]


_decode_kinds = msgspec.json.Decoder(_Kinds).decode


def count_changes(tail: bytes) -> Counter[tuple[str, str]]:
    """Counts the changes of a part by table and operation."""
    return Counter((change.table, change.op) for change in _decode_kinds(b"{" + tail).changes)
