"""Rows in the bodies of requests and answers, and keys in addresses: values as on the wire."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import msgspec
from fastapi import Request

from watcher import wire
from watcher.changes import LargeValue, Row, Value
from watcher.errors import ProtocolError
from watcher.hub import Hub
from watcher.web.refusal import header_values
from watcher.web.request import BadParameter

# A value, or one with a tag. Anything else is refused before it takes up memory.
_Wire = None | int | float | str | dict[str, str | dict[str, str | int]]


class NewRow(msgspec.Struct, forbid_unknown_fields=True):
    """A row to add."""

    row: dict[str, _Wire]


class SeenRow(msgspec.Struct, forbid_unknown_fields=True):
    """A row to delete, as it was seen."""

    seen: dict[str, _Wire]


class ChangedRow(msgspec.Struct, forbid_unknown_fields=True):
    """A row as it was seen, and what to change in it."""

    seen: dict[str, _Wire]
    set: dict[str, _Wire]


_Body = TypeVar("_Body", NewRow, SeenRow, ChangedRow)


async def read_body(request: Request, kind: type[_Body]) -> _Body:
    """Reads the body of a request as strict JSON, in which 1 and 1.0 stay what they are.

    Raises:
        BadParameter: it is no such object.
    """
    media = "".join(header_values(request.scope, b"content-type")).partition(";")[0]
    if media.strip().lower() != "application/json":
        raise BadParameter("content-type", "must be application/json")
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except (ValueError, RecursionError) as error:  # among them bytes that are not UTF-8
        raise BadParameter("body", str(error)) from error


def decode_key(text: str) -> dict[str, Any]:
    """Reads a key, which is a JSON object of the wire.

    Raises:
        BadParameter: it is none.
    """
    try:
        return msgspec.json.decode(text, type=dict[str, _Wire])
    except (ValueError, RecursionError) as error:
        raise BadParameter("key", str(error)) from error


def decode_row(name: str, row: dict[str, Any]) -> Row:
    """Gives the values of a row the form SQLite holds.

    Args:
        name: of the parameter they are in.
        row: values as on the wire, by columns.

    Raises:
        BadParameter: one is no value.
    """
    return {column: _decode(name, column, value) for column, value in row.items()}


def with_large_values(hub: Hub, name: str, row: Row) -> Row:
    """Puts values in the place of those that are only named.

    Args:
        hub: the watched database, which keeps them.
        name: of the parameter they are in.
        row: the values by columns.

    Raises:
        BadParameter: one is not kept.
    """
    return {column: _whole(hub, name, value) for column, value in row.items()}


def row_object(row: Row) -> dict[str, object]:
    """A row as it is on the wire; blocks for as long as it takes to hash large values."""
    return {column: wire.encode_value(value, _leave) for column, value in row.items()}


def _decode(name: str, column: str, value: object) -> Value:
    try:
        decoded = wire.decode_value(value)
    except ProtocolError as error:
        raise BadParameter(name, f"{column[:80]!r} is {error}") from error
    if isinstance(decoded, float) and math.isnan(decoded):
        raise BadParameter(name, f"{column[:80]!r} is NaN, which SQLite does not hold")
    return decoded


def _whole(hub: Hub, name: str, value: Value) -> Value:
    if not isinstance(value, LargeValue):
        return value
    kind, data = hub.value(value.sha256) or ("", b"")
    if kind != value.type:
        raise BadParameter(name, f"no large value {value.sha256[:64]!r} is kept")
    return wire.large_content(kind, data)


def _leave(_: str, __: str, ___: bytes) -> None:
    """A large value is kept by the history, which takes it from the file."""
