"""Reads the write-ahead log of a watched database (sqlite.org/walformat.html)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from watcher.sqlite.captured import Mark
from watcher.sqlite.fileformat import (
    FRAME_HEADER_SIZE,
    WAL_HEADER_SIZE,
    WalHeader,
    parse_frame_header,
    parse_wal_header,
    wal_checksum,
)

# Page, size of the database where the frame ends a commit, and salts.
HEAD = struct.Struct(">II8s")
# Of many frames one after another, so much is read at once.
_CHUNK_BYTES = 1 << 20
_SUM = struct.Struct(">II")


class LogChanged(Exception):
    """The log is not what it was when the reading began: it was restarted or removed."""


class Readable(Protocol):
    """A file, as far as the log needs it."""

    def read(self, size: int, offset: int) -> bytes:
        """Reads at an offset; shorter than asked at the end of the file or where there is none."""


@dataclass(frozen=True, slots=True)
class LogEnd:
    """How far a log is committed.

    Args:
        salts: the generation of the log, empty where there is none.
        frame: number of the last committed frame, from 1; 0 where the log holds nothing.
        page_count: size of the database in pages as of that frame, 0 where there is none.
        seal: salts and cumulative checksum of that frame, as they stand in it; zeros for the
            checksum where there is no frame.
        mark: where SQLite's count of commits stands, None where the end was found by checksums.
    """

    salts: bytes
    frame: int
    page_count: int
    seal: bytes = b""
    mark: Mark | None = None


EMPTY = LogEnd(b"", 0, 0)


def frame_offset(frame: int, page_size: int) -> int:
    """Where a frame begins in the file.

    Args:
        frame: its number, from 1.
        page_size: bytes in a page.
    """
    return WAL_HEADER_SIZE + (frame - 1) * (FRAME_HEADER_SIZE + page_size)


def seal_of(salts: bytes, checksum: tuple[int, int]) -> bytes:
    """Salts and checksum as they stand in a frame: they tell it from any other frame."""
    return salts + _SUM.pack(*checksum)


class Log:
    """The frames of a log.

    Args:
        file: the `-wal` file.
    """

    def __init__(self, file: Readable) -> None:
        self._file = file
        # How far checksums were verified: header, frames, running checksum, last commit.
        self._verified: tuple[WalHeader, int, tuple[int, int], LogEnd] | None = None

    def header(self) -> WalHeader | None:
        """Reads the header, None where the log holds nothing."""
        return parse_wal_header(self._file.read(WAL_HEADER_SIZE, 0))

    def salts(self) -> bytes:
        """Reads the salts in the header as they stand there, valid or not."""
        return self._file.read(8, 16)

    def seal(self, frame: int, page_size: int) -> bytes:
        """Reads salts and checksum of a frame, shorter beyond the end of the file."""
        return self._file.read(16, frame_offset(frame, page_size) + 8)

    def page(self, frame: int, page_size: int) -> bytes:
        """Reads the page a frame holds.

        Raises:
            LogChanged: the frame is no longer there.
        """
        data = self._file.read(page_size, frame_offset(frame, page_size) + FRAME_HEADER_SIZE)
        if len(data) != page_size:
            raise LogChanged
        return data

    def frames(self, first: int, count: int, page_size: int) -> bytes:
        """Reads frames one after another with one call; whole ones, fewer where the file ends."""
        size = FRAME_HEADER_SIZE + page_size
        data = self._file.read(count * size, frame_offset(first, page_size))
        return data if len(data) == count * size else data[: len(data) // size * size]

    def pages(self, first: int, end: LogEnd, page_size: int) -> dict[int, int]:
        """Maps each page that the frames hold to the newest frame that holds it.

        Args:
            first: number of the first frame to look at.
            end: the last one, and the generation it belongs to.
            page_size: bytes in a page.

        Raises:
            LogChanged: the frames are not of this generation any more.
        """
        found: dict[int, int] = {}
        frame = first - 1
        for data, at in self._each(first, end.frame, page_size):
            page, _, salts = HEAD.unpack_from(data, at)
            if salts != end.salts:
                raise LogChanged
            frame += 1
            found[page] = frame
        if frame < end.frame:
            raise LogChanged
        return found

    def commits(self, after: int, last: int | None, salts: bytes, page_size: int) -> Iterator[int]:
        """Yields the number of the frame that ends each commit.

        What SQLite repeats to fill a sector (`psow=0`) is no commit: the last frame of a commit,
        with its mark, once more.

        Args:
            after: number of the frame before the first to look at; 0 for all.
            last: number of the last to look at; None for the last of the generation, wherever
                that is.
            salts: of the generation; a frame with others ends the search.
            page_size: bytes in a page.
        """
        frame = max(after, 1) - 1
        size = FRAME_HEADER_SIZE + page_size
        before: tuple[bytes, int] | None = None
        for data, at in self._each(frame + 1, last, page_size):
            frame += 1
            if frame > after:
                _, commit_size, found = HEAD.unpack_from(data, at)
                if found != salts:
                    return
                if not commit_size:
                    before = None
                    continue
                if before is None or not is_repeated(*before, data, at, size):
                    yield frame
            before = data, at

    def count(self, after: int, last: int | None, salts: bytes, page_size: int) -> tuple[int, int]:
        """Counts what `commits` yields; returns also the last frame it yields, else `after`."""
        number, end = 0, after
        for frame in self.commits(after, last, salts, page_size):
            number, end = number + 1, frame
        return number, end

    def _each(self, first: int, last: int | None, page_size: int) -> Iterator[tuple[bytes, int]]:
        """Yields frames one after another, each as a place in a larger piece of the file."""
        size = FRAME_HEADER_SIZE + page_size
        at_once = max(1, _CHUNK_BYTES // size)
        while last is None or first <= last:
            count = at_once if last is None else min(at_once, last - first + 1)
            data = self.frames(first, count, page_size)
            for at in range(0, len(data), size):
                yield data, at
            if len(data) < count * size:
                return
            first += count

    def verified_end(self, known: LogEnd | None = None) -> LogEnd:
        """Finds the last commit by checksums alone, as recovery would, without a wal-index.

        Args:
            known: a commit up to which the log need not be verified, if it still is there.
        """
        header = self.header()
        if header is None:
            return EMPTY
        if self._verified is None or self._verified[0] != header or not self._still_there():
            self._verified = self._known(header, known)
        _, frame, checksum, end = self._verified
        size = header.page_size
        for data, at in self._each(frame + 1, None, size):
            found = parse_frame_header(data[at : at + FRAME_HEADER_SIZE])
            if found.salts != header.salts:
                break
            checksum = _checksum(data, at, size, checksum, header)
            if checksum != found.checksum:
                break
            frame += 1
            if found.commit_size:
                seal = seal_of(header.salts, checksum)
                end = LogEnd(header.salts, frame, found.commit_size, seal)
                # Frames behind the last commit may be written again: look at them anew next time.
                self._verified = (header, frame, checksum, end)
        return end

    def _known(
        self, header: WalHeader, known: LogEnd | None
    ) -> tuple[WalHeader, int, tuple[int, int], LogEnd]:
        if known is not None and known.frame and known.salts == header.salts:
            first, second = _SUM.unpack(known.seal[8:])
            if self.seal(known.frame, header.page_size) == known.seal:
                return header, known.frame, (first, second), known
        return header, 0, header.checksum, LogEnd(header.salts, 0, 0, seal_of(header.salts, (0, 0)))

    def _still_there(self) -> bool:
        assert self._verified is not None
        header, frame, checksum, _ = self._verified
        if frame == 0:
            return True
        return self.seal(frame, header.page_size) == seal_of(header.salts, checksum)


def is_repeated(data: bytes, at: int, later: bytes, later_at: int, size: int) -> bool:
    """Tells whether a frame holds what the one before it holds, its mark of a commit included.

    Args:
        data: what the first is in.
        at: where it begins there.
        later: what the second is in.
        later_at: where that begins there.
        size: bytes in a frame.
    """
    return (
        data[at : at + 8] == later[later_at : later_at + 8]
        and data[at + FRAME_HEADER_SIZE : at + size]
        == later[later_at + FRAME_HEADER_SIZE : later_at + size]
    )


def _checksum(
    data: bytes, at: int, page_size: int, start: tuple[int, int], header: WalHeader
) -> tuple[int, int]:
    page_at = at + FRAME_HEADER_SIZE
    checksum = wal_checksum(data[at : at + 8], start, big_endian=header.big_endian)
    page = data[page_at : page_at + page_size]
    return wal_checksum(page, checksum, big_endian=header.big_endian)
