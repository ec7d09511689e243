"""The shadow: a private copy of the watched database as of the last changeset.

The next state is not written into it at once. Its pages go to `pending`, a file beside the shadow;
SQLite reads the states through a VFS that lays these pages over the shadow, so that old and new can
be read at the same time, and a new state that turns out to be unreadable is simply dropped.

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
from collections.abc import Iterator
from pathlib import Path

from watcher.sqlite.fileformat import HEADER_SIZE, NotADatabase, parse_header

# Number, slots, bytes in a page, pages.
_NOTE = struct.Struct(">QQII")
# The number of a page, before its image.
_PAGE = struct.Struct(">I")
# So many bytes of a batch are also kept in memory.
_HELD_BYTES = 8 * 1024 * 1024
# A look at a page comes with others at the same one, for some pages at a time.
_MOST_SEEN = 64
# The number of the pages in the file, and the number of those the shadow has taken last.
_NUMBERS = struct.Struct(">QQ")
# The pages follow on a boundary of their own.
_PENDING_HEADER = 4096


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

    def read_into(self, buffer: bytearray, offset: int) -> int:
        """Fills a buffer from the copy; returns how many bytes there were."""
        return os.preadv(self._file, [buffer], offset)

    def begin(self, page_size: int) -> None:
        """Prepares for a first copy; pages of another size are dropped."""
        if page_size != self.page_size:
            os.ftruncate(self._file, 0)
            self.page_size = page_size

    def write(self, data: bytes, offset: int) -> None:
        """Writes a part of a first copy, which need not be whole pages."""
        _write(self._file, data, offset)

    def adopt(self, page_size: int, page_count: int) -> None:
        """Takes what has been written as a copy of so many pages, the last one filled with zeros.

        Args:
            page_size: bytes in a page.
            page_count: size in pages.
        """
        self.page_size = page_size
        self.resize(page_count)

    def put(self, page: int, image: bytes) -> None:
        """Writes a page."""
        _write(self._file, image, (page - 1) * self.page_size)

    def resize(self, page_count: int) -> None:
        """Sets the size in pages."""
        if os.fstat(self._file).st_size != page_count * self.page_size:
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
            is_that = self._is_for(pending) and self.page_count == pending.page_count
            pending.drop()
            return is_that
        if fits and (pending.is_whole or self._is_for(pending)):
            self.apply(pending)
            return True
        pending.drop()
        return False

    def _is_for(self, pending: Pending) -> bool:
        # A database of 0 bytes has pages of no size.
        return self.page_size == pending.page_size and (self.page_count > 0) == (self.page_size > 0)

    def apply(self, pending: Pending) -> None:
        """Makes the settled state the current one; may be repeated after a crash."""
        self.begin(pending.page_size_before)
        for page, image in pending.settled_pages():
            self.put(page, image)
        self.resize(pending.page_count_before)
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


class Pending:
    """The pages in which the states after the shadow differ from it.

    A batch of commits is put one after the other: the pages of a commit that has been dealt with
    are *settled* and belong to the state before the next one.

    Args:
        directory: the state directory.
        shadow: what the pages are laid over.
    """

    def __init__(self, directory: Path, shadow: Shadow) -> None:
        self._shadow = shadow
        self._file = os.open(directory / "pending", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        head = os.pread(self._file, _NUMBERS.size, 0).ljust(_NUMBERS.size, b"\0")
        self._number, self._taken = _NUMBERS.unpack(head)
        # Page to slot in the file: of the settled commits, and of the one at hand.
        self._settled: dict[int, int] = {}
        self._fresh: dict[int, int] = {}
        self._settled_slots = 0
        self._next_slot = 0
        # Pages of the state before that were read for the commit at hand.
        self._seen: dict[int, bytes] = {}
        # The images of a small batch, which need not be read back.
        self._held: dict[int, bytes] = {}
        self._page_size_before: int | None = None
        self._page_count_before = 0
        self.page_size = shadow.page_size
        self.page_count = shadow.page_count
        # Changes with everything that is put: whoever has cached a state must look again.
        self.generation = 1

    @property
    def page_size_before(self) -> int:
        """Bytes in a page of the state before the commit at hand."""
        before = self._page_size_before
        return self._shadow.page_size if before is None else before

    @property
    def page_count_before(self) -> int:
        """Size of the state before the commit at hand, in pages."""
        is_shadow = self._page_size_before is None
        return self._shadow.page_count if is_shadow else self._page_count_before

    def begin(self, page_size: int) -> None:
        """Begins the next commit; drops what was put for one that has not been settled.

        Args:
            page_size: bytes in a page of the next state.
        """
        self.generation += 1
        self._seen.clear()
        if self._page_size_before is None:
            # A new number before the first page: a note about the old pages no longer fits.
            self._number = int.from_bytes(os.urandom(8), "big")
            self._write_numbers()
            if self._next_slot * self.page_size > _HELD_BYTES:
                # Room that a large commit took; a small one is overwritten by the next.
                os.ftruncate(self._file, _PENDING_HEADER)
            self._held.clear()
        self._next_slot = self._settled_slots
        self._fresh = {}
        self.page_size = page_size
        self.page_count = 0

    def _write_numbers(self) -> None:
        _write(self._file, _NUMBERS.pack(self._number, self._taken), 0)

    def put(self, page: int, image: bytes) -> None:
        """Takes a page of the next state, replacing one that was put before."""
        slot = self._fresh.get(page)
        if slot is None:
            slot = self._fresh[page] = self._next_slot
            self._next_slot += 1
        if slot < _HELD_BYTES // len(image):
            self._held[slot] = image
        _write(self._file, _PAGE.pack(page) + image, self._offset(slot))

    def _offset(self, slot: int) -> int:
        return _PENDING_HEADER + slot * (_PAGE.size + self.page_size)

    def _image(self, slot: int) -> bytes:
        held = self._held.get(slot)
        if held is None:
            held = os.pread(self._file, self.page_size, self._offset(slot) + _PAGE.size)
        return held

    def read_before(self, page: int) -> bytes:
        """Reads a page of the state before the commit at hand; empty where there was none."""
        image = self._seen.get(page)
        if image is None:
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            image = self._seen[page] = self._find_before(page)
        return image

    def _find_before(self, page: int) -> bytes:
        if page > self.page_count_before:
            return b""
        slot = self._settled.get(page)
        if slot is not None:
            return self._image(slot)
        size = self._shadow.page_size
        return self._shadow.read(size, (page - 1) * size)

    def read_after(self, page: int) -> bytes:
        """Reads a page of the state after the commit at hand; empty where there is none."""
        slot = self._fresh.get(page)
        if slot is not None:
            return self._image(slot)
        if page > self.page_count or self.page_size != self.page_size_before:
            return b""
        return self.read_before(page)

    def __len__(self) -> int:
        return len(self._fresh)

    def fresh_pages(self) -> list[int]:
        """Numbers of the pages put for the commit at hand, as far as they are within its size."""
        count = self.page_count
        return [page for page in self._fresh if page <= count]

    def settle(self) -> None:
        """Makes the commit at hand the state before the next one."""
        self._settled.update(self._fresh)
        self._seen.clear()
        self._settled_slots = self._next_slot
        self._fresh = {}
        self._page_size_before, self._page_count_before = self.page_size, self.page_count
        self.generation += 1

    def settled_pages(self) -> Iterator[tuple[int, bytes]]:
        """Yields number and image of each settled page, in the order of their numbers."""
        # The state may have become smaller since they were put.
        for page in sorted(page for page in self._settled if page <= self._page_count_before):
            yield page, self._image(self._settled[page])

    @property
    def is_whole(self) -> bool:
        """Whether the settled pages are all there are, so that nothing of the shadow counts."""
        count = self._page_count_before
        return sum(page <= count for page in self._settled) == count

    @property
    def settled_bytes(self) -> int:
        """Bytes of the images settled since the shadow last moved on."""
        return self._settled_slots * self.page_size

    def note(self) -> bytes:
        """Describes the settled commits, so that they can be found again after a crash."""
        return _NOTE.pack(
            self._number, self._settled_slots, self.page_size_before, self.page_count_before
        )

    def taken(self) -> None:
        """Remembers that the shadow has taken the settled pages; they are not kept."""
        self._taken = self._number
        self._write_numbers()
        self.drop()

    def drop(self) -> None:
        """Forgets all pages, also those settled: the state is that of the shadow again."""
        self._settled, self._fresh = {}, {}
        self._settled_slots = 0
        self._page_size_before = None
        self.page_size, self.page_count = self._shadow.page_size, self._shadow.page_count
        self._seen.clear()
        self.generation += 1

    def is_taken(self, note: bytes) -> bool:
        """Tells whether the pages a note describes are those the shadow has taken last."""
        return bool(_NOTE.unpack(note)[0] == self._taken)

    def restore(self, note: bytes) -> bool:
        """Takes up what a note describes; False where the file holds other pages by now."""
        number, slots, self.page_size, self.page_count = _NOTE.unpack(note)
        self._page_size_before, self._page_count_before = self.page_size, self.page_count
        self._fresh, self._settled = {}, {}
        self._settled_slots = self._next_slot = slots
        if number != self._number:
            return False
        for slot in range(slots):
            head = os.pread(self._file, _PAGE.size, self._offset(slot))
            if len(head) < _PAGE.size:
                return False
            self._settled[_PAGE.unpack(head)[0]] = slot
        return True

    def forget(self) -> None:
        """Makes that no note fits any more, neither what is pending nor what was taken last.

        The shadow is about to be filled with something no note speaks of. One that is killed in
        the middle of that must not find a note by which a copy of the right size passes for whole.
        """
        self._taken = 0
        self.drop()
        self.begin(0)

    def sync(self) -> None:
        """Brings the pages to disk, for a clean stop."""
        os.fsync(self._file)

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
