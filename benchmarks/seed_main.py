"""The seed way: reads all tables at intervals and compares them in Python.

`python -m benchmarks.seed_main PATH SECONDS` prints `ready` and from then on, for each row that has
changed, the time at which it was found and the new value.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from typing import Any


def main() -> None:
    """Reports until it is killed."""
    connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
    seconds = float(sys.argv[2])
    old = _read(connection)
    print(json.dumps("ready"), flush=True)
    while True:
        time.sleep(seconds)
        new = _read(connection)
        changed = [row for key, row in new.items() if row != old.get(key)]
        if changed:
            found = time.monotonic_ns()
            print(json.dumps({row[2]: found for row in changed}), flush=True)
        old = new


def _read(connection: sqlite3.Connection) -> dict[int, tuple[Any, ...]]:
    return {row[0]: row for row in connection.execute("SELECT * FROM items")}


if __name__ == "__main__":
    main()
