"""Whose a page is: what the pages prove, and nothing that only a hint says."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from tests.sqlite.trees import MANY, SHAPES, Shape, Trees, made
from watcher.sqlite.btree import TABLE_INTERIOR, TABLE_LEAF, cell_of, kind_of
from watcher.sqlite.ownership import Nodes, Owner, Ownership

DEEP = """
CREATE TABLE deep(k PRIMARY KEY, v) WITHOUT ROWID;
WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<1000)
INSERT INTO deep SELECT printf('%0100d', i * 7919 % 2003), i FROM n;
"""
Hints = dict[int, list[int]]


@pytest.fixture(scope="module", params=SHAPES, ids=str)
def trees(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trees:
    return made(tmp_path_factory.mktemp("trees") / "many.db", request.param, MANY, DEEP)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Trees:
    return made(tmp_path_factory.mktemp("trees") / "many.db", Shape(1024), MANY, DEEP)


def ownership(trees: Trees, hints: Hints, read: Callable[[int], bytes] | None = None) -> Ownership:
    """Of a state about which there are hints, the likeliest first."""

    def candidates(page: int) -> Sequence[int]:
        return hints.get(page, [])

    roots = frozenset(trees.roots.values())
    return Ownership(read or trees.read, candidates, roots, trees.layout, Nodes())


def right(trees: Trees) -> Hints:
    """Each page's parent."""
    return {node.page: [node.parent] for node in trees.nodes}


def owners(trees: Trees) -> dict[int, tuple[int, int]]:
    """Root of each page's tree, and for an overflow page the first one of its chain."""
    found: dict[int, tuple[int, int]] = {}
    nodes = {node.page: node for node in trees.nodes}
    for node in trees.nodes:
        first = node
        while first.kind == "overflow" and nodes[first.parent].kind == "overflow":
            first = nodes[first.parent]
        found[node.page] = trees.roots[node.tree], first.page if node.kind == "overflow" else 0
    return found


def told(trees: Trees, owner: Owner | None) -> tuple[int, int] | None:
    """The same of what the engine found."""
    if owner is None:
        return None
    if owner.cell is None:
        return owner.root, 0
    return owner.root, cell_of(owner.cell, owner.kind, trees.layout).overflow


def everything(trees: Trees, found: Ownership) -> dict[int, tuple[int, int] | None]:
    pages = list(range(1, trees.page_count + 1))
    random.Random(1).shuffle(pages)
    return {page: told(trees, found.owner(page)) for page in pages}


def test_every_page_is_owned_as_sqlite_says(trees: Trees) -> None:
    """Its tree, and the cell that an overflow page continues; pages of no tree are nobody's."""
    expected = owners(trees)
    found = everything(trees, ownership(trees, right(trees)))
    assert {page: owner for page, owner in found.items() if owner is not None} == expected


def test_the_kind_of_a_cell_is_that_of_its_page(small: Trees) -> None:
    """Of an overflow page, also far down its chain."""
    found = ownership(small, right(small))
    nodes = {node.page: node for node in small.nodes}
    for node in small.nodes:
        if node.kind == "overflow":
            above = node
            while above.kind == "overflow":
                above = nodes[above.parent]
            owner = found.owner(node.page)
            assert owner is not None
            assert owner.kind == kind_of(small.read(above.page), above.page)


def test_without_hints_only_roots_are_owned(small: Trees) -> None:
    """Nothing is searched for."""
    found = everything(small, ownership(small, {}))
    roots = set(small.roots.values())
    assert {page for page, owner in found.items() if owner is not None} == roots


@pytest.mark.parametrize("seed", range(12))
def test_no_hint_makes_a_wrong_owner(small: Trees, seed: int) -> None:
    """Whatever it says: the owner is the right one, or none is found."""
    chance = random.Random(seed)
    expected, hints = owners(small), right(small)
    pages = range(small.page_count + 3)
    for page in pages:
        if chance.random() < seed / 12:
            hints[page] = chance.choices(pages, k=chance.randint(0, 3))
    found = everything(small, ownership(small, hints))
    for page, owner in found.items():
        assert owner in (None, expected.get(page))


@pytest.mark.parametrize("seed", range(3))
def test_wrong_hints_do_not_hide_the_right_one(small: Trees, seed: int) -> None:
    """Those asked first lead nowhere, or in circles."""
    chance = random.Random(seed)
    hints = {
        page: [*chance.choices(range(small.page_count + 3), k=seed % 3), *parent]
        for page, parent in right(small).items()
    }
    expected = owners(small)
    for page in chance.sample(sorted(expected), 60):
        # Each by itself, as little as possible being known.
        assert told(small, ownership(small, hints).owner(page)) == expected[page]


def test_hints_that_go_in_circles_do_not_hide_what_is_below(small: Trees) -> None:
    """A page that waits for the one above it is found when that has been found."""
    hints, expected = right(small), owners(small)
    nodes = {node.page: node for node in small.nodes}
    for node in small.nodes:
        above = nodes.get(node.parent)
        if above is not None and above.parent and node.kind != "overflow":
            # As after a root has grown: the page below was the one above.
            found = ownership(small, hints | {above.page: [node.page, above.parent]})
            assert told(small, found.owner(above.page)) == expected[above.page]
            assert told(small, found.owner(node.page)) == expected[node.page]


@pytest.mark.timeout(10)
def test_circles_of_hints_have_an_end(small: Trees) -> None:
    """Long ones, and pages that point to themselves."""
    count = 100_000
    circle = {page: [page % count + 1, page] for page in range(1, count + 1)}
    found = ownership(small, circle)
    roots = set(small.roots.values())
    owned = {page for page in range(1, small.page_count + 1) if found.owner(page) is not None}
    assert roots <= owned <= owners(small).keys()
    assert found.owner(count) is None


def test_a_page_of_a_dropped_tree_is_nobodys(small: Trees) -> None:
    """Its pages still point to each other, but no root leads there."""
    root = small.roots["keyed"]
    hints = right(small)
    found = Ownership(
        small.read,
        lambda page: hints.get(page, []),
        frozenset(small.roots.values()) - {root},
        small.layout,
        Nodes(),
    )
    for node in small.nodes:
        assert (found.owner(node.page) is None) == (node.tree == "keyed")


def test_what_is_below_a_broken_page_is_nobodys(small: Trees) -> None:
    """Pages whose parent is overwritten, in ways that look like a b-tree page and in others."""
    hints, expected = right(small), owners(small)
    interior = [node for node in small.nodes if node.kind == "internal" and node.parent]
    assert interior
    for number, node in enumerate(interior):
        below = small.below(node.page, "internal", "leaf", "overflow")
        filling = [
            b"",
            bytes(1024),
            b"\xff" * 1024,
            # More cells than there is room for, and the numbers of the pages somewhere.
            bytes([TABLE_INTERIOR, 0, 0, 255, 255, 0, 0, 0])
            + b"".join(page.to_bytes(4, "big") for page in [0, *below])[:1000].ljust(1016, b"\0"),
            bytes([TABLE_LEAF, 0, 0, 0, 1, 0, 0, 0, 255, 255])
            + b"".join(page.to_bytes(4, "big") for page in below)[:1000].ljust(1014, b"\0"),
        ][number % 5]

        def read(page: int, broken: int = node.page, filling: bytes = filling) -> bytes:
            return filling if page == broken else small.read(page)

        found = ownership(small, hints, read)
        for page in below:
            assert found.owner(page) is None
        for page in (node.page, small.roots["large"], *small.below(small.roots["large"], "leaf")):
            assert told(small, found.owner(page)) == expected[page]
