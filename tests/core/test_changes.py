"""The vocabulary: positions, what an update changed, what counts as the same value."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.values import VALUES
from watcher.changes import (
    Change,
    InvalidText,
    LargeValue,
    Op,
    Position,
    Row,
    SchemaChange,
    Value,
    same,
)
from watcher.errors import MalformedPosition

POSITIONS = st.builds(
    Position,
    epoch=st.text("0123456789abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=16),
    offset=st.integers(0, 10**18 - 1),
    hash=st.text("0123456789abcdef", min_size=4, max_size=4),
    part=st.none() | st.integers(0, 10**9 - 1),
)


@given(POSITIONS)
def test_a_position_survives_its_text_form(position: Position) -> None:
    """What is parsed from a position's text is that position."""
    assert Position.parse(str(position)) == position


def test_a_position_reads_as_epoch_offset_hash() -> None:
    """The text form is `epoch:offset~hash`, with the part after a dot where there is one."""
    assert str(Position("k3f9", 12, "8c1d")) == "k3f9:12~8c1d"
    assert str(Position("k3f9", 12, "8c1d", part=0)) == "k3f9:12.0~8c1d"


@pytest.mark.parametrize(
    "text",
    [
        "", "k3f9", "k3f9:12", "k3f9:~8c1d", ":12~8c1d", "k3f9:12~8c1", "k3f9:12~8c1dd",
        "K3F9:12~8c1d", "k3f9:-1~8c1d", "k3f9:1.~8c1d", "k3f9:1.2.3~8c1d", " k3f9:12~8c1d",
        "k3f9:12~8c1d\n", "k3f9:12~8C1D", "k3f9:٣~8c1d", "k3f9:1234567890123456789~8c1d",
        "k3f9:1.1234567890~8c1d", "12345678901234567:1~8c1d", "k3f9:12~8c1d\0", "k" * 10_000,
    ],
)  # fmt: skip
def test_a_text_of_another_form_is_no_position(text: str) -> None:
    """A malformed text is refused with an error that carries it."""
    with pytest.raises(MalformedPosition) as caught:
        Position.parse(text)
    assert caught.value.text == text
    assert len(str(caught.value)) < 500


@given(st.text(max_size=30))
def test_any_text_parses_or_is_refused(text: str) -> None:
    """No text raises anything but MalformedPosition, and what parses is canonical but for zeros."""
    try:
        position = Position.parse(text)
    except MalformedPosition:
        return
    assert Position.parse(str(position)) == position


def test_changed_names_exactly_the_columns_an_update_changed() -> None:
    """Columns compare by type and sign of zero, not by Python's equality."""
    before: Row = {"a": 1, "b": 0.0, "c": "x", "d": None, "e": b"x", "f": 7}
    after: Row = {"a": 1.0, "b": -0.0, "c": b"x", "d": "", "e": b"x", "f": 7}
    change = Change(Op.UPDATE, "t", {"a": 1}, before, after)
    assert change.changed == ("a", "b", "c", "d")


def test_inserts_and_deletes_name_no_changed_columns() -> None:
    """Only an update has changed columns."""
    assert Change(Op.INSERT, "t", {"a": 1}, None, {"a": 1}).changed == ()
    assert Change(Op.DELETE, "t", {"a": 1}, {"a": 1}, None).changed == ()


def test_a_schema_change_says_its_operation() -> None:
    """A schema change and a row change can be told apart by `op`."""
    assert SchemaChange("t", "table", "t", None, "CREATE TABLE t(x)").op is Op.SCHEMA


@given(VALUES)
def test_a_value_is_the_same_as_itself(value: Value) -> None:
    """Identity is reflexive for all values."""
    assert same(value, value)


@given(VALUES, VALUES)
def test_same_agrees_with_sqlite(left: Value, right: Value) -> None:
    """Two values are the same just where SQLite stores the same type and bytes for both."""
    assert same(left, right) == same(right, left) == (_stored(left) == _stored(right))


def _stored(value: Value) -> tuple[str, str]:
    assert not isinstance(value, LargeValue)
    mark, bound = (
        ("CAST(? AS TEXT)", value.data) if isinstance(value, InvalidText) else ("?", value)
    )
    with closing(sqlite3.connect(":memory:")) as db:
        kind, sign, number, data = db.execute(
            f"SELECT typeof(v), CASE typeof(v) WHEN 'real' THEN printf('%+.0f', v) END,"
            f" CASE WHEN typeof(v) IN ('integer', 'real') THEN v END,"
            f" CASE WHEN typeof(v) IN ('text', 'blob') THEN hex(CAST(v AS BLOB)) END"
            f" FROM (SELECT {mark} AS v)",
            (bound,),
        ).fetchone()
    exact = number.hex() if isinstance(number, float) else repr(number)
    return kind, f"{exact} {data} {sign and sign[0]}"
