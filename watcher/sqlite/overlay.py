"""Lets SQLite read two successive states of the database, each laid over the shadow.

A connection stays open from commit to commit. What it has cached is dropped when the change counter
in the header is another one than at its last look (fileformat2.html 1.3.7), so each state shows one
that grows with everything that is put.
"""

from __future__ import annotations

from collections.abc import Callable

import apsw

from watcher.sqlite.shadow import Pending

# The change counter, and the number for which the size in the header is valid.
_COUNTERS = (24, 92)


class OverlayVFS(apsw.VFS):
    """Opens the state before the commit at hand, or the one after it.

    Args:
        pending: the pages of both, and what they are laid over.
        after: which of the two.
    """

    def __init__(self, pending: Pending, *, after: bool) -> None:
        self.name = f"watcher-{'after' if after else 'before'}-{id(self):x}"
        super().__init__(self.name, apsw.vfs_names()[0])
        self._pending = pending
        self._after = after

    def xOpen(  # the name is SQLite's
        self, _name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        """Opens the state, whatever the name."""
        flags[1] = flags[0]
        return _OverlayFile(self._pending, after=self._after)  # type: ignore[return-value]  # by shape

    def xAccess(self, _path: str, _flags: int) -> bool:  # the name is SQLite's
        """There is no journal and no log beside a state."""
        return False


class _OverlayFile:
    """What SQLite sees as the file of a state. Names are SQLite's (sqlite3_io_methods)."""

    # ruff: noqa: N802
    def __init__(self, pending: Pending, *, after: bool) -> None:
        self._pending = pending
        self._after = after
        self._read: Callable[[int], bytes] = pending.read_after if after else pending.read_before

    @property
    def _page_size(self) -> int:
        return self._pending.page_size if self._after else self._pending.page_size_before

    def xRead(self, amount: int, offset: int) -> bytes:
        page, within = divmod(offset, self._page_size or 1)
        data = self._read(page + 1)
        if within or len(data) != amount:
            data = data[within : within + amount]
        return self._with_counters(data, within) if page == 0 and within < 96 else data

    def _with_counters(self, data: bytes, within: int) -> bytes:
        counter = (self._pending.generation & 0xFFFFFFFF).to_bytes(4, "big")
        first, second = (place - within for place in _COUNTERS)
        if first < 0 or len(data) < second + 4:
            # A look at the first counter alone, or at none.
            return data[:first] + counter + data[first + 4 :] if 0 <= first < len(data) else data
        return b"".join(
            (data[:first], counter, data[first + 4 : second], counter, data[second + 4 :])
        )

    def xFileSize(self) -> int:
        pending = self._pending
        count = pending.page_count if self._after else pending.page_count_before
        return self._page_size * count

    def xFileControl(self, _operation: int, _pointer: int) -> bool:
        return False

    def xSectorSize(self) -> int:
        return 0

    def xDeviceCharacteristics(self) -> int:
        return 0

    def xLock(self, _level: int) -> None:
        return None

    def xUnlock(self, _level: int) -> None:
        return None

    def xCheckReservedLock(self) -> bool:
        return False

    def xClose(self) -> None:
        return None
