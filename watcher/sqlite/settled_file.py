"""The state of a database without a log that was settled last, as far as the next look needs it."""

from __future__ import annotations

from dataclasses import dataclass

from watcher.sqlite.captured import Discontinuity
from watcher.sqlite.fileformat import DatabaseHeader
from watcher.sqlite.files import Identity
from watcher.sqlite.journal_file import Transaction


@dataclass(frozen=True, slots=True)
class SettledFile:
    """Where the count of commits stood, and how the file looked.

    Args:
        opening: which opening of the file it was.
        header: its header.
        head: the same as bytes.
        page_count: size in pages.
        main: times and size of the file.
        writes: how many events had said that it was written.
    """

    opening: int
    header: DatabaseHeader
    head: bytes
    page_count: int
    main: Identity
    writes: int

    def require_counts(self, transactions: list[Transaction]) -> None:
        """Requires each journal to be that of one step, and the first to begin with this state.

        Raises:
            Discontinuity: one is not.
        """
        for step, transaction in enumerate(transactions):
            image = transaction.image(1) or b""
            count = (self.header.change_counter + step) & 0xFFFFFFFF
            if len(image) < 28 or int.from_bytes(image[24:28], "big") != count:
                raise Discontinuity("a journal is not that of the commit")
        if transactions[0].journal.page_count != self.page_count:
            raise Discontinuity("a journal begins with another state")
