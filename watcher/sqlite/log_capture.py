"""Captures a database that has a write-ahead log.

The state is the main file overlaid with the log up to the last commit. While one generation of the
log lasts, whatever a checkpoint copies into the main file is in the log too, so a look that took
longer than a commit is completed with the frames that have come; see `docs/design.md`, "When is a
look valid?". From a state captured so, `LogFollower` goes on commit by commit.
"""

from __future__ import annotations

from collections.abc import Mapping

from watcher.sqlite.captured import Captured, Discontinuity, NotQuiet
from watcher.sqlite.fileformat import DatabaseHeader
from watcher.sqlite.files import DatabaseFiles, Identity, read_header
from watcher.sqlite.log import Log, LogChanged, LogEnd, seal_of
from watcher.sqlite.log_end import LogEnds
from watcher.sqlite.log_follow import LogFollower
from watcher.sqlite.log_place import Place
from watcher.sqlite.settled_file import SettledFile
from watcher.sqlite.shadow import Pending, Shadow
from watcher.sqlite.whole_file import compare_file, put_page


class LogCapture:
    """Looks at a database with a log.

    Args:
        files: the descriptors.
    """

    def __init__(self, files: DatabaseFiles) -> None:
        self._files = files
        self._log = Log(files.log)
        self._ends = LogEnds(files)
        self._follower = LogFollower(files)
        self._compared: Captured | None = None
        # The index of the state compared last: which opening, and when the file was written.
        self._index_seen = (0, 0)

    @property
    def is_followed(self) -> bool:
        """Whether the state settled last is one of this log, so that commits can be followed."""
        return self._follower.is_following

    @property
    def is_look_due(self) -> bool:
        """Whether `follow` will look at the log again, having given all it knows of."""
        return self._follower.is_look_due

    @property
    def backlog(self) -> int:
        """How many frames are known to be committed and not settled."""
        return self._follower.backlog

    def count_backlog(self) -> int:
        """The same with what was committed since the last look."""
        return self._follower.count_backlog()

    def follow(self, main: Identity, pending: Pending) -> Captured | None:
        """See `Capture`; after the last commit a look has found it returns None once.

        Args:
            main: the main file; with the other files it was looked at just before.
            pending: takes the pages.
        """
        return self._follower.follow(main, pending)

    def settle(self, captured: Captured) -> None:
        """See `Capture`."""
        if captured is self._compared:
            self._follower.begin(captured.place, self._index_seen)
        else:
            self._follower.settle(captured.place)

    def resume(self, place: bytes) -> None:
        """See `Capture`."""
        self._follower.resume(place)

    def find_beginning(self, closed: SettledFile) -> bytes | None:
        """Finds the place before the first frame of a log.

        Args:
            closed: the state before the log was made.

        Returns:
            The place, None where nothing has been committed to the log yet.

        Raises:
            Discontinuity: it is the log of another database.
            NotQuiet: it is being restarted.
        """
        end = self._log_end()
        header = self._log.header()
        if not end.frame or header is None:
            return None
        if header.page_size != closed.header.page_size:
            raise Discontinuity("page size changed")
        nothing, main = LogEnd(end.salts, 0, 0, seal_of(end.salts, (0, 0))), closed.main
        return _place(nothing, header.page_size, closed.page_count, main)

    def close(self) -> None:
        """Lets go of the log that was followed; idempotent."""
        self._follower.stop()

    def capture(
        self, header: DatabaseHeader, main: Identity, shadow: Shadow, pending: Pending
    ) -> Captured:
        """See `Capture`."""
        try:
            first = self._log_end()
            frames = self._log.pages(1, first, header.page_size)
            pending.begin(header.page_size)
            pending.page_count = first.page_count or self._main_page_count(header, main)

            def newer(pages: range) -> Mapping[int, bytes]:
                return {
                    page: self._log.page(frames[page], header.page_size)
                    for page in pages
                    if page in frames
                }

            compare_file(self._files.main, pending.page_count, shadow, pending, newer)
            last = self._complete(first, header, pending)
        except LogChanged:
            raise NotQuiet("log") from None
        index_seen = self._index_seen
        self._require_same_generation(last)
        self._index_seen = index_seen
        place = _place(last, header.page_size, pending.page_count, main)
        self._compared = Captured(header.page_size, pending.page_count, last.mark, place=place)
        return self._compared

    def _main_page_count(self, header: DatabaseHeader, main: Identity) -> int:
        return header.page_count or -(-main.size // header.page_size)

    def _complete(self, first: LogEnd, header: DatabaseHeader, pending: Pending) -> LogEnd:
        """Adds the frames committed since `first`, so that the state is that of one commit."""
        last = self._log_end()
        if last.salts != first.salts:
            raise LogChanged
        if last.frame == first.frame:
            # Nothing was committed, but a mode switch may have gone past: the header tells.
            if read_header(self._files) != header:
                raise LogChanged
            return last
        newer = self._log.pages(first.frame + 1, last, header.page_size)
        # Pages beyond the old end that no frame holds are free; what they contain is nobody's.
        for page in range(pending.page_count + 1, last.page_count + 1):
            if page not in newer:
                put_page(pending, page, bytes(header.page_size), last.page_count)
        pending.page_count = last.page_count
        for page, frame in newer.items():
            if page <= last.page_count:
                put_page(pending, page, self._log.page(frame, header.page_size), last.page_count)
        return last

    def _require_same_generation(self, last: LogEnd) -> None:
        end = self._log_end()
        if end.salts != last.salts or end.frame < last.frame:
            raise NotQuiet("log")

    def _log_end(self) -> LogEnd:
        log, index = self._files.log.refresh(), self._files.index.refresh()
        # Before it is read, so that what is read is no older than this.
        self._index_seen = (self._files.index.opening, index.modified if index else 0)
        if log is None:
            raise NotQuiet("log")
        return self._ends.find(self._log)


def _place(end: LogEnd, page_size: int, page_count: int, main: Identity) -> bytes | None:
    if not end.salts:
        # Nothing is in the log, and no index says which generation will be the first.
        return None
    change = None if end.mark is None else end.mark.count
    place = Place(
        end.salts, end.frame, end.seal, change, page_size, page_count, main.device, main.inode
    )
    return place.encode()
