"""What a look at the watched database gives, and what stands in its way."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from watcher.sqlite.first_copy import FirstCopy
from watcher.sqlite.shadow import Pending, Shadow


class NotQuiet(Exception):
    """The file was being written while it was read; look again soon.

    Args:
        reason: `writing`, `journal` (it may be a hot one), `changed`, `log` or `fresh`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Discontinuity(Exception):
    """It cannot be proven which commits followed the last state; it has to be compared as a whole.

    Args:
        reason: what broke the continuity, such as `log restarted` or `start`.
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
        logs: how many logs have come beside the file; what was committed to them is not counted.
    """

    kind: str
    opening: int
    count: int
    logs: int = 0

    def commits_since(self, earlier: Mark | None) -> int | None:
        """How many commits SQLite counted since an earlier mark, None where it does not tell."""
        if earlier is None or replace(earlier, count=self.count) != self:
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
        commits: how many commits lie between this state and the one before, where the log or the
            journals told them apart; None where only the marks can tell.
        place: from where the next commits can be followed, also by a later process; None where
            nothing tells.
    """

    page_size: int
    page_count: int
    mark: Mark | None
    commits: int | None = None
    place: bytes | None = None

    def commits_since(self, mark: Mark | None) -> int | None:
        """How many commits lie between an earlier state and this one, None where nothing tells.

        Args:
            mark: where the count stood then.
        """
        if self.commits is not None or self.mark is None:
            return self.commits
        return self.mark.commits_since(mark)


class Capture(Protocol):
    """A way to look at the watched database."""

    def changed(self) -> bool:
        """Tells cheaply whether it may differ from the last state captured."""

    def follow(self, shadow: Shadow, pending: Pending) -> Captured | None:
        """Puts the pages of the next commit, or of the fewest that can be told from later ones.

        It follows the state settled last.

        Returns:
            The state after it, or None where no commit has followed.

        Raises:
            Discontinuity: the commits that followed cannot be known one by one: `capture`.
            NotQuiet: it was being written; nothing of what was put may be used.
            DatabaseUnavailable: it cannot be read as it stands.
        """

    def capture(self, shadow: Shadow, pending: Pending) -> Captured:
        """Puts the pages in which the current state differs from the shadow.

        Raises:
            NotQuiet: it was being written; nothing of what was put may be used.
            DatabaseUnavailable: it cannot be read as it stands.
        """

    def meanwhile(self, pages: int) -> AbstractContextManager[None]:
        """A block in which the rows of so many pages are read; what happens in it is not missed."""

    def settle(self, captured: Captured | None) -> None:
        """Goes on from a state that was dealt with, or back to it; None: from none."""

    def is_being_written(self) -> bool:
        """Tells whether a commit may be under way of whose end there will be no event."""

    def first_copy(self, shadow: Shadow) -> FirstCopy | None:
        """Begins to copy the file as it is; None where a capture does as well."""

    def resume(self, place: bytes) -> None:
        """Goes on from the place an earlier process has settled last."""

    def close(self) -> None:
        """Lets go of the file; idempotent."""
