"""How much memory of its own a process takes at most."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

MIB = 1 << 20
_INTERVAL_SECONDS = 0.01


class PeakMemory:
    """Looks at a process again and again while the block runs; a context manager.

    Anonymous memory alone: pages of files that SQLite maps can be taken back at any time.

    Args:
        pid: the process.
    """

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.before = self.peak = self._now()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def grown(self) -> int:
        """Bytes by which it was larger than at the beginning, at most."""
        return self.peak - self.before

    def _look(self) -> None:
        while not self._ended.wait(_INTERVAL_SECONDS):
            self.peak = max(self.peak, self._now())

    def _now(self) -> int:
        for line in self._status.read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        # A process that has ended has none.
        return 0
