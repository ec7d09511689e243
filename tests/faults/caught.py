"""A capture that follows a database by its journals, held against the file itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from watcher.sqlite.capture import RawCapture
from watcher.sqlite.captured import Captured
from watcher.sqlite.caught_journals import CaughtJournals
from watcher.sqlite.fileformat import normalise_first_page, parse_header
from watcher.sqlite.files import DatabaseFiles
from watcher.sqlite.freelist import walk_free_list
from watcher.sqlite.shadow import Pending, Shadow
from watcher.wakeup import InotifyWakeup


class Follower:
    """A capture with a state of its own; made and closed within an event loop.

    Args:
        path: the watched file.
        state: directory of the state.
    """

    def __init__(self, path: Path, state: Path) -> None:
        state.mkdir(exist_ok=True)
        self.path = path
        self._shadow = Shadow(state)
        self._pending = Pending(state, self._shadow)
        files = DatabaseFiles(path)
        self.journals = CaughtJournals(path)
        names = [file.path.name for file in (files.main, files.log, files.index, files.journal)]
        self._wakeup = InotifyWakeup(path.parent, names, self.journals.on_event)
        self.capture = RawCapture(files, self._wakeup.touched, journals=self.journals)

    def catch(self) -> None:
        """Takes the events there are, as the event loop does between two looks."""
        self._wakeup.take()

    def start(self) -> Captured:
        """Compares the file as a whole and goes on from what it finds."""
        captured = self.capture.capture(self._shadow, self._pending)
        self.settle(captured)
        return captured

    def follow(self, *, settle: bool = True) -> Captured | None:
        """Follows; what was put has to make the state before that of the file.

        Args:
            settle: whether to go on from it.
        """
        captured = self.follow_beside_a_writer(settle=False)
        assert_same_pages(self.path.read_bytes(), self._pending, captured)
        if captured is not None and settle:
            self.settle(captured)
        return captured

    def follow_beside_a_writer(self, *, settle: bool = True) -> Captured | None:
        """Follows where the file cannot tell whether it is right."""
        captured = self.capture.follow(self._shadow, self._pending)
        if captured is not None and settle:
            self.settle(captured)
        return captured

    def settle(self, captured: Captured) -> None:
        """Goes on from a state that was found."""
        self._pending.settle()
        self.capture.settle(captured)
        self._shadow.apply(self._pending)

    @property
    def put(self) -> set[int]:
        """Numbers of the pages put for the last look, where it was not settled."""
        return set(self._pending.fresh_pages())

    @property
    def copied(self) -> Path:
        """The state settled last, as a file."""
        return self._shadow.path

    async def aclose(self) -> None:
        """Lets go of everything."""
        await self._wakeup.aclose()
        self.capture.close()
        self._pending.close()
        self._shadow.close()


def assert_same_pages(file: bytes, pending: Pending, captured: Captured | None) -> None:
    """Requires that each page whose content means something is as in the file."""
    header = parse_header(file)
    size, count = header.page_size, header.page_count

    def read(page: int) -> bytes:
        image = file[(page - 1) * size : page * size]
        return normalise_first_page(image, count) if page == 1 else image

    meaningless = {leaf for _, leaves in walk_free_list(read, read(1), count) for leaf in leaves}
    for page in set(range(1, count + 1)) - meaningless:
        then = pending.read_before(page) if captured is None else pending.read_after(page)
        assert then == read(page), f"page {page} of {count}"
    if captured is not None:
        assert captured.page_count == pending.page_count == count
        assert captured.mark is not None
        assert captured.mark.count == header.change_counter
        for page in pending.fresh_pages():
            assert pending.read_before(page) != read(page), f"page {page} has not changed"


def following(path: Path, state: Path, scenario: Callable[[Follower], None]) -> None:
    """Runs a scenario with a follower that has taken a first copy."""

    async def run() -> None:
        follower = Follower(path, state)
        try:
            follower.start()
            scenario(follower)
        finally:
            await follower.aclose()

    asyncio.run(run())
