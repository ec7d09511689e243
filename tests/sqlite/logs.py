"""Write-ahead logs that a process of SQLite has written and left behind."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.program import Program
from watcher.sqlite.fileformat import (
    FRAME_HEADER_SIZE,
    WAL_HEADER_SIZE,
    parse_wal_header,
    wal_checksum,
)
from watcher.sqlite.files import RawFile
from watcher.sqlite.log import Log

# Nothing but the statements of a test writes to the log.
SETTINGS = ("PRAGMA journal_mode=wal", "PRAGMA wal_autocheckpoint=0")


def log_path(database: Path) -> Path:
    """The log beside a database."""
    return database.with_name(database.name + "-wal")


def index_path(database: Path) -> Path:
    """The wal-index beside a database."""
    return database.with_name(database.name + "-shm")


@contextmanager
def writer(database: Path, *statements: str) -> Iterator[Program]:
    """A process that has the database open in WAL mode; at the end it is killed, the log stays.

    Args:
        database: the file, made where it is missing.
        statements: what it runs before anything else, such as a page size.
    """
    program = Program(database)
    try:
        program.run(*statements, *SETTINGS)
        yield program
    finally:
        program.kill()


@contextmanager
def opened(path: Path) -> Iterator[Log]:
    """Opens a log."""
    file = RawFile(path)
    assert file.refresh() is not None
    try:
        yield Log(file)
    finally:
        file.close()


def copied(database: Path, directory: Path) -> Path:
    """A copy of a database with its log and without its wal-index, as after a crash."""
    directory.mkdir()
    shutil.copy(database, directory)
    shutil.copy(log_path(database), directory)
    return directory / database.name


def frames(data: bytes) -> list[bytes]:
    """The frames of a log, whether they count or not."""
    header = parse_wal_header(data)
    assert header is not None
    size = FRAME_HEADER_SIZE + header.page_size
    return [data[at : at + size] for at in range(WAL_HEADER_SIZE, len(data) - size + 1, size)]


def with_byte_order(data: bytes, *, big_endian: bool) -> bytes:
    """A log with the same pages whose checksums read their words in one byte order.

    Args:
        data: a log all of whose frames count.
        big_endian: that byte order.
    """
    head = struct.pack(">I", 0x377F0682 | big_endian) + data[4:24]
    checksum = wal_checksum(head, (0, 0), big_endian=big_endian)
    parts = [head + struct.pack(">II", *checksum)]
    for frame in frames(data):
        checksum = wal_checksum(frame[:8], checksum, big_endian=big_endian)
        checksum = wal_checksum(frame[FRAME_HEADER_SIZE:], checksum, big_endian=big_endian)
        parts.append(frame[:16] + struct.pack(">II", *checksum) + frame[FRAME_HEADER_SIZE:])
    return b"".join(parts)
