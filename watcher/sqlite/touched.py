"""What a commit did to the tree of a table: its pages in either state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from watcher.sqlite.btree import Layout, ReadPage, children, is_interior


class Unattributed(Exception):
    """A changed page belongs to no tree and is not free either, or there are too many.

    Args:
        reason: in a few words, for statistics.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Forcing(NamedTuple):
    """A cell whose overflow pages changed.

    Args:
        cell: its slice.
        kind: of the page it is on.
    """

    cell: bytes
    kind: int


@dataclass(slots=True)
class Side:
    """What concerns a table in one state.

    Args:
        read: reads a page of the state.
        pages: b-tree pages of the table that are not the same in the other state.
        forcing: cells whose rows may differ although they themselves do not.
    """

    read: ReadPage
    pages: set[int]
    forcing: Sequence[Forcing]


@dataclass(slots=True)
class Touched:
    """What a commit did to a table.

    Args:
        layout: of the database.
        before: as it was.
        after: as it is.
    """

    layout: Layout
    before: Side
    after: Side


def add_moved(
    old: set[int], read_before: ReadPage, new: set[int], read_after: ReadPage, most: int
) -> None:
    """Adds the pages below changed interior pages that are in one state's tree only.

    Args:
        old: pages of the tree before; more are added.
        read_before: reads a page of the state before.
        new: pages of the tree after; more are added.
        read_after: reads a page of the state after.
        most: so many pages are remembered.

    Raises:
        Unattributed: there are more.
    """
    below_old, below_new = _below(old, read_before, most), _below(new, read_after, most)
    while True:
        left, joined = below_old - below_new - old, below_new - below_old - new
        if not left and not joined:
            return
        old |= left
        new |= joined
        below_old |= _below(left, read_before, most)
        below_new |= _below(joined, read_after, most)
        if max(len(old), len(new), len(below_old), len(below_new)) > most:
            raise Unattributed("many pages")


def _below(pages: Iterable[int], read: ReadPage, most: int) -> set[int]:
    found: set[int] = set()
    for page in pages:
        image = read(page)
        if is_interior(image, page):
            found.update(children(image, page))
            if len(found) > most:
                raise Unattributed("many pages")
    return found
