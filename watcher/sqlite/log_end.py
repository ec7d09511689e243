"""Finds how far the log of a watched database is committed.

The wal-index says so while a connection uses it. Else the end is found by checksums, as recovery
would find it.
"""

from __future__ import annotations

import time

from watcher.sqlite.captured import Mark, NotQuiet
from watcher.sqlite.fileformat import WAL_INDEX_HEADER_SIZE, WalIndexHeader, parse_wal_index
from watcher.sqlite.files import DatabaseFiles
from watcher.sqlite.log import Log, LogEnd, seal_of

# A wal-index that fits no log for so long is a leftover, or no one's who is alive.
_STALE_INDEX_SECONDS = 1.0
# A commit that goes past between two reads makes index and log disagree.
_ATTEMPTS = 3


class LogEnds:
    """Finds the end of the log, look after look.

    Args:
        files: the descriptors, refreshed by the caller.
    """

    def __init__(self, files: DatabaseFiles) -> None:
        self._files = files
        self._misfits_since: float | None = None
        self._was_indexed = False
        self._parsed: tuple[bytes, WalIndexHeader | None] = (b"", None)
        # How far checkpoints have come in which generation: salts, frames done, frames begun, as
        # the index has them; empty without one.
        self.checkpointed = b""

    def find(self, log: Log, known: LogEnd | None = None) -> LogEnd:
        """Finds the last committed frame.

        Args:
            log: the log the index belongs to.
            known: a commit up to which the log need not be verified by checksums.

        Raises:
            NotQuiet: the index fits no log at present.
        """
        index = self._files.index
        if index.descriptor >= 0 and self._files.index_is_in_use():
            for _ in range(_ATTEMPTS):
                end = self.indexed(index.read(WAL_INDEX_HEADER_SIZE, 0), index.opening, log)
                if end is not None:
                    self._misfits_since, self._was_indexed = None, True
                    return end
            self._require_long_misfit()
        elif self._was_indexed and index.descriptor < 0:
            # Whoever closes last removes the index first, and then the log.
            self._require_long_misfit()
        else:
            self._misfits_since = None
        self._was_indexed, self.checkpointed = False, b""
        return log.verified_end(known)

    def indexed(self, data: bytes, opening: int, log: Log) -> LogEnd | None:
        """The end as a wal-index says it, None where that is no index of this log.

        Args:
            data: the beginning of the index.
            opening: which opening of that file it is.
            log: the log.
        """
        found = self._parse(data[:96])
        if found is None:
            return None
        seal = seal_of(found.salts, found.frame_checksum if found.max_frame else (0, 0))
        if found.max_frame and log.seal(found.max_frame, found.page_size) != seal:
            return None
        self.checkpointed = data[32:40] + data[96:100] + data[128:132]
        page_count = found.page_count if found.max_frame else 0
        mark = Mark("wal", opening, found.change)
        return LogEnd(found.salts, found.max_frame, page_count, seal, mark)

    def _parse(self, data: bytes) -> WalIndexHeader | None:
        if data != self._parsed[0]:
            self._parsed = (data, parse_wal_index(data))
        return self._parsed[1]

    def _require_long_misfit(self) -> None:
        now = time.monotonic()
        self._misfits_since = self._misfits_since or now
        if now - self._misfits_since < _STALE_INDEX_SECONDS:
            raise NotQuiet("log")
