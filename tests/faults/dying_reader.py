"""A reader that is killed at a chosen call: the worst moments, hit exactly.

Takes the database, the state directory, when to begin to count (`recovery`, before the reader takes
up what another has left, or `look`), the method, and at which call of it to die.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any

from watcher.history import HistoryWriter, Limits
from watcher.sqlite.capture import RawCapture
from watcher.sqlite.files import DatabaseFiles
from watcher.sqlite.kept_history import open_history
from watcher.sqlite.reader import Reader
from watcher.sqlite.shadow import Pending, Shadow

_ROOMS = {room.__name__: room for room in (HistoryWriter, Pending, Shadow)}


def die_at(method: str, number: int) -> None:
    """Makes the call of a method with this number the last thing the process does."""
    room, _, name = method.partition(".")
    original = getattr(_ROOMS[room], name)
    calls = itertools.count(1)

    def dying(*arguments: Any, **named: Any) -> Any:
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **named)

    setattr(_ROOMS[room], name, dying)


def main() -> None:
    """Takes one look at a file that nobody writes."""
    path, state = Path(sys.argv[1]), Path(sys.argv[2])
    when, method, number = sys.argv[3], sys.argv[4], int(sys.argv[5])
    history = open_history(state, Limits())
    if when == "recovery":
        die_at(method, number)
    reader = Reader(path, state, RawCapture(DatabaseFiles(path), frozenset), history)
    if when == "look":
        die_at(method, number)
    assert reader.step(), "there was nothing to do"


if __name__ == "__main__":
    main()
