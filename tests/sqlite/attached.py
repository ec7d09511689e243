"""Two databases on one connection, as the engine opens them, made by scripts and kept in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import apsw

from watcher.changes import InvalidText, Value
from watcher.sqlite.fileformat import ENCODINGS, UTF8
from watcher.sqlite.names import quote
from watcher.sqlite.rows import RowReader
from watcher.sqlite.schema import Schema, TableSchema, read_schema
from watcher.sqlite.versions import open_attached

MEMORY = "file::memory:"


class Attached(NamedTuple):
    """A connection on which `old` and `new` are attached.

    Args:
        db: the connection.
        rows: reads rows from it.
    """

    db: apsw.Connection
    rows: RowReader

    def schema(self, name: str) -> Schema:
        """What is declared in one of the two."""
        return read_schema(self.db, name)

    def table(self, name: str, database: str = "new") -> TableSchema:
        """One table."""
        return self.schema(database).tables[name]


def made(*statements: str | tuple[str, Sequence[Value]], encoding: int = UTF8) -> bytes:
    """The bytes of a database in which statements have been run.

    Args:
        statements: scripts, or a statement with its parameters.
        encoding: how it stores text.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.execute(f"PRAGMA encoding='{ENCODINGS[encoding]}'")
        for statement in statements:
            if isinstance(statement, str):
                db.executescript(statement)
            else:
                sql, values = statement
                db.execute(*bound(sql, values))
        # Where nothing has been written there is not even a first page.
        empty = db.execute("PRAGMA page_count").fetchone() == (0,)
        return b"" if empty else db.serialize()


def bound(sql: str, values: Sequence[Value]) -> tuple[str, list[Any]]:
    """A statement and its parameters as Python's sqlite3 takes them."""
    pieces = sql.split("?")
    marks = ["CAST(? AS TEXT)" if isinstance(v, InvalidText) else "?" for v in values]
    found = "".join(p + m for p, m in zip(pieces, [*marks, ""], strict=True))
    return found, [v.data if isinstance(v, InvalidText) else v for v in values]


@contextmanager
def attached(old: bytes = b"", new: bytes = b"", *, encoding: int = UTF8) -> Iterator[Attached]:
    """Opens two databases side by side.

    Args:
        old: the bytes of one, empty for a database without anything in it.
        new: the bytes of the other.
        encoding: how they store text.
    """
    db, rows = open_attached({"old": MEMORY, "new": MEMORY}, encoding)
    with closing(db):
        for name, data in (("old", old), ("new", new)):
            if data:
                db.deserialize(name, data)
        yield Attached(db, rows)


def insert(table: str, values: Sequence[Value]) -> tuple[str, Sequence[Value]]:
    """A statement for `made` that inserts one row."""
    return f"INSERT INTO {quote(table)} VALUES({','.join('?' * len(values))})", values
