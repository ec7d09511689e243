"""Catches rollback journals while they exist, and proves which commits they stand for.

A journal that was opened can be read when it is deleted. Which transactions there were, and that
none was missed, is proven by the order of file events: the database is written only while there is
a journal (only its end is cut off just after that). So if each journal beside which the database
was written has been caught, ended by its deletion, and they are as many as the change counter has
grown, then each of them is one commit.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path

from watcher.sqlite.captured import Discontinuity
from watcher.sqlite.journal import parse_journal, parse_zeroed_journal
from watcher.sqlite.journal_file import DoneJournals, JournalFile, Transaction
from watcher.wakeup import Happening

# A deleted file takes up disk space as long as it is open here.
_MOST_FILES = 256
_MOST_BYTES = 256 * 1024 * 1024


class CaughtJournals:
    """Takes the events of a database and its journal, in their order.

    Args:
        database: the database file.
    """

    def __init__(self, database: Path) -> None:
        self._main = database.name
        self._log = database.name + "-wal"
        self._path = database.with_name(database.name + "-journal")
        # Deleted ones beside which the database was written, oldest first.
        self._ended: deque[JournalFile] = deque()
        self._ended_bytes = 0
        self._current: JournalFile | None = None
        self._last: JournalFile | None = None
        self._done = DoneJournals()
        # Why nothing can be proven until the next state is settled.
        self._broken: str | None = "no state was settled"
        # How many events have said that the database was written.
        self.writes = 0
        # How often something was not told.
        self.breaks = 0
        # How many events there were, and how often a log was made.
        self.events = 0
        self.logs = 0

    def on_event(self, name: str, happening: Happening) -> None:
        """Takes an event; a journal is opened at once, for it may soon be gone.

        Args:
            name: the file.
            happening: what happened to it.
        """
        self.events += 1
        if happening == "lost":
            self.lose()
        elif name == self._log:
            self.logs += happening == "made"
        elif name == self._main:
            self._main_event(happening)
        elif name == self._path.name:
            self._journal_event(happening)

    def lose(self) -> None:
        """Takes it that events may have been lost."""
        self.writes += 1
        self._break("events were lost")
        self._drop_current()

    def _main_event(self, happening: Happening) -> None:
        self.writes += 1
        current = self._current
        if happening != "written":
            self._break("the file was replaced")
        elif current is None and self._last is not None:
            # A commit that makes the file smaller cuts it when the journal is deleted.
            self._last.is_cut = True
        elif current is None or not current.has_begun:
            self._break("it was written without a journal")
        elif not current.is_flushing:
            current.flushes += 1
            current.is_flushing = True

    def _journal_event(self, happening: Happening) -> None:
        if happening == "removed":
            self._removed()
            return
        current = self._current
        if happening == "made" or current is None:
            current = self._made()
        elif not current.is_open:
            current.open(self._path)
        current.has_begun = True
        current.is_flushing = False

    def _made(self) -> JournalFile:
        made = JournalFile()
        made.open(self._path)
        current, self._last = self._current, None
        if current is not None and current.is_same(made):
            # It was there at the start, and only now comes the event of its making.
            made.close()
            return current
        if current is not None:
            self._break("a journal was replaced")
            self._drop_current()
        if any(earlier.is_same(made) for earlier in self._ended):
            # What was opened then was this file already.
            self._break("a journal was missed")
        self._current = made
        return made

    def _removed(self) -> None:
        current, self._current = self._current, None
        if current is None:
            return
        if not current.flushes:
            # Nothing has come of it.
            self._done.add(current)
            return
        if not current.is_open:
            self._break("a journal was missed")
            return
        self._last = current
        self._ended.append(current)
        self._ended_bytes += current.size
        if len(self._ended) > _MOST_FILES or self._ended_bytes > _MOST_BYTES:
            self._break("too many journals")

    def _break(self, why: str) -> None:
        self._broken = self._broken or why
        self.breaks += 1
        self._forget(len(self._ended))
        self._last = None

    def _forget(self, count: int) -> None:
        for _ in range(count):
            file = self._ended.popleft()
            self._ended_bytes = self._ended_bytes - file.size if self._ended else 0
            self._done.add(file)
            if file is self._last:
                self._last = None

    def under_way(self) -> JournalFile | None:
        """The journal of a transaction that may be writing the database.

        None where there is none, or where it may be the second one in the same file.
        """
        current = self._current
        return None if current is None or current.was_rewritten else current

    @property
    def persists(self) -> bool:
        """Whether there is a journal that seems to have ended without being deleted."""
        current = self._current
        return current is not None and current.was_rewritten

    @property
    def ended(self) -> int:
        """How many journals were deleted beside which the database was written."""
        return len(self._ended)

    def is_sole_writer(self, file: JournalFile, ended: int) -> bool:
        """Tells whether all that was written lately was written by one transaction.

        Args:
            file: its journal.
            ended: how many had ended before it.
        """
        if file.was_rewritten:
            return False
        current = self._current
        if current is file:
            return len(self._ended) == ended
        is_idle = current is None or not current.flushes
        return self._last is file and len(self._ended) == ended + 1 and is_idle

    @property
    def broken(self) -> str | None:
        """Why nothing can be proven since the last state, None where all is well."""
        return self._broken

    def require_continuous(self) -> None:
        """Requires that every write to the database was made beside a journal that was seen.

        Raises:
            Discontinuity: one was not.
        """
        if self._broken is not None:
            raise Discontinuity(self._broken)

    def commits(self, steps: int, page_size: int) -> list[Transaction]:
        """Returns the transactions that were committed since the last state settled.

        Args:
            steps: how far the change counter has grown.
            page_size: bytes in a page.

        Raises:
            Discontinuity: it cannot be proven that these are all.
        """
        self.require_continuous()
        if self.persists:
            return [self._persistent(steps, page_size)]
        if len(self._ended) != steps:
            raise Discontinuity("journals and commits are not as many")
        if steps > 1 and any(file.was_rewritten for file in self._ended):
            raise Discontinuity("a journal was written in parts")
        return [_deleted(file, page_size) for file in self._ended]

    def _persistent(self, steps: int, page_size: int) -> Transaction:
        current = self._current
        assert current is not None
        if steps != 1 or self._ended:
            raise Discontinuity("a journal was used again")
        if not current.size:
            raise Discontinuity("the journal was truncated")
        found = parse_zeroed_journal(current.read, current.size, page_size)
        if found is None:
            raise Discontinuity("the journal is not complete")
        transaction = Transaction(current, found)
        # Written after the commit: to cut it, or by a transaction without a journal.
        transaction.is_cut = current.is_flushing
        return transaction

    def settle(self, ended: int, events: int) -> None:
        """Goes on behind transactions that have been dealt with.

        Args:
            ended: how many of the journals that were deleted belong to them; that of a
                transaction under way does not.
            events: how many events there had been when it was found how things stand. What a
                journal was used for since then is not dealt with.
        """
        self._forget(min(ended, len(self._ended)))
        current = self._current
        if current is not None and current.was_rewritten and events == self.events:
            current.reuse()

    def start(self, ended: int, *, exists: bool) -> None:
        """Goes on from now on, whatever was before.

        Args:
            ended: how many journals had been deleted when it was found how things stand.
            exists: whether there was a journal then.
        """
        self._broken = None
        self.settle(ended, self.events)
        if self._current is None and exists:
            # It was there before we were.
            self._current = JournalFile()
            self._current.open(self._path)

    def _drop_current(self) -> None:
        if self._current is not None:
            self._done.add(self._current)
            self._current = None

    def tidy(self) -> None:
        """Lets go of journals that have been dealt with, if none has come for a while."""
        self._done.close_if_idle()

    def close(self) -> None:
        """Lets go of all files; idempotent."""
        self._forget(len(self._ended))
        self._drop_current()
        self._done.close()


def _deleted(file: JournalFile, page_size: int) -> Transaction:
    if not file.is_gone:
        raise Discontinuity("a journal was missed")
    found = parse_journal(file.read)
    if found is None:
        raise Discontinuity("a journal was not deleted to commit")
    if found.page_size != page_size:
        raise Discontinuity("page size")
    return Transaction(file, found)
