"""Finds the pages in which a state differs from the shadow by comparing all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from watcher.sqlite.fileformat import normalise_first_page
from watcher.sqlite.files import RawFile
from watcher.sqlite.shadow import Pending, Shadow

_BLOCK_BYTES = 256 * 1024


def put_page(pending: Pending, page: int, image: bytes, page_count: int) -> None:
    """Puts a page as it stands in a file or a log; the first one made fit for a private copy."""
    pending.put(page, normalise_first_page(image, page_count) if page == 1 else image)


def nothing_newer(_pages: range) -> Mapping[int, bytes]:
    """There is no log: the main file counts."""
    return {}


def compare_file(
    main: RawFile,
    page_count: int,
    shadow: Shadow,
    pending: Pending,
    newer: Callable[[range], Mapping[int, bytes]],
) -> None:
    """Puts each page that differs from the shadow, block by block.

    Args:
        main: the database file.
        page_count: size of the state in pages.
        shadow: what to compare with.
        pending: takes the pages.
        newer: those of some pages that the log has; for all others the main file counts.
    """
    size = pending.page_size
    per_block = max(1, _BLOCK_BYTES // size)
    shares = shadow.page_size == size
    # Filled again and again: new memory for each block would cost as much as the reading.
    block, old = bytearray(per_block * size), bytearray(per_block * size)
    for start in range(1, page_count + 1, per_block):
        count = min(per_block, page_count - start + 1)
        if count < per_block:
            block, old = bytearray(count * size), bytearray(count * size)
        _fill(block, main, start, size, page_count, newer(range(start, start + count)))
        held = shadow.read_into(old, (start - 1) * size) if shares else 0
        if held < len(old) or block != old:
            _put_differing(pending, start, block, old[:held])


def _fill(
    block: bytearray,
    main: RawFile,
    start: int,
    size: int,
    page_count: int,
    changed: Mapping[int, bytes],
) -> None:
    found = main.read_into(block, (start - 1) * size)
    if found < len(block):
        block[found:] = bytes(len(block) - found)
    for page, image in changed.items():
        block[(page - start) * size : (page - start + 1) * size] = image
    if start == 1:
        block[:size] = normalise_first_page(bytes(block[:size]), page_count)


def _put_differing(pending: Pending, start: int, block: bytearray, old: bytearray) -> None:
    size = pending.page_size
    for place in range(0, len(block), size):
        if block[place : place + size] != old[place : place + size]:
            pending.put(start + place // size, bytes(block[place : place + size]))
