"""Values and changes for Hypothesis: all that SQLite can hold."""

from __future__ import annotations

from hypothesis import strategies as st

from watcher.changes import (
    Change,
    ColumnSource,
    InvalidText,
    Op,
    Row,
    SchemaChange,
    Table,
    Value,
    same,
)


def _is_invalid(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return False


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = st.one_of(st.sampled_from(["id", "op", "key", "$int", "$rowid", 'q"', ""]), TEXTS)
INVALID_TEXTS = st.binary(min_size=1, max_size=8).filter(_is_invalid).map(InvalidText)
VALUES: st.SearchStrategy[Value] = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([2**53 - 1, 2**53, -(2**53) + 1, -(2**53), 0, 1]),
    st.floats(allow_nan=False),
    st.sampled_from([0.0, -0.0, 1.0, float("inf"), float("-inf"), 5e-324, 1e16, 1e22]),
    TEXTS,
    st.sampled_from(["", "\0", "a\0b", "é", "\U0001f600", '{"op":"schema",', "</script>"]),
    st.binary(max_size=12),
    INVALID_TEXTS,
)


@st.composite
def _changes(draw: st.DrawFn) -> Change:
    op = draw(st.sampled_from([Op.INSERT, Op.UPDATE, Op.DELETE]))
    columns = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    row = st.tuples(*[VALUES] * len(columns)).map(lambda found: dict(zip(columns, found)))  # noqa: B905
    before = None if op is Op.INSERT else draw(row)
    after = None if op is Op.DELETE else draw(row)
    held = after or before or {}
    key: Row = draw(
        st.one_of(
            st.just({columns[0]: held[columns[0]]}),
            st.integers(-(2**63), 2**63 - 1).map(lambda rowid: {"$rowid": rowid}),
        )
    )
    return Change(op, draw(NAMES), key, before, after)


CHANGES = _changes()
TABLES = st.builds(
    Table,
    NAMES,
    st.lists(NAMES, max_size=3).map(tuple),
    st.lists(NAMES, max_size=5).map(tuple),
)
COLUMN_SOURCES = st.one_of(
    st.builds(ColumnSource, NAMES, NAMES), st.builds(ColumnSource, NAMES, st.none(), VALUES)
)
SCHEMA_CHANGES = st.builds(
    SchemaChange,
    table=NAMES,
    object=st.sampled_from(["table", "index", "view", "trigger"]),
    name=NAMES,
    before=st.none() | TEXTS,
    after=st.none() | TEXTS,
    definition=st.none() | TABLES,
    renamed_from=st.none() | NAMES,
    columns=st.none() | st.lists(COLUMN_SOURCES, max_size=4).map(tuple),
)


def same_row(left: Row | None, right: Row | None) -> bool:
    """Whether two rows have the same columns in the same order with identical values."""
    if left is None or right is None:
        return left is right
    return list(left) == list(right) and all(same(left[name], right[name]) for name in left)


def same_change(left: Change | SchemaChange, right: Change | SchemaChange) -> bool:
    """Whether two changes are identical, value by value."""
    if isinstance(left, SchemaChange) or isinstance(right, SchemaChange):
        # Equal as Python sees it, and alike to the last bit of each default.
        return left == right and repr(left) == repr(right)
    return (
        (left.op, left.table) == (right.op, right.table)
        and same_row(left.key, right.key)
        and same_row(left.before, right.before)
        and same_row(left.after, right.after)
    )
