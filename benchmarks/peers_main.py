"""Other ways to find a change: each compares an old and a new file whole.

`python -m benchmarks.peers_main OLD NEW` answers requests of one line, the way's name, with the
seconds it took and the number of rows it found; see `Child`. SQLite is APSW's, the newest here.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import apsw

Rows = dict[int, tuple[Any, ...]]


class Peers:
    """The ways, each of which returns how many changed rows it found.

    Args:
        old: a database.
        new: the same after a change.
    """

    def __init__(self, old: str, new: str) -> None:
        self._old = old
        self._new = new
        self._held: Rows = {}

    def session(self) -> int:
        """The session extension: `Session.diff`, then the changeset."""
        with closing(self._attached()) as db, closing(apsw.Session(db, "main")) as session:
            session.attach("items")
            session.diff("old", "items")
            return sum(1 for _ in apsw.Changeset.iter(session.changeset()))

    def sql_except(self) -> int:
        """SQL `EXCEPT`, in both directions: rows that are only here, rows that are only there."""
        with closing(self._attached()) as db:
            old = db.execute("SELECT * FROM old.items EXCEPT SELECT * FROM main.items").fetchall()
            new = db.execute("SELECT * FROM main.items EXCEPT SELECT * FROM old.items").fetchall()
        return len({row[0] for row in old + new})

    def _attached(self) -> apsw.Connection:
        db = apsw.Connection(self._new, flags=apsw.SQLITE_OPEN_READONLY)
        db.execute("ATTACH ? AS old", (self._old,))
        return db

    def hold(self) -> int:
        """Reads the old rows, for `python`; an application that polls has them already."""
        self._held = _read(self._old)
        return 0

    def python(self) -> int:
        """The seed way: reads all rows and compares them with those held, in Python."""
        held, rows = self._held, _read(self._new)
        gone = sum(key not in rows for key in held)
        return gone + sum(held.get(key) != row for key, row in rows.items())

    def sqldiff(self, command: str) -> int:
        """The program of the SQLite project."""
        arguments = [command, "--table", "items", self._old, self._new]
        done = subprocess.run(arguments, capture_output=True, check=True)
        return done.stdout.count(b"\n")


def _read(path: str) -> Rows:
    with closing(sqlite3.connect(path)) as db:
        return {row[0]: row for row in db.execute("SELECT * FROM items")}


def main() -> None:
    """Answers until the input ends."""
    peers = Peers(sys.argv[1], sys.argv[2])
    ways: dict[str, Callable[..., int]] = {
        "session": peers.session,
        "except": peers.sql_except,
        "hold": peers.hold,
        "python": peers.python,
        "sqldiff": peers.sqldiff,
    }
    for line in sys.stdin:
        request = json.loads(line)
        way = ways[request.pop("do")]
        began = time.perf_counter()
        found = way(**request)
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "found": found}), flush=True)


if __name__ == "__main__":
    main()
