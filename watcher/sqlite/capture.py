"""Finds the pages in which a committed state of the watched file differs from the shadow.

A capture is valid only if all its bytes belong to one committed state. How that is known without
taking a lock is argued in `docs/design.md`, "When is a look valid?"; in short:

* Without a log the main file is written only under the PENDING lock, after a journal that could
  undo it. A look counts if no such lock and no such journal was there at either end, the change
  counter is the same, and no write to the file was reported in between.
* With a log the state is the main file overlaid with the log up to the last commit. While one
  generation of the log lasts, whatever a checkpoint copies into the main file is in the log too,
  so a look that took longer than a commit is completed with the frames that have come.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from watcher.errors import DatabaseUnavailable
from watcher.sqlite.fileformat import (
    HEADER_SIZE,
    WAL_INDEX_HEADER_SIZE,
    DatabaseHeader,
    NotADatabase,
    is_live_journal,
    normalise_first_page,
    parse_header,
    parse_wal_index,
)
from watcher.sqlite.files import DatabaseFiles, Identity, RawFile
from watcher.sqlite.log import Log, LogChanged, LogEnd
from watcher.sqlite.shadow import Pending, Shadow

_BLOCK_BYTES = 256 * 1024
# File times are kept in ticks of up to 10 ms: a file written less than two of them ago can be
# written again without its times showing it.
_TICK_NS = 20_000_000
# A wal-index that fits no log for so long is a leftover, or no one's who is alive.
_STALE_INDEX_SECONDS = 1.0


class NotQuiet(Exception):
    """The file was being written while it was read; look again soon.

    Args:
        reason: `writing`, `journal` (it may be a hot one), `changed`, `log` or `fresh`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Mark:
    """Where SQLite's own count of commits stands; comparable between marks of one kind and file.

    Args:
        kind: `rollback` or `wal`.
        opening: which opening of the file the count is kept in. An inode would not do: where a
            file was deleted, the next one often gets the same.
        count: change counter of the main file, or iChange of the wal-index.
    """

    kind: str
    opening: int
    count: int

    def commits_since(self, earlier: Mark | None) -> int | None:
        """How many commits SQLite counted since an earlier mark, None where it does not tell."""
        if earlier is None or (earlier.kind, earlier.opening) != (self.kind, self.opening):
            return None
        difference = (self.count - earlier.count) & 0xFFFFFFFF
        return difference if 0 < difference < 1 << 31 else None


@dataclass(frozen=True, slots=True)
class Captured:
    """A committed state whose differing pages have been put.

    Args:
        page_size: bytes in a page.
        page_count: size in pages.
        mark: where the count of commits stands, None where there is none.
    """

    page_size: int
    page_count: int
    mark: Mark | None


class Capture(Protocol):
    """A way to look at the watched database."""

    def changed(self) -> bool:
        """Tells cheaply whether it may differ from the last state captured."""

    def capture(self, shadow: Shadow, pending: Pending) -> Captured:
        """Puts the pages in which the current state differs from the shadow.

        Raises:
            NotQuiet: it was being written; nothing of what was put may be used.
            DatabaseUnavailable: it cannot be read as it stands.
        """

    def close(self) -> None:
        """Lets go of the file; idempotent."""


class RawCapture:
    """Looks through raw descriptors; takes no lock and opens no connection.

    Args:
        files: the descriptors.
        touched: names of files written since the last call, None where that cannot be told.
    """

    def __init__(self, files: DatabaseFiles, touched: Callable[[], frozenset[str] | None]) -> None:
        self._files = files
        self._touched = touched
        self._log = Log(files.log)
        self._seen: tuple[object, ...] | None = None
        self._index_misfits_since: float | None = None
        # The main file as it was when it was found locked.
        self._locked: Identity | None = None

    def changed(self) -> bool:
        """Compares file times and the committed end of the log with those of the last state."""
        return self._seen is None or self._stamp() != self._seen

    def _stamp(self) -> tuple[object, ...]:
        log, index = self._files.log.refresh(), self._files.index.refresh()
        main = self._files.main.refresh()
        if index is not None and log is not None and self._files.index_is_in_use():
            return main, log[:2], index[:2], self._files.index.read(48, 0)
        # Two commits can fall into one tick of the file times; the counter tells them apart.
        return main, log, self._files.main.read(4, 24)

    def capture(self, shadow: Shadow, pending: Pending) -> Captured:
        """See `Capture`."""
        stamp = self._stamp()
        main = self._main()
        if main.size == 0:
            captured = self._empty(shadow, pending)
        else:
            captured = self._captured(main, shadow, pending)
        # A log without a wal-index has no counter: what was just written is looked at again.
        self._seen = None if _is_fresh(stamp[1]) else stamp
        return captured

    def _main(self) -> Identity:
        main = self._files.main.refresh()
        if main is None:
            raise DatabaseUnavailable(str(self._files.path), "missing", "there is no such file")
        return main

    def _empty(self, shadow: Shadow, pending: Pending) -> Captured:
        # A database that becomes a file of 0 bytes has been overwritten, not emptied: SQLite
        # itself never makes it shorter than a page.
        if shadow.page_count:
            raise DatabaseUnavailable(str(self._files.path), "missing", "the file has become empty")
        pending.begin(0)
        return Captured(0, 0, Mark("rollback", self._files.main.opening, 0))

    def _captured(self, main: Identity, shadow: Shadow, pending: Pending) -> Captured:
        header = self._header()
        if header.wal and self._files.log.refresh() is not None:
            return self._capture_with_log(header, main, shadow, pending)
        return self._capture_without_log(header, main, shadow, pending)

    def _header(self) -> DatabaseHeader:
        try:
            return parse_header(self._files.main.read(HEADER_SIZE, 0))
        except NotADatabase:
            detail = "is not a SQLite database, or it is encrypted"
            raise DatabaseUnavailable(str(self._files.path), "not_a_database", detail) from None

    def _capture_without_log(
        self, header: DatabaseHeader, main: Identity, shadow: Shadow, pending: Pending
    ) -> Captured:
        can_tell = self._touched() is not None
        if not can_tell and _is_fresh(main):
            raise NotQuiet("fresh")
        if self._files.writer_is_writing():
            raise NotQuiet(self._what_is_written(main))
        self._require_no_hot_journal()
        page_count = header.page_count or -(-main.size // header.page_size)
        pending.begin(header.page_size)
        pending.page_count = page_count
        compare_file(self._files.main, page_count, shadow, pending, lambda _page: None)
        self._require_untouched(header, main, can_tell=can_tell)
        self._locked = None
        counter = header.change_counter
        return Captured(
            header.page_size,
            page_count,
            Mark("rollback", self._files.main.opening, counter),
        )

    def _what_is_written(self, main: Identity) -> str:
        # A lock that is held while the file changes is many short ones.
        before, self._locked = self._locked, main
        return "writing" if before is None or before == main else "changed"

    def _require_no_hot_journal(self) -> None:
        self._files.journal.refresh()
        if is_live_journal(self._files.journal.read(8, 0)) and not self._files.writer_is_at_work():
            raise NotQuiet("journal")

    def _require_untouched(self, header: DatabaseHeader, main: Identity, *, can_tell: bool) -> None:
        if self._files.writer_is_writing():
            raise NotQuiet("writing")
        self._require_no_hot_journal()
        touched = self._touched()
        if can_tell and (touched is None or self._files.path.name in touched):
            raise NotQuiet("changed")
        if self._files.main.refresh() != main:
            raise NotQuiet("changed")
        if self._header() != header:
            raise NotQuiet("changed")
        if header.wal and self._files.log.refresh() is not None:
            raise NotQuiet("log")

    def _capture_with_log(
        self, header: DatabaseHeader, main: Identity, shadow: Shadow, pending: Pending
    ) -> Captured:
        try:
            first, _ = self._log_end()
            frames = self._log.pages(1, first, header.page_size)
            pending.begin(header.page_size)
            pending.page_count = first.page_count or self._main_page_count(header, main)
            compare_file(
                self._files.main,
                pending.page_count,
                shadow,
                pending,
                lambda page: (
                    self._log.page(frames[page], header.page_size) if page in frames else None
                ),
            )
            last, mark = self._complete(first, header, pending)
        except LogChanged:
            raise NotQuiet("log") from None
        self._require_same_generation(last)
        return Captured(header.page_size, pending.page_count, mark)

    def _main_page_count(self, header: DatabaseHeader, main: Identity) -> int:
        return header.page_count or -(-main.size // header.page_size)

    def _complete(
        self, first: LogEnd, header: DatabaseHeader, pending: Pending
    ) -> tuple[LogEnd, Mark | None]:
        """Adds the frames committed since `first`, so that the state is that of one commit."""
        last, mark = self._log_end()
        if last.salts != first.salts:
            raise LogChanged
        if last.frame == first.frame:
            # Nothing was committed, but a mode switch may have gone past: the header tells.
            if self._header() != header:
                raise LogChanged
            return last, mark
        newer = self._log.pages(first.frame + 1, last, header.page_size)
        # Pages beyond the old end that no frame holds are free; what they contain is nobody's.
        for page in range(pending.page_count + 1, last.page_count + 1):
            if page not in newer:
                _put(pending, page, bytes(header.page_size), last.page_count)
        pending.page_count = last.page_count
        for page, frame in newer.items():
            if page <= last.page_count:
                _put(pending, page, self._log.page(frame, header.page_size), last.page_count)
        return last, mark

    def _require_same_generation(self, last: LogEnd) -> None:
        end, _ = self._log_end()
        if end.salts != last.salts or end.frame < last.frame:
            raise NotQuiet("log")

    def _log_end(self) -> tuple[LogEnd, Mark | None]:
        log, index = self._files.log.refresh(), self._files.index.refresh()
        if log is None:
            raise NotQuiet("log")
        if index is not None and self._files.index_is_in_use():
            end = self._indexed_end()
            if end is not None:
                return end
        return self._log.verified_end(), None

    def _indexed_end(self) -> tuple[LogEnd, Mark] | None:
        found = parse_wal_index(self._files.index.read(WAL_INDEX_HEADER_SIZE, 0))
        if found is not None and found.max_frame == 0:
            self._index_misfits_since = None
            mark = Mark("wal", self._files.index.opening, found.change)
            return LogEnd(found.salts, 0, 0), mark
        if found is not None:
            frame = self._log.frame_header(found.max_frame, found.page_size)
            if frame is not None and (frame.salts, frame.checksum) == (
                found.salts,
                found.frame_checksum,
            ):
                self._index_misfits_since = None
                mark = Mark("wal", self._files.index.opening, found.change)
                return LogEnd(found.salts, found.max_frame, found.page_count), mark
        self._require_long_misfit()
        return None

    def _require_long_misfit(self) -> None:
        now = time.monotonic()
        self._index_misfits_since = self._index_misfits_since or now
        if now - self._index_misfits_since < _STALE_INDEX_SECONDS:
            raise NotQuiet("log")

    def close(self) -> None:
        """See `Capture`."""
        self._files.close()


def _is_fresh(found: object) -> bool:
    return isinstance(found, Identity) and time.time_ns() - found.modified < _TICK_NS


def _put(pending: Pending, page: int, image: bytes, page_count: int) -> None:
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
