"""Tells which tree of a state a page belongs to, and proves it by the pages themselves.

A page is owned where a chain of pages leads from a root to it, each with a pointer to the next. The
pointer map says where to look for that chain; what it says counts only if the pages agree.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from watcher.sqlite.btree import (
    KINDS,
    TABLE_INTERIOR,
    Layout,
    Malformed,
    ReadPage,
    children,
    is_interior,
    kind_of,
    next_overflow,
    overflow_heads,
)
from watcher.sqlite.touched import Unattributed

# Of so many interior pages the children are remembered; some hundred numbers each.
_MOST_CHILDREN = 256
# Longer chains of overflow pages than these are not followed back.
_MOST_WAITING = 300_000


class Owner(NamedTuple):
    """What a page is part of.

    Args:
        root: root page of the tree.
        cell: for an overflow page the slice of the cell it continues, None for a b-tree page.
        kind: for an overflow page the kind of the page that has the cell.
    """

    root: int
    cell: bytes | None = None
    kind: int = 0


class Nodes:
    """Interior pages that were proven to be in a tree of a state.

    They stay so in the states after, as long as no interior page changes.
    """

    def __init__(self) -> None:
        # The root of the tree each is in.
        self.roots: dict[int, int] = {}
        # What is right below those seen lately.
        self.children: dict[int, frozenset[int]] = {}

    def add(self, page: int, root: int, children: frozenset[int]) -> None:
        """Adds a page with what is right below it."""
        if len(self.children) >= _MOST_CHILDREN:
            self.children.clear()
        self.roots[page], self.children[page] = root, children


class Ownership:
    """The trees of one state.

    Args:
        read: reads a page of the state.
        candidates: pages that may point to a page, the likeliest first.
        roots: root pages of all trees.
        layout: of the database.
        nodes: interior pages already known to be in trees; more are added.
    """

    def __init__(
        self,
        read: ReadPage,
        candidates: Callable[[int], Sequence[int]],
        roots: Collection[int],
        layout: Layout,
        nodes: Nodes,
    ) -> None:
        self._read = read
        self._candidates = candidates
        self._roots = roots
        self._layout = layout
        self._nodes = nodes
        self._held = nodes
        self._known: dict[int, Owner | None] = {}

    def knows(self, nodes: Nodes) -> None:
        """Takes interior pages for known that were proven in a state with the same ones."""
        self._held = nodes

    def assume(self, page: int, owner: Owner | None) -> None:
        """Takes for known what was proven in a state with the same interior pages."""
        self._known[page] = owner

    def owner(self, page: int) -> Owner | None:
        """What a page is part of, None where no tree is found to have it."""
        # Hints may go in circles: what waits for itself can be found the next time.
        while not self._is_known(page):
            waiting: set[int] = set()
            if not self._search(page, waiting):
                self._known.update((one, None) for one in waiting if one not in self._known)
        return self._known[page]

    def _search(self, page: int, waiting: set[int]) -> bool:
        """Follows the hints from a page upwards; tells whether any page was found to be owned."""
        todo, is_any = [page], False
        while todo:
            current = todo[-1]
            if not self._is_known(current):
                waiting.add(current)
                if len(waiting) > _MOST_WAITING:
                    raise Unattributed("long chain")
                candidates = self._candidates(current)
                found = self._linked(current, candidates)
                if found is not None:
                    self._known[current], is_any = found, True
                elif above := next((c for c in candidates if self._is_open(c, waiting)), 0):
                    todo.append(above)
                    continue
            todo.pop()
        return is_any

    def _is_known(self, page: int) -> bool:
        if page in self._known:
            return True
        root = page if page in self._roots else self._held.roots.get(page)
        if root is None:
            return False
        self._known[page] = Owner(root)
        return True

    def _is_open(self, page: int, waiting: set[int]) -> bool:
        return page > 0 and page not in waiting and not self._is_known(page)

    def _linked(self, page: int, candidates: Sequence[int]) -> Owner | None:
        for above in candidates:
            owner = self._known[above] if self._is_known(above) else None
            if owner is not None:
                found = self._link(above, owner, page)
                if found is not None:
                    return found
        return None

    def _link(self, above: int, owner: Owner, page: int) -> Owner | None:
        image = self._read(above)
        if owner.cell is not None:
            return owner if len(image) > 4 and next_overflow(image) == page else None
        if not image or kind_of(image, above) not in KINDS:
            return None
        if page in self._children(above, image, owner.root):
            return Owner(owner.root)
        return self._overflow_of(image, above, owner.root, page)

    def _children(self, page: int, image: bytes, root: int) -> frozenset[int]:
        found = self._held.children.get(page)
        if found is None:
            found = _children(page, image)
            if found:
                self._nodes.add(page, root, found)
        return found

    def _overflow_of(self, image: bytes, above: int, root: int, page: int) -> Owner | None:
        kind = kind_of(image, above)
        if kind == TABLE_INTERIOR or page.to_bytes(4, "big") not in image:
            return None
        try:
            for head, data in overflow_heads(image, above, self._layout):
                if head == page:
                    return Owner(root, data, kind)
        except Malformed:
            return None
        return None


def _children(page: int, image: bytes) -> frozenset[int]:
    try:
        return frozenset(children(image, page)) if is_interior(image, page) else frozenset()
    except Malformed:
        return frozenset()
