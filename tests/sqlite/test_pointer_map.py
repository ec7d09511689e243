"""The pointer map: made anew it says of each page what SQLite says, at a bounded cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.sqlite.trees import MANY, SHAPES, Shape, Trees, made
from watcher.sqlite.btree import LARGEST_ROOT, TABLE_INTERIOR
from watcher.sqlite.pointer_map import PointerMap, build, point_chain

DEEP = """
CREATE TABLE deep(k PRIMARY KEY, v) WITHOUT ROWID;
WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<2000)
INSERT INTO deep SELECT printf('%0100d', i * 7919 % 2003), i FROM n;
"""
NO_OVERFLOW = """
CREATE TABLE t(id INTEGER PRIMARY KEY, x);
CREATE INDEX by_x ON t(x);
WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<3000)
INSERT INTO t SELECT i, 'value ' || i FROM n;
DELETE FROM t WHERE id BETWEEN 500 AND 2500;
"""
# Chains that end exactly on the edge of a page, and one byte before and behind it.
EDGES = """
CREATE TABLE edges(x);
WITH RECURSIVE n(i) AS (VALUES(480) UNION ALL SELECT i+1 FROM n WHERE i<1600)
INSERT INTO edges SELECT zeroblob(i) FROM n;
"""


@pytest.fixture
def pointers(tmp_path: Path) -> Iterator[PointerMap]:
    with closing(PointerMap(tmp_path)) as found:
        yield found


def parents(trees: Trees) -> dict[int, int]:
    return {node.page: node.parent for node in trees.nodes}


def held(pointers: PointerMap, trees: Trees) -> dict[int, int]:
    return {node.page: pointers.parent(node.page) for node in trees.nodes}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("script", [MANY, DEEP, NO_OVERFLOW, EDGES, ""], ids=lambda s: s[1:20])
def test_it_says_what_sqlite_says(
    tmp_path: Path, pointers: PointerMap, shape: Shape, script: str
) -> None:
    """Of each page of each tree, overflow pages included; roots have no parent."""
    trees = made(tmp_path / "a.db", shape, "CREATE TABLE first(x)", script)
    pointers.point(trees.page_count, 77)
    build(pointers, trees.read, trees.roots.values(), trees.layout)
    assert held(pointers, trees) == parents(trees)


def test_pages_of_no_tree_have_no_parent(tmp_path: Path, pointers: PointerMap) -> None:
    """What was known of them is forgotten when the map is made anew."""
    trees = made(tmp_path / "a.db", Shape(512), MANY)
    others = set(range(1, trees.page_count + 1)) - parents(trees).keys()
    assert len(others) > 10
    for page in others:
        pointers.point(page, 7)
    build(pointers, trees.read, trees.roots.values(), trees.layout)
    assert {pointers.parent(page) for page in others} == {0}


def test_leaves_are_not_read_where_there_is_no_overflow(
    tmp_path: Path, pointers: PointerMap
) -> None:
    """Only interior pages are, and the first page below each level to see what it is."""
    trees = made(tmp_path / "a.db", Shape(512), NO_OVERFLOW)
    read: set[int] = set()

    def reading(page: int) -> bytes:
        read.add(page)
        return trees.read(page)

    build(pointers, reading, trees.roots.values(), trees.layout)
    leaves = {node.page for node in trees.nodes if node.kind == "leaf" and node.parent}
    assert len(leaves) > 50
    assert len(leaves & read) <= len(trees.roots)
    assert held(pointers, trees) == parents(trees)


def test_a_map_can_be_made_of_any_pages(tmp_path: Path, pointers: PointerMap) -> None:
    """A broken database has a map as well; what is not broken in it is right."""
    trees = made(tmp_path / "a.db", Shape(512), MANY)
    interior = [node.page for node in trees.nodes if node.kind == "internal"]
    expected = parents(trees)
    for number, broken in enumerate(interior):
        filling = [bytes(512), b"\xff" * 512, bytes([TABLE_INTERIOR]) + bytes(511), b""][number % 4]

        def read(page: int, broken: int = broken, filling: bytes = filling) -> bytes:
            return filling if page == broken else trees.read(page)

        build(pointers, read, trees.roots.values(), trees.layout)
        tree = next(node.tree for node in trees.nodes if node.page == broken)
        others = {node.page for node in trees.nodes if node.tree != tree}
        assert {page: pointers.parent(page) for page in others} == {
            page: expected[page] for page in others
        }


@pytest.mark.timeout(10)
@pytest.mark.parametrize("which", ["leftmost", "all"])
def test_a_tree_that_goes_in_circles_has_an_end(
    tmp_path: Path, pointers: PointerMap, which: str
) -> None:
    """An interior page that is its own child, once or many times."""
    trees = made(tmp_path / "a.db", Shape(512), MANY)
    root = trees.roots["plain"]
    image = bytearray(trees.read(root))
    count = int.from_bytes(image[3:5], "big")
    for cell in range(1 if which == "leftmost" else count):
        place = int.from_bytes(image[12 + 2 * cell : 14 + 2 * cell], "big")
        image[place : place + 4] = root.to_bytes(4, "big")
    if which == "all":
        image[8:12] = root.to_bytes(4, "big")

    def read(page: int) -> bytes:
        return bytes(image) if page == root else trees.read(page)

    build(pointers, read, trees.roots.values(), trees.layout)
    keyed = {node.page: node.parent for node in trees.nodes if node.tree == "keyed"}
    assert {page: pointers.parent(page) for page in keyed} == keyed


@pytest.mark.timeout(10)
def test_a_chain_that_goes_in_circles_has_an_end(pointers: PointerMap) -> None:
    """However long its cell says it is."""
    following = {5: 6, 6: 7, 7: 5}

    def read(page: int) -> bytes:
        return following[page].to_bytes(4, "big") + bytes(508)

    point_chain(pointers, read, 5, 2, 1 << 52)
    assert [pointers.parent(page) for page in (6, 7)] == [5, 6]


def test_many_pages_are_pointed_to_at_once(pointers: PointerMap) -> None:
    """Runs of numbers and single ones, in any order."""
    pages = [5, 6, 7, 3, 9, 10, 2, 1]
    pointers.point_all(pages, 4)
    pointers.point_all([], 8)
    assert [page for page in range(12) if pointers.parent(page) == 4] == sorted(pages)
    assert {pointers.parent(page) for page in range(12)} == {0, 4}


def test_hints_are_there_in_a_new_process(tmp_path: Path) -> None:
    """Until they are cleared; a page beyond the end has none."""
    with closing(PointerMap(tmp_path)) as first:
        first.point(3, 0xFFFFFFFF)
        first.sync()
    with closing(PointerMap(tmp_path)) as second:
        assert [second.parent(page) for page in (2, 3, 4)] == [0, 0xFFFFFFFF, 0]
        second.clear()
        assert second.parent(3) == 0


def test_an_auto_vacuum_database_has_pages_that_no_tree_has(tmp_path: Path) -> None:
    """The shapes above hold such databases, or they would prove less than they seem to."""
    trees = made(tmp_path / "a.db", Shape(512, 16, 2), MANY)
    assert trees.data[LARGEST_ROOT] != bytes(4)
    assert trees.layout.usable == 496
