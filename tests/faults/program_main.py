"""What `Program` runs: answers each line of JSON on its standard input with one."""

from __future__ import annotations

import json
import select
import sqlite3
import sys
from collections.abc import Iterator
from typing import Any


def connect(path: str, timeout: float) -> sqlite3.Connection:
    """Opens the database as an application with a function and a collation of its own does."""
    db = sqlite3.connect(path, isolation_level=None, timeout=timeout)
    db.execute("PRAGMA synchronous=OFF")
    db.create_function("app_function", 1, lambda value: f"<{value}>", deterministic=True)
    db.create_collation("app_collation", lambda left, right: (left > right) - (left < right))
    return db


def answer(db: sqlite3.Connection, question: dict[str, Any]) -> list[list[Any]]:
    """Does what is asked; returns rows."""
    if "commits" in question:
        return [[error] for error in commit(db, range(question["commits"]))]
    if "insert_until_stopped" in question:
        return [[error] for error in commit(db, until_next_line())]
    return [list(row) for row in db.execute(question["sql"])]


def until_next_line() -> Iterator[int]:
    """Counts until there is something to read."""
    number = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        yield number
        number += 1
    sys.stdin.readline()


def commit(db: sqlite3.Connection, numbers: Any) -> Iterator[str]:
    """Commits a row for each number; yields what goes wrong."""
    for number in numbers:
        try:
            db.execute("INSERT INTO items(name, value) VALUES('many', ?)", (str(number),))
        except sqlite3.OperationalError as error:
            yield str(error)


def main() -> None:
    """Serves until standard input ends."""
    db = connect(sys.argv[1], float(sys.argv[2]))
    while line := sys.stdin.readline():
        try:
            result: dict[str, Any] = {"rows": answer(db, json.loads(line))}
        except sqlite3.Error as error:
            result = {"error": str(error)}
        print(json.dumps(result), flush=True)
    db.close()


if __name__ == "__main__":
    main()
