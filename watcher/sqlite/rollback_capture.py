"""Captures a database that has no log: rollback-journal modes, and a WAL database that was closed.

The main file is written only under the PENDING lock, after a journal that could undo it. A look
counts if no such lock and no such journal was there at either end, the change counter is the same,
and no write to the file was reported in between; see `docs/design.md`, "When is a look valid?".
"""

from __future__ import annotations

from collections.abc import Callable

from watcher.sqlite.captured import Captured, Discontinuity, Mark, NotQuiet
from watcher.sqlite.fileformat import DatabaseHeader, is_live_journal
from watcher.sqlite.files import DatabaseFiles, Identity, is_fresh, read_header
from watcher.sqlite.shadow import Pending, Shadow
from watcher.sqlite.whole_file import compare_file


class RollbackCapture:
    """Looks at a database without a log.

    Args:
        files: the descriptors.
        touched: names of files written since the last call, None where that cannot be told.
    """

    def __init__(self, files: DatabaseFiles, touched: Callable[[], frozenset[str] | None]) -> None:
        self._files = files
        self._touched = touched
        # The main file as it was when it was found locked.
        self._locked: Identity | None = None

    def follow(self, shadow: Shadow, pending: Pending) -> Captured | None:
        """See `Capture`."""
        raise Discontinuity("no journal was caught")

    def settle(self, captured: Captured) -> None:
        """See `Capture`."""

    def capture(
        self, header: DatabaseHeader, main: Identity, shadow: Shadow, pending: Pending
    ) -> Captured:
        can_tell = self._touched() is not None
        if not can_tell and is_fresh(main):
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
        if read_header(self._files) != header:
            raise NotQuiet("changed")
        if header.wal and self._files.log.refresh() is not None:
            raise NotQuiet("log")
