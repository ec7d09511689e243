"""The history, read in a thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw

from watcher.errors import ReaderStopped
from watcher.history import HistoryReader


@contextmanager
def opened(directory: Path) -> Iterator[HistoryReader]:
    """Opens the history of a state directory; blocks, and may be called from any thread.

    Raises:
        ReaderStopped: it cannot be read: the reader process may just put it aside.
    """
    try:
        with closing(HistoryReader(directory)) as history:
            yield history
    except apsw.Error as error:
        raise ReaderStopped(f"the history cannot be read ({error})") from error
