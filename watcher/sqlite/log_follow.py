"""Follows the log of a watched database, commit by commit.

What is read counts because of the order in which SQLite writes. A writer that restarts the log puts
the new salts into its header before it writes any frame, and then writes the frames from the first
on. So what was read is what was committed, if afterwards the header has the salts it had; or, where
frames of the generation before are read behind the new ones, if afterwards the first of them is
still what it was. `docs/design.md`, "Commit by commit", has the whole argument.
"""

from __future__ import annotations

from watcher.sqlite.captured import Captured, Discontinuity, Mark, NotQuiet
from watcher.sqlite.fileformat import FRAME_HEADER_SIZE, WAL_INDEX_HEADER_SIZE, parse_wal_index
from watcher.sqlite.files import DatabaseFiles, Identity, KeptFile
from watcher.sqlite.log import HEAD, Log, LogEnd, frame_offset, is_repeated
from watcher.sqlite.log_end import LogEnds
from watcher.sqlite.log_place import Place
from watcher.sqlite.shadow import Pending
from watcher.sqlite.whole_file import put_page

# Where many commits wait, so much of the log is read at once; of a larger commit, piece by piece.
_AHEAD_BYTES = 256 * 1024
_PIECE_BYTES = 1 << 20
_SALTS_OFFSET = 16
_WORD = 0xFFFFFFFF


class LogFollower:
    """Gives the commits after a place in the log, one at a time.

    Args:
        files: the descriptors, refreshed by the caller before each look.
    """

    def __init__(self, files: DatabaseFiles) -> None:
        self._files = files
        self._ends = LogEnds(files)
        self._place: Place | None = None
        self._offered: tuple[bytes | None, Place] | None = None
        # The log of the place and its index: they stay open when their names are gone.
        self._kept = KeptFile()
        self._kept_index = KeptFile()
        self._log = Log(self._kept)
        # Which openings of main file, log and index these are; 0 where that is not known.
        self._main = self._opening = self._index = 0
        # The index when it was read last: which opening, and when the file was written.
        self._index_seen = (0, 0)
        # Main file and progress of checkpoints at the last look.
        self._main_seen: tuple[int, int] | None = None
        self._checkpointed = b""
        # How far frames may be taken, None where a look is due; and the generation that follows,
        # where that is the end of one that has been restarted since.
        self._end: LogEnd | None = None
        self._then = b""
        self._is_gone = False
        self._ahead, self._ahead_first = b"", 0

    @property
    def is_following(self) -> bool:
        """Whether there is a place to go on from."""
        return self._place is not None

    @property
    def is_look_due(self) -> bool:
        """Whether all is given that the last look has found."""
        return self._end is None

    @property
    def backlog(self) -> int:
        """Frames that the last look has found and that are not settled."""
        if self._end is None or self._place is None:
            return 0
        return self._end.frame - self._place.frame

    def count_backlog(self) -> int:
        """The backlog with what was committed since the last look."""
        found = parse_wal_index(self._kept_index.read(WAL_INDEX_HEADER_SIZE, 0))
        if self._place is None or found is None or found.salts != self._place.salts:
            return self.backlog
        return found.max_frame - self._place.frame

    def begin(self, place: bytes | None, index_seen: tuple[int, int]) -> None:
        """Begins with a state that was found by comparing the whole.

        Args:
            place: the state in the present log, None where it is in none.
            index_seen: which opening of the index was read for it, and when that file had been
                written last, in nanoseconds.
        """
        self.stop()
        self._place = Place.decode(place)
        if self._place is not None:
            self._keep()
            self._index_seen = index_seen

    def settle(self, place: bytes | None) -> None:
        """Goes on from a commit that was given: the last one, or again from an earlier one."""
        if self._offered is not None and place == self._offered[0]:
            self._place, self._offered = self._offered[1], None
            return
        self._void()
        # How the index was at that time is not known any more.
        self._offered, self._index_seen = None, (0, 0)
        self._place = Place.decode(place)
        if self._place is None:
            self.stop()

    def resume(self, place: bytes) -> None:
        """Goes on from a place that an earlier process has reached."""
        self.stop()
        self._place = Place.decode(place)

    def stop(self) -> None:
        """Lets go of the place and of the files; idempotent."""
        self._kept.close()
        self._kept_index.close()
        self._place = self._offered = self._main_seen = None
        self._main = self._opening = self._index = 0
        self._index_seen = (0, 0)
        self._void()

    def _void(self) -> None:
        self._end, self._then, self._is_gone = None, b"", False
        self._ahead, self._ahead_first = b"", 0

    def _keep(self) -> None:
        files = self._files
        self._kept, self._opening = files.log.keep(), files.log.opening
        self._main = files.main.opening
        self._log = Log(self._kept)
        self._keep_index()

    def _keep_index(self) -> None:
        index = self._files.index
        if index.descriptor >= 0 and index.opening != self._index:
            self._kept_index.close()
            self._kept_index, self._index = index.keep(), index.opening

    def follow(self, main: Identity, pending: Pending) -> Captured | None:
        """See `Capture.follow`.

        Args:
            main: the main file as it was before the look began.
            pending: takes the pages.
        """
        if self._place is None:
            raise Discontinuity("the log is not followed")
        try:
            if self._end is None:
                self._look(self._place, main)
            return self._next(pending)
        except (NotQuiet, Discontinuity):
            self._void()
            self._offered = None
            raise

    # The look: how far the log may be read.

    def _look(self, place: Place, main: Identity) -> None:
        if self._opening == 0:
            self._take_up(place, main)
        files = self._files
        if files.main.opening != self._main or main.size == 0:
            raise Discontinuity("file replaced")
        self._is_gone = files.log.descriptor < 0 or files.log.opening != self._opening
        if not self._is_gone:
            self._keep_index()
        # Before the index is read: nothing of what is compared may be newer than this.
        index_seen = (self._index, self._kept_index.modified())
        end = self._last_end(place) if self._is_gone else self._ends.find(self._log, place.end)
        if not self._is_gone:
            self._require_checkpoints_only(main)
        if end.salts == place.salts:
            self._go_on_to(place, end)
        else:
            self._cross(place, end, index_seen)
        self._index_seen = index_seen

    def _take_up(self, place: Place, main: Identity) -> None:
        """Begins with a place of an earlier process: is it one of these files at all?"""
        if main[:2] != (place.device, place.inode):
            raise Discontinuity("file replaced")
        if self._files.log.descriptor < 0:
            raise Discontinuity("log deleted")
        self._keep()

    def _last_end(self, place: Place) -> LogEnd:
        """Where a log ended that is deleted."""
        if place.change is None:
            return self._log.verified_end(place.end)
        data = self._kept_index.read(WAL_INDEX_HEADER_SIZE, 0)
        end = self._ends.indexed(data, self._index, self._log)
        return self._log.verified_end(place.end) if end is None else end

    def _require_checkpoints_only(self, main: Identity) -> None:
        """Beside a log, only checkpoints write the main file; else it is another one's content."""
        checkpointed = self._ends.checkpointed
        now = (main.size, main.modified)
        if not checkpointed:
            self._main_seen = None
        elif now != self._main_seen or checkpointed != self._checkpointed:
            is_done = checkpointed[8:12] == checkpointed[12:]
            if self._main_seen is not None and checkpointed == self._checkpointed and is_done:
                raise Discontinuity("file written beside its log")
            # Looked at only now, so that it is not older than the progress it is compared with.
            later = self._files.main.refresh()
            self._main_seen = None if later is None else (later.size, later.modified)
            self._checkpointed = checkpointed

    def _go_on_to(self, place: Place, end: LogEnd) -> None:
        if end.frame < place.frame:
            raise Discontinuity("log shortened")
        if end.frame == place.frame:
            if end.seal != place.seal:
                raise Discontinuity("log written over")
            if end.mark is not None:
                self._place = place._replace(change=end.mark.count)
        self._end, self._then = end, b""

    def _cross(self, place: Place, end: LogEnd, index_seen: tuple[int, int]) -> None:
        """Goes on in a log that was restarted once since, if no commit was lost with that."""
        if place.change is None or end.mark is None:
            raise Discontinuity("log restarted, commits not counted")
        if not place.is_followed_by(end.salts):
            raise Discontinuity("log restarted more than once")
        tail, last, newer = self._count(place, end)
        if not self._is_intact(place) and index_seen != self._index_seen:
            # With the frame from which to count on, it must be sure that the index is the same: a
            # recovery begins to count anew.
            raise Discontinuity("log restarted, index made anew")
        missing = (end.mark.count - place.change - tail - newer) & _WORD
        if missing:
            lost = missing < 1 << 31
            raise Discontinuity("log written over" if lost else "log with uncounted commits")
        if tail:
            mark = Mark("wal", end.mark.opening, (place.change + tail) & _WORD)
            seal = self._log.seal(last, place.page_size)
            self._end, self._then = LogEnd(place.salts, last, 0, seal, mark), end.salts
        else:
            self._place = place.beginning(end.salts)
            self._go_on_to(self._place, end)

    def _count(self, place: Place, end: LogEnd) -> tuple[int, int, int]:
        """Counts the commits left of the old generation, and those of the new one.

        Returns:
            Commits left; number of the last frame of the last of them; commits of the new one.
        """
        log, page_size = self._log, place.page_size
        guard = log.seal(place.frame + 1, page_size)
        tail, last = log.count(place.frame, None, place.salts, page_size)
        newer, _ = log.count(0, end.frame, end.salts, page_size)
        if end.frame:
            header = log.header()
            if header is None or header.salts != end.salts:
                raise NotQuiet("log")
            if header.page_size != page_size:
                raise Discontinuity("page size changed")
        if tail and log.seal(place.frame + 1, page_size) != guard:
            raise Discontinuity("log written over")
        return tail, last, newer

    def _is_intact(self, place: Place) -> bool:
        return place.frame > 0 and self._log.seal(place.frame, place.page_size) == place.seal

    # The commits, up to the end that was found.

    def _next(self, pending: Pending) -> Captured | None:
        while True:
            place, end = self._place, self._end
            assert place is not None
            assert end is not None
            if place.frame < end.frame:
                captured = self._take(place, end, pending)
                if captured is not None:
                    return captured
            elif self._then:
                self._place = place.beginning(self._then)
                main = self._files.main.refresh()
                self._void()
                if main is None:
                    raise NotQuiet("log")
                self._look(self._place, main)
            elif self._is_gone:
                raise Discontinuity("log deleted")
            else:
                self._void()
                return None

    def _take(self, place: Place, end: LogEnd, pending: Pending) -> Captured | None:
        """Puts the next commit; None where there is another one behind what was found."""
        size = FRAME_HEADER_SIZE + place.page_size
        at = (place.frame + 1 - self._ahead_first) * size
        if not self._ahead or at >= len(self._ahead):
            self._read_ahead(place, end)
            at = (place.frame + 1 - self._ahead_first) * size
        data = self._ahead
        if at and is_repeated(data, at - size, data, at, size):
            # Padding, which ends the same commit a second time.
            seal = data[at + 8 : at + FRAME_HEADER_SIZE]
            self._place = place._replace(frame=place.frame + 1, seal=seal)
            return None
        salts, stop, begin, pages = place.salts, len(data), at, {}
        while at < stop:
            page, page_count, found = HEAD.unpack_from(data, at)
            if found != salts:
                raise NotQuiet("log")
            pages[page] = at
            if page_count:
                self._put(data, pages, page_count, pending, place.page_size)
                frame = place.frame + 1 + (at - begin) // size
                return self._given(place, end, frame, data[at + 8 : at + 24], page_count)
            at += size
        if self._ahead_first < place.frame:
            self._ahead = b""
            return None
        return self._stream(place, end, pending)

    def _put(
        self, data: bytes, pages: dict[int, int], page_count: int, pending: Pending, size: int
    ) -> None:
        pending.begin(size)
        pending.page_count = page_count
        for page, at in pages.items():
            if page <= page_count:
                begin = at + FRAME_HEADER_SIZE
                put_page(pending, page, data[begin : begin + size], page_count)

    def _read_ahead(self, place: Place, end: LogEnd) -> None:
        """Reads frames at once, beginning with the last one that was given."""
        size = FRAME_HEADER_SIZE + place.page_size
        first = max(place.frame, 1)
        count = min(end.frame - first + 1, max(2, _AHEAD_BYTES // size))
        guard = self._guard(place)
        data = self._log.frames(first, count, place.page_size)
        self._require(guard)
        if len(data) != count * size:
            raise NotQuiet("log")
        if first == place.frame and not self._then and data[8:FRAME_HEADER_SIZE] != place.seal:
            raise Discontinuity("log written over")
        if first + count - 1 == end.frame and data[8 - size :][:16] != end.seal:
            raise NotQuiet("log")
        self._ahead, self._ahead_first = data, first

    def _guard(self, place: Place) -> tuple[int, bytes]:
        """What in the log is written over before any frame behind the place is; where and what."""
        if not self._then:
            return _SALTS_OFFSET, place.salts
        seal = self._log.seal(place.frame + 1, place.page_size)
        if seal[:8] != place.salts:
            raise Discontinuity("log written over")
        return frame_offset(place.frame + 1, place.page_size) + 8, seal

    def _require(self, guard: tuple[int, bytes]) -> None:
        offset, expected = guard
        if self._kept.read(len(expected), offset) != expected:
            raise NotQuiet("log")

    def _stream(self, place: Place, end: LogEnd, pending: Pending) -> Captured:
        """Puts a commit that is too large to be held in memory."""
        size = FRAME_HEADER_SIZE + place.page_size
        at_once = max(1, _PIECE_BYTES // size)
        guard, first_page = self._guard(place), b""
        pending.begin(place.page_size)
        for first in range(place.frame + 1, end.frame + 1, at_once):
            count = min(at_once, end.frame - first + 1)
            data = self._log.frames(first, count, place.page_size)
            for at in range(0, len(data), size):
                page, page_count, found = HEAD.unpack_from(data, at)
                if found != place.salts:
                    raise NotQuiet("log")
                image = data[at + FRAME_HEADER_SIZE : at + size]
                if page == 1:
                    first_page = image
                else:
                    # Pages beyond the size, which is not known yet, are left out by `pages`.
                    pending.put(page, image)
                if page_count:
                    self._require(guard)
                    pending.page_count = page_count
                    if first_page:
                        put_page(pending, 1, first_page, page_count)
                    seal = data[at + 8 : at + FRAME_HEADER_SIZE]
                    return self._given(place, end, first + at // size, seal, page_count)
        raise NotQuiet("log")

    def _given(
        self, place: Place, end: LogEnd, frame: int, seal: bytes, page_count: int
    ) -> Captured:
        change = None if place.change is None else (place.change + 1) & _WORD
        if frame == end.frame and end.mark is not None:
            change = end.mark.count
        mark = None
        if change is not None and end.mark is not None:
            mark = Mark("wal", end.mark.opening, change)
        _, _, _, _, page_size, _, device, inode = place
        after = Place(place.salts, frame, seal, change, page_size, page_count, device, inode)
        encoded = after.encode()
        self._offered = (encoded, after)
        return Captured(page_size, page_count, mark, 1, encoded)
