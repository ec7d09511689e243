"""Reads rows with Python's sqlite3 and encodes each as JSON, and holds rows in memory.

`python -m benchmarks.encode_main PATH` answers each request `{"after": id}` with the number of rows
after that id and the seconds it took to encode them; with `"hold": true` it keeps the rows as a
program does that compares tables in Python, and tells its memory instead.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from typing import Any

from benchmarks.processes import anonymous_megabytes


def main() -> None:
    """Answers until the input ends."""
    connection = sqlite3.connect(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        work = _hold if request.get("hold") else _encode
        print(json.dumps(work(connection, request["after"])), flush=True)


def _rows(connection: sqlite3.Connection, after: int) -> sqlite3.Cursor:
    return connection.execute("SELECT id, name, value FROM items WHERE id>?", (after,))


def _encode(connection: sqlite3.Connection, after: int) -> dict[str, float]:
    began = time.perf_counter()
    rows = _rows(connection, after)
    number = 0
    for key, name, value in rows:
        row = {"id": key, "name": name, "value": value}
        change = {"op": "insert", "table": "items", "key": {"id": key}, "before": None}
        json.dumps({**change, "after": row}, separators=(",", ":")).encode()
        number += 1
    return {"rows": number, "seconds": time.perf_counter() - began}


def _hold(connection: sqlite3.Connection, after: int) -> dict[str, float]:
    held: dict[int, tuple[Any, ...]] = {row[0]: row for row in _rows(connection, after)}
    return {"rows": len(held), "megabytes": anonymous_megabytes(os.getpid())}


if __name__ == "__main__":
    main()
