"""B-tree pages: read as SQLite reads them, and refused where they are broken."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sqlite.trees import MANY, SHAPES, Shape, Trees, made
from watcher.sqlite.btree import (
    INDEX_INTERIOR,
    INDEX_LEAF,
    KINDS,
    TABLE_INTERIOR,
    TABLE_LEAF,
    Layout,
    Malformed,
    cell_of,
    children,
    first_rowid,
    is_interior,
    is_special,
    kind_of,
    leaf_cells,
    may_overflow,
    next_overflow,
    overflow_heads,
    pointed_to,
    rowid_at,
    rowid_range,
    slices,
    varint,
)
from watcher.sqlite.fileformat import PENDING_BYTE
from watcher.sqlite.freelist import walk_free_list


@pytest.fixture(scope="module", params=SHAPES, ids=str)
def trees(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trees:
    return made(tmp_path_factory.mktemp("trees") / "many.db", request.param, MANY)


# As SQLite reads them


def test_the_kind_of_each_page_is_that_of_its_tree(trees: Trees) -> None:
    """Interior pages and leaves, of tables and of indexes."""
    indexes = {"by_a", "keyed", "sqlite_autoindex_empty_1"}
    for node in trees.nodes:
        image = trees.read(node.page)
        if node.kind != "overflow":
            kinds = (INDEX_INTERIOR, INDEX_LEAF)
            if node.tree not in indexes:
                kinds = (TABLE_INTERIOR, TABLE_LEAF)
            assert kind_of(image, node.page) == kinds[node.kind == "leaf"]
            assert is_interior(image, node.page) == (node.kind == "internal")


def test_children_are_those_of_sqlite_from_left_to_right(trees: Trees) -> None:
    """Of all interior pages, the rightmost child last."""
    interior = [node.page for node in trees.nodes if node.kind == "internal"]
    assert interior
    for page in interior:
        assert children(trees.read(page), page) == trees.below(page, "internal", "leaf")


def test_a_page_is_a_child_of_its_parent_and_of_no_other(trees: Trees) -> None:
    """Asked of every interior page for every page of the database."""
    for node in trees.nodes:
        if node.kind == "internal":
            found = children(trees.read(node.page), node.page)
            below = set(trees.below(node.page, "internal", "leaf"))
            for page in range(1, min(trees.page_count, 700) + 1):
                assert (page in found) == (page in below)


def test_cells_are_as_many_and_as_large_as_sqlite_says(trees: Trees) -> None:
    """Number of cells, bytes of payload on the page, and the largest payload of any of them."""
    layout = trees.layout
    for node in trees.nodes:
        image = trees.read(node.page)
        if node.kind == "leaf":
            found = leaf_cells(image, node.page, layout.usable)
            assert slices(image, node.page, layout.usable) == set(found)
        elif node.kind == "internal" and kind_of(image, node.page) == INDEX_INTERIOR:
            found = list(slices(image, node.page, layout.usable))
        else:
            continue
        kind = kind_of(image, node.page)
        cells = [cell_of(data, kind, layout) for data in found]
        local = [layout.local_bytes(kind, cell.payload) for cell in cells]
        assert (len(cells), sum(local)) == (node.cells, node.payload)
        assert max((cell.payload for cell in cells), default=0) == node.largest
        ends = [cell.start + size for cell, size in zip(cells, local, strict=True)]
        assert all(end <= len(data) for end, data in zip(ends, found, strict=True))


def test_rowids_of_the_leaves_are_those_of_the_table(trees: Trees) -> None:
    """In the order of the cells, negative ones and those of nine bytes included."""
    found: list[int] = []
    for node in trees.nodes:
        if node.tree == "plain" and node.kind == "leaf":
            image = trees.read(node.page)
            cells = leaf_cells(image, node.page, trees.layout.usable)
            rowids = [cell_of(cell, TABLE_LEAF, trees.layout).rowid for cell in cells]
            assert [rowid_at(cell, 0) for cell in cells] == rowids
            assert first_rowid(image, node.page) == min(rowids, default=None)
            found.extend(rowids)
    assert found == [7 * i for i in range(-40, 1501) if not 3000 <= 7 * i <= 5000]


def test_overflow_pages_are_found_from_their_cells(trees: Trees) -> None:
    """All that SQLite knows of, from page to page; a page without any is told cheaply."""
    for node in trees.nodes:
        image = trees.read(node.page)
        expected = trees.below(node.page, "overflow")
        if node.kind == "overflow":
            assert next_overflow(image) == (expected[0] if expected else 0)
            continue
        heads = [head for head, _ in overflow_heads(image, node.page, trees.layout)]
        assert Counter(heads) == Counter(expected)
        # Of a payload of 16 KiB it may say so though the page has room for it.
        overflows = may_overflow(image, node.page, trees.layout)
        assert overflows == bool(expected) or (overflows and node.largest >= 1 << 14)
        assert pointed_to(image, node.page, trees.layout) == {
            *expected,
            *trees.below(node.page, "internal", "leaf"),
        }


def test_pages_of_no_tree_are_free_or_special(trees: Trees) -> None:
    """The pages of SQLite's own pointer map are known by their numbers, and no others are."""
    trunks = walk_free_list(trees.read, trees.read(1), trees.page_count)
    free = {page for trunk, leaves in trunks for page in (trunk, *leaves)}
    special = {p for p in range(1, trees.page_count + 1) if is_special(p, trees.read(1))}
    owned = {node.page for node in trees.nodes}
    assert special.isdisjoint(owned | free)
    assert special | owned | free == set(range(1, trees.page_count + 1))


@pytest.mark.parametrize("reserved", [0, 255])
@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_the_page_with_the_lock_byte_is_special(page_size: int, reserved: int) -> None:
    """Whatever the page size; a pointer-map page that would lie there comes one later."""
    lock = PENDING_BYTE // page_size + 1
    first = bytearray(page_size)
    first[20] = reserved
    assert [p for p in range(lock - 3, lock + 4) if is_special(p, bytes(first))] == [lock]
    first[52:56] = b"\0\0\0\1"
    every = (page_size - reserved) // 5 + 1
    maps = {n + (n == lock) for n in range(2, lock + every, every)}
    around = range(lock - 2 * every, lock + every)
    assert {p for p in around if is_special(p, bytes(first))} == {lock, *maps} & {*around}


@pytest.mark.parametrize("rowid", [0, 1, -1, 127, 128, 16384, 2**31, 2**56, 2**63 - 1, -(2**63)])
def test_any_rowid_is_read(tmp_path: Path, rowid: int) -> None:
    """Of one byte to nine, and negative."""
    found = made(
        tmp_path / "one.db",
        Shape(512),
        f"CREATE TABLE t(id INTEGER PRIMARY KEY, x); INSERT INTO t VALUES ({rowid}, zeroblob(200))",
    )
    image = found.read(2)
    (cell,) = leaf_cells(image, 2, 512)
    assert first_rowid(image, 2) == rowid_at(cell, 0) == rowid
    assert cell_of(cell, TABLE_LEAF, found.layout).rowid == rowid


@pytest.mark.parametrize("page_size", [512, 1024, 65536])
def test_where_payload_begins_to_overflow(tmp_path: Path, page_size: int) -> None:
    """Byte by byte around the largest that fits, on a table's leaf and on an index's."""
    layout = Layout(page_size)
    script = "CREATE TABLE t(x); CREATE TABLE k(x PRIMARY KEY, y) WITHOUT ROWID;"
    for kind, sql in (
        (TABLE_LEAF, "INSERT INTO t VALUES (zeroblob({}));"),
        (INDEX_LEAF, "INSERT INTO k VALUES (zeroblob({}), 1);"),
    ):
        most = layout.most_local(kind)
        script += "".join(sql.format(n) for n in range(most - 8, most + 2))
    found = made(tmp_path / "edge.db", Shape(page_size), script)
    seen = set()
    for node in found.nodes:
        if node.tree in {"t", "k"} and node.kind == "leaf":
            image = found.read(node.page)
            heads = [head for head, _ in overflow_heads(image, node.page, layout)]
            assert sorted(heads) == sorted(found.below(node.page, "overflow"))
            assert may_overflow(image, node.page, layout) or not heads
            seen.add((node.tree, bool(heads)))
    assert {("t", True), ("k", True)} <= seen


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3))
def test_a_varint_is_read_with_all_its_bits(number: int, before: bytes) -> None:
    """Of one byte to nine, wherever it stands."""
    data = before + _varint(number) + b"\xff"
    assert varint(data, len(before)) == (number, len(data) - 1)


def _varint(number: int) -> bytes:
    if number >= 1 << 56:
        digits = [number & 0xFF, *(number >> 8 + 7 * n & 0x7F | 0x80 for n in range(8))]
        return bytes(reversed(digits))
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(number & 0x7F | 0x80)
    return bytes(reversed(digits))


# Slices


def test_equal_rows_are_equal_slices_wherever_they_lie(tmp_path: Path) -> None:
    """A cell has the same bytes on every page it may move to, but for what lies behind it."""
    rows = "INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three')"
    with closing(sqlite3.connect(tmp_path / "a.db")) as db:
        db.executescript(f"PRAGMA page_size=512; CREATE TABLE t(id INTEGER PRIMARY KEY, x); {rows}")
        first = slices(db.serialize()[512:1024], 2, 512)
        db.execute("DELETE FROM t WHERE id=2")
        db.commit()
        second = slices(db.serialize()[512:1024], 2, 512)
    assert {rowid_at(data, 0) for data in first & second} <= {1, 3}
    assert {rowid_at(data, 0) for data in first - second} >= {2}
    assert all(any(old.startswith(new[:5]) for old in first) for new in second)


# Broken pages

_SOMETHING = st.binary(max_size=1100)
_HEAD = st.tuples(
    st.sampled_from(sorted(KINDS)), st.binary(min_size=2, max_size=2), st.integers(0, 40)
).map(lambda part: bytes([part[0]]) + part[1] + part[2].to_bytes(2, "big"))
# What looks like a b-tree page at first sight gets further.
_PAGES = st.one_of(
    _SOMETHING,
    st.tuples(_HEAD, st.binary(min_size=507, max_size=507)).map(b"".join),
    st.tuples(_HEAD, st.binary(max_size=80), st.just(bytes(400))).map(b"".join),
    st.tuples(st.binary(min_size=100, max_size=100), _HEAD, _SOMETHING).map(b"".join),
)
_LAYOUTS = st.builds(Layout, st.integers(480, 1024))


@given(_PAGES, st.integers(1, 3), _LAYOUTS)
def test_no_page_does_anything_but_be_malformed(image: bytes, page: int, layout: Layout) -> None:
    """Whatever the bytes: an answer, `Malformed`, or `IndexError` where the page is too short."""
    for read in (
        lambda: children(image, page),
        lambda: slices(image, page, layout.usable),
        lambda: leaf_cells(image, page, layout.usable),
        lambda: first_rowid(image, page),
        lambda: may_overflow(image, page, layout),
        lambda: list(overflow_heads(image, page, layout)),
    ):
        with suppress(Malformed, IndexError):
            read()
    if len(image) > 100 or not image:
        pointed_to(image, page, layout)


@given(st.binary(max_size=40), st.sampled_from(sorted(KINDS)), _LAYOUTS)
def test_no_cell_does_anything_but_be_malformed(data: bytes, kind: int, layout: Layout) -> None:
    """Whatever its bytes: what overflows lies within them."""
    try:
        cell = cell_of(data, kind, layout)
    except Malformed:
        return
    assert cell.start <= len(data)
    if cell.overflow:
        end = cell.start + layout.local_bytes(kind, cell.payload)
        assert data[end : end + 4] == cell.overflow.to_bytes(4, "big")


@pytest.mark.parametrize("image", [b"", bytes(512), b"\x0d" * 512, b"\x05" + bytes(3), b"x" * 99])
@pytest.mark.parametrize("page", [1, 2])
def test_what_is_no_page_points_to_nothing(image: bytes, page: int) -> None:
    """A page that is empty, too short, or filled with something else is nobody's parent."""
    if len(image) > 100 or page != 1 or not image:
        assert pointed_to(image, page, Layout(512)) == set()
    with pytest.raises((Malformed, IndexError)):
        children(image, page)


def test_a_child_of_number_zero_is_none() -> None:
    """There is no such page; the one that points to it is broken."""
    image = bytearray(512)
    image[0] = TABLE_INTERIOR
    image[8:12] = b"\0\0\0\7"
    assert children(bytes(image), 2) == [7]
    image[8:12] = bytes(4)
    with pytest.raises(Malformed):
        children(bytes(image), 2)


# Rows with successive numbers


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [("", range(0)), ("(5)", range(5, 6)), ("(-1),(0),(1)", range(-1, 2)), ("(1),(3)", None)],
)
def test_rowids_without_gaps_are_a_range(
    tmp_path: Path, numbers: str, expected: range | None
) -> None:
    """Negative ones too; where one is missing, only the cells tell."""
    rows = f"INSERT INTO t VALUES {numbers}" if numbers else ""
    script = f"CREATE TABLE t(id INTEGER PRIMARY KEY); {rows}"
    found = made(tmp_path / "one.db", Shape(512), script)
    assert rowid_range(found.read(2), 2) == expected
