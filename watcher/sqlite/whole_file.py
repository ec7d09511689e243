"""Finds the pages in which a state differs from the shadow by comparing all of them."""

from __future__ import annotations

from collections.abc import Callable

from watcher.sqlite.fileformat import normalise_first_page
from watcher.sqlite.files import RawFile
from watcher.sqlite.shadow import Pending, Shadow

_BLOCK_BYTES = 256 * 1024


def put_page(pending: Pending, page: int, image: bytes, page_count: int) -> None:
    """Puts a page as it stands in a file or a log; the first one made fit for a private copy."""
    pending.put(page, normalise_first_page(image, page_count) if page == 1 else image)


def compare_file(
    main: RawFile,
    page_count: int,
    shadow: Shadow,
    pending: Pending,
    newer: Callable[[int], bytes | None],
) -> None:
    """Puts each page that differs from the shadow, block by block.

    Args:
        main: the database file.
        page_count: size of the state in pages.
        shadow: what to compare with.
        pending: takes the pages.
        newer: the page as the log has it, None where the main file counts.
    """
    size = pending.page_size
    per_block = max(1, _BLOCK_BYTES // size)
    shares = shadow.page_size == size
    for start in range(1, page_count + 1, per_block):
        count = min(per_block, page_count - start + 1)
        block = main.read(count * size, (start - 1) * size).ljust(count * size, b"\0")
        block = _overlaid(block, start, count, size, page_count, newer)
        old = shadow.read(count * size, (start - 1) * size) if shares else b""
        if block != old:
            for index in range(count):
                image = block[index * size : (index + 1) * size]
                if image != old[index * size : (index + 1) * size]:
                    pending.put(start + index, image)


def _overlaid(
    block: bytes,
    start: int,
    count: int,
    size: int,
    page_count: int,
    newer: Callable[[int], bytes | None],
) -> bytes:
    changed = {page: image for page in range(start, start + count) if (image := newer(page))}
    if start == 1:
        changed[1] = normalise_first_page(changed.get(1, block[:size]), page_count)
    if not changed:
        return block
    patched = bytearray(block)
    for page, image in changed.items():
        patched[(page - start) * size : (page - start + 1) * size] = image
    return bytes(patched)
