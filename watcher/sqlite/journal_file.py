"""A rollback journal as it was caught: the open file, what is in it, and how it is let go."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

from watcher.sqlite.journal import Journal

# To close the last descriptor of a deleted file is work for the file system, which a writer's sync
# may have to wait for; so a few are closed at once, and rather when nobody writes. Only a few: an
# ext4 without a journal gives no inode away that was deleted lately, and each journal the writer
# makes has to search behind all of them.
_CLOSED_AT_ONCE = 16
_IDLE_SECONDS = 0.2
# So many bytes are freed in a thread: it takes milliseconds, in which the next journal is missed.
_CLOSED_BYTES = 16 * 1024 * 1024


class JournalFile:
    """The time from the making of a journal file to its deletion."""

    def __init__(self) -> None:
        self._descriptor = -1
        self._inode: tuple[int, int] | None = None
        # Whether it was written since the last state settled.
        self.has_begun = False
        # How often writes to the database began, and whether they were the last thing seen.
        self.flushes = 0
        self.is_flushing = False
        # Whether the database was written after it had been deleted.
        self.is_cut = False

    def open(self, path: Path) -> None:
        """Opens the file, if it is still there and a regular one that is ours to read.

        Otherwise what it stands for is compared.
        """
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(path, flags)
        except OSError:
            return
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            return
        self._descriptor = descriptor
        self._inode = (found.st_dev, found.st_ino)

    @property
    def is_open(self) -> bool:
        """Whether it was caught."""
        return self._descriptor >= 0

    def is_same(self, other: JournalFile) -> bool:
        """Tells whether both are the same file; of one that was not caught it is not known."""
        # As long as one is open its inode is not given to another file.
        return self._inode is not None and self._inode == other._inode

    @property
    def was_rewritten(self) -> bool:
        """Whether it was written after the database was: a spilled cache, or a file used again."""
        return self.flushes > 1 or (self.flushes == 1 and not self.is_flushing)

    @property
    def is_gone(self) -> bool:
        """Whether the file has no name any more; only then its content is final."""
        return self._descriptor >= 0 and os.fstat(self._descriptor).st_nlink == 0

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return os.fstat(self._descriptor).st_size if self._descriptor >= 0 else 0

    def read(self, size: int, offset: int) -> bytes:
        """Reads at an offset; empty where it was not caught."""
        return os.pread(self._descriptor, size, offset) if self._descriptor >= 0 else b""

    def reuse(self) -> None:
        """Begins anew: the file stays for the next transaction."""
        self.has_begun = False
        self.flushes, self.is_flushing = 0, False

    def close(self) -> None:
        """Lets go of the file; idempotent."""
        descriptor = self.take()
        if descriptor >= 0:
            os.close(descriptor)

    def take(self) -> int:
        """Gives the descriptor away, to be closed by the caller; -1 where there is none."""
        descriptor, self._descriptor = self._descriptor, -1
        self._inode = None
        return descriptor


class DoneJournals:
    """Journals that are not needed any more."""

    def __init__(self) -> None:
        self._descriptors: list[int] = []
        self._bytes = 0
        self._last = 0.0

    def add(self, file: JournalFile) -> None:
        """Takes the descriptor of a file, to close it with others."""
        self._bytes += file.size
        descriptor = file.take()
        if descriptor >= 0:
            self._descriptors.append(descriptor)
            self._last = time.monotonic()
        if len(self._descriptors) >= _CLOSED_AT_ONCE or self._bytes >= _CLOSED_BYTES:
            self.close()

    def close_if_idle(self) -> None:
        """Closes them if none has come for a while."""
        if self._descriptors and time.monotonic() - self._last >= _IDLE_SECONDS:
            self.close()

    def close(self) -> None:
        """Closes all; idempotent."""
        descriptors, self._descriptors = self._descriptors, []
        size, self._bytes = self._bytes, 0
        if size < _CLOSED_BYTES:
            _close(descriptors)
            return
        try:
            threading.Thread(target=_close, args=(descriptors,), name="closing").start()
        except RuntimeError:  # there are no more threads
            _close(descriptors)


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class Transaction:
    """A journal with its file.

    Args:
        file: the file.
        journal: what is in it.
    """

    def __init__(self, file: JournalFile, journal: Journal) -> None:
        self._file = file
        self.journal = journal
        # Whether the database was written after the commit. That is to cut the file, and a file
        # can be longer than the database was and is only where the cache has spilled.
        self.is_cut = file.is_cut and not file.was_rewritten

    def __contains__(self, page: object) -> bool:
        return page in self.journal.images

    def image(self, page: int) -> bytes | None:
        """Reads a page as it was before the transaction; None where it is not in the journal."""
        offset = self.journal.images.get(page)
        return None if offset is None else self._file.read(self.journal.page_size, offset)
