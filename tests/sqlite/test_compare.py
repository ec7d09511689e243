"""The comparison of whole tables: what it finds, applied to the first, gives the second exactly."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.values import INVALID_TEXTS, TEXTS
from tests.sqlite.attached import Attached, attached, bound, insert, made
from watcher.changes import Change, InvalidText, LargeValue, Op, Row, Value
from watcher.sqlite.compare import Comparison, compare, insert_all
from watcher.sqlite.fileformat import ENCODINGS, UTF8, UTF16BE, UTF16LE
from watcher.sqlite.names import quote

# Few different ones, so that rows meet; among them all that SQL holds equal and storage does not.
VALUES: st.SearchStrategy[Value] = st.one_of(
    st.sampled_from(
        [None, 0, 1, -1, 0.0, -0.0, 1.0, 1.5, "", "1", "1.0", "a", "A", "a ", b"", b"1", b"a"]
    ),
    st.sampled_from([2**53, float(2**53), 2**53 + 1, 2**63 - 1, -(2**63), float(2**63)]),
    st.sampled_from([float("inf"), float("-inf"), float("nan"), 5e-324, "inf", 1e300]),
    st.sampled_from(["a\0b", "a\0", "\0", "é", "É", "\ud7ff", "\U0001f600", "1e3", " 1"]),
    st.sampled_from([InvalidText(b"\xff"), InvalidText(b"a\xc3"), InvalidText(b"\xed\xa0\x80")]),
    st.integers(-3, 30),
    TEXTS,
    st.binary(max_size=3),
)
TABLES = (
    "CREATE TABLE t(a, b, c)",
    "CREATE TABLE t(a INTEGER PRIMARY KEY, b, c)",
    "CREATE TABLE t(a TEXT, b INT, c REAL)",
    "CREATE TABLE t(a PRIMARY KEY, b, c)",
    "CREATE TABLE t(a TEXT COLLATE NOCASE PRIMARY KEY, b COLLATE NOCASE, c)",
    "CREATE TABLE t(a COLLATE RTRIM PRIMARY KEY, b, c COLLATE RTRIM) WITHOUT ROWID",
    "CREATE TABLE t(a, b NUMERIC, c, PRIMARY KEY(c, a))",
    "CREATE TABLE t(a, b, c, PRIMARY KEY(b COLLATE NOCASE, a)) WITHOUT ROWID",
    "CREATE TABLE t(a ANY PRIMARY KEY, b ANY, c ANY) STRICT",
    "CREATE TABLE t(a INTEGER, b REAL PRIMARY KEY, c BLOB)",
    "CREATE TABLE t(rowid, _rowid_, oid INTEGER PRIMARY KEY)",
    "CREATE TABLE t(rowid, _rowid_, c)",
)
ROWS = st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=8)


def stored(table: str, rows: Sequence[Sequence[Value]], encoding: int = UTF8) -> bytes:
    """A database with these rows, but for those that its constraints and types refuse."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.execute(f"PRAGMA encoding='{ENCODINGS[encoding]}'")
        db.execute(table)
        for row in rows:
            with suppress(sqlite3.IntegrityError):
                db.execute(*bound(*insert("t", row)))
        return db.serialize()


def exact(value: Value) -> tuple[str, object]:
    """A value in a form in which equal means the same to SQLite's storage."""
    assert not isinstance(value, LargeValue)
    if isinstance(value, float):
        return "real", value.hex()
    if isinstance(value, InvalidText):
        return "text", value.data
    if isinstance(value, str):
        return "text", value.encode()
    kind = {type(None): "null", int: "integer", bytes: "blob"}[type(value)]
    return kind, value


Exact = tuple[tuple[tuple[str, object], ...], tuple[tuple[str, object], ...]]


def exact_row(key: Row, row: Row) -> Exact:
    return (
        tuple((name, exact(value)) for name, value in key.items()),
        tuple((name, exact(value)) for name, value in row.items()),
    )


def held(two: Attached, database: str) -> Counter[Exact]:
    """The rows of `t` with what they are known by, read by another way than the one on trial."""
    table = two.table("t", database)
    columns = [column.name for column in table.columns]
    terms = [
        f"typeof({c}), CASE WHEN typeof({c}) IN ('integer', 'real') THEN {c} END,"
        f" hex(CAST({c} AS BLOB))"
        for c in map(quote, columns)
    ]
    rowid = table.rowid or "0"
    encoding = two.db.execute(f"PRAGMA {database}.encoding").get
    found: Counter[Exact] = Counter()
    for rowid_value, *rest in two.db.execute(
        f"SELECT {rowid}, {','.join(terms)} FROM {database}.t"
    ):
        values = [_value(encoding, *rest[n : n + 3]) for n in range(0, len(rest), 3)]
        row: Row = dict(zip(columns, values, strict=True))
        known = {name: row[name] for name in table.key}
        complete = known and None not in known.values()
        found[exact_row(known if complete else {"$rowid": rowid_value}, row)] += 1
    return found


def _value(encoding: str, kind: str, number: float | None, digits: str) -> Value:
    data = bytes.fromhex(digits)
    if kind == "blob":
        return data
    if kind != "text":
        return number
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return InvalidText(data)


def changes_between(two: Attached) -> list[Change]:
    old, new = two.table("t", "old"), two.table("t", "new")
    names = tuple(column.name for column in new.columns)
    return list(compare(two.rows, Comparison(old, new, names, (None,) * len(names))))


def applied(rows: Counter[Exact], changes: list[Change]) -> Counter[Exact]:
    """What becomes of some rows; each change must fit what is there."""
    rows = rows.copy()
    for change in changes:
        if change.before is not None:
            before = exact_row(change.key, change.before)
            assert rows[before] == 1, "a row that is not there is deleted or changed"
            del rows[before]
    for change in changes:
        if change.after is not None:
            after = exact_row(change.key, change.after)
            assert not rows[after], "a row comes that is there"
            rows[after] += 1
    return rows


def without_invalid_text(rows: list[tuple[Value, ...]]) -> list[tuple[Value, ...]]:
    return [tuple("?" if isinstance(v, InvalidText) else v for v in row) for row in rows]


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(TABLES), ROWS, ROWS, st.sampled_from([UTF8, UTF8, UTF16LE, UTF16BE]))
def test_the_changes_lead_from_one_table_to_the_other(
    table: str, before: list[tuple[Value, ...]], after: list[tuple[Value, ...]], encoding: int
) -> None:
    """Whatever the values: exactly the second table, and no change that changes nothing."""
    if encoding != UTF8:
        # Bytes that are no UTF-8 have no counterpart there; those tests are in test_rows.
        before, after = without_invalid_text(before), without_invalid_text(after)
    old, new = stored(table, before, encoding), stored(table, after, encoding)
    with attached(old, new, encoding=encoding) as two:
        start, end = held(two, "old"), held(two, "new")
        changes = changes_between(two)
    assert applied(start, changes) == end
    for change in changes:
        assert change.table == "t"
        assert change.op is not Op.UPDATE or change.changed
    untouched = start & end
    named = [exact_row(c.key, c.before) for c in changes if c.before is not None]
    assert not untouched & Counter(named)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(TABLES), ROWS)
def test_a_new_table_comes_whole(table: str, rows: list[tuple[Value, ...]]) -> None:
    """An insert for each of its rows, exactly."""
    with attached(new=stored(table, rows)) as two:
        changes = list(insert_all(two.rows, two.table("t")))
        assert {change.op for change in changes} <= {Op.INSERT}
        assert applied(Counter(), changes) == held(two, "new")


DIFFERENT = [
    (1, 1.0),
    (0.0, -0.0),
    (0, 0.0),
    (0, -0.0),
    ("a", "A"),
    ("a", "a "),
    ("", None),
    ("", b""),
    (None, b""),
    ("1", 1),
    ("a", b"a"),
    ("a\0b", "a\0c"),
    ("a", "a\0"),
    ("\0", ""),
    (InvalidText(b"\xff"), InvalidText(b"\xfe")),
    (InvalidText(b"\xff"), b"\xff"),
    (InvalidText(b"\xef\xbf\xbd\xff"), "\ufffd\ufffd"),
    (2**53, 2**53 + 1),
    (2**53 + 1, float(2**53)),
    (2**63 - 1, float(2**63)),
    (0.1, 0.1 + 2**-56),
    (float("inf"), 1e308),
    ("inf", float("inf")),
    (b"\0", b"\0\0"),
    ("é", "e\u0301"),
    (float("nan"), 0.0),
    (5e-324, 0.0),
]


@pytest.mark.fault("D23")
@pytest.mark.parametrize("collate", ["", " COLLATE NOCASE", " COLLATE RTRIM"])
@pytest.mark.parametrize(("left", "right"), DIFFERENT, ids=repr)
def test_what_sql_calls_equal_is_told_apart(left: Value, right: Value, collate: str) -> None:
    """By type, by sign of zero, by every byte, whatever the column's collation; in both ways."""
    table = f"CREATE TABLE t(id INTEGER PRIMARY KEY, v{collate})"
    for one, other in ((left, right), (right, left)):
        old, new = made(table, insert("t", (1, one))), made(table, insert("t", (1, other)))
        with attached(old, new) as two:
            (change,) = changes_between(two)
            assert change.changed == ("v",)
            assert change.before is not None
            assert change.after is not None
            for row, value in ((change.before, one), (change.after, other)):
                expected = None if value != value else value  # noqa: PLR0124  # NaN is NULL
                assert exact(row["v"]) == exact(expected)


@pytest.mark.parametrize("value", [v for pair in DIFFERENT for v in pair], ids=repr)
def test_what_is_the_same_is_no_change(value: Value) -> None:
    """The value itself, NaN included, which is stored as NULL."""
    table = "CREATE TABLE t(id INTEGER PRIMARY KEY, v)"
    data = made(table, insert("t", (1, value)))
    with attached(data, data) as two:
        assert changes_between(two) == []


@pytest.mark.parametrize(
    ("collate", "left", "right"),
    [("NOCASE", "a", "A"), ("RTRIM", "a", "a  "), ("BINARY", 1, 1.0), ("NOCASE", 0.0, -0.0)],
)
@pytest.mark.parametrize("tail", ["", " WITHOUT ROWID"])
def test_a_key_that_only_looks_the_same_is_another_key(
    collate: str, left: Value, right: Value, tail: str
) -> None:
    """SQL finds the row under its new key; clients must drop the old one, so both are told."""
    table = f"CREATE TABLE t(k COLLATE {collate} PRIMARY KEY, v){tail}"
    old, new = made(table, insert("t", (left, 1))), made(table, insert("t", (right, 1)))
    with attached(old, new) as two:
        changes = changes_between(two)
        assert applied(held(two, "old"), changes) == held(two, "new")
    assert [change.op for change in changes] == [Op.DELETE, Op.INSERT]
    assert [exact(change.key["k"]) for change in changes] == [exact(left), exact(right)]


def test_rows_with_null_in_their_key_are_known_by_rowid() -> None:
    """They may be many and alike; one that gets a key, or loses it, is another row."""
    table = "CREATE TABLE t(k PRIMARY KEY, v)"
    old = made(table, "INSERT INTO t VALUES (NULL, 1), (NULL, 1), ('a', 2), (NULL, 3)")
    new = made(table, "INSERT INTO t VALUES (NULL, 1), (NULL, 9), (NULL, 2), ('b', 3)")
    with attached(old, new) as two:
        changes = changes_between(two)
        assert applied(held(two, "old"), changes) == held(two, "new")
    assert {(change.op, *change.key.items()) for change in changes} == {
        (Op.DELETE, ("k", "a")),
        (Op.DELETE, ("$rowid", 4)),
        (Op.UPDATE, ("$rowid", 2)),
        (Op.INSERT, ("$rowid", 3)),
        (Op.INSERT, ("k", "b")),
    }


def test_equal_rows_without_a_key_are_told_apart() -> None:
    """Duplicates are known by their rowid: one of three goes."""
    table = "CREATE TABLE t(x)"
    old = made(table, "INSERT INTO t VALUES (5), (5), (5)")
    new = made(table, "INSERT INTO t VALUES (5), (5), (5); DELETE FROM t WHERE rowid=2")
    with attached(old, new) as two:
        (change,) = changes_between(two)
    assert (change.op, change.key, change.before) == (Op.DELETE, {"$rowid": 2}, {"x": 5})


def test_a_row_that_is_invalid_text_here_and_there() -> None:
    """Rows that Python cannot decode change, go, come and stay among those it can."""
    table = "CREATE TABLE t(k PRIMARY KEY, v) WITHOUT ROWID"
    bad, worse = InvalidText(b"\xff\xfe"), InvalidText(b"\xc3")
    old = made(table, *(insert("t", row) for row in ((bad, 1), ("a", bad), ("b", worse), (1, 1))))
    new = made(table, *(insert("t", row) for row in ((worse, 1), ("a", bad), ("b", bad), (1, bad))))
    with attached(old, new) as two:
        changes = changes_between(two)
        assert applied(held(two, "old"), changes) == held(two, "new")
    assert Counter(change.op for change in changes) == {Op.DELETE: 1, Op.UPDATE: 2, Op.INSERT: 1}


def test_two_thousand_columns_are_compared() -> None:
    """As many as SQLite allows, with a key and without one; only what changed is named."""
    for key in ("c0", None):
        columns = ",".join(f"c{n}" for n in range(2000))
        table = f"CREATE TABLE t({columns}{', PRIMARY KEY(c0)' if key else ''})"
        row = f"INSERT INTO t VALUES ({','.join('?' * 2000)})"
        first: list[Value] = [*range(2000)]
        second: list[Value] = [*range(2000)]
        second[1], second[1999] = "x", None
        with attached(made(table, (row, first)), made(table, (row, second))) as two:
            (change,) = changes_between(two)
            assert change.changed == ("c1", "c1999")
            assert list(change.key) == [key or "$rowid"]


@given(INVALID_TEXTS)
def test_bytes_that_are_no_text_are_exact(value: InvalidText) -> None:
    """They come back as the bytes they are."""
    with attached(new=made("CREATE TABLE t(x)", insert("t", (value,)))) as two:
        (change,) = insert_all(two.rows, two.table("t"))
    assert change.after == {"x": value}
