"""A part of a changeset taken apart, as far as filters must: values stay the bytes they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from watcher.wire.values import encode_json


class RowChange(msgspec.Struct, gc=False):
    """One row change; `before` and `after` by the names of their columns."""

    op: str
    table: str
    key: msgspec.Raw
    before: dict[str, msgspec.Raw] | None
    after: dict[str, msgspec.Raw] | None
    changed: list[str] | None = None


class SchemaElement(msgspec.Struct, gc=False):
    """One schema change, as a JSON object, with what filters ask of it.

    Args:
        body: the whole.
    """

    body: dict[str, Any]

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the table it concerns, now and before."""
        former = self.body.get("renamed_from")
        return (self.body["table"],) if former is None else (self.body["table"], former)


Element = RowChange | SchemaElement


class _About(msgspec.Struct):
    op: str
    table: str
    renamed_from: str | None = None


_CHANGES = b'"changes":['
_SCHEMA = b'{"op":"schema",'
_decode_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_about = msgspec.json.Decoder(_About).decode
_decode_row_change = msgspec.json.Decoder(RowChange).decode
_decode_row_changes = msgspec.json.Decoder(list[RowChange]).decode


def decode_elements(changes: bytes) -> list[Element]:
    """Takes the elements of a `changes` list apart.

    Args:
        changes: their JSON, joined by commas.
    """
    if not changes.startswith(_SCHEMA):
        # Schema changes come first.
        return list(_decode_row_changes(b"[" + changes + b"]"))
    return [_decode_element(raw) for raw in _decode_raws(b"[" + changes + b"]")]


def _decode_element(raw: msgspec.Raw) -> Element:
    if _decode_about(raw).op == "schema":
        return SchemaElement(msgspec.json.decode(raw))
    return _decode_row_change(raw)


def encode_elements(elements: Iterable[Element]) -> bytes:
    """Puts elements together again."""
    return b",".join(_encode_element(element) for element in elements)


def _encode_element(element: Element) -> bytes:
    if isinstance(element, SchemaElement):
        return encode_json(element.body)
    body: dict[str, object] = {"op": element.op, "table": element.table, "key": element.key}
    if element.changed is not None:
        body["changed"] = element.changed
    body["before"], body["after"] = element.before, element.after
    return encode_json(body)


def split_tail(tail: bytes) -> tuple[bytes, bytes]:
    """Takes a part apart into its head and its changes, without decoding these.

    Args:
        tail: what `changes_tail` made.
    """
    start = _start(tail)
    return tail[:start], tail[start:-2]


def _start(tail: bytes) -> int:
    return tail.index(_CHANGES) + len(_CHANGES)


def has_schema_change(tail: bytes) -> bool:
    """Tells whether a part holds a schema change, without decoding it.

    They come first in a changeset. A row's columns may be named `op`, so only that place tells.
    """
    return tail.startswith(_SCHEMA, _start(tail))


def is_last(head: bytes) -> bool:
    """Tells from the head of a part whether it completes its changeset."""
    return b'"last":true,' in head


def filter_tail(tail: bytes, tables: frozenset[str]) -> bytes | None:
    """Leaves in a part only what concerns some tables.

    Args:
        tail: what `changes_tail` made.
        tables: names of the tables.

    Returns:
        The part without the rest, or None where nothing is left and it is not the last.
    """
    head, changes = split_tail(tail)
    kept = [bytes(raw) for raw in _decode_raws(b"[" + changes + b"]") if _concerns(raw, tables)]
    if not kept and not is_last(head):
        return None
    return head + b",".join(kept) + b"]}"


def _concerns(raw: msgspec.Raw, tables: frozenset[str]) -> bool:
    about = _decode_about(raw)
    return about.table in tables or about.renamed_from in tables
