"""Looks at the watched database through raw descriptors: no lock, no connection."""

from __future__ import annotations

from collections.abc import Callable

from watcher.errors import DatabaseUnavailable
from watcher.sqlite.captured import Captured, Mark
from watcher.sqlite.files import DatabaseFiles, Identity, is_fresh, read_header
from watcher.sqlite.log_capture import LogCapture
from watcher.sqlite.rollback_capture import RollbackCapture
from watcher.sqlite.shadow import Pending, Shadow


class RawCapture:
    """See `watcher.sqlite.captured.Capture`.

    Args:
        files: the descriptors.
        touched: names of files written since the last call, None where that cannot be told.
    """

    def __init__(self, files: DatabaseFiles, touched: Callable[[], frozenset[str] | None]) -> None:
        self._files = files
        self._rollback = RollbackCapture(files, touched)
        self._log = LogCapture(files)
        self._seen: tuple[object, ...] | None = None

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

    def follow(self, shadow: Shadow, pending: Pending) -> Captured | None:
        """See `Capture`."""
        stamp = self._stamp()
        if self._log.is_followed:
            captured = self._log.follow(pending)
        else:
            captured = self._rollback.follow(shadow, pending)
        if captured is None:
            self._seen = stamp
        return captured

    def capture(self, shadow: Shadow, pending: Pending) -> Captured:
        """See `Capture`."""
        stamp = self._stamp()
        main = self._main()
        if main.size == 0:
            captured = self._empty(shadow, pending)
        else:
            captured = self._captured(main, shadow, pending)
        # A log without a wal-index has no counter: what was just written is looked at again.
        self._seen = None if is_fresh(stamp[1]) else stamp
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
        header = read_header(self._files)
        if header.wal and self._files.log.refresh() is not None:
            return self._log.capture(header, main, shadow, pending)
        return self._rollback.capture(header, main, shadow, pending)

    def settle(self, captured: Captured) -> None:
        """See `Capture`."""
        self._log.settle(captured)
        self._rollback.settle(captured)

    def resume(self, place: bytes) -> None:
        """See `Capture`."""
        self._log.resume(place)

    def close(self) -> None:
        """See `Capture`."""
        self._files.close()
