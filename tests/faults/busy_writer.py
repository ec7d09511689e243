"""A program that writes as fast as it can until it is told to stop, and what it runs.

Takes the database, the first of its ids, how many it has, commits for each connection (0: as many
as there are), and seconds for which it waits for locks. At its end it tells how many commits it
made, and the errors it met.
"""

from __future__ import annotations

import json
import select
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Done(NamedTuple):
    """What a busy writer has done.

    Args:
        commits: how many commits it made.
        errors: what SQLite refused.
    """

    commits: int
    errors: list[str]


class BusyWriter:
    """A running one.

    Args:
        process: its process.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def stop(self) -> Done:
        """Ends it after the commit it is at."""
        output, _ = self._process.communicate("stop\n")
        return Done(*json.loads(output))


@contextmanager
def busy_writer(
    path: Path, *, first: int = 1, ids: int = 200, reconnect: int = 0, timeout: float = 10
) -> Iterator[BusyWriter]:
    """Starts a writer that replaces rows of `items`, a commit for each row."""
    arguments = [str(path), str(first), str(ids), str(reconnect), str(timeout)]
    with subprocess.Popen(
        [sys.executable, __file__, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield BusyWriter(process)
        finally:
            if process.poll() is None:
                process.kill()


def write_until_told(
    path: str, first: int, ids: int, reconnect: int, timeout: float
) -> tuple[int, list[str]]:
    """Replaces one row after the other, with a value that was never there before."""
    commits, errors = 0, list[str]()
    db = connect(path, timeout)
    while not select.select([sys.stdin], [], [], 0)[0]:
        if reconnect and commits % reconnect == 0:
            db.close()
            db = connect(path, timeout)
        try:
            row = (first + commits % ids, f"{first}/{commits}")
            db.execute("REPLACE INTO items(id, name, value) VALUES (?, 'busy', ?)", row)
            commits += 1
        except sqlite3.OperationalError as error:
            errors.append(str(error))
    db.close()
    return commits, errors


def connect(path: str, timeout: float) -> sqlite3.Connection:
    """Opens the database in autocommit mode."""
    db = sqlite3.connect(path, isolation_level=None, timeout=timeout)
    db.execute("PRAGMA synchronous=OFF")
    return db


if __name__ == "__main__":
    name, start, many, renewed, patience = sys.argv[1:]
    done = write_until_told(name, int(start), int(many), int(renewed), float(patience))
    print(json.dumps(done))
