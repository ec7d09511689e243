"""Rows as they are stored, and page by page: none is changed, dropped or given twice."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sqlite.attached import Attached, attached, insert, made
from tests.sqlite.test_compare import TABLES, VALUES, exact, exact_row, held, stored
from watcher.changes import Change, InvalidText, Op, Value
from watcher.errors import MalformedPosition
from watcher.sqlite.fileformat import UTF8, UTF16BE, UTF16LE
from watcher.sqlite.places import decode_place, encode_place
from watcher.sqlite.rows import MARK, key_of, read_page

BAD = InvalidText(b"a\xff")
MIXED: list[Value] = [1, "a", b"\xff", BAD, None, 2.5, "é", InvalidText(b"\xc3"), b"", "", -0.0]


def pages(two: Attached, size: int) -> list[list[Change]]:
    """All rows of `t`, so many at a time, each page asked for by the token of the one before."""
    table = two.table("t")
    found: list[list[Change]] = []
    token: str | None = None
    while True:
        after = None if token is None else decode_place(token)
        page = list(read_page(two.rows, "new", table, after, size))
        assert len(page) <= size
        if not page:
            return found
        found.append([change for _, change in page])
        token = encode_place(page[-1][0])


# Selecting


@pytest.mark.parametrize("start", range(len(MIXED)))
def test_bytes_that_are_no_text_do_not_disturb_their_neighbours(start: int) -> None:
    """Wherever such a value comes first: every row once, in order, each value as it is stored."""
    values = MIXED[start:] + MIXED[:start]
    rows = [insert("t", (n, value)) for n, value in enumerate(values)]
    with attached(new=made("CREATE TABLE t(n INTEGER PRIMARY KEY, v)", *rows)) as two:
        found = list(two.rows.select(["n", "v"], "FROM new.t ORDER BY n"))
    assert [n for n, _ in found] == list(range(len(values)))
    assert [exact(value) for _, value in found] == [exact(value) for value in values]


@pytest.mark.parametrize("encoding", [UTF8, UTF16LE, UTF16BE])
@pytest.mark.parametrize("text", ["", "a", "é", "\U0001f600", "a\0b", "\ufeff", "\ufffd", "x" * 9])
def test_text_is_the_same_in_any_encoding(encoding: int, text: str) -> None:
    """Also among rows that have to be read as bytes."""
    data = made("CREATE TABLE t(v)", insert("t", (text,)), encoding=encoding)
    with attached(new=data, encoding=encoding) as two:
        assert list(two.rows.select(["v"], "FROM new.t")) == [(text,)]
        assert list(two.rows.select_bytes(["v"], "FROM new.t", [], 0)) == [(text,)]


@pytest.mark.parametrize(("encoding", "name"), [(UTF16LE, "utf-16-le"), (UTF16BE, "utf-16-be")])
def test_half_a_surrogate_is_kept(encoding: int, name: str) -> None:
    """UTF-16 that is none comes as the bytes SQLite gives for it in UTF-8."""
    lone = "a\ud800".encode(name, "surrogatepass")
    # Bytes that are cast to text are taken to be in the encoding of the database.
    sql = f"INSERT INTO t VALUES (1, CAST(x'{lone.hex()}' AS TEXT)), (2, 'fine')"
    data = made("CREATE TABLE t(n, v)", sql, encoding=encoding)
    with attached(new=data, encoding=encoding) as two:
        found = list(two.rows.select(["n", "v"], "FROM new.t ORDER BY n"))
    assert found == [(1, InvalidText(b"a\xed\xa0\x80")), (2, "fine")]


@pytest.mark.parametrize("value", MIXED, ids=repr)
def test_any_value_can_be_asked_for(value: Value) -> None:
    """A mark in the statement stands for it, exactly."""
    rows = [insert("t", (other,)) for other in MIXED]
    with attached(new=made("CREATE TABLE t(v)", *rows)) as two:
        rest = f"FROM new.t WHERE v IS {MARK} AND typeof(v) = typeof({MARK})"
        found = list(two.rows.select(["v"], rest, (value, value)))
        assert [exact(v) for (v,) in found] == [exact(value)]


def test_a_key_is_the_declared_one_or_the_rowid() -> None:
    """The declared one where no column of it is NULL."""
    with attached(new=made("CREATE TABLE t(a, b, c, PRIMARY KEY(b, a))")) as two:
        table = two.table("t")
    assert key_of(table, {"a": 1, "b": "x", "c": None}, 7) == {"b": "x", "a": 1}
    assert key_of(table, {"a": None, "b": "x", "c": 1}, 7) == {"$rowid": 7}


# Page by page


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(TABLES),
    st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=12),
    st.integers(1, 5),
)
def test_pages_give_every_row_once(table: str, rows: list[tuple[Value, ...]], size: int) -> None:
    """Whatever the keys and the size of the pages; the token of each page leads to the next."""
    with attached(new=stored(table, rows)) as two:
        found = pages(two, size)
        whole = [change for page in found for change in page]
        assert all(len(page) == size for page in found[:-1])
        assert {change.op for change in whole} <= {Op.INSERT}
        given_ = Counter(exact_row(c.key, c.after) for c in whole if c.after is not None)
        assert given_ == held(two, "new")


@pytest.mark.parametrize(
    ("table", "order"),
    [
        ("CREATE TABLE t(k PRIMARY KEY)", [None, None, 1, 1.5, 2, "A", "B", "a", BAD, b"", b"a"]),
        (
            "CREATE TABLE t(k COLLATE NOCASE PRIMARY KEY) WITHOUT ROWID",
            [1, 1.5, 2, "a", BAD, "B", b"", b"a"],
        ),
    ],
)
def test_pages_are_in_the_order_of_the_keys(table: str, order: list[Value]) -> None:
    """As SQLite orders them: numbers, text by the key's collation, blobs; without a key last."""
    keys = [value for value in order if value is not None]
    nulls = [value for value in order if value is None]
    rows = [insert("t", (value,)) for value in reversed(order)]
    with attached(new=made(table, *rows)) as two:
        for size in (1, 2, 100):
            found = [change for page in pages(two, size) for change in page]
            assert [change.after and change.after["k"] for change in found] == keys + nulls


def test_a_page_may_be_asked_for_after_a_row_that_is_gone() -> None:
    """The token names a place, not a row."""
    with attached(new=made("CREATE TABLE t(k PRIMARY KEY)", "INSERT INTO t VALUES (1),(5)")) as two:
        for after, expected in ((0, [1, 5]), (1, [5]), (3, [5]), (5, []), ("", [])):
            found = read_page(two.rows, "new", two.table("t"), [0, after], 10)
            assert [change.key["k"] for _, change in found] == expected


@pytest.mark.parametrize(
    "place", [[2, 1], [-1, 1], [0], [0, 1, 2], ["0", 1], [None, 1], [0.0, 1], [1, 1, 1]]
)
def test_a_place_that_is_not_in_the_table_is_refused(place: list[Value]) -> None:
    """The number of an identity it has not, or another number of values than that has."""
    with (
        attached(new=made("CREATE TABLE t(k PRIMARY KEY)", "INSERT INTO t VALUES (1)")) as two,
        pytest.raises(MalformedPosition),
    ):
        list(read_page(two.rows, "new", two.table("t"), place, 10))


def test_pages_of_two_thousand_columns() -> None:
    """The rowid is one column more than SQLite gives at once."""
    columns = ",".join(f"c{n}" for n in range(2000))
    row = (f"INSERT INTO t VALUES ({','.join('?' * 2000)})", list[Value](range(2000)))
    with attached(new=made(f"CREATE TABLE t({columns})", row, row, row)) as two:
        found = pages(two, 2)
    assert [[change.key for change in page] for page in found] == [
        [{"$rowid": 1}, {"$rowid": 2}],
        [{"$rowid": 3}],
    ]
    assert all(list((c.after or {}).values()) == list(range(2000)) for page in found for c in page)
