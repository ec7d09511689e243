"""The databases that are measured: one table, rows of about 100 bytes."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

# With the id, the name and what a record costs, a row takes about 100 bytes of the file.
VALUE_LENGTH = 64

_TABLE = "CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT NOT NULL, value TEXT)"
_ROWS = """
WITH RECURSIVE n(i) AS (SELECT ?1 + 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 + ?2)
INSERT INTO items SELECT i, printf('name %012d', i), printf('%.64c', '-') FROM n
"""


def value(text: str) -> str:
    """Makes a value of the usual length that begins with a text."""
    return text.ljust(VALUE_LENGTH, ".")


def insert(connection: sqlite3.Connection, rows: int, *, after: int = 0) -> None:
    """Inserts rows with the ids that follow `after`, in one commit."""
    connection.execute(_ROWS, (after, rows))


class Databases:
    """Makes databases; each size is generated once and copied from then on.

    Args:
        directory: where all of them lie, with room for some GB.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._templates: dict[int, Path] = {}

    def template(self, rows: int) -> Path:
        """A closed database in DELETE mode that nobody may write to."""
        path = self._templates.get(rows)
        if path is None:
            path = self._directory / f"template-{rows}.db"
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                # Nobody else reads it yet, and it is made anew if this ends halfway.
                connection.execute("PRAGMA synchronous=OFF")
                connection.execute("PRAGMA journal_mode=OFF")
                connection.execute(_TABLE)
                insert(connection, rows)
            self._templates[rows] = path
        return path

    @contextmanager
    def database(self, rows: int, mode: str = "wal") -> Iterator[Path]:
        """A database of its own, alone in a directory, removed with all beside it at the end."""
        with self.place() as place:
            path = place / "app.db"
            shutil.copyfile(self.template(rows), path)
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                connection.execute(f"PRAGMA journal_mode={mode}")
            yield path

    @contextmanager
    def place(self) -> Iterator[Path]:
        """An empty directory on the same file system, removed at the end."""
        with tempfile.TemporaryDirectory(dir=self._directory) as place:
            yield Path(place)


@contextmanager
def databases() -> Iterator[Databases]:
    """Databases in a temporary directory, all removed at the end."""
    with tempfile.TemporaryDirectory(prefix="watcher-bench-") as directory:
        yield Databases(Path(directory))


def settle() -> None:
    """Writes out what the system still holds, so that it disturbs nothing that comes next."""
    os.sync()
