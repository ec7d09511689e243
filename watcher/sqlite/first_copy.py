"""The first copy of a database into the shadow, before there is anything to compare with.

It is raw and makes no claim of consistency: programs write meanwhile, so it may be torn and hold
pages of many states at once. That does no harm, because nothing is told from it. The comparison
that follows (`whole_file.compare_file`) proves its own look valid and finds whatever differs from
it. The copy only makes that little, so that it goes into the shadow once and not by way of the
pending pages.

No lock is taken, and the descriptor is the one the captures read from.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
import time

from watcher.sqlite.fileformat import (
    HEADER_SIZE,
    DatabaseHeader,
    NotADatabase,
    normalise_first_page,
    parse_header,
)
from watcher.sqlite.files import RawFile
from watcher.sqlite.shadow import Shadow

# Small enough that one takes milliseconds on a slow disk, large enough that calls do not count.
_PIECE_BYTES = 1024 * 1024
# So long an event loop can wait for its turn.
_STEP_SECONDS = 0.03
# _IOW(0x94, 9, int) of linux/fs.h; `fcntl` names it from Python 3.12 on.
_FICLONE = 0x40049409
# What a kernel or a file system says to a way of copying that it does not know, or not between
# these two files.
_UNSUPPORTED = frozenset(
    (
        errno.EBADF,
        errno.EINVAL,
        errno.ENOSYS,
        errno.ENOTTY,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.ETXTBSY,
        errno.EXDEV,
    )
)


class FirstCopy:
    """Fills the shadow from the watched file, a step at a time.

    What the shadow held is dropped. As long as it is not complete the shadow has no pages.

    Args:
        main: the watched file; what its descriptor names is copied, also if that changes. As long
            as it is not there, or no database, there is nothing to copy, and the captures say so.
        shadow: the private copy. No note may know it, see `Pending.forget`.
        seconds: a step ends when it has taken so long.
    """

    def __init__(self, main: RawFile, shadow: Shadow, *, seconds: float = _STEP_SECONDS) -> None:
        self._main = main
        self._shadow = shadow
        self._seconds = seconds
        self._begun = False
        self._fraction = 0.0
        self._offset = 0
        self._in_kernel = sys.platform == "linux"

    def advance(self) -> float:
        """Copies the next pieces.

        Returns:
            The part that is done, 1.0 when it is complete.

        Raises:
            DatabaseUnavailable: there is something, but it cannot be read.
            OSError: the shadow cannot be written, on a full volume for example. The room it took
                is given back, since the writers may need it; the next call begins anew.
        """
        if self._fraction < 1.0 or not self._begun:
            try:
                self._step()
            except OSError:
                self._shadow.clear()
                self._begun = False
                raise
        return self._fraction

    def _step(self) -> None:
        if not self._begun:
            self._begin()
        until = time.monotonic() + self._seconds
        # Looked up in each step: the file may grow or shrink under our hands.
        size = self._size()
        while self._offset < size:
            copied = self._copy_piece(size)
            # Nothing is left where there was something just now: it has become shorter.
            size = size if copied else self._offset
            self._offset += copied
            if time.monotonic() >= until:
                break
        if self._offset < size:
            self._fraction = max(self._fraction, self._offset / size)
        else:
            self._finish(size)

    def _size(self) -> int:
        # Another kind of file may be of any size, and is not worth a copy.
        if _header(self._main.read(HEADER_SIZE, 0)) is None:
            return 0
        return os.fstat(self._main.descriptor).st_size

    def _begin(self) -> None:
        self._main.refresh()
        self._shadow.clear()
        self._offset, self._fraction, self._begun = 0, 0.0, True
        if self._size() == 0:
            return
        if self._reflink():
            self._offset = os.fstat(self._shadow.descriptor).st_size
            return
        self._require_room()
        _advise(self._main.descriptor, sequential=True)

    def _reflink(self) -> bool:
        """Lets both files share their blocks, where the file system can: no byte is copied."""
        if sys.platform != "linux":
            return False
        try:
            fcntl.ioctl(self._shadow.descriptor, _FICLONE, self._main.descriptor)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            return False
        return True

    def _require_room(self) -> None:
        # A copy that must fail would meanwhile take the last room from the writers.
        needed = os.fstat(self._main.descriptor).st_blocks * 512
        volume = os.fstatvfs(self._shadow.descriptor)
        # A file system that does not know its size says 0.
        if volume.f_blocks and volume.f_bavail * volume.f_frsize < needed:
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: the copy needs {needed} B")

    def _copy_piece(self, size: int) -> int:
        """Copies a piece from the offset on; returns how far it went, 0 at the end of the file."""
        start = _next_data(self._main.descriptor, self._offset, size)
        if start >= size:
            return size - self._offset
        copied = self._copy_in_kernel(start) if self._in_kernel else 0
        # Some file systems say 0 for what they cannot do; at the end of the file both do.
        copied = copied or self._copy_through_memory(start)
        return start - self._offset + copied if copied else 0

    def _copy_in_kernel(self, start: int) -> int:
        if sys.platform != "linux":
            return 0
        source, target = self._main.descriptor, self._shadow.descriptor
        try:
            return os.copy_file_range(source, target, _PIECE_BYTES, start, start)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            self._in_kernel = False
            return 0

    def _copy_through_memory(self, start: int) -> int:
        piece = self._main.read(_PIECE_BYTES, start)
        self._shadow.write(piece, start)
        return len(piece)

    def _finish(self, size: int) -> None:
        """Makes the shadow a database of the pages that were copied, the first made fit for it."""
        _advise(self._main.descriptor, sequential=False)
        header = _header(self._shadow.read(HEADER_SIZE, 0))
        if header is None or size == 0:
            # None, or meanwhile another kind of file; there may be one later.
            self._shadow.clear()
            self._begun = False
        else:
            page_count = -(-size // header.page_size)
            self._shadow.adopt(header.page_size, page_count)
            first = self._shadow.read(header.page_size, 0)
            self._shadow.put(1, normalise_first_page(first, page_count))
        self._fraction = 1.0


def _header(data: bytes) -> DatabaseHeader | None:
    try:
        return parse_header(data)
    except NotADatabase:
        return None


def _next_data(descriptor: int, offset: int, size: int) -> int:
    """Where the next bytes are that take room on the disk: a hole stays one in the copy."""
    if sys.platform != "linux":
        return offset
    try:
        # Moves the position of a descriptor that is only read at given offsets.
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError as error:
        # No data up to the end, or a file system that does not tell.
        return size if error.errno == errno.ENXIO else offset


def _advise(descriptor: int, *, sequential: bool) -> None:
    """Lets the kernel read ahead further; from a cold disk that doubles the rate."""
    if sys.platform == "linux" and descriptor >= 0:
        advice = os.POSIX_FADV_SEQUENTIAL if sequential else os.POSIX_FADV_NORMAL
        os.posix_fadvise(descriptor, 0, 0, advice)
