"""Asks SQLite again and again whether another program has committed.

`python -m benchmarks.poll_main PATH SECONDS` says `ready` and then asks at intervals until it is
killed.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time


def main() -> None:
    """Asks until it is killed."""
    connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
    seconds = float(sys.argv[2])
    print(json.dumps("ready"), flush=True)
    while True:
        connection.execute("PRAGMA data_version").fetchone()
        time.sleep(seconds)


if __name__ == "__main__":
    main()
