"""The list of free pages (sqlite.org/fileformat2.html 1.5), as pure functions over pages.

Page 1 names the first *trunk*; each trunk names the next one and holds the numbers of its *leaves*,
pages whose content means nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from watcher.sqlite.btree import LARGEST_ROOT, ReadPage


class CorruptFreeList(ValueError):
    """The list of free pages runs in a circle or names pages that cannot be."""


def walk_free_list(
    read: ReadPage, first_page: bytes, page_count: int
) -> Iterator[tuple[int, list[int]]]:
    """Yields the number of each trunk and its leaves, in the order of the list.

    Args:
        read: reads a page.
        first_page: page 1, at least its first 100 bytes.
        page_count: size of the database in pages.

    Raises:
        CorruptFreeList: it is not a list.
    """
    trunk, free = struct.unpack_from(">II", first_page, 32)
    while trunk:
        if not 1 < trunk <= page_count or free <= 0:
            raise CorruptFreeList
        following, leaves = _parse_trunk(read(trunk))
        # Every trunk and leaf counts, so a circle comes to an end.
        free -= 1 + len(leaves)
        if free < 0 or (leaves and not (min(leaves) > 1 and max(leaves) <= page_count)):
            raise CorruptFreeList
        yield trunk, leaves
        trunk = following


def _parse_trunk(page: bytes) -> tuple[int, list[int]]:
    if len(page) < 8:
        raise CorruptFreeList
    following, count = struct.unpack_from(">II", page)
    if count > len(page) // 4 - 2:
        raise CorruptFreeList
    return following, list(struct.unpack_from(f">{count}I", page, 8))


def leaves_of(
    changed: Callable[[int], bool], read: ReadPage, first_page: bytes, page_count: int
) -> set[int]:
    """Returns the leaves of those trunks that a transaction has changed.

    Without auto-vacuum pages are taken from the first trunk and given to the first trunk or a new
    one before it, so behind a trunk that was not changed, none was.

    Args:
        changed: tells of a page whether it was changed.
        read: reads a page.
        first_page: page 1, at least its first 100 bytes.
        page_count: size of the database in pages.

    Raises:
        CorruptFreeList: it is not a list.
    """
    takes_any = any(first_page[LARGEST_ROOT])
    free: set[int] = set()
    for trunk, leaves in walk_free_list(read, first_page, page_count):
        if changed(trunk):
            free.update(leaves)
        elif not takes_any:
            break
    return free
