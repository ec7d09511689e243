"""Reads the write-ahead log of a watched database (sqlite.org/walformat.html)."""

from __future__ import annotations

from dataclasses import dataclass

from watcher.sqlite.fileformat import (
    FRAME_HEADER_SIZE,
    WAL_HEADER_SIZE,
    FrameHeader,
    WalHeader,
    parse_frame_header,
    parse_wal_header,
    wal_checksum,
)
from watcher.sqlite.files import RawFile


class LogChanged(Exception):
    """The log is not what it was when the reading began: it was restarted or removed."""


@dataclass(frozen=True, slots=True)
class LogEnd:
    """How far a log is committed.

    Args:
        salts: the generation of the log, empty where there is none.
        frame: number of the last committed frame, from 1; 0 where the log holds nothing.
        page_count: size of the database in pages as of that frame, 0 where there is none.
    """

    salts: bytes
    frame: int
    page_count: int


EMPTY = LogEnd(b"", 0, 0)


class Log:
    """The frames of a log.

    Args:
        file: the `-wal` file.
    """

    def __init__(self, file: RawFile) -> None:
        self._file = file
        # How far checksums were verified: header, frames, running checksum, last commit.
        self._verified: tuple[WalHeader, int, tuple[int, int], LogEnd] | None = None

    def header(self) -> WalHeader | None:
        """Reads the header, None where the log holds nothing."""
        return parse_wal_header(self._file.read(WAL_HEADER_SIZE, 0))

    def frame_header(self, frame: int, page_size: int) -> FrameHeader | None:
        """Reads the header of a frame, None beyond the end of the file."""
        data = self._file.read(FRAME_HEADER_SIZE, _offset(frame, page_size))
        return parse_frame_header(data) if len(data) == FRAME_HEADER_SIZE else None

    def page(self, frame: int, page_size: int) -> bytes:
        """Reads the page a frame holds.

        Raises:
            LogChanged: the frame is no longer there.
        """
        data = self._file.read(page_size, _offset(frame, page_size) + FRAME_HEADER_SIZE)
        if len(data) != page_size:
            raise LogChanged
        return data

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
        for frame in range(first, end.frame + 1):
            header = self.frame_header(frame, page_size)
            if header is None or header.salts != end.salts:
                raise LogChanged
            found[header.page] = frame
        return found

    def verified_end(self) -> LogEnd:
        """Finds the last commit by checksums alone, as recovery would, without a wal-index."""
        header = self.header()
        if header is None:
            return EMPTY
        if self._verified is None or self._verified[0] != header or not self._still_there():
            self._verified = (header, 0, header.checksum, LogEnd(header.salts, 0, 0))
        _, frame, checksum, end = self._verified
        while (step := self._verify(header, frame + 1, checksum)) is not None:
            found, checksum = step
            frame += 1
            if found.commit_size:
                end = LogEnd(header.salts, frame, found.commit_size)
                # Frames behind the last commit may be written again: look at them anew next time.
                self._verified = (header, frame, checksum, end)
        return end

    def _still_there(self) -> bool:
        assert self._verified is not None
        header, frame, checksum, _ = self._verified
        if frame == 0:
            return True
        found = self.frame_header(frame, header.page_size)
        return found is not None and (found.salts, found.checksum) == (header.salts, checksum)

    def _verify(
        self, header: WalHeader, frame: int, checksum: tuple[int, int]
    ) -> tuple[FrameHeader, tuple[int, int]] | None:
        size = FRAME_HEADER_SIZE + header.page_size
        data = self._file.read(size, _offset(frame, header.page_size))
        if len(data) != size:
            return None
        found = parse_frame_header(data[:FRAME_HEADER_SIZE])
        if found.salts != header.salts:
            return None
        checksum = wal_checksum(data[:8], checksum, big_endian=header.big_endian)
        checksum = wal_checksum(data[FRAME_HEADER_SIZE:], checksum, big_endian=header.big_endian)
        return (found, checksum) if checksum == found.checksum else None


def _offset(frame: int, page_size: int) -> int:
    return WAL_HEADER_SIZE + (frame - 1) * (FRAME_HEADER_SIZE + page_size)
