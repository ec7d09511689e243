"""Which pages a run of transactions has changed, told by their journals.

A journal holds the original image of each page that was changed, with two exceptions: pages beyond
the old end of the database, and leaves of the list of free pages that came into use, whose content
meant nothing before. So the changed pages are those of the journals, those beyond the smallest size
the database had, and leaves of changed trunks of the old free list.

A leaf that is free in the end is left out: its content means nothing again. It may have been in use
meanwhile, and then what a copy holds of it is of the past; nobody reads it before it comes into use
again, and then it is a leaf that came into use.

A page can be freed by one transaction and used by the next, and be in no journal at all. So the
free list is read at the beginning of each transaction, from the images of its own and later
journals: the first one that has a page has it as it was then.
"""

from __future__ import annotations

from collections.abc import Sequence

from watcher.sqlite.btree import ReadPage
from watcher.sqlite.captured import Discontinuity
from watcher.sqlite.freelist import CorruptFreeList, leaves_of
from watcher.sqlite.journal_file import Transaction


def changed_pages(
    transactions: Sequence[Transaction], read: ReadPage, first_page: bytes, page_count: int
) -> set[int]:
    """Returns the pages of the last state that may differ from the one before all transactions.

    Args:
        transactions: in their order.
        read: reads a page of the last state.
        first_page: page 1 of it.
        page_count: its size in pages.

    Raises:
        Discontinuity: a free list cannot be read, or a transaction did not what it seems.
    """
    smallest = page_count
    changed: set[int] = set()
    for transaction in transactions:
        changed.update(transaction.journal.images)
        smallest = min(smallest, transaction.journal.page_count)
    try:
        used = _free_before(transactions, read)
        free = leaves_of(
            lambda page: page in changed or page in used or page > smallest,
            read,
            first_page,
            page_count,
        )
    except CorruptFreeList:
        raise Discontinuity("the list of free pages is not valid") from None
    _require_shrunk(transactions, page_count)
    changed |= used - free
    return {page for page in changed if page <= page_count} | set(
        range(smallest + 1, page_count + 1)
    )


def _free_before(transactions: Sequence[Transaction], read: ReadPage) -> set[int]:
    """Returns the leaves each transaction may have taken from the free list it found."""
    free: set[int] = set()
    for number, transaction in enumerate(transactions):
        following = transactions[number:]

        def read_then(page: int, following: Sequence[Transaction] = following) -> bytes:
            images = (later.image(page) for later in following if page in later)
            return next((image for image in images if image), None) or read(page)

        first_page = read_then(1)
        free |= leaves_of(
            transaction.__contains__, read_then, first_page, transaction.journal.page_count
        )
    return free


def _require_shrunk(transactions: Sequence[Transaction], page_count: int) -> None:
    # Behind the end of a transaction the file is written only to cut off its end.
    sizes = [transaction.journal.page_count for transaction in transactions[1:]] + [page_count]
    for transaction, after in zip(transactions, sizes, strict=True):
        if transaction.is_cut and after >= transaction.journal.page_count:
            raise Discontinuity("it was written after a commit")
