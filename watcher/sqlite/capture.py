"""Looks at the watched database through raw descriptors: no lock, no connection."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from watcher.errors import DatabaseUnavailable
from watcher.sqlite.captured import Captured, Discontinuity, Mark, NotQuiet
from watcher.sqlite.caught_journals import CaughtJournals
from watcher.sqlite.files import DatabaseFiles, Identity, is_fresh, read_header
from watcher.sqlite.first_copy import FirstCopy
from watcher.sqlite.hold import Hold, HoldPolicy
from watcher.sqlite.log_capture import LogCapture
from watcher.sqlite.rollback_capture import RollbackCapture
from watcher.sqlite.settled_file import SettledFile
from watcher.sqlite.shadow import Pending, Shadow
from watcher.sqlite.taking import Taking

# Main file and log as they are, and where SQLite's count of commits stands.
_Stamp = tuple[Identity | None, object, *tuple[object, ...]]

# Where a log was restarted too fast to be read it is held for the next attempt, as if the reader
# were so many frames behind.
_OUTRUN = HoldPolicy.FAR_BEHIND + 1


class RawCapture:
    """See `watcher.sqlite.captured.Capture`.

    Args:
        files: the descriptors.
        touched: names of files written since the last call, None where that cannot be told.
        hold: keeps the log while the reader is behind; None to leave it to the writers.
        journals: catches rollback journals; told of file events by whoever has made it.
        take: takes the file events there are; called between the parts of a step, because a journal
            can be gone when the step is over.
    """

    def __init__(
        self,
        files: DatabaseFiles,
        touched: Callable[[], frozenset[str] | None],
        hold: Hold | None = None,
        journals: CaughtJournals | None = None,
        take: Callable[[], None] = lambda: None,
    ) -> None:
        self._files = files
        self._take = take
        self._taking = Taking(take)
        self._hold = hold
        self._journals = journals
        self._rollback = RollbackCapture(files, touched, journals)
        self._log = LogCapture(files)
        # How things stood at the last state, and at the look that is under way.
        self._seen: _Stamp | None = None
        self._looked: _Stamp | None = None

    def changed(self) -> bool:
        """Compares file times and the committed end of the log with those of the last state."""
        self._take_journals()
        if not self._log.is_look_due:
            # There are commits of the last look to be followed; its stamp stays theirs.
            return True
        self._looked = self._stamp()
        if self._looked == self._seen:
            self._hold_log(0)
            if self._journals is not None:
                self._journals.tidy()
            return False
        return True

    def _take_journals(self) -> None:
        # Beside a log that is followed there are none.
        if not self._log.is_followed:
            self._take()

    def _stamp(self) -> _Stamp:
        log, index = self._files.log.refresh(), self._files.index.refresh()
        main = self._files.main.refresh()
        if index is not None and log is not None and self._files.index_is_in_use():
            return main, log[:2], index[:2], self._files.index.read(48, 0)
        # Two commits can fall into one tick of the file times; the counter tells them apart.
        return main, log, self._files.main.read(4, 24)

    def follow(self, shadow: Shadow, pending: Pending) -> Captured | None:
        """See `Capture`."""
        if self._log.is_followed:
            return self._follow_log(pending)
        closed = self._rollback.closed
        if closed is not None and self._files.log.refresh() is not None:
            return self._follow_new_log(closed, pending)
        self._hold_log(0)
        stamp = self._stamp()
        captured = self._rollback.follow(shadow, pending)
        if captured is None:
            self._see(stamp)
            self._see_again_after_a_writer()
        return captured

    def _follow_new_log(self, closed: SettledFile, pending: Pending) -> Captured | None:
        """Follows a log that was made since the last state, from its first frame on."""
        stamp = self._looked or self._stamp()
        place = self._log.find_beginning(closed)
        # A checkpoint writes the main file, and without one no log begins anew: so with the main
        # file as it was, these are all the commits since. Asked only now that the end is known.
        if not self._rollback.is_unwritten():
            raise Discontinuity("the file was written beside a new log")
        if place is None:
            self._see(stamp)
            return None
        self._log.resume(place)
        return self._follow_log(pending)

    def _follow_log(self, pending: Pending) -> Captured | None:
        # One look may find many commits, and the stamp is that of the look.
        stamp = self._looked or self._stamp()
        self._looked = None
        try:
            captured = self._log.follow(self._required(stamp[0]), pending)
        except (Discontinuity, NotQuiet):
            self._hold_log(_OUTRUN)
            raise
        self._hold_log(self._backlog())
        if captured is None:
            self._see(stamp)
        else:
            self._looked = stamp
        return captured

    def _see(self, stamp: _Stamp) -> None:
        # A log without a wal-index has no counter: what was just written is looked at again.
        self._seen = None if is_fresh(stamp[1]) else stamp

    def _see_again_after_a_writer(self) -> None:
        # A transaction that had written all of its pages by then shows only by its end.
        if self._rollback.is_beside_a_writer:
            self._seen = None

    def _backlog(self) -> int:
        known = self._log.backlog
        if known <= HoldPolicy.CAUGHT_UP and self._hold is not None and self._hold.is_held:
            # Let go, a fast writer restarts the log at once: what has come meanwhile counts too.
            return self._log.count_backlog()
        return known

    def _hold_log(self, backlog: int) -> None:
        if self._hold is not None:
            self._hold.follow(backlog)

    def capture(self, shadow: Shadow, pending: Pending) -> Captured:
        """See `Capture`."""
        stamp = self._stamp()
        main = self._required(self._files.main.refresh())
        if main.size == 0:
            captured = self._empty(shadow, pending)
        else:
            captured = self._captured(main, shadow, pending)
        self._see(stamp)
        self._see_again_after_a_writer()
        self._looked = None
        return captured

    def _required(self, main: Identity | None) -> Identity:
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
            try:
                return self._log.capture(header, main, shadow, pending)
            except NotQuiet:
                self._hold_log(_OUTRUN)
                raise
        return self._rollback.capture(header, main, shadow, pending)

    def meanwhile(self, pages: int) -> AbstractContextManager[None]:
        """See `Capture`: the journals of commits that are made meanwhile are caught."""
        return nullcontext() if self._log.is_followed else self._taking.meanwhile(pages)

    def settle(self, captured: Captured | None) -> None:
        """See `Capture`."""
        self._take_journals()
        if captured is None:
            self._log.close()
            self._rollback.forget()
        else:
            self._log.settle(captured)
            self._rollback.settle(captured)

    def is_being_written(self) -> bool:
        """See `Capture`: of the wal-index, which ends a commit, there are no events."""
        return self._files.log_is_being_written()

    def first_copy(self, shadow: Shadow) -> FirstCopy | None:
        """See `Capture`."""
        return FirstCopy(self._files.main, shadow)

    def resume(self, place: bytes) -> None:
        """See `Capture`."""
        self._log.resume(place)

    def close(self) -> None:
        """See `Capture`."""
        if self._hold is not None:
            self._hold.close()
        self._taking.close()
        self._log.close()
        self._rollback.close()
        self._files.close()
