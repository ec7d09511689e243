"""Parts of a table: put together they are the table, wherever one ends and the next begins."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sqlite.attached import Attached, attached, made
from tests.sqlite.test_compare import TABLES, VALUES, exact, stored
from watcher.changes import InvalidText, Value
from watcher.errors import MalformedPosition
from watcher.sqlite import slices
from watcher.sqlite.fileformat import UTF8, UTF16BE, UTF16LE
from watcher.sqlite.places import pack, pack_rows, unpack
from watcher.sqlite.rows import read_page
from watcher.sqlite.slices import count_stretch, read_at, read_slice

ROWS = st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=12)


def whole(two: Attached, columns: list[str]) -> list[tuple[tuple[Value, ...], list[Value]]]:
    """Each row's place and some of its columns, by another way than the one on trial."""
    table = two.table("t", "old")
    found = []
    for place, change in read_page(two.rows, "old", table, None, 1000):
        assert change.after is not None
        found.append((place, [change.after[name] for name in columns]))
    return found


def by_slices(
    two: Attached, columns: list[str], limit: int
) -> list[tuple[tuple[Value, ...], list[Value]]]:
    """The same by slices, their places and rows packed in between."""
    table, found = two.table("t", "old"), []
    after: list[Value] | None = None
    while True:
        part = read_slice(
            two.rows, table, columns, after, limit=limit, max_bytes=1000, seconds=60.0
        )
        assert len(part.rows) <= limit
        known = len(table.identities[part.number].columns)
        rows = unpack(pack_rows(part.rows))
        found += [((part.number, *row[:known]), row[known:]) for row in rows]
        if part.next is None:
            return found
        after = unpack(pack(part.next))


def same(left: tuple[Value, ...], right: tuple[Value, ...]) -> bool:
    return list(map(exact, left)) == list(map(exact, right))


@settings(max_examples=60)
@given(
    table=st.sampled_from(TABLES),
    rows=ROWS,
    encoding=st.sampled_from([UTF8, UTF16LE, UTF16BE]),
    places=st.sampled_from([[], [0], [1], [2, 0]]),
    limit=st.integers(1, 5),
)
def test_slices_are_the_table(
    table: str,
    rows: list[tuple[Value, ...]],
    encoding: int,
    places: list[int],
    limit: int,
) -> None:
    """Every row once and in the order of the pages, each value as it is stored."""
    with attached(old=stored(table, rows, encoding), encoding=encoding) as two:
        names = [column.name for column in two.table("t", "old").columns]
        columns = [names[place] for place in places]
        expected, found = whole(two, columns), by_slices(two, columns, limit)
        assert len(found) == len(expected)
        for (place, row), (place_before, row_before) in zip(found, expected, strict=True):
            assert same(place, place_before)
            assert same(tuple(row), tuple(row_before))
            change = read_at(two.rows, two.table("t", "old"), place)
            assert change is not None
            assert change.after is not None
            assert same(tuple(change.after[name] for name in columns), tuple(row))


@pytest.mark.parametrize("table", TABLES)
def test_stretches_add_up(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However short they are."""
    monkeypatch.setattr(slices, "_STEP", 3)
    rows: list[tuple[Value, ...]] = [
        (n if n % 4 else None, n + 0.5, f"{n}" if n % 3 else None) for n in range(20)
    ]
    with attached(old=stored(table, rows)) as two:
        declared, total, after = two.table("t", "old"), 0, None
        while True:
            part = count_stretch(two.rows, declared, after, seconds=0.0)
            total, after = total + part.rows, part.next
            if after is None:
                break
        assert total == len(whole(two, []))


def test_what_is_no_place_is_refused() -> None:
    """And a place at which there is nothing has no row."""
    data = made("CREATE TABLE t(a INTEGER PRIMARY KEY, b); INSERT INTO t VALUES (1, 2)")
    with attached(old=data) as two:
        table = two.table("t", "old")
        assert read_at(two.rows, table, (0, 7)) is None
        for place in ((), (1, 1), (-1, 1), ("0", 1), (0, 1, 2), (None, 1)):
            with pytest.raises((MalformedPosition, ValueError)):
                read_at(two.rows, table, place)
        with pytest.raises(MalformedPosition):
            read_at(two.rows, table, (0,))
        with pytest.raises(MalformedPosition):
            read_slice(two.rows, table, ["x"], None, limit=1, max_bytes=1, seconds=1.0)


def test_packing_keeps_every_type() -> None:
    """Also those JSON lacks."""
    values: list[Value] = [
        None,
        2**63 - 1,
        -1,
        1.0,
        float("inf"),
        "é\0",
        b"\xff",
        InvalidText(b"\xff"),
    ]
    assert [exact(value) for value in unpack(pack(values))] == [exact(value) for value in values]
