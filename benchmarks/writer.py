"""The program that writes: another process with Python's own sqlite3 module.

`python -m benchmarks.writer PATH [PRAGMA …]` reads requests from its input, one JSON object a line,
and answers each with one line; see `Child`. Times are of the monotonic clock, in nanoseconds, which
all processes of a machine share.
"""

from __future__ import annotations

import json
import random
import sqlite3
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks import databases

Answer = dict[str, Any]


class Writer:
    """Answers requests.

    Args:
        path: the database.
        timeout: how long SQLite waits for locks, in seconds.
        pragmas: set on its connection, `synchronous=NORMAL` for example.
    """

    def __init__(self, path: str, timeout: float, pragmas: list[str]) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, timeout=timeout)
        self._updates = 0
        for pragma in pragmas:
            self._db.execute(f"PRAGMA {pragma}").fetchall()

    def insert(self, rows: int, after: int) -> Answer:
        """Inserts rows with the ids that follow `after`, in one commit."""
        databases.insert(self._db, rows, after=after)
        return {}

    def update(self, rows: int) -> Answer:
        """Updates the rows with the ids up to `rows`, in one commit."""
        # Each time the other one of two values, so that all of them change.
        update = "UPDATE items SET value = printf('%.64c', ?) WHERE id <= ?"
        self._updates += 1
        self._db.execute(update, ("+*"[self._updates % 2], rows))
        return {}

    def edits(
        self, rows: list[int], values: list[str], pause: float = 0.0, rate: float = 0.0
    ) -> Answer:
        """Updates one row in each commit.

        Args:
            rows: ids, one for each commit.
            values: what each row gets.
            pause: the longest pause between two commits, in seconds; they are drawn at random.
            rate: commits a second that are kept to on the whole; 0 for as many as there can be.

        Returns:
            `returned`, when each COMMIT returned; `seconds` for all; `errors` by their text.
        """
        returned: list[int] = []
        errors: dict[str, int] = {}
        began = time.perf_counter()
        for number, (row, value) in enumerate(zip(rows, values, strict=True)):
            if pause:
                time.sleep(random.uniform(0, pause))
            if rate:
                time.sleep(max(0.0, began + number / rate - time.perf_counter()))
            try:
                self._db.execute("UPDATE items SET value=? WHERE id=?", (value, row))
            except sqlite3.OperationalError as error:
                errors[str(error)] = errors.get(str(error), 0) + 1
            returned.append(time.monotonic_ns())
        return {
            "returned": returned,
            "seconds": time.perf_counter() - began,
            "errors": errors,
        }


def main() -> None:
    """Answers until the input ends."""
    options = json.loads(sys.argv[2])
    writer = Writer(sys.argv[1], options["timeout"], options["pragmas"])
    requests: dict[str, Callable[..., Answer]] = {
        "insert": writer.insert,
        "update": writer.update,
        "edits": writer.edits,
    }
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(requests[request.pop("do")](**request)), flush=True)


if __name__ == "__main__":
    main()
