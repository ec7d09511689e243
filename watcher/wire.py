"""JSON of every message and value. Pure: no I/O, no clock.

A message is one JSON object in UTF-8; a WebSocket frame is a JSON array of them. JSON has fewer
types than SQLite, so what it cannot express is tagged: `$int`, `$blob`, `$real`, `$text`, `$large`.
The format is described in `docs/protocol.md`.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from watcher.changes import (
    Change,
    ColumnSource,
    InvalidText,
    LargeValue,
    Op,
    Position,
    Row,
    SchemaChange,
    Table,
    Value,
)
from watcher.errors import ProtocolError

PROTOCOL = 1
# Beyond it a JavaScript number is no longer exact (Number.MAX_SAFE_INTEGER).
SAFE_INTEGER = 2**53 - 1
LARGE_VALUE_BYTES = 256 * 1024

# Receives a value that is too large for the stream: digest, type (`text` or `blob`), bytes.
KeepLarge = Callable[[str, str, bytes], None]

encode_json = msgspec.json.Encoder().encode
decode_json = msgspec.json.Decoder().decode


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


def encode_value(value: Value, keep: KeepLarge | None = None) -> object:
    """Gives a value the form it has in JSON.

    Args:
        value: what SQLite holds.
        keep: takes over values of more than 256 KiB, which are then replaced by a `$large` tag;
            without it they are encoded in full.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return value if len(value) * 4 <= LARGE_VALUE_BYTES else _encode_long_text(value, keep)
    if isinstance(value, int):
        return value if -SAFE_INTEGER <= value <= SAFE_INTEGER else {"$int": str(value)}
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$real": _NON_FINITE[str(value)]}
    if isinstance(value, bytes):
        if keep is not None and len(value) > LARGE_VALUE_BYTES:
            return _large("blob", value, keep)
        return {"$blob": base64.b64encode(value).decode()}
    if isinstance(value, InvalidText):
        return {"$text": base64.b64encode(value.data).decode()}
    return {"$large": {"type": value.type, "bytes": value.bytes, "sha256": value.sha256}}


_NON_FINITE = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}
_FROM_NON_FINITE = {text: float(name) for name, text in _NON_FINITE.items()}
_INTEGER = re.compile(r"-?[0-9]{1,19}")


def _encode_long_text(value: str, keep: KeepLarge | None) -> object:
    if keep is None:
        return value
    data = value.encode()
    return _large("text", data, keep) if len(data) > LARGE_VALUE_BYTES else value


def _large(kind: str, data: bytes, keep: KeepLarge) -> object:
    digest = hashlib.sha256(data).hexdigest()
    keep(digest, kind, data)
    return {"$large": {"type": kind, "bytes": len(data), "sha256": digest}}


def decode_value(value: object) -> Value:
    """Gives a JSON value the form SQLite holds; the inverse of `encode_value`.

    Raises:
        ProtocolError: SQLite holds no such value, or it is tagged with an unknown tag or badly.
    """
    if value is None or isinstance(value, str | float):
        return value
    try:
        if type(value) is int:  # true and false are no values
            return _int64(value)
        ((tag, content),) = value.items()  # type: ignore[attr-defined]  # a list is refused below
        return _DECODE_TAG[tag](content)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ProtocolError(f"not a value: {str(value)[:80]}") from error


def _decode_int(text: str) -> int:
    # Python alone would take "1_000", " 5" and the digits of any script too.
    if not _INTEGER.fullmatch(text):
        raise ValueError
    return _int64(int(text))


def _int64(number: int) -> int:
    if not -(2**63) <= number < 2**63:
        raise ValueError
    return number


_DECODE_TAG: dict[str, Callable[[Any], Value]] = {
    "$int": _decode_int,
    "$real": _FROM_NON_FINITE.__getitem__,
    "$blob": lambda text: base64.b64decode(text, validate=True),
    "$text": lambda text: InvalidText(base64.b64decode(text, validate=True)),
    "$large": lambda large: LargeValue(large["type"], large["bytes"], large["sha256"]),
}


def _encode_row(row: Row | None, keep: KeepLarge | None) -> dict[str, object] | None:
    return None if row is None else {k: encode_value(v, keep) for k, v in row.items()}


def encode_change(change: Change | SchemaChange, keep: KeepLarge | None = None) -> bytes:
    """Encodes one element of a `changes` list.

    Args:
        change: a row change or a schema change.
        keep: as for `encode_value`.
    """
    if isinstance(change, SchemaChange):
        return encode_json(_schema_object(change, keep))
    body: dict[str, object] = {
        "op": change.op.value,
        "table": change.table,
        "key": _encode_row(change.key, keep),
    }
    if change.op is Op.UPDATE:
        body["changed"] = change.changed
    body["before"] = _encode_row(change.before, keep)
    body["after"] = _encode_row(change.after, keep)
    return encode_json(body)


def _schema_object(change: SchemaChange, keep: KeepLarge | None) -> dict[str, object]:
    body: dict[str, object] = {
        "op": Op.SCHEMA.value,
        "table": change.table,
        "object": change.object,
        "name": change.name,
        "sql": {"before": change.before, "after": change.after},
    }
    if change.definition is not None:
        body["definition"] = table_object(change.definition)
    if change.renamed_from is not None:
        body["renamed_from"] = change.renamed_from
    if change.columns is not None:
        body["columns"] = [
            {"name": column.name, "from": column.source}
            if column.source is not None
            else {"name": column.name, "default": encode_value(column.default, keep)}
            for column in change.columns
        ]
    return body


def table_object(table: Table) -> dict[str, object]:
    """Gives a table definition the form it has in `hello` and in schema changes."""
    return {"name": table.name, "key": table.key, "columns": table.columns}


def decode_table(body: Mapping[str, Any]) -> Table:
    """Reads a table definition; the inverse of `table_object`."""
    return Table(body["name"], tuple(body["key"]), tuple(body["columns"]))


def decode_change(body: Mapping[str, Any]) -> Change | SchemaChange:
    """Reads one element of a `changes` list.

    Raises:
        ProtocolError: it does not follow the format.
    """
    try:
        if body["op"] == Op.SCHEMA.value:
            return _decode_schema(body)
        return Change(
            op=Op(body["op"]),
            table=body["table"],
            key=_decode_row(body["key"]) or {},
            before=_decode_row(body["before"]),
            after=_decode_row(body["after"]),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ProtocolError(f"not a change: {str(body)[:80]}") from error


def _decode_row(row: Mapping[str, object] | None) -> Row | None:
    return None if row is None else {name: decode_value(value) for name, value in row.items()}


def _decode_schema(body: Mapping[str, Any]) -> SchemaChange:
    columns = body.get("columns")
    return SchemaChange(
        table=body["table"],
        object=body["object"],
        name=body["name"],
        before=body["sql"]["before"],
        after=body["sql"]["after"],
        definition=decode_table(body["definition"]) if "definition" in body else None,
        renamed_from=body.get("renamed_from"),
        columns=None if columns is None else tuple(map(_decode_column, columns)),
    )


def _decode_column(body: Mapping[str, Any]) -> ColumnSource:
    return ColumnSource(body["name"], body.get("from"), decode_value(body.get("default")))


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


def status_message(state: str, detail: str) -> Message:
    """Encodes what state the watched database is in."""
    body = {"type": "status", "state": state, "detail": detail}
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


class _Tail(msgspec.Struct):
    time: str | None
    commits: int | None
    part: int
    last: bool
    changes: list[msgspec.Raw]


class _About(msgspec.Struct):
    table: str
    renamed_from: str | None = None


_decode_tail = msgspec.json.Decoder(_Tail).decode
_decode_about = msgspec.json.Decoder(_About).decode


def filter_tail(tail: bytes, tables: frozenset[str]) -> bytes | None:
    """Leaves in a part only what concerns some tables.

    Args:
        tail: what `changes_tail` made.
        tables: names of the tables.

    Returns:
        The part without the rest, or None where nothing is left and it is not the last.
    """
    part = _decode_tail(b"{" + tail)
    kept = [bytes(raw) for raw in part.changes if _concerns(raw, tables)]
    if not kept and not part.last:
        return None
    return changes_tail(
        time=part.time,
        commits=part.commits,
        part=part.part,
        last=part.last,
        changes=b",".join(kept),
    )


def _concerns(raw: msgspec.Raw, tables: frozenset[str]) -> bool:
    about = _decode_about(raw)
    return about.table in tables or about.renamed_from in tables


def has_schema_change(tail: bytes) -> bool:
    """Tells whether a part holds a schema change, without decoding it.

    They come first in a changeset. A row's columns may be named `op`, so only that place tells.
    """
    first = tail.index(b'"changes":[') + len(b'"changes":[')
    return tail.startswith(b'{"op":"schema",', first)
