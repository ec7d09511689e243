"""The layout of b-tree pages, as pure functions over the bytes of a page.

Document: sqlite.org/fileformat2.html, sections 1.5 (free list), 1.6 (b-tree pages), 1.7 (overflow
pages) and 2.1 (records). A page that is not what it should be raises `Malformed`: nothing is
guessed, the caller compares whole tables then.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from watcher.sqlite.fileformat import PENDING_BYTE

ReadPage = Callable[[int], bytes]
"""Reads a page by its number."""

INDEX_INTERIOR, TABLE_INTERIOR, INDEX_LEAF, TABLE_LEAF = 2, 5, 10, 13
INTERIOR = frozenset((INDEX_INTERIOR, TABLE_INTERIOR))
KINDS = frozenset((INDEX_INTERIOR, TABLE_INTERIOR, INDEX_LEAF, TABLE_LEAF))
# Where the b-tree header of page 1 begins, behind the database header.
FIRST_PAGE_START = 100

# Where the database header has the largest root of an auto-vacuum database, and how many bytes of
# each page are reserved.
LARGEST_ROOT = slice(52, 56)
RESERVED = 20

_CHILD_BYTES = 4
_U32 = struct.Struct(">I")


class Malformed(ValueError):
    """A page has not the form it should have.

    Args:
        page: its number.
    """

    def __init__(self, page: int) -> None:
        super().__init__(page)
        self.page = page


class Layout(NamedTuple):
    """What is the same for all pages of a database.

    Args:
        usable: bytes of a page that are not reserved.
    """

    usable: int

    def most_local(self, kind: int) -> int:
        """The longest payload that lies on a page of a kind as a whole."""
        return self.usable - 35 if kind == TABLE_LEAF else (self.usable - 12) * 64 // 255 - 23

    def local_bytes(self, kind: int, payload: int) -> int:
        """How much of a payload lies on the page itself, the rest being in overflow pages.

        Args:
            kind: of the page.
            payload: bytes in all.
        """
        usable = self.usable
        most = self.most_local(kind)
        if payload <= most:
            return payload
        least = (usable - 12) * 32 // 255 - 23
        local = least + (payload - least) % (usable - 4)
        return local if local <= most else least


class Cell(NamedTuple):
    """One row of a table, or one entry of an index.

    Args:
        rowid: of a table's row; 0 in an index.
        payload: bytes of the record in all.
        start: offset of the record within the cell's bytes.
        overflow: number of the first overflow page, 0 where there is none.
    """

    rowid: int
    payload: int
    start: int
    overflow: int


def start_of(page: int) -> int:
    """Offset of the b-tree header on a page."""
    return FIRST_PAGE_START if page == 1 else 0


def kind_of(image: bytes, page: int) -> int:
    """The kind of a b-tree page; meaningless for any other page."""
    return image[FIRST_PAGE_START] if page == 1 else image[0]


def _pointers(image: bytes, page: int) -> tuple[int, ...]:
    start = start_of(page)
    kind = image[start]
    count = image[start + 3] << 8 | image[start + 4]
    first = start + (12 if kind in INTERIOR else 8)
    if kind not in KINDS or first + 2 * count > len(image):
        raise Malformed(page)
    return struct.unpack_from(f">{count}H", image, first)


def children(image: bytes, page: int) -> list[int]:
    """Numbers of the pages below an interior page, from left to right.

    Raises:
        Malformed: it is no interior page.
        IndexError: it is no page.
    """
    start = start_of(page)
    if image[start] not in INTERIOR:
        raise Malformed(page)
    try:
        found = [_U32.unpack_from(image, place)[0] for place in _pointers(image, page)]
    except struct.error:
        raise Malformed(page) from None
    found.append(_U32.unpack_from(image, start + 8)[0])
    if 0 in found:
        raise Malformed(page)
    return found


def is_interior(image: bytes, page: int) -> bool:
    """Tells whether a page looks like an interior page."""
    return bool(image) and kind_of(image, page) in INTERIOR


def slices(image: bytes, page: int, usable: int) -> frozenset[bytes]:
    """The cells of a page, each with what lies between it and the next one.

    Equal slices are equal cells. Unequal ones may differ only in bytes that nobody uses; such cells
    turn out to be the same when they are read.

    Args:
        image: a leaf page, or an interior page of an index, whose cells come without the number
            of the page below.
        page: its number.
        usable: bytes of the page that are not reserved.

    Raises:
        Malformed: the pointers do not fit the page.
    """
    pointers = sorted(_pointers(image, page))
    if not pointers:
        return frozenset()
    ends = [*pointers[1:], usable]
    if image[start_of(page)] == INDEX_INTERIOR:
        pointers = [place + _CHILD_BYTES for place in pointers]
    if pointers[-1] >= usable:
        raise Malformed(page)
    return frozenset(map(image.__getitem__, map(slice, pointers, ends)))


def leaf_cells(image: bytes, page: int, usable: int) -> list[bytes]:
    """The same as `slices` for a leaf, in the order of its rows.

    Raises:
        Malformed: the pointers do not fit the page.
    """
    pointers = _pointers(image, page)
    if not pointers:
        return []
    starts = sorted(pointers)
    if starts[-1] >= usable:
        raise Malformed(page)
    end_of = dict(zip(starts, [*starts[1:], usable], strict=True))
    return [image[place : end_of[place]] for place in pointers]


def cell_of(data: bytes, kind: int, layout: Layout) -> Cell:
    """Reads a cell's head.

    Args:
        data: a slice, see `slices`.
        kind: of the page it comes from.
        layout: of the database.

    Raises:
        Malformed: the cell is longer than its bytes.
    """
    try:
        payload, place = varint(data, 0)
        rowid = 0
        if kind == TABLE_LEAF:
            rowid, place = varint(data, place)
            if rowid >= 1 << 63:
                rowid -= 1 << 64
        local = layout.local_bytes(kind, payload)
        overflow = 0
        if local != payload:
            overflow = _U32.unpack_from(data, place + local)[0]
    except (IndexError, struct.error):
        raise Malformed(0) from None
    return Cell(rowid, payload, place, overflow)


def first_rowid(image: bytes, page: int) -> int | None:
    """The smallest rowid on a leaf of a table, None where it has no rows."""
    pointers = _pointers(image, page)
    return rowid_at(image, pointers[0]) if pointers else None


def rowid_range(image: bytes, page: int) -> range | None:
    """The rowids on a leaf of a table, None where they have gaps.

    Raises:
        Malformed: the pointers do not fit the page.
        IndexError: a cell is longer than its bytes.
    """
    pointers = _pointers(image, page)
    if not pointers:
        return range(0)
    first, last = rowid_at(image, pointers[0]), rowid_at(image, pointers[-1])
    return range(first, last + 1) if last - first == len(pointers) - 1 else None


def rowid_at(image: bytes, place: int) -> int:
    """Reads the rowid of the cell of a table's leaf that begins at an offset (or of a slice)."""
    while image[place] >= 0x80:
        place += 1
    rowid = image[place + 1]
    if rowid < 0x80:
        return rowid
    rowid, _ = varint(image, place + 1)
    return rowid if rowid < 1 << 63 else rowid - (1 << 64)


def may_overflow(image: bytes, page: int, layout: Layout) -> bool:
    """Tells cheaply whether a cell of a page could have overflow pages; False is certain."""
    kind = image[start_of(page)]
    if kind == TABLE_INTERIOR:
        return False
    most = layout.most_local(kind)
    skip = _CHILD_BYTES if kind == INDEX_INTERIOR else 0
    for pointer in _pointers(image, page):
        first = image[pointer + skip]
        if first >= 0x80:
            second = image[pointer + skip + 1]
            first = most + 1 if second >= 0x80 else (first & 0x7F) << 7 | second
        if first > most:
            return True
    return False


def overflow_heads(image: bytes, page: int, layout: Layout) -> Iterator[tuple[int, bytes]]:
    """Yields the first overflow page of each cell that has one, and the cell's slice."""
    kind = image[start_of(page)]
    if kind == TABLE_INTERIOR:
        return
    for data in slices(image, page, layout.usable):
        head = cell_of(data, kind, layout).overflow
        if head:
            yield head, data


def next_overflow(image: bytes) -> int:
    """The page that continues an overflow page, 0 at the end."""
    return int(_U32.unpack_from(image)[0])


def varint(data: bytes, place: int) -> tuple[int, int]:
    """Reads a variable-length integer of up to nine bytes.

    Returns:
        Its value as an unsigned 64-bit number, and the offset behind it.
    """
    byte = data[place]
    if byte < 0x80:
        return byte, place + 1
    value = byte & 0x7F
    for _ in range(7):
        place += 1
        byte = data[place]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + 1
    return value << 8 | data[place + 1], place + 2


def pointed_to(image: bytes, page: int, layout: Layout) -> set[int]:
    """Pages below a b-tree page, and the overflow pages its cells begin.

    Empty for what cannot be a b-tree page.
    """
    if not image or kind_of(image, page) not in KINDS:
        return set()
    found: set[int] = set()
    try:
        if is_interior(image, page):
            found.update(children(image, page))
        if may_overflow(image, page, layout):
            found.update(head for head, _ in overflow_heads(image, page, layout))
    except (Malformed, IndexError):
        # Only a page of another kind looks like this; a broken one is nobody's parent.
        return set()
    return found


def is_special(page: int, first_page: bytes) -> bool:
    """Tells whether a page is the lock-byte page or a page of SQLite's own pointer map."""
    size = len(first_page)
    lock_page = PENDING_BYTE // size + 1
    if page == lock_page:
        return True
    if first_page[LARGEST_ROOT] == b"\0\0\0\0":
        return False
    every = (size - first_page[RESERVED]) // 5 + 1
    place = (page - 2) // every * every + 2
    return page == (place + 1 if place == lock_page else place)
