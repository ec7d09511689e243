"""Captures a database that has no log: rollback-journal modes, and a WAL database that was closed.

The main file is written only under the PENDING lock, after a journal that could undo it. A look
counts if no such lock and no such journal was there at either end, the change counter is the same,
and no write to the file was reported in between; see `docs/design.md`, "When is a look valid?".

Where the journals of all commits since the last state have been caught, they name the pages that
were changed, and only these are read. They also complete a comparison of the whole file that took
longer than a commit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from watcher.errors import DatabaseUnavailable
from watcher.sqlite.captured import Captured, Discontinuity, Mark, NotQuiet
from watcher.sqlite.caught_journals import CaughtJournals
from watcher.sqlite.fileformat import HEADER_SIZE, DatabaseHeader, normalise_first_page
from watcher.sqlite.files import DatabaseFiles, Identity, is_fresh, read_header
from watcher.sqlite.journal_file import Transaction
from watcher.sqlite.journaled_pages import changed_pages
from watcher.sqlite.look import Disturbed, Look, Looks, parse_first_page
from watcher.sqlite.settled_file import SettledFile
from watcher.sqlite.shadow import Pending, Shadow
from watcher.sqlite.whole_file import compare_file, nothing_newer

_ATTEMPTS = 3
# So many pages are compared faster in large blocks.
_FEW_PAGES = 4096
_PART = 8
# How many pages are read before events are taken: some tenths of a millisecond.
_PAGES_BETWEEN = 64


class RollbackCapture:
    """Looks at a database without a log.

    Args:
        files: the descriptors.
        touched: names of files written since the last call, None where that cannot be told.
        journals: catches journals, fed with file events; None where there are none.
    """

    def __init__(
        self,
        files: DatabaseFiles,
        touched: Callable[[], frozenset[str] | None],
        journals: CaughtJournals | None = None,
    ) -> None:
        self._files = files
        self._journals = CaughtJournals(files.path) if journals is None else journals
        self._is_fed = journals is not None
        self._looks = Looks(files, touched, self._journals)
        self._settled: SettledFile | None = None
        # What `settle` makes of the state found last.
        self._found: tuple[Captured, Callable[[], None]] | None = None

    @property
    def is_beside_a_writer(self) -> bool:
        """Whether a transaction was writing the file at the last look.

        When it commits, neither times nor counter need to change any more.
        """
        return self._looks.is_beside_a_writer

    @property
    def closed(self) -> SettledFile | None:
        """The state settled last, where it is that of a database in WAL mode without a log."""
        found = self._settled
        return found if found is not None and found.header.wal else None

    def is_unwritten(self) -> bool:
        """Tells whether it is certain that nobody has written the file since that state."""
        found = self._settled
        return (
            found is not None
            and self._is_fed
            and self._looks.touched() is not None
            and self._journals.writes == found.writes
            and self._files.main.refresh() == found.main
        )

    def follow(self, shadow: Shadow, pending: Pending) -> Captured | None:  # noqa: ARG002 - the protocol's
        """See `Capture`."""
        self._found = None
        self._looks.is_beside_a_writer = False
        return self._insist(lambda: self._attempt(pending))

    def _insist(self, attempt: Callable[[], Captured | None]) -> Captured | None:
        for _ in range(_ATTEMPTS - 1):
            with suppress(Disturbed):
                return attempt()
        return attempt()

    def _attempt(self, pending: Pending) -> Captured | None:
        settled = self._require_settled()
        # Not only in a valid look: a writer with an exclusive lock has a log, too.
        if self._files.main.read(1, 19) == b"\x02" and self._files.log.refresh() is not None:
            raise Discontinuity("a log")
        look = self._looks.begin()
        if look is None or self._journals.broken is not None:
            self._require_unchanged(settled)
            return None
        try:
            captured = self._follow(settled, look, pending)
        except (Discontinuity, DatabaseUnavailable):
            # It may be so only because it is being written.
            self._looks.require_valid(look)
            raise
        self._looks.require_valid(look)
        return captured

    def _require_settled(self) -> SettledFile:
        if self._settled is None:
            raise Discontinuity("start")
        main = self._files.main.refresh()
        if main is None or self._files.main.opening != self._settled.opening:
            raise Discontinuity("replaced")
        return self._settled

    def _require_unchanged(self, settled: SettledFile) -> None:
        """Where events do not tell it, times and header may show that nothing was written."""
        if settled.header.wal and self._files.log.refresh() is not None:
            raise Discontinuity("a log")
        main = self._files.main.refresh()
        head = self._files.main.read(HEADER_SIZE, 0)
        if main != settled.main or is_fresh(main) or head != settled.head:
            raise Discontinuity(self._journals.broken or "events are not to be had")

    def _follow(self, settled: SettledFile, look: Look, pending: Pending) -> Captured | None:
        first_page = self._looks.read(look, 1, settled.header.page_size)
        header = parse_first_page(first_page)
        if header.wal and self._files.log.refresh() is not None:
            raise Discontinuity("a log")
        if header.page_size != settled.header.page_size:
            raise Discontinuity("page size")
        steps = (header.change_counter - settled.header.change_counter) & 0xFFFFFFFF
        if not steps:
            self._require_undone(settled, look, first_page)
            return None
        transactions = self._journals.commits(steps, header.page_size)
        if not header.page_count:
            raise Discontinuity("the header does not tell the size")
        settled.require_counts(transactions)
        image = normalise_first_page(transactions[0].image(1) or b"", settled.page_count)
        if image != pending.read_before(1):
            raise Discontinuity("a journal begins with another state")
        self._put(look, transactions, first_page, header, pending)
        mark = self._mark(settled.opening, header)
        captured = Captured(header.page_size, header.page_count, mark, steps)
        self._found = captured, self._finder(look, first_page, header, header.page_count)
        return captured

    def _require_undone(self, settled: SettledFile, look: Look, first_page: bytes) -> None:
        """Without a step of the counter, what transactions have written was rolled back."""
        is_written = look.writes != settled.writes
        if first_page[:HEADER_SIZE] != settled.head:
            raise Discontinuity("it was written without being counted")
        if is_written:
            self._journals.require_continuous()
        elif look.under_way is None and look.main != settled.main:
            raise Discontinuity("the file times have changed")
        if is_written and look.under_way is None:
            self._looks.require_valid(look)
            self._journals.settle(look.ended, self._journals.events)
            self._settled = replace(settled, main=look.main, writes=look.writes)

    def _put(
        self,
        look: Look,
        transactions: list[Transaction],
        first_page: bytes,
        header: DatabaseHeader,
        pending: Pending,
    ) -> None:
        size, count = header.page_size, header.page_count
        pages = self._changed(look, transactions, first_page, header)
        if len(pages) > max(_FEW_PAGES, count // _PART):
            raise Discontinuity("most pages have changed")
        pending.begin(size)
        pending.page_count = count
        before = pending.page_count_before
        for page in sorted(pages):
            image = self._looks.image(look, page, header, count)
            if page > before or image != pending.read_before(page):
                pending.put(page, image)

    def _changed(
        self,
        look: Look,
        transactions: list[Transaction],
        first_page: bytes,
        header: DatabaseHeader,
    ) -> set[int]:
        def read(page: int) -> bytes:
            return self._looks.read(look, page, header.page_size)

        return changed_pages(transactions, read, first_page, header.page_count)

    def _finder(
        self, look: Look, first_page: bytes, header: DatabaseHeader, page_count: int
    ) -> Callable[[], None]:
        opening, head = self._files.main.opening, first_page[:HEADER_SIZE]
        found = SettledFile(opening, header, head, page_count, look.main, look.writes)
        events = self._journals.events

        def settle() -> None:
            self._journals.settle(look.ended, events)
            self._settled = found

        return settle

    def _mark(self, opening: int, header: DatabaseHeader) -> Mark | None:
        logs = self._journals.logs  # what is committed to one does not count in the header
        return None if header.wal else Mark("rollback", opening, header.change_counter, logs)

    def settle(self, captured: Captured) -> None:
        """See `Capture`."""
        found, self._found = self._found, None
        if found is not None and found[0] is captured:
            found[1]()
        else:
            self._settled = None

    def forget(self) -> None:
        """Follows no state any more."""
        self._found = self._settled = None
        self._looks.is_beside_a_writer = False

    def capture(
        self, header: DatabaseHeader, main: Identity, shadow: Shadow, pending: Pending
    ) -> Captured:
        """Puts the pages in which the file differs from the shadow.

        What is written meanwhile is completed by the journals that were caught.

        Args:
            header: its header.
            main: its times and size.
            shadow: what to compare with.
            pending: takes the pages.

        Raises:
            NotQuiet: it was being written, and not all journals were caught.
        """
        self.forget()
        if self._looks.touched() is None:
            self._journals.lose()
            return self._capture_quiet(header, main, shadow, pending, can_tell=False)
        if not self._is_fed:
            return self._capture_quiet(header, main, shadow, pending, can_tell=True)
        try:
            start = self._start(header)
        except NotQuiet:
            if self._files.writer_is_writing():
                raise
            return self._capture_at_rest(shadow, pending)
        pending.begin(header.page_size)
        pending.page_count = start.page_count
        compare_file(self._files.main, start.page_count, shadow, pending, self._catch)
        captured = self._insist(lambda: self._complete(start, pending))
        assert captured is not None
        return captured

    def _capture_at_rest(self, shadow: Shadow, pending: Pending) -> Captured:
        """Does without journals: that nobody writes can be told without them."""
        self._journals.lose()
        can_tell = self._looks.touched() is not None
        main = self._files.main.refresh()
        if main is None:
            raise NotQuiet("changed")
        header = read_header(self._files)
        return self._capture_quiet(header, main, shadow, pending, can_tell=can_tell)

    def _catch(self, pages: range) -> Mapping[int, bytes]:
        # A pass over a large file takes longer than a commit.
        if pages.start // _PAGES_BETWEEN != pages.stop // _PAGES_BETWEEN:
            self._looks.touched()
            if self._journals.broken is not None:
                raise NotQuiet("changed")
        return nothing_newer(pages)

    def _start(self, header: DatabaseHeader) -> SettledFile:
        """Finds out where the count stands before the file is read."""
        try:
            look = self._looks.begin()
            if look is None:
                raise NotQuiet("changed")
            first_page = self._looks.read(look, 1, header.page_size)
            now = parse_first_page(first_page)
        except Discontinuity:
            raise NotQuiet("changed") from None
        self._looks.require_valid(look)
        page_count = now.page_count
        if not page_count and look.under_way is None:
            page_count = -(-look.main.size // header.page_size)
        if not page_count or now.page_size != header.page_size:
            raise NotQuiet("changed")
        self._journals.start(look.ended, exists=self._looks.journal_exists)
        opening, head = self._files.main.opening, first_page[:HEADER_SIZE]
        return SettledFile(opening, now, head, page_count, look.main, look.writes)

    def _complete(self, start: SettledFile, pending: Pending) -> Captured:
        """Reads again what was written while the file was read, so that it is of one state."""
        look = self._looks.begin()
        if look is None or start.opening != self._files.main.opening:
            raise NotQuiet("changed")
        first_page = self._looks.read(look, 1, start.header.page_size)
        try:
            header = parse_first_page(first_page)
            page_count = self._put_again(start, look, first_page, header, pending)
        except Discontinuity:
            raise NotQuiet("changed") from None
        self._looks.require_valid(look)
        captured = Captured(header.page_size, page_count, self._mark(start.opening, header))
        self._found = captured, self._finder(look, first_page, header, page_count)
        return captured

    def _put_again(
        self,
        start: SettledFile,
        look: Look,
        first_page: bytes,
        header: DatabaseHeader,
        pending: Pending,
    ) -> int:
        if header.wal and self._files.log.refresh() is not None:
            raise NotQuiet("log")
        if header.page_size != start.header.page_size:
            raise NotQuiet("changed")
        steps = (header.change_counter - start.header.change_counter) & 0xFFFFFFFF
        transactions = self._journals.commits(steps, header.page_size)
        count, pages = start.page_count, {1}
        if transactions:
            if not header.page_count:
                raise NotQuiet("changed")
            start.require_counts(transactions)
            count = header.page_count
            pages |= self._changed(look, transactions, first_page, header)
        if look.under_way is not None:
            pages.update(look.under_way.journal.images)
        pending.page_count = count
        for page in sorted(page for page in pages if page <= count):
            image = self._looks.image(look, page, header, count)
            if image != pending.read_after(page):
                pending.put(page, image)
        return count

    def _capture_quiet(
        self,
        header: DatabaseHeader,
        main: Identity,
        shadow: Shadow,
        pending: Pending,
        *,
        can_tell: bool,
    ) -> Captured:
        """Compares a file that nobody may write meanwhile; no journals are to be had."""
        if not can_tell and is_fresh(main):
            raise NotQuiet("fresh")
        if self._files.writer_is_writing():
            raise NotQuiet(self._looks.what_is_written(main))
        self._looks.require_no_hot_journal()
        head = self._files.main.read(HEADER_SIZE, 0)
        page_count = header.page_count or -(-main.size // header.page_size)
        pending.begin(header.page_size)
        pending.page_count = page_count
        compare_file(self._files.main, page_count, shadow, pending, nothing_newer)
        self._require_untouched(header, main, can_tell=can_tell)
        self._looks.was_valid()
        opening = self._files.main.opening
        captured = Captured(header.page_size, page_count, self._mark(opening, header))
        found = SettledFile(opening, header, head, page_count, main, self._journals.writes)

        def settle() -> None:
            self._settled = found

        self._found = captured, settle
        return captured

    def _require_untouched(self, header: DatabaseHeader, main: Identity, *, can_tell: bool) -> None:
        if self._files.writer_is_writing():
            raise NotQuiet("writing")
        self._looks.require_no_hot_journal()
        touched = self._looks.touched()
        if can_tell and (touched is None or self._files.path.name in touched):
            raise NotQuiet("changed")
        if self._files.main.refresh() != main:
            raise NotQuiet("changed")
        if read_header(self._files) != header:
            raise NotQuiet("changed")
        if header.wal and self._files.log.refresh() is not None:
            raise NotQuiet("log")

    def close(self) -> None:
        """Lets go of the caught journals; idempotent."""
        self._journals.close()
