"""The wire format: values and changes survive it exactly, messages look as they are documented."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.values import CHANGES, SCHEMA_CHANGES, TABLES, VALUES, same_change
from watcher import wire
from watcher.changes import (
    Change,
    ColumnSource,
    InvalidText,
    LargeValue,
    Op,
    Position,
    SchemaChange,
    Table,
    Value,
    same,
)
from watcher.errors import ProtocolError

LIMIT = 256 * 1024
ITEMS = Table("items", ("id",), ("id", "name", "value"))


def through_json(value: object) -> Any:
    return wire.decode_json(wire.encode_json(value))


@given(VALUES)
@pytest.mark.fault("H1")
def test_every_value_survives(value: Value) -> None:
    """A value that went through JSON is identical, type and sign of zero included."""
    assert same(wire.decode_value(through_json(wire.encode_value(value))), value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (7, "7"),
        (2**53 - 1, "9007199254740991"),
        (2**53, '{"$int":"9007199254740992"}'),
        (-(2**53), '{"$int":"-9007199254740992"}'),
        (2**63 - 1, '{"$int":"9223372036854775807"}'),
        (-(2**63), '{"$int":"-9223372036854775808"}'),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (float("inf"), '{"$real":"Infinity"}'),
        (float("-inf"), '{"$real":"-Infinity"}'),
        ("", '""'),
        ("a\0b", '"a\\u0000b"'),
        ("é😀", '"é😀"'),
        (b"", '{"$blob":""}'),
        (b"\x00\xff", '{"$blob":"AP8="}'),
        (InvalidText(b"a\xff"), '{"$text":"Yf8="}'),
        (
            LargeValue("blob", 300_000, "ab" * 32),
            '{"$large":{"type":"blob","bytes":300000,"sha256":"' + "ab" * 32 + '"}}',
        ),
    ],
)
def test_values_look_as_documented(value: Value, text: str) -> None:
    """Each kind of value has exactly its documented form, in both directions."""
    assert wire.encode_json(wire.encode_value(value)).decode() == text
    assert same(wire.decode_value(json.loads(text)), value)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b"x" * (LIMIT + 1), "blob"),
        ("x" * (LIMIT + 1), "text"),
        ("é" * (LIMIT // 2 + 1), "text"),
        ("😀" * (LIMIT // 4 + 1), "text"),
    ],
)
def test_a_large_value_is_handed_over(value: str | bytes, kind: str) -> None:
    """More than 256 KiB, counted in bytes, travel beside the stream under their digest."""
    kept: list[tuple[str, str, bytes]] = []
    tagged = wire.encode_value(value, lambda *large: kept.append(large))
    data = value if isinstance(value, bytes) else value.encode()
    digest = hashlib.sha256(data).hexdigest()
    assert tagged == {"$large": {"type": kind, "bytes": len(data), "sha256": digest}}
    assert kept == [(digest, kind, data)]
    assert wire.decode_value(through_json(tagged)) == LargeValue(kind, len(data), digest)


@pytest.mark.parametrize("value", [b"x" * LIMIT, "x" * LIMIT, "é" * (LIMIT // 2)])
def test_a_value_of_just_256_kib_stays(value: Value) -> None:
    """The limit itself is not yet large."""

    def refuse(*large: object) -> None:
        raise AssertionError(large)

    assert same(wire.decode_value(through_json(wire.encode_value(value, refuse))), value)


@pytest.mark.parametrize("value", [b"x" * 1_000_000, "é" * 500_000])
def test_without_a_place_for_it_a_large_value_is_sent_whole(value: Value) -> None:
    """Where nobody keeps large values they are encoded in full."""
    assert same(wire.decode_value(through_json(wire.encode_value(value))), value)


@pytest.mark.parametrize(
    "value",
    [
        {}, {"$int": "1", "$real": "1"}, {"$what": 1}, {"$int": "x"}, {"$int": 1.5},
        {"$int": None}, {"$int": "9223372036854775808"}, 2**63, -(2**63) - 1, {"$real": 5},
        {"$int": "1_0"}, {"$int": " 5"}, {"$int": "٣"}, {"$int": "+5"}, {"$int": ""}, True, False,
        {"$real": "1e999"}, {"$real": "1_0"}, {"$real": " 1"}, {"$real": "inf"}, {"$real": ".5"},
        {"$real": 1.5}, {"$real": "x"}, {"$blob": "%%"}, {"$blob": "QQ"}, {"$blob": 5},
        {"$text": "é"}, {"$large": 5}, {"$large": {"type": "blob"}}, [], [1],
    ],
)  # fmt: skip
def test_what_is_no_value_is_refused(value: object) -> None:
    """A tag that is unknown, badly filled or holds what SQLite cannot is a protocol error."""
    with pytest.raises(ProtocolError):
        wire.decode_value(value)


@pytest.mark.parametrize("text", ["1.0", "-0.0", "1", "0.1", "1e16", "-1.5E-300", "5e-324"])
def test_a_finite_real_may_come_with_its_tag(text: str) -> None:
    """JavaScript has no other way to say that 1.0 is no integer; it is never sent so."""
    assert same(wire.decode_value({"$real": text}), float(text))
    assert wire.encode_value(float(text)) == float(text)


@given(st.one_of(CHANGES, SCHEMA_CHANGES))
def test_every_change_survives(change: Change | SchemaChange) -> None:
    """A change that went through JSON is identical, order of columns included."""
    body = wire.decode_json(wire.encode_change(change))
    assert same_change(wire.decode_change(body), change)


@given(TABLES)
def test_every_definition_survives(table: Table) -> None:
    """A table definition that went through JSON is the same."""
    assert wire.decode_table(through_json(wire.table_object(table))) == table


@pytest.mark.parametrize(
    "body",
    [
        {}, {"op": "insert"}, {"op": "what", "table": "t", "key": {}, "before": None, "after": {}},
        {"op": "insert", "table": "t", "key": 5, "before": None, "after": {}},
        {"op": "insert", "table": "t", "key": {"a": [1]}, "before": None, "after": {}},
        {"op": "insert", "table": "t", "key": {}, "before": None, "after": {"a": {"$int": "x"}}},
        {"op": "schema", "table": "t", "object": "table", "name": "t"},
        {"op": "schema", "table": "t", "object": "table", "name": "t", "sql": None},
    ],
)  # fmt: skip
def test_what_is_no_change_is_refused(body: dict[str, Any]) -> None:
    """A change without a field, or with one of another type, is a protocol error."""
    with pytest.raises(ProtocolError):
        wire.decode_change(body)


def test_an_update_looks_as_documented() -> None:
    """A `changes` message with an update is, byte for byte, what the protocol says."""
    update = Change(
        Op.UPDATE,
        "items",
        {"id": 1},
        {"id": 1, "name": "Test", "value": "123"},
        {"id": 1, "name": "Test", "value": "456"},
    )
    tail = wire.changes_tail(
        time="2026-11-21T10:00:00.123456Z",
        commits=1,
        part=0,
        last=True,
        changes=wire.encode_change(update),
    )
    message = wire.changes_message(tail, Position("k3f9", 13, "a1b2"))
    assert (message.type, message.position) == ("changes", "k3f9:13~a1b2")
    assert message.data.decode() == (
        '{"type":"changes","position":"k3f9:13~a1b2","time":"2026-11-21T10:00:00.123456Z",'
        '"commits":1,"part":0,"last":true,"changes":[{"op":"update","table":"items",'
        '"key":{"id":1},"changed":["value"],"before":{"id":1,"name":"Test","value":"123"},'
        '"after":{"id":1,"name":"Test","value":"456"}}]}'
    )
    without = wire.changes_message(tail, None)
    assert without.position is None
    assert without.data.startswith(b'{"type":"changes","time":')


def test_inserts_and_deletes_look_as_documented() -> None:
    """What there is not is null, and a row without a key is known by its rowid."""
    insert = Change(Op.INSERT, "t", {"$rowid": 7}, None, {"x": None})
    delete = Change(Op.DELETE, "t", {"k": b"\0"}, {"k": b"\0"}, None)
    assert wire.encode_change(insert).decode() == (
        '{"op":"insert","table":"t","key":{"$rowid":7},"before":null,"after":{"x":null}}'
    )
    assert wire.encode_change(delete).decode() == (
        '{"op":"delete","table":"t","key":{"k":{"$blob":"AA=="}},'
        '"before":{"k":{"$blob":"AA=="}},"after":null}'
    )


def test_a_schema_change_looks_as_documented() -> None:
    """A schema change says what defined the table, what defines it now, and where columns go."""
    change = SchemaChange(
        "t",
        "table",
        "t",
        "CREATE TABLE old(x)",
        "CREATE TABLE t(y,n DEFAULT 7)",
        definition=Table("t", (), ("y", "n")),
        renamed_from="old",
        columns=(ColumnSource("y", "x"), ColumnSource("n", None, 7)),
    )
    assert wire.encode_change(change).decode() == (
        '{"op":"schema","table":"t","object":"table","name":"t",'
        '"sql":{"before":"CREATE TABLE old(x)","after":"CREATE TABLE t(y,n DEFAULT 7)"},'
        '"definition":{"name":"t","key":[],"columns":["y","n"]},"renamed_from":"old",'
        '"columns":[{"name":"y","from":"x"},{"name":"n","default":7}]}'
    )


MESSAGES: list[tuple[Callable[[], bytes], str]] = [
    (
        lambda: wire.hello_message("test.db", "k3f9:12~8c1d", [ITEMS]).data,
        '{"type":"hello","protocol":1,"database":"test.db","position":"k3f9:12~8c1d",'
        '"tables":[{"name":"items","key":["id"],"columns":["id","name","value"]}]}',
    ),
    (
        lambda: wire.ready_message("k3f9:12~8c1d").data,
        '{"type":"ready","position":"k3f9:12~8c1d"}',
    ),
    (
        lambda: wire.reset_message("position_expired", snapshot=True).data,
        '{"type":"reset","reason":"position_expired","snapshot":true}',
    ),
    (
        lambda: (
            wire.status_message("locked", "another program holds the database exclusively").data
        ),
        '{"type":"status","state":"locked",'
        '"detail":"another program holds the database exclusively"}',
    ),
    (
        lambda: wire.status_message("starting", "the first copy is being made", 0.42).data,
        '{"type":"status","state":"starting","detail":"the first copy is being made",'
        '"progress":0.42}',
    ),
    (
        lambda: wire.heartbeat_message("k3f9:13~a1b2").data,
        '{"type":"heartbeat","position":"k3f9:13~a1b2"}',
    ),
    (
        lambda: wire.error_message(4502, "…", temporary=False),
        '{"type":"error","code":4502,"detail":"…","temporary":false}',
    ),
]


@pytest.mark.parametrize(("encode", "text"), MESSAGES)
def test_messages_look_as_documented(encode: Callable[[], bytes], text: str) -> None:
    """Every message is, byte for byte, what the protocol says."""
    assert encode().decode() == text
    assert wire.decode_object(text) == json.loads(text)


def test_positions_count_only_where_a_client_has_reached_them() -> None:
    """`ready` and `heartbeat` carry a position to come back with; the others do not."""
    assert wire.ready_message("e:1~abcd").position == "e:1~abcd"
    assert wire.heartbeat_message("e:1~abcd").position == "e:1~abcd"
    assert wire.hello_message("a", "e:1~abcd", []).position is None
    assert wire.reset_message("start", snapshot=False).position is None
    assert wire.status_message("ok", "").position is None


@pytest.mark.parametrize("frame", ["", "{}", "5", "[5]", "[{}", '[{},"a"]', b"\xff", b'["\xff"]'])
def test_a_frame_is_an_array_of_objects(frame: bytes | str) -> None:
    """Anything else is a protocol error."""
    with pytest.raises(ProtocolError):
        wire.decode_messages(frame)
    assert wire.decode_messages('[{"type":"a"},{}]') == [{"type": "a"}, {}]


def tail(changes: list[Change | SchemaChange], *, last: bool = True) -> bytes:
    encoded = b",".join(map(wire.encode_change, changes))
    return wire.changes_tail(time="T", commits=None, part=3, last=last, changes=encoded)


def insert(table: str, **row: Value) -> Change:
    return Change(Op.INSERT, table, {"$rowid": 1}, None, row)


@given(
    st.lists(st.one_of(CHANGES, SCHEMA_CHANGES), max_size=5),
    st.frozensets(st.sampled_from(["id", "op", "", 'q"']), max_size=3),
    st.booleans(),
)
def test_a_filter_keeps_exactly_what_concerns_its_tables(
    changes: list[Change | SchemaChange], tables: frozenset[str], last: bool
) -> None:
    """What is left is unchanged and in order; an emptied part goes unless it is the last."""
    kept = [
        change
        for change in changes
        if change.table in tables or getattr(change, "renamed_from", None) in tables
    ]
    expected = tail(kept, last=last) if kept or last else None
    assert wire.filter_tail(tail(changes, last=last), tables) == expected


def test_a_filter_hears_that_its_table_was_renamed() -> None:
    """The change that renames a table concerns those who asked for the old name or the new one."""
    renamed = SchemaChange("new", "table", "new", "a", "b", renamed_from="old")
    for name in ("old", "new"):
        assert wire.filter_tail(tail([renamed]), frozenset({name})) == tail([renamed])


@given(st.lists(SCHEMA_CHANGES, max_size=2), st.lists(CHANGES, max_size=3))
def test_schema_changes_are_noticed_and_nothing_else(
    schema: list[SchemaChange], rows: list[Change]
) -> None:
    """A part with a schema change is known by it, whatever names and values its rows have."""
    assert wire.has_schema_change(tail([*schema, *rows])) == bool(schema)


@pytest.mark.parametrize(
    "row",
    [
        insert("t", op="schema", x=1),
        Change(Op.DELETE, "t", {"op": "schema", "x": 1}, {"op": "schema", "x": 1}, None),
        insert('{"op":"schema",', x='{"op":"schema",', changes='"changes":[{"op":"schema",'),
        insert("t", **{'"changes":[{"op":"schema",': 1, "changes": 2}),
    ],
)
def test_a_row_cannot_pass_for_a_schema_change(row: Change) -> None:
    """Columns named like the format's own fields do not deceive."""
    assert not wire.has_schema_change(tail([row]))
    assert not wire.has_schema_change(tail([]))
