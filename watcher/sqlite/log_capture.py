"""Captures a database that has a write-ahead log.

The state is the main file overlaid with the log up to the last commit. While one generation of the
log lasts, whatever a checkpoint copies into the main file is in the log too, so a look that took
longer than a commit is completed with the frames that have come; see `docs/design.md`, "When is a
look valid?".
"""

from __future__ import annotations

import time

from watcher.sqlite.captured import Captured, Discontinuity, Mark, NotQuiet
from watcher.sqlite.fileformat import WAL_INDEX_HEADER_SIZE, DatabaseHeader, parse_wal_index
from watcher.sqlite.files import DatabaseFiles, Identity, read_header
from watcher.sqlite.log import Log, LogChanged, LogEnd
from watcher.sqlite.shadow import Pending, Shadow
from watcher.sqlite.whole_file import compare_file, put_page

# A wal-index that fits no log for so long is a leftover, or no one's who is alive.
_STALE_INDEX_SECONDS = 1.0


class LogCapture:
    """Looks at a database with a log.

    Args:
        files: the descriptors.
    """

    def __init__(self, files: DatabaseFiles) -> None:
        self._files = files
        self._log = Log(files.log)
        self._index_misfits_since: float | None = None

    @property
    def is_followed(self) -> bool:
        """Whether the state settled last is one of this log, so that commits can be followed."""
        return False

    def follow(self, pending: Pending) -> Captured | None:
        """See `Capture`."""
        raise Discontinuity("the log is not followed")

    def settle(self, captured: Captured) -> None:
        """See `Capture`."""

    def resume(self, place: bytes) -> None:
        """See `Capture`."""

    def capture(
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
            if read_header(self._files) != header:
                raise LogChanged
            return last, mark
        newer = self._log.pages(first.frame + 1, last, header.page_size)
        # Pages beyond the old end that no frame holds are free; what they contain is nobody's.
        for page in range(pending.page_count + 1, last.page_count + 1):
            if page not in newer:
                put_page(pending, page, bytes(header.page_size), last.page_count)
        pending.page_count = last.page_count
        for page, frame in newer.items():
            if page <= last.page_count:
                put_page(pending, page, self._log.page(frame, header.page_size), last.page_count)
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
