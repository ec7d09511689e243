"""The shadow: a private copy of the watched database as of the last changeset.

The next state is not written into it at once. Its pages go to `pending`, a file beside the shadow;
SQLite reads the next state through a VFS that lays these pages over the shadow, so that old and new
can be read at the same time, and a new state that turns out to be unreadable is simply dropped.

Redo, not undo: a changeset and the note which pages belong to it are one transaction of the
history; only then are the pages copied into the shadow. Where a process dies in between, the note
says what is still to be copied, and copying twice does no harm.

The files of a state directory can come apart: one is deleted, cut short, or put back from a
backup. So `pending` names in its first bytes the pages it holds and those the shadow has taken
last, and the note has to know one of them.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterator
from pathlib import Path

import apsw

from watcher.sqlite.fileformat import HEADER_SIZE, NotADatabase, parse_header

_NOTE = struct.Struct(">QII")
# The number of the pages in the file, and the number of those the shadow has taken last.
_NUMBERS = struct.Struct(">QQ")
# The pages follow on a boundary of their own.
_PENDING_HEADER = 4096


class Pending:
    """The pages in which the next state differs from the shadow.

    Args:
        directory: the state directory.
    """

    def __init__(self, directory: Path) -> None:
        self._file = os.open(directory / "pending", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._slots: dict[int, int] = {}
        head = os.pread(self._file, _NUMBERS.size, 0).ljust(_NUMBERS.size, b"\0")
        self._number, self._taken = _NUMBERS.unpack(head)
        self.page_size = 0
        self.page_count = 0

    def begin(self, page_size: int) -> None:
        """Drops what was pending; called only when it has been copied or is not wanted.

        Args:
            page_size: bytes in a page of the next state.
        """
        # A new number before the first page: a note about the old pages no longer fits.
        self._number = int.from_bytes(os.urandom(8), "big")
        self._write_numbers()
        os.ftruncate(self._file, _PENDING_HEADER)
        self._slots = {}
        self.page_size = page_size
        self.page_count = 0

    def _write_numbers(self) -> None:
        _write(self._file, _NUMBERS.pack(self._number, self._taken), 0)

    def put(self, page: int, image: bytes) -> None:
        """Takes a page of the next state, replacing one that was put before."""
        slot = self._slots.setdefault(page, len(self._slots))
        _write(self._file, image, self._offset(slot))

    def read(self, page: int, size: int, offset: int) -> bytes | None:
        """Reads from a page, None where it is as in the shadow."""
        slot = self._slots.get(page)
        return None if slot is None else os.pread(self._file, size, self._offset(slot) + offset)

    def __len__(self) -> int:
        return len(self._slots)

    def pages(self) -> Iterator[tuple[int, bytes]]:
        """Yields number and image of each page, in the order of their numbers."""
        # The state may have become smaller while it was put together.
        for page in sorted(page for page in self._slots if page <= self.page_count):
            yield page, os.pread(self._file, self.page_size, self._offset(self._slots[page]))

    def _offset(self, slot: int) -> int:
        return _PENDING_HEADER + slot * self.page_size

    def note(self) -> bytes:
        """Describes what is pending, so that it can be found again after a crash."""
        head = _NOTE.pack(self._number, self.page_size, self.page_count)
        return head + array("I", self._slots).tobytes()

    def taken(self) -> None:
        """Remembers that the shadow has taken these pages."""
        self._taken = self._number
        self._write_numbers()

    def is_taken(self, note: bytes) -> bool:
        """Tells whether the pages a note describes are those the shadow has taken last."""
        return bool(_NOTE.unpack_from(note)[0] == self._taken)

    def restore(self, note: bytes) -> bool:
        """Takes up what a note describes; False where the file holds other pages by now."""
        number, self.page_size, self.page_count = _NOTE.unpack_from(note)
        if number != self._number:
            self._slots = {}
            return False
        pages = array("I", note[_NOTE.size :])
        self._slots = {page: slot for slot, page in enumerate(pages)}
        return True

    def sync(self) -> None:
        """Brings the pages to disk, for a clean stop."""
        os.fsync(self._file)

    def close(self) -> None:
        """Closes the file; idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Shadow:
    """The copy itself.

    Args:
        directory: the state directory.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "shadow.db"
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = os.fstat(self._file).st_size
        self.page_size = _page_size(self.read(HEADER_SIZE, 0)) if size else 0
        self.page_count = size // self.page_size if self.page_size else 0

    @property
    def descriptor(self) -> int:
        """For reading; it stays open as long as the shadow."""
        return self._file

    def read(self, size: int, offset: int) -> bytes:
        """Reads from the copy; shorter than asked at its end."""
        return os.pread(self._file, size, offset)

    def begin(self, page_size: int) -> None:
        """Prepares for a first copy; pages of another size are dropped."""
        if page_size != self.page_size:
            os.ftruncate(self._file, 0)
            self.page_size = page_size

    def put(self, page: int, image: bytes) -> None:
        """Writes a page."""
        _write(self._file, image, (page - 1) * self.page_size)

    def resize(self, page_count: int) -> None:
        """Sets the size in pages."""
        os.ftruncate(self._file, page_count * self.page_size)
        self.page_count = page_count

    def recover(self, pending: Pending, note: bytes) -> bool:
        """Does what a crash may have left undone; False where the copy is not what it must be.

        Args:
            pending: the pages of the last changeset, or of a later one that was not recorded.
            note: describes the last changeset's pages.
        """
        fits = pending.restore(note)
        if pending.is_taken(note):
            return self._is_for(pending) and self.page_count == pending.page_count
        if fits and (len(pending) == pending.page_count or self._is_for(pending)):
            self.apply(pending)
            return True
        return False

    def _is_for(self, pending: Pending) -> bool:
        # A database of 0 bytes has pages of no size.
        return self.page_size == pending.page_size and (self.page_count > 0) == (self.page_size > 0)

    def apply(self, pending: Pending) -> None:
        """Makes the pending state the current one; may be repeated after a crash."""
        self.begin(pending.page_size)
        for page, image in pending.pages():
            self.put(page, image)
        self.resize(pending.page_count)
        pending.taken()

    def clear(self) -> None:
        """Drops the copy."""
        os.ftruncate(self._file, 0)
        self.page_size = self.page_count = 0

    def sync(self) -> str:
        """Brings the copy to disk, for a clean stop; returns its `stamp`."""
        os.fsync(self._file)
        return stamp(self.path)

    def close(self) -> None:
        """Closes the file; idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _write(file: int, data: bytes, offset: int) -> None:
    # A volume that is almost full takes a part, and refuses only the rest.
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written


def _page_size(header: bytes) -> int:
    try:
        return parse_header(header).page_size
    except NotADatabase:
        # What a power cut has left; a shadow without pages fits no note, and is made anew.
        return 0


def stamp(path: Path) -> str:
    """Size and time of a copy, by which a later start can tell that nobody else wrote to it.

    Args:
        path: the copy.

    Raises:
        OSError: it is not there.
    """
    found = os.stat(path)
    return f"{found.st_size} {found.st_mtime_ns}"


class OverlayVFS(apsw.VFS):
    """Reads the next state: pending pages, and the shadow for all others.

    Args:
        shadow: the current state.
        pending: the pages that differ.
    """

    def __init__(self, shadow: Shadow, pending: Pending) -> None:
        self.name = f"watcher-overlay-{id(self):x}"
        self._base = apsw.vfs_names()[0]
        super().__init__(self.name, self._base)
        self._shadow = shadow
        self._pending = pending

    def xOpen(  # the name is SQLite's
        self, _name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        """Opens the next state, whatever the name."""
        flags[1] = flags[0]
        return _OverlayFile(self._shadow, self._pending)  # type: ignore[return-value]  # by shape

    def xAccess(self, _path: str, _flags: int) -> bool:  # the name is SQLite's
        """There is no journal and no log beside the next state."""
        return False


class _OverlayFile:
    """What SQLite sees as the file of the next state. Names are SQLite's (sqlite3_io_methods)."""

    # ruff: noqa: N802
    def __init__(self, shadow: Shadow, pending: Pending) -> None:
        self._shadow = shadow
        self._pending = pending
        # A state with pages of another size shares none with the shadow.
        self._shares = shadow.page_size == pending.page_size

    def xRead(self, amount: int, offset: int) -> bytes:
        page, within = divmod(offset, self._pending.page_size or 1)
        data = self._pending.read(page + 1, amount, within)
        if data is None:
            data = self._shadow.read(amount, offset) if self._shares else b""
        return data

    def xFileSize(self) -> int:
        return self._pending.page_size * self._pending.page_count

    def xFileControl(self, _operation: int, _pointer: int) -> bool:
        return False

    def xSectorSize(self) -> int:
        return 0

    def xDeviceCharacteristics(self) -> int:
        return 0

    def xLock(self, _level: int) -> None:
        return None

    def xUnlock(self, _level: int) -> None:
        return None

    def xCheckReservedLock(self) -> bool:
        return False

    def xClose(self) -> None:
        return None
