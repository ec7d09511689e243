"""Writes to the table `items(id, name, value)` of the watched database.

The only place of this process that opens the watched file, and only through SQLite: closing a raw
descriptor of it would drop the locks of every connection in the process. What is written here
reaches clients as any other program's commit does, through the watcher.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiosqlite

from watcher.changes import InvalidText, Value
from watcher.errors import WatchError
from watcher.sqlite.exclusion import NOTHING, Exclusion
from watcher.sqlite.names import file_uri

BUSY_TIMEOUT = 5.0
"""Seconds to wait for other writers."""
RUN_TIMEOUT = 10.0
"""Seconds the statements of one write may run; a trigger may loop without end."""

# Seconds that SQLite's own wait for other writers may keep the thread, and between two of them.
_WAIT_AT_ONCE = 0.1
_PAUSE = 0.01

_INSERT = "INSERT INTO main.items(name, value) VALUES (?, ?)"
_INSERTED = "SELECT id, name, value FROM main.items WHERE rowid = last_insert_rowid()"
_UPDATE = "UPDATE main.items SET value = ? WHERE id = ?"
_UPDATED = "SELECT id, name, value FROM main.items WHERE id = ?"
_TABLE = (
    "SELECT 1 FROM main.sqlite_master WHERE type = 'table' AND name = 'items' COLLATE NOCASE"
    " AND sql NOT LIKE 'CREATE VIRTUAL %'"
)
_LOOKS_BETWEEN = 10_000  # steps of SQLite's machine, well below a millisecond


class Item(NamedTuple):
    """A row as the database holds it after the write.

    Args:
        id: the row's id.
        name: its name.
        value: its value.
    """

    id: Value
    name: Value
    value: Value


class WriteRefused(WatchError):
    """The database did not take a write; nothing is stored.

    Args:
        temporary: whether the same request may succeed later.
        detail: one sentence for a person.
    """

    def __init__(self, detail: str, *, temporary: bool) -> None:
        super().__init__(detail, temporary)
        self.detail = detail
        self.temporary = temporary

    def __str__(self) -> str:
        return self.detail


class Items:
    """The items of one database; opens a connection for each write and closes it.

    Args:
        path: the database, which must exist: it is never created.
        exclusion: what no answer may show.
    """

    def __init__(self, path: Path, exclusion: Exclusion = NOTHING) -> None:
        self._uri = file_uri(path, mode="rw")
        self._exclusion = exclusion

    @property
    def is_served(self) -> bool:
        """Whether the table, and the column by which its rows are known, are there for clients."""
        return not self._exclusion.hides_column("items", "id")

    def shown(self, item: Item) -> dict[str, Value]:
        """What of an item clients may see, by the names of the columns."""
        return {
            name: value
            for name, value in item._asdict().items()
            if not self._exclusion.hides_column("items", name)
        }

    async def add(self, name: str, value: str | None) -> Item:
        """Adds an item.

        Raises:
            WriteRefused: the database did not take it.
        """
        async with self._transaction() as connection:
            await connection.execute(_INSERT, (name, value))
            row = await _one(connection, _INSERTED, ())
            if row is None:
                raise WriteRefused("The table items does not keep what is added.", temporary=False)
            return row

    async def update(self, item_id: int, value: str | None) -> Item | None:
        """Gives an item a new value; None where no item has this id.

        Raises:
            WriteRefused: the database did not take it.
        """
        async with self._transaction() as connection:
            cursor = await connection.execute(_UPDATE, (value, item_id))
            if cursor.rowcount > 1:
                detail = "More than one row of the table items has this id."
                raise WriteRefused(detail, temporary=False)
            return await _one(connection, _UPDATED, (item_id,))

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        async with _transaction(self._uri, is_open=self._exclusion.is_empty) as connection:
            yield connection


@asynccontextmanager
async def _transaction(uri: str, *, is_open: bool) -> AsyncIterator[aiosqlite.Connection]:
    """One write transaction: committed at the end, rolled back by closing where it fails.

    Args:
        uri: the database.
        is_open: whether nothing in it is excluded. Else SQLite's own words, which may name a
            column, are not passed on, and a view, which may show any, is not written to.
    """
    try:
        async with (
            aiosqlite.connect(
                uri, uri=True, timeout=_WAIT_AT_ONCE, isolation_level=None
            ) as connection,
            _stoppable(connection),
        ):
            connection.text_factory = _text
            # A checkpoint would make the watcher's log start over more often.
            await connection.execute("PRAGMA wal_autocheckpoint=0")
            await connection.execute("PRAGMA trusted_schema=0")
            await _when_free(connection, "BEGIN IMMEDIATE")
            if not is_open:
                await _require_table(connection)
            yield connection
            await _when_free(connection, "COMMIT")
    except (sqlite3.DatabaseError, sqlite3.DataError) as error:
        raise _refusal(error, is_open=is_open) from error


async def _require_table(connection: aiosqlite.Connection) -> None:
    async with connection.execute(_TABLE) as cursor:
        if await cursor.fetchone() is None:
            raise WriteRefused("There is no ordinary table items.", temporary=False)


@asynccontextmanager
async def _stoppable(connection: aiosqlite.Connection) -> AsyncIterator[None]:
    """Ends a statement that runs too long, or whose task is cancelled.

    The statement runs in a thread, which closing the connection would wait for.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT + RUN_TIMEOUT
    cancelled = threading.Event()
    await connection.set_progress_handler(
        lambda: cancelled.is_set() or time.monotonic() > deadline, _LOOKS_BETWEEN
    )
    try:
        yield
    except asyncio.CancelledError:
        cancelled.set()
        raise


async def _when_free(connection: aiosqlite.Connection, statement: str) -> None:
    """Waits for other writers here and not in SQLite, where a cancellation would not be seen."""
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            await connection.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        # SQLite does not wait at all where it sees no use in it.
        await asyncio.sleep(_PAUSE)


async def _one(
    connection: aiosqlite.Connection, query: str, parameters: tuple[int, ...]
) -> Item | None:
    async with connection.execute(query, parameters) as cursor:
        row = await cursor.fetchone()
    return None if row is None else Item(*row)


def _text(data: bytes) -> str | InvalidText:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return InvalidText(data)


def _refusal(error: sqlite3.Error, *, is_open: bool) -> WriteRefused:
    said = f": {error}" if is_open else ""
    refused = (f"The database refuses the write{said}.", False)
    detail, temporary = _REFUSALS.get(_code(error), refused)
    return WriteRefused(detail, temporary=temporary)


def _code(error: sqlite3.Error) -> int:
    # An error that Python's module raises by itself carries no code of SQLite's.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


_REFUSALS = {
    sqlite3.SQLITE_BUSY: ("Another program is writing to the database; try again.", True),
    sqlite3.SQLITE_LOCKED: ("Another program is writing to the database; try again.", True),
    sqlite3.SQLITE_INTERRUPT: ("The write took too long and was given up.", True),
    sqlite3.SQLITE_CANTOPEN: ("The database file cannot be opened.", True),
    sqlite3.SQLITE_FULL: ("There is no space left for the database.", True),
    sqlite3.SQLITE_IOERR: ("The database file cannot be read or written.", True),
    sqlite3.SQLITE_CORRUPT: ("The database file is damaged.", True),
    sqlite3.SQLITE_NOTADB: ("The file is not a database.", True),
    sqlite3.SQLITE_READONLY: ("The database can only be read.", False),
    sqlite3.SQLITE_PERM: ("The database can only be read.", False),
}
