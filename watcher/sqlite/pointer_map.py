"""For each page the page that points to it: a hint where to look, never the truth.

The idea is that of the pointer-map pages of auto-vacuum databases (fileformat2.html 1.8), kept in a
file beside the shadow because most databases have none. The parent of a b-tree page is the page
above it; that of an overflow page is the one before it in its chain, or the page with the cell.

Who asks verifies what he is told against the pages (`ownership.py`). A hint that is wrong or not
there costs a comparison of whole tables and a new map, never a row.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from watcher.sqlite.btree import (
    INTERIOR,
    Layout,
    Malformed,
    ReadPage,
    cell_of,
    children,
    kind_of,
    may_overflow,
    next_overflow,
    overflow_heads,
)
from watcher.sqlite.fileformat import PENDING_BYTE

_ENTRY = struct.Struct("=I")
_SIZE = _ENTRY.size


class PointerMap:
    """The hints, four bytes a page in a file.

    Args:
        directory: the state directory.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / "pointers"
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def parent(self, page: int) -> int:
        """The page that may point to a page, 0 where none is known."""
        data = os.pread(self._file, _SIZE, page * _SIZE)
        return int(_ENTRY.unpack(data)[0]) if len(data) == _SIZE else 0

    def point(self, page: int, parent: int) -> None:
        """Remembers which page points to a page."""
        os.pwrite(self._file, _ENTRY.pack(parent), page * _SIZE)

    def point_all(self, pages: Iterable[int], parent: int) -> None:
        """Remembers which page points to many pages."""
        entry = _ENTRY.pack(parent)
        first, count = -1, 0
        # Pages that were filled one after the other have numbers one after the other.
        for page in [*pages, -1]:
            if page != first + count:
                if count:
                    os.pwrite(self._file, entry * count, first * _SIZE)
                first, count = page, 0
            count += 1

    def sync(self) -> None:
        """Brings the hints to disk, for a clean stop."""
        os.fsync(self._file)

    def clear(self) -> None:
        """Forgets all hints."""
        os.ftruncate(self._file, 0)

    def close(self) -> None:
        """Closes the file; idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def build(pointers: PointerMap, read: ReadPage, roots: Iterable[int], layout: Layout) -> None:
    """Makes the map of a state anew.

    Interior pages are read, leaves only where there are overflow pages: that is where not every
    page of the database is accounted for by the trees and the free list.

    Args:
        pointers: takes the hints.
        read: reads a page of the state.
        roots: root pages of all trees.
        layout: of the database.
    """
    pointers.clear()
    trees = list(roots)
    found = sum(_walk(pointers, read, root) for root in trees)
    if found + _free_pages(read) < _page_count(read):
        for root in trees:
            for page in _pages_of(read, root):
                _point_overflow(pointers, read, page, layout)


def _walk(pointers: PointerMap, read: ReadPage, root: int) -> int:
    """Points to all pages below a root; returns how many the tree has."""
    found = 1
    for page in _interior_pages(read, root):
        pages = list(_below(read, [page]))
        pointers.point_all(pages, page)
        found += len(pages)
    return found


def _interior_pages(read: ReadPage, root: int) -> Iterator[int]:
    """Yields the interior pages of a tree, level by level."""
    level, seen = [root], {root}
    # All leaves of a tree are equally deep, so the first page of a level tells what it is.
    while level and _is_interior(read, level[0]):
        yield from level
        if not _is_interior(read, _first_below(read, level)):
            return
        # A page comes once, or a broken tree that goes in circles would have no end.
        level = list({page: None for page in _below(read, level) if page not in seen})
        seen.update(level)


def _first_below(read: ReadPage, level: Sequence[int]) -> int:
    return next(_below(read, level), 0)


def _below(read: ReadPage, level: Sequence[int]) -> Iterator[int]:
    most = _pages_in_file(read)
    for page in level:
        try:
            found = children(read(page), page)
        except (Malformed, IndexError):
            continue
        # In a damaged file a number can be anything.
        yield from (child for child in found if child <= most)


def _pages_of(read: ReadPage, root: int) -> Iterator[int]:
    """Yields all pages of a tree."""
    yield root
    for page in _interior_pages(read, root):
        yield from _below(read, [page])


def _is_interior(read: ReadPage, page: int) -> bool:
    image = read(page) if page else b""
    return len(image) > 0 and kind_of(image, page) in INTERIOR


def _point_overflow(pointers: PointerMap, read: ReadPage, page: int, layout: Layout) -> None:
    image = read(page)
    try:
        if not may_overflow(image, page, layout):
            return
        kind = kind_of(image, page)
        heads = [
            (head, cell_of(data, kind, layout).payload)
            for head, data in overflow_heads(image, page, layout)
        ]
    except (Malformed, IndexError):
        # What cannot be read now is unknown later, and compared as a whole then.
        return
    for head, payload in heads:
        point_chain(pointers, read, head, page, payload // (layout.usable - 4) + 1)


def point_chain(pointers: PointerMap, read: ReadPage, head: int, page: int, longest: int) -> None:
    """Points to the pages of an overflow chain.

    Args:
        pointers: takes the hints; those of before have been cleared.
        read: reads a page.
        head: the first page of the chain.
        page: the page with the cell.
        longest: the most pages the chain can have.
    """
    before, current = page, head
    for _ in range(longest):
        # The latter where a broken chain goes in circles or runs into another one.
        if not current or pointers.parent(current) == before:
            return
        image = read(current)
        if len(image) < 4:
            return
        pointers.point(current, before)
        before, current = current, next_overflow(image)


def _free_pages(read: ReadPage) -> int:
    return int.from_bytes(read(1)[36:40], "big")


def _pages_in_file(read: ReadPage) -> int:
    return int.from_bytes(read(1)[28:32], "big")


def _page_count(read: ReadPage) -> int:
    count = _pages_in_file(read)
    # The lock-byte page holds nothing.
    return count - (count >= PENDING_BYTE // len(read(1)) + 1)
