"""One look at a database without a log: how things stand when it begins, and whether it counts.

What is read in a look has to be of one committed state. It is, if nobody wrote the file meanwhile.
It also is beside a transaction that writes, if its journal has been caught: every page that is
written has its original image there before, so the state before is the file with these images over
it, for as long as the journal does not grow and no other transaction begins to write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from watcher.sqlite.captured import Discontinuity, NotQuiet
from watcher.sqlite.caught_journals import CaughtJournals
from watcher.sqlite.fileformat import (
    DatabaseHeader,
    NotADatabase,
    is_live_journal,
    normalise_first_page,
    parse_header,
)
from watcher.sqlite.files import DatabaseFiles, Identity, identify
from watcher.sqlite.journal import parse_journal
from watcher.sqlite.journal_file import JournalFile, Transaction


class Disturbed(NotQuiet):
    """It was written during a look; the next one may be quiet."""

    def __init__(self) -> None:
        super().__init__("changed")


@dataclass(frozen=True, slots=True)
class Look:
    """How things stood when a look began.

    Args:
        main: times and size of the file.
        writes: how many events had said that it was written.
        ended: how many journals had been deleted and not been dealt with.
        breaks: how often events had not told everything.
        file: the journal of a transaction that may write the file.
        under_way: that transaction, if it may be writing already.
    """

    main: Identity
    writes: int
    ended: int
    breaks: int
    file: JournalFile | None
    under_way: Transaction | None


class Looks:
    """Begins looks and ends them.

    Args:
        files: the descriptors.
        touched: names of files written since the last call, None where that cannot be told.
        journals: catches journals.
    """

    def __init__(
        self,
        files: DatabaseFiles,
        touched: Callable[[], frozenset[str] | None],
        journals: CaughtJournals,
    ) -> None:
        self._files = files
        self.touched = touched
        self._journals = journals
        # The main file as it was when it was found locked.
        self._locked: Identity | None = None
        # Whether a transaction was writing the file at the last look that counts.
        self.is_beside_a_writer = False
        # Whether there was a journal when the last look began.
        self.journal_exists = False

    def begin(self) -> Look | None:
        """Begins a look; None where file events do not tell what happens meanwhile.

        Raises:
            NotQuiet: it is being written, and the journal has not been caught.
            Discontinuity: there is no file, or a journal that tells nothing.
        """
        is_writing = self._files.writer_is_writing()
        journals = self._journals
        if self.touched() is None:
            journals.lose()
            return None
        self.require_no_hot_journal()
        main = self._files.main.refresh()
        if main is None:
            raise Discontinuity("replaced")
        file, under_way = journals.under_way(), None
        if is_writing or (file is not None and file.flushes):
            under_way = None if file is None else _transaction(file)
            if under_way is None and is_writing:
                raise NotQuiet(self.what_is_written(main))
            if under_way is None:
                # One that was rolled back before, say, and a commit without a journal since.
                raise Discontinuity("a journal that tells nothing")
        return Look(main, journals.writes, journals.ended, journals.breaks, file, under_way)

    def require_valid(self, look: Look) -> None:
        """Ends a look.

        Raises:
            Disturbed: what was read does not belong to one state.
        """
        if not self._is_valid(look):
            raise Disturbed
        self.was_valid()
        self.is_beside_a_writer = look.under_way is not None

    def was_valid(self) -> None:
        """Notes that the file was not locked."""
        self._locked = None

    def _is_valid(self, look: Look) -> bool:
        is_writing = self._files.writer_is_writing()
        journals = self._journals
        if self.touched() is None or journals.breaks != look.breaks:
            return False
        if not is_writing and journals.writes == look.writes:
            return True
        if look.file is None or look.under_way is None:
            return False
        if not journals.is_sole_writer(look.file, look.ended):
            return False
        if is_writing and journals.under_way() is not look.file:
            return False
        now = _transaction(look.file)
        return now is not None and now.journal.images == look.under_way.journal.images

    def what_is_written(self, main: Identity) -> str:
        """Gives the reason for `NotQuiet` where the file is found locked."""
        # A lock that is held while the file changes is many short ones.
        before, self._locked = self._locked, main
        return "writing" if before is None or before == main else "changed"

    def require_no_hot_journal(self) -> None:
        """Requires that no dead writer has left the file in the middle of a commit.

        Raises:
            NotQuiet: one may have.
        """
        journal = self._files.journal
        self.journal_exists = identify(journal.path) is not None
        if not self.journal_exists:
            journal.close()
        # Not opened while a writer is at work: to close a deleted journal holds up whoever syncs.
        elif not self._files.writer_is_at_work():
            journal.refresh()
            if is_live_journal(journal.read(8, 0)) and not self._files.writer_is_at_work():
                raise NotQuiet("journal")

    def read(self, look: Look, page: int, page_size: int) -> bytes:
        """Reads a page of the last committed state."""
        before = None if look.under_way is None else look.under_way.image(page)
        if before is not None:
            return before
        found = self._files.main.read(page_size, (page - 1) * page_size)
        return found.ljust(page_size, b"\0")

    def image(self, look: Look, page: int, header: DatabaseHeader, page_count: int) -> bytes:
        """Reads a page as it goes into a private copy."""
        found = self.read(look, page, header.page_size)
        return normalise_first_page(found, page_count) if page == 1 else found


def parse_first_page(page: bytes) -> DatabaseHeader:
    """Reads the header of a database.

    Raises:
        Discontinuity: it has none.
    """
    try:
        return parse_header(page)
    except NotADatabase:
        raise Discontinuity("the header is not valid") from None


def _transaction(file: JournalFile) -> Transaction | None:
    found = parse_journal(file.read)
    return None if found is None else Transaction(file, found)
