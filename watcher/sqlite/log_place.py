"""A committed state in a log, as it is remembered between looks and between processes."""

from __future__ import annotations

import struct
from typing import NamedTuple

from watcher.sqlite.log import LogEnd

_PLACE = struct.Struct(">c8sI16s?IIIQQ")
_KIND = b"W"
_NO_CHECKSUM = bytes(8)


class Place(NamedTuple):
    """A committed state in a log.

    Args:
        salts: the generation of the log.
        frame: number of the last frame of the commit, 0 before the first.
        seal: salts and checksum of that frame.
        change: SQLite's count of commits (iChange) as of that commit, None where unknown.
        page_size: bytes in a page.
        page_count: size of the state in pages.
        device: where the main file is.
        inode: its number there.
    """

    salts: bytes
    frame: int
    seal: bytes
    change: int | None
    page_size: int
    page_count: int
    device: int
    inode: int

    def encode(self) -> bytes:
        """The place as bytes, to be stored."""
        salts, frame, seal, change, *rest = self
        return _PLACE.pack(_KIND, salts, frame, seal, change is not None, change or 0, *rest)

    @classmethod
    def decode(cls, data: bytes | None) -> Place | None:
        """Reads stored bytes, None where they are no place in a log."""
        if data is None or len(data) != _PLACE.size or data[:1] != _KIND:
            return None
        _, salts, frame, seal, is_counted, change, *rest = _PLACE.unpack(data)
        return cls(salts, frame, seal, change if is_counted else None, *rest)

    @property
    def end(self) -> LogEnd:
        """The place as an end of its log."""
        return LogEnd(self.salts, self.frame, self.page_count, self.seal)

    def beginning(self, salts: bytes) -> Place:
        """The same state, before the first frame of the generation that follows."""
        return self._replace(salts=salts, frame=0, seal=salts + _NO_CHECKSUM)

    def is_followed_by(self, salts: bytes) -> bool:
        """Tells whether these salts are those of the very next generation.

        A restart adds one to the first salt and draws the second.
        """
        first, then = (int.from_bytes(each[:4], "big") for each in (self.salts, salts))
        return then == (first + 1) & 0xFFFFFFFF
