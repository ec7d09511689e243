"""The layout of SQLite's files, as pure functions over bytes.

Documents: sqlite.org/fileformat2.html (database header, rollback journal),
sqlite.org/walformat.html (write-ahead log and wal-index).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DATABASE_MAGIC = b"SQLite format 3\x00"
JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
HEADER_SIZE = 100
WAL_HEADER_SIZE = 32
FRAME_HEADER_SIZE = 24
# Two copies of the 48-byte header, then the checkpoint information.
WAL_INDEX_HEADER_SIZE = 136

# Locks are taken on bytes at 1 GiB, whatever the size of the file (fileformat2.html 1.4).
PENDING_BYTE = 0x40000000
RESERVED_BYTE = PENDING_BYTE + 1
# In the -shm file, behind the eight locks of the log: whoever uses the wal-index holds it shared
# (UNIX_SHM_DMS in SQLite's os_unix.c).
WAL_INDEX_USERS_BYTE = 128
# The first of those eight: whoever writes the log holds it (walformat.html 2.3).
WAL_WRITE_BYTE = 120

UTF8, UTF16LE, UTF16BE = 1, 2, 3
ENCODINGS = {UTF8: "UTF-8", UTF16LE: "UTF-16le", UTF16BE: "UTF-16be"}

_WAL_MAGIC = 0x377F0682
_WAL_VERSION = 3007000
# Checksums over so many bytes or more are dot products.
_LONG = 512


class NotADatabase(ValueError):
    """The first page has not the form of a SQLite database: encrypted, or another kind of file."""


@dataclass(frozen=True, slots=True)
class DatabaseHeader:
    """The fields of the first 100 bytes that a reader from outside needs.

    Args:
        page_size: bytes in a page, 512 to 65536.
        wal: whether the file says write-ahead log (format versions 2).
        change_counter: grows by one with each commit outside WAL mode.
        page_count: size in pages; 0 where the field is not valid and the file's length counts.
        encoding: 1 UTF-8, 2 UTF-16le, 3 UTF-16be; 0 in a database without any content.
    """

    page_size: int
    wal: bool
    change_counter: int
    page_count: int
    encoding: int


def parse_header(data: bytes) -> DatabaseHeader:
    """Reads the database header.

    Args:
        data: at least the first 100 bytes of the file.

    Raises:
        NotADatabase: the magic, the page size or the fixed payload fractions are wrong.
    """
    if len(data) < HEADER_SIZE or data[:16] != DATABASE_MAGIC or data[21:24] != b"\x40\x20\x20":
        raise NotADatabase
    page_size = int.from_bytes(data[16:18], "big")
    page_size = 65536 if page_size == 1 else page_size
    if not _is_page_size(page_size):
        raise NotADatabase
    counter, page_count = struct.unpack_from(">II", data, 24)
    (valid_for,) = struct.unpack_from(">I", data, 92)
    (encoding,) = struct.unpack_from(">I", data, 56)
    return DatabaseHeader(
        page_size=page_size,
        wal=data[19] == 2,
        change_counter=counter,
        page_count=page_count if counter == valid_for else 0,
        encoding=encoding,
    )


def normalise_first_page(page: bytes, page_count: int) -> bytes:
    """Makes page 1 fit for a private copy, and equal where only bookkeeping differs.

    The copy is read without a log, so the format versions become 1; the change counter and the
    number it is valid for become 0, the size is written in, the version number of the last writer
    is cleared.

    Args:
        page: the whole first page.
        page_count: size of the database in pages.
    """
    return b"".join(
        (
            page[:18],
            b"\x01\x01",
            page[20:24],
            b"\0\0\0\0",
            page_count.to_bytes(4, "big"),
            page[32:92],
            b"\0\0\0\0\0\0\0\0",
            page[100:],
        )
    )


def is_live_journal(data: bytes) -> bool:
    """Tells whether a rollback journal that starts with these bytes could be rolled back."""
    return data[:8] == JOURNAL_MAGIC


def _is_page_size(size: int) -> bool:
    return 512 <= size <= 65536 and size & (size - 1) == 0


@dataclass(frozen=True, slots=True)
class WalHeader:
    """The header of a write-ahead log.

    Args:
        big_endian: byte order in which checksums read their words.
        page_size: bytes in a page.
        salts: the two salts, eight bytes; every valid frame repeats them.
        checksum: the two checksum words over the header, where the chain of the frames begins.
    """

    big_endian: bool
    page_size: int
    salts: bytes
    checksum: tuple[int, int]


def parse_wal_header(data: bytes) -> WalHeader | None:
    """Reads the header of a log; None where it is not valid, so that the log holds nothing."""
    if len(data) < WAL_HEADER_SIZE:
        return None
    magic, version, page_size, _sequence = struct.unpack_from(">IIII", data)
    if magic & ~1 != _WAL_MAGIC or version != _WAL_VERSION or not _is_page_size(page_size):
        return None
    big_endian = bool(magic & 1)
    checksum = wal_checksum(data[:24], (0, 0), big_endian=big_endian)
    if checksum != struct.unpack_from(">II", data, 24):
        return None
    return WalHeader(big_endian, page_size, data[16:24], checksum)


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """The header of one frame of a log.

    Args:
        page: number of the page the frame holds.
        commit_size: size of the database in pages if the frame ends a commit, else 0.
        salts: must equal those of the log's header.
        checksum: cumulative checksum up to and including this frame.
    """

    page: int
    commit_size: int
    salts: bytes
    checksum: tuple[int, int]


def parse_frame_header(data: bytes) -> FrameHeader:
    """Reads the 24 bytes before each page of a log."""
    page, commit_size, salts, first, second = struct.unpack(">II8sII", data)
    return FrameHeader(page, commit_size, salts, (first, second))


def wal_checksum(data: bytes, start: tuple[int, int], *, big_endian: bool) -> tuple[int, int]:
    """Continues the checksum of a log or wal-index over more bytes (walformat.html 4.2).

    Args:
        data: a multiple of eight bytes.
        start: the two words so far.
        big_endian: byte order of the words.
    """
    if len(data) >= _LONG:
        return _long_checksum(data, start, big_endian=big_endian)
    first, second = start
    words = struct.unpack(f"{'>' if big_endian else '<'}{len(data) // 4}I", data)
    for left, right in zip(words[::2], words[1::2], strict=True):
        first = (first + left + second) & 0xFFFFFFFF
        second = (second + right + first) & 0xFFFFFFFF
    return first, second


def _long_checksum(data: bytes, start: tuple[int, int], *, big_endian: bool) -> tuple[int, int]:
    # Only a log without a wal-index is verified, so few processes ever pay for the import.
    import numpy as np  # noqa: PLC0415

    power, factors = _factors(len(data) // 8)
    words = np.frombuffer(data, dtype=">u4" if big_endian else "<u4")
    first, second = (factors @ words.astype(np.uint32, copy=False)).tolist()
    return (
        (first + power[0] * start[0] + power[1] * start[1]) & 0xFFFFFFFF,
        (second + power[1] * start[0] + power[2] * start[1]) & 0xFFFFFFFF,
    )


@lru_cache(maxsize=16)  # a length for each page size, and few others
def _factors(pairs: int) -> tuple[tuple[int, int, int], NDArray[np.uint32]]:
    """What each word contributes to the checksum over so many pairs of words, modulo 2^32.

    A pair (x, y) turns the sums (s, t) into M (s, t) + (x, x + y) with M = (1 1; 1 2). So k pairs
    before the end x counts M^k (1, 1) and y counts M^k (0, 1), and what was there at the start
    counts M^pairs, which is symmetric.

    Returns:
        The three different elements of M^pairs, and one row of factors for each of the two sums.
    """
    import numpy as np  # noqa: PLC0415 - see _long_checksum

    left, right = [], []
    # M^k, from k = 0 on.
    a, b, d = 1, 0, 1
    for _ in range(pairs):
        left += [b, a + b]
        right += [d, b + d]
        a, b, d = (a + b) & 0xFFFFFFFF, (b + d) & 0xFFFFFFFF, (b + 2 * d) & 0xFFFFFFFF
    rows = np.array([left[::-1], right[::-1]], dtype=np.uint64)
    return (a, b, d), (rows & 0xFFFFFFFF).astype(np.uint32)


@dataclass(frozen=True, slots=True)
class WalIndexHeader:
    """What the wal-index says is committed.

    Args:
        change: grows by one with each commit.
        page_size: bytes in a page.
        max_frame: number of the last committed frame, 0 where the log is empty.
        page_count: size of the database in pages as of that frame.
        frame_checksum: checksum stored in that frame.
        salts: the salts of the log it describes.
    """

    change: int
    page_size: int
    max_frame: int
    page_count: int
    frame_checksum: tuple[int, int]
    salts: bytes


def parse_wal_index(data: bytes) -> WalIndexHeader | None:
    """Reads the wal-index header.

    Returns None where its two copies differ, its checksum is wrong or it is not initialised: a
    writer is at work on it, or the log awaits recovery.
    """
    copy = data[:48]
    if len(data) < 96 or copy != data[48:96]:
        return None
    fields = struct.unpack("=IIIBBHIIII8sII", copy)
    version, _, change, initialised, _big_endian, page_size = fields[:6]
    max_frame, page_count, sum1, sum2, salts, check1, check2 = fields[6:]
    if version != _WAL_VERSION or not initialised:
        return None
    if _native_checksum(copy[:40]) != (check1, check2):
        return None
    page_size = (page_size & 0xFE00) + ((page_size & 0x0001) << 16)
    return WalIndexHeader(change, page_size, max_frame, page_count, (sum1, sum2), salts)


def _native_checksum(data: bytes) -> tuple[int, int]:
    # The wal-index never leaves the machine: its words are in the machine's byte order.
    return wal_checksum(data, (0, 0), big_endian=struct.pack("=H", 1) == b"\0\1")
