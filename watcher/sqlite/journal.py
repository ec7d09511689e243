"""The rollback journal, as pure functions over what is read from it.

Document: sqlite.org/fileformat2.html 3. A journal holds the original images of the pages that a
transaction changes. It is a chain of segments, each a header in a sector of its own and records of
a page number, an image and a checksum; where the cache spills, another segment follows.

A header gets its magic and the number of its records when the segment has been synced, and only
then is the database written. With `synchronous=OFF` it has them at once, and the number is "all
that follow". `journal_mode=PERSIST` fills the first header with zeros to commit, and the records of
older, longer transactions stay behind those of the last one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from watcher.sqlite.fileformat import DATABASE_MAGIC, JOURNAL_MAGIC, PENDING_BYTE

Read = Callable[[int, int], bytes]
"""Reads so many bytes at an offset; shorter at the end."""

# Magic, records, nonce, pages of the database before, bytes in a sector, bytes in a page.
_HEADER = struct.Struct(">8sIIIII")
_UNSYNCED = b"\0" * 12
_ZEROED = b"\0" * _HEADER.size
_ALL_THAT_FOLLOW = 0xFFFFFFFF
_LARGEST_SECTOR = 65536
# Where a header is gone nobody knows its sector; these are the sizes of today's systems.
_LIKELY_SECTORS = (512, 4096, 1024, 2048, 8192, 16384, 32768, 65536)
_BLOCK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Journal:
    """What a journal holds.

    Args:
        page_size: bytes in a page.
        page_count: size of the database before the transaction, in pages.
        images: where in the journal the original image of each page begins.
    """

    page_size: int
    page_count: int
    images: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class _Header:
    # None where the header was never synced, or says "all that follow".
    records: int | None
    nonce: int
    page_count: int
    sector: int
    page_size: int


class _Segment:
    """Takes records as long as they belong together.

    Args:
        page_size: bytes in a page.
        page_count: larger page numbers are no records.
    """

    def __init__(self, page_size: int, page_count: int) -> None:
        self.page_size = page_size
        self._page_count = page_count
        self._lock_page = PENDING_BYTE // page_size + 1
        self.record_size = page_size + 8
        self.images: dict[int, int] = {}
        self.last_page = 0

    def take(self, read: Read, start: int, most: int | None, nonce: int | None) -> tuple[int, int]:
        """Takes records from an offset on; returns how many, and the offset behind them.

        Args:
            read: reads the journal.
            start: offset of the first record.
            most: no more than so many; None for all that are valid.
            nonce: what the checksums begin with; None where the first record shall tell.
        """
        taken = 0
        per_block = max(1, _BLOCK_BYTES // self.record_size)
        while most is None or taken < most:
            wanted = per_block if most is None else min(per_block, most - taken)
            offset = start + taken * self.record_size
            block = read(wanted * self.record_size, offset)
            found, nonce = self._take_block(block, offset, nonce)
            taken += found
            if found < wanted:
                break
        return taken, start + taken * self.record_size

    def _take_block(self, block: bytes, offset: int, nonce: int | None) -> tuple[int, int | None]:
        size, sample = self.page_size, self.page_size % 200
        whole = len(block) // self.record_size
        for index in range(whole):
            at = index * self.record_size
            page = int.from_bytes(block[at : at + 4], "big")
            image = at + 4
            (checksum,) = struct.unpack_from(">I", block, image + size)
            # Every 200th byte, counted from the end.
            own = (checksum - sum(block[image + sample : image + size : 200])) & 0xFFFFFFFF
            nonce = own if nonce is None else nonce
            if own != nonce or not 0 < page <= self._page_count or page == self._lock_page:
                return index, nonce
            # A page is journaled once, so the first image is the original one.
            self.images.setdefault(page, offset + image)
            self.last_page = page
        return whole, nonce


def parse_journal(read: Read) -> Journal | None:
    """Reads a journal whose transaction has not been ended by zeros in its header.

    Of a transaction that is under way, the records that are complete by now.

    Args:
        read: reads the journal.

    Returns:
        What it holds; None where there is no such journal, or less in it than it says.
    """
    first = _read_header(read, 0)
    if first is None:
        return None
    segment = _Segment(first.page_size, first.page_count)
    return _journal(segment, first) if _walk(read, segment, first, 0) is not None else None


def _journal(segment: _Segment, header: _Header) -> Journal:
    return Journal(header.page_size, header.page_count, segment.images)


def _walk(read: Read, segment: _Segment, first: _Header, offset: int) -> int | None:
    """Takes all segments from the one at an offset on; returns where the last one ends."""
    header: _Header | None = first
    end = offset
    while header is not None:
        taken, end = segment.take(read, offset + first.sector, header.records, header.nonce)
        if header.records is None:
            break
        if taken < header.records:
            return None
        offset = _next_sector(end, first.sector)
        header = _read_header(read, offset, first)
    return end


def _next_sector(offset: int, sector: int) -> int:
    return -(-offset // sector) * sector


def _read_header(read: Read, offset: int, first: _Header | None = None) -> _Header | None:
    data = read(_HEADER.size, offset)
    if len(data) < _HEADER.size or data == _ZEROED:
        return None
    magic, records, nonce, page_count, sector, page_size = _HEADER.unpack(data)
    is_synced = magic == JOURNAL_MAGIC
    if not is_synced and data[:12] != _UNSYNCED:
        return None
    if not _is_power(page_size, 512, 65536) or not _is_power(sector, 32, _LARGEST_SECTOR):
        return None
    if first is not None and (sector, page_size) != (first.sector, first.page_size):
        return None
    is_counted = is_synced and records != _ALL_THAT_FOLLOW
    return _Header(records if is_counted else None, nonce, page_count, sector, page_size)


def _is_power(number: int, least: int, most: int) -> bool:
    return least <= number <= most and number & (number - 1) == 0


def parse_zeroed_journal(read: Read, size: int, page_size: int) -> Journal | None:
    """Reads a journal whose transaction was ended by zeros in its header (`PERSIST`).

    The nonce is gone with the header, but all records of a segment have the same one. The size of
    the database before is told by the image of page 1.

    Args:
        read: reads the journal.
        size: its length in bytes.
        page_size: bytes in a page.

    Returns:
        What it holds; None where there is no such journal, where page 1 is not in it, or where
        `journal_size_limit` may have cut records off.
    """
    if read(_HEADER.size, 0) != _ZEROED:
        return None
    for sector in _LIKELY_SECTORS:
        found = _parse_zeroed(read, size, page_size, sector)
        if found is not None:
            return found
    return None


def _parse_zeroed(read: Read, size: int, page_size: int, sector: int) -> Journal | None:
    segment = _Segment(page_size, 0xFFFFFFFE)
    _, end = segment.take(read, sector, None, None)
    offset = _next_sector(end, sector)
    last: int | None = end
    following = _read_header(read, offset, _Header(None, 0, 0, sector, page_size))
    if following is not None and following.records is not None:
        last = _walk(read, segment, following, offset)
    image = segment.images.get(1)
    page_count = 0 if image is None else _page_count(read(100, image))
    if last is None or not page_count or max(segment.images) > page_count:
        return None
    if not _is_complete(segment, last, size, sector):
        return None
    return Journal(page_size, page_count, segment.images)


def _page_count(header: bytes) -> int:
    # The size is valid if it was written with the last count of the change counter.
    is_valid = header[:16] == DATABASE_MAGIC and header[24:28] == header[92:96]
    return int.from_bytes(header[28:32], "big") if is_valid else 0


def _is_complete(segment: _Segment, end: int, size: int, sector: int) -> bool:
    # Where older records follow, nothing was cut off. Else page 1 must come last: it is what a
    # commit writes at the end, unless the transaction had to do with page 1 before.
    if size - end >= sector + segment.record_size:
        return True
    return size == end and segment.last_page == 1
