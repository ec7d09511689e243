"""One write to the watched database: a transaction of its own, on a connection of its own.

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

import aiosqlite

from watcher.changes import InvalidText
from watcher.errors import WatchError

BUSY_TIMEOUT = 5.0
"""Seconds to wait for other writers."""
RUN_TIMEOUT = 10.0
"""Seconds the statements of one write may run; a trigger may loop without end."""
WAIT_AT_ONCE = 0.1
"""Seconds that SQLite's own wait for other writers may keep the thread."""

_PAUSE = 0.01  # seconds between two such waits
_LOOKS_BETWEEN = 10_000  # steps of SQLite's machine, well below a millisecond


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


@asynccontextmanager
async def write_transaction(uri: str, *, is_open: bool) -> AsyncIterator[aiosqlite.Connection]:
    """One write transaction: committed at the end, rolled back by closing where it fails.

    Args:
        uri: the database.
        is_open: whether nothing in it is excluded. Else SQLite's own words, which may name
            what is, are not passed on.

    Raises:
        WriteRefused: the database did not take it.
    """
    try:
        async with (
            aiosqlite.connect(
                uri, uri=True, timeout=WAIT_AT_ONCE, isolation_level=None
            ) as connection,
            _stoppable(connection),
        ):
            connection.text_factory = _text
            # A checkpoint would make the watcher's log start over more often.
            await connection.execute("PRAGMA wal_autocheckpoint=0")
            await connection.execute("PRAGMA trusted_schema=0")
            # SQLite leaves it to each connection whether references are kept. Who writes from
            # a page cannot know of them, and a row that others refer to is not to vanish.
            await connection.execute("PRAGMA foreign_keys=1")
            await _when_free(connection, "BEGIN IMMEDIATE")
            yield connection
            await _when_free(connection, "COMMIT")
    except (sqlite3.DatabaseError, sqlite3.DataError) as error:
        raise _refusal(error, is_open=is_open) from error


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
