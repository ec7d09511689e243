"""The raw descriptors of a watched database, and what can be asked of them without a lock.

This module only ever reads. It belongs into a process that has no SQLite connection on the same
file: closing any descriptor of a file drops all POSIX locks the process holds on it
(sqlite.org/howtocorrupt.html 2.2).
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import time
from pathlib import Path
from typing import NamedTuple

from watcher.errors import DatabaseUnavailable
from watcher.sqlite.fileformat import (
    HEADER_SIZE,
    PENDING_BYTE,
    RESERVED_BYTE,
    WAL_INDEX_USERS_BYTE,
    WAL_WRITE_BYTE,
    DatabaseHeader,
    NotADatabase,
    parse_header,
)

# The C structure of fcntl(2): kind of lock, whence, start, length, process.
FLOCK = struct.Struct("@hhqqi4x")
# File times are kept in ticks of up to 10 ms: a file written less than two of them ago can be
# written again without its times showing it.
_TICK_NS = 20_000_000


class Identity(NamedTuple):
    """Tells a file from another one under the same name, and a write from none.

    Args:
        device: number of the file system.
        inode: number of the file on it.
        size: length in bytes.
        modified: nanoseconds, of the content.
        changed: nanoseconds, of content or attributes.
    """

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    def is_same_file(self, other: Identity) -> bool:
        """Tells whether both are one file, whatever was written to it in between."""
        return self[:2] == other[:2]


def identify(path: Path) -> Identity | None:
    """Looks at what a path names, without opening it; None where that is nothing.

    Raises:
        DatabaseUnavailable: the directory cannot be read.
    """
    try:
        return _identity(os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(path, error) from error


def _identity(found: os.stat_result) -> Identity:
    return Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _unreadable(path: Path, error: OSError) -> DatabaseUnavailable:
    return DatabaseUnavailable(str(path), "unreadable", f"cannot be read ({error.strerror})")


class RawFile:
    """A descriptor that follows a path: reopened when another file takes the name.

    Args:
        path: the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1
        self._identity: Identity | None = None
        # Counts how often it was opened: as long as it stays open it is one and the same file.
        self.opening = 0

    @property
    def descriptor(self) -> int:
        """The open descriptor; -1 where there is no file."""
        return self._descriptor

    def refresh(self) -> Identity | None:
        """Looks at the path and opens what is there now, if it is another file than before.

        Raises:
            DatabaseUnavailable: there is something, but it cannot be read.
        """
        try:
            found = _identity(os.stat(self.path))
            if self._identity is None or not found.is_same_file(self._identity):
                found = self._reopen()
        except (FileNotFoundError, NotADirectoryError):
            self.close()
            return None
        except OSError as error:
            raise _unreadable(self.path, error) from error
        self._identity = found
        return found

    def _reopen(self) -> Identity:
        self.close()
        # Non-blocking, lest a pipe under that name holds us up.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        self._descriptor = os.open(self.path, flags)
        self.opening += 1
        opened = os.fstat(self._descriptor)
        if not stat.S_ISREG(opened.st_mode):
            self.close()
            raise DatabaseUnavailable(str(self.path), "not_a_database", "is not a regular file")
        return _identity(opened)

    def read(self, size: int, offset: int) -> bytes:
        """Reads at an offset; shorter than asked at the end of the file or where there is none."""
        return os.pread(self._descriptor, size, offset) if self._descriptor >= 0 else b""

    def keep(self) -> KeptFile:
        """The file that is open now, to stay open whatever the path names later."""
        return KeptFile(os.dup(self._descriptor) if self._descriptor >= 0 else -1)

    def read_into(self, buffer: bytearray, offset: int) -> int:
        """Fills a buffer from an offset; returns how many bytes there were."""
        return os.preadv(self._descriptor, [buffer], offset) if self._descriptor >= 0 else 0

    def close(self) -> None:
        """Closes the descriptor; idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._identity = None


class KeptFile:
    """A descriptor that stays with its file, also when that is removed or loses its name.

    Args:
        descriptor: the open file, -1 for none; closed with it.
    """

    def __init__(self, descriptor: int = -1) -> None:
        self._descriptor = descriptor

    def read(self, size: int, offset: int) -> bytes:
        """Reads at an offset; shorter than asked at the end of the file or where there is none."""
        return os.pread(self._descriptor, size, offset) if self._descriptor >= 0 else b""

    def modified(self) -> int:
        """When its content was written last, in nanoseconds; 0 where there is no file."""
        return os.fstat(self._descriptor).st_mtime_ns if self._descriptor >= 0 else 0

    def close(self) -> None:
        """Closes the descriptor; idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class DatabaseFiles:
    """A database file with its log, its wal-index and its rollback journal.

    Args:
        path: the database, with links resolved as SQLite resolves them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.main = RawFile(path)
        self.log = RawFile(path.with_name(path.name + "-wal"))
        self.index = RawFile(path.with_name(path.name + "-shm"))
        self.journal = RawFile(path.with_name(path.name + "-journal"))

    def writer_is_writing(self) -> bool:
        """Tells whether a process holds the lock without which the main file is not written.

        EXCLUSIVE includes the PENDING byte. The question takes no lock.
        """
        return self._is_locked(PENDING_BYTE)

    def writer_is_at_work(self) -> bool:
        """Tells whether a process has a write transaction open in a rollback-journal mode."""
        return self._is_locked(RESERVED_BYTE)

    def log_is_being_written(self) -> bool:
        """Tells whether a process has a write transaction open in WAL mode."""
        index = self.index.descriptor
        return index >= 0 and is_locked(index, WAL_WRITE_BYTE, fcntl.F_RDLCK)

    def index_is_in_use(self) -> bool:
        """Tells whether any connection uses the wal-index; what else is in it is of the past.

        A writer with an exclusive lock keeps the index in its own memory, and a connection that
        comes first after a crash makes it anew.
        """
        return is_locked(self.index.descriptor, WAL_INDEX_USERS_BYTE, fcntl.F_WRLCK)

    def _is_locked(self, byte: int) -> bool:
        # A read lock conflicts with just the write lock a writer holds.
        return is_locked(self.main.descriptor, byte, fcntl.F_RDLCK)

    def close(self) -> None:
        """Closes all descriptors; idempotent."""
        for file in (self.main, self.log, self.index, self.journal):
            file.close()


def read_header(files: DatabaseFiles) -> DatabaseHeader:
    """Reads the header of the main file.

    Raises:
        DatabaseUnavailable: it has none.
    """
    try:
        return parse_header(files.main.read(HEADER_SIZE, 0))
    except NotADatabase:
        detail = "is not a SQLite database, or it is encrypted"
        raise DatabaseUnavailable(str(files.path), "not_a_database", detail) from None


def is_fresh(found: object) -> bool:
    """Tells whether a file was written so lately that its times would not show a further write."""
    return isinstance(found, Identity) and time.time_ns() - found.modified < _TICK_NS


def is_locked(descriptor: int, byte: int, lock: int) -> bool:
    """Tells whether a lock on a byte would meet one that another descriptor has, without taking it.

    Args:
        descriptor: of the file.
        byte: its offset.
        lock: `fcntl.F_RDLCK` or `fcntl.F_WRLCK`.
    """
    # An OFD query is answered for this descriptor alone, whatever else the process has locked.
    query = FLOCK.pack(lock, os.SEEK_SET, byte, 1, 0)
    answer = fcntl.fcntl(descriptor, _GETLK, query)
    return bool(FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


_GETLK: int = getattr(fcntl, "F_OFD_GETLK", fcntl.F_GETLK)
