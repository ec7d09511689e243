"""Opens the old and the new state side by side on one connection of SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from watcher.sqlite.fileformat import DATABASE_MAGIC, ENCODINGS, UTF8
from watcher.sqlite.names import file_uri
from watcher.sqlite.overlay import OverlayVFS
from watcher.sqlite.rows import RowReader
from watcher.sqlite.shadow import Pending

# The last byte of the text encoding in the database header.
_ENCODING = 59
# No value that is stored is larger than its file, nor more than this many times as large in another
# encoding or in hexadecimal; a generated column may ask for any size.
_LARGEST_RATIO = 4
_LARGEST_ANYWAY = 64 * 1024 * 1024
_LARGEST = 2**31 - 1
_URI = apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE


class EncodingChanged(Exception):
    """The new state stores text in another encoding; SQLite opens no two of them together."""


class Versions:
    """The state before the commit at hand, and the one after it.

    Args:
        pending: the pages of both, and the shadow they are laid over.
    """

    def __init__(self, pending: Pending) -> None:
        self._pending = pending
        self._before = OverlayVFS(pending, after=False)
        self._after = OverlayVFS(pending, after=True)
        # What is open, and for which states: page sizes and encoding decide whether it can stay.
        self._opened: dict[tuple[str, ...], tuple[tuple[int, ...], apsw.Connection, RowReader]] = {}

    @contextmanager
    def open(self) -> Iterator[tuple[apsw.Connection, RowReader]]:
        """Opens both states on one connection, attached as `old` and `new`.

        Its main database is scratch.

        Raises:
            EncodingChanged: the two cannot be opened together.
        """
        before, after = self._encoding_before(), self._encoding_after()
        if before and after and before != after:
            raise EncodingChanged
        with self._transaction(("old", "new"), after or before) as opened:
            yield opened

    @contextmanager
    def open_old(self) -> Iterator[tuple[apsw.Connection, RowReader]]:
        """Opens the state before alone, attached as `old`."""
        with self._transaction(("old",), self._encoding_before()) as opened:
            yield opened

    @contextmanager
    def open_new(self) -> Iterator[tuple[apsw.Connection, RowReader]]:
        """Opens the state after alone, attached as `new`."""
        with self._transaction(("new",), self._encoding_after()) as opened:
            yield opened

    def _encoding_before(self) -> int:
        return _encoding_of(self._pending.read_before(1))

    def _encoding_after(self) -> int:
        return _encoding_of(self._pending.read_after(1))

    @contextmanager
    def _transaction(
        self, names: tuple[str, ...], encoding: int
    ) -> Iterator[tuple[apsw.Connection, RowReader]]:
        db, rows = self._connection(names, encoding)
        db.limit(apsw.SQLITE_LIMIT_LENGTH, self._largest())
        db.execute("BEGIN")
        try:
            yield db, rows
        finally:
            db.execute("ROLLBACK")
            # A statement that was left in the middle would go on reading what it has cached.
            if any(db.txn_state(name) != apsw.SQLITE_TXN_NONE for name in names):
                self.reopen()

    def _largest(self) -> int:
        """Bytes a value may have that SQLite makes of a row."""
        pending = self._pending
        before = pending.page_size_before * pending.page_count_before
        after = pending.page_size * pending.page_count
        return min(_LARGEST, max(_LARGEST_ANYWAY, _LARGEST_RATIO * max(before, after)))

    def _connection(
        self, names: tuple[str, ...], encoding: int
    ) -> tuple[apsw.Connection, RowReader]:
        pending = self._pending
        states = (encoding, pending.page_size_before, pending.page_size)
        opened = self._opened.get(names)
        if opened is None or opened[0] != states:
            if opened is not None:
                del self._opened[names]
                opened[1].close()
            db, rows = open_attached({name: self._uri(name) for name in names}, encoding)
            opened = self._opened[names] = (states, db, rows)
        return opened[1:]

    def _uri(self, name: str) -> str:
        vfs = self._before if name == "old" else self._after
        return file_uri(Path("/", name), mode="ro", vfs=vfs.name)

    def reopen(self) -> None:
        """Closes all connections: what they know of the schema may be out of date."""
        for _, db, _ in self._opened.values():
            db.close()
        self._opened.clear()

    def close(self) -> None:
        """Closes the connections and removes the VFSs; idempotent."""
        self.reopen()
        self._before.unregister()
        self._after.unregister()


def _encoding_of(page: bytes) -> int:
    return page[_ENCODING] if page[:16] == DATABASE_MAGIC else 0


def _harden(db: apsw.Connection) -> None:
    # A watched file may come from anyone: nothing in its schema gets to run what could do harm, and
    # a column that is gone is an error, not a text of that name.
    db.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    db.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
    db.execute("PRAGMA temp_store=MEMORY").fetchall()


def open_attached(attach: dict[str, str], encoding: int) -> tuple[apsw.Connection, RowReader]:
    """Opens a hardened connection whose main database is scratch.

    Args:
        attach: name and URI of each database to attach.
        encoding: how they store text, 1 to 3 as in the header; 0 where that is not decided.
    """
    name = ENCODINGS.get(encoding, ENCODINGS[UTF8])
    db = apsw.Connection(":memory:", flags=_URI)
    try:
        _harden(db)
        # SQLite attaches only what has the encoding of the main database.
        db.execute(f"PRAGMA main.encoding='{name}'").fetchall()
        db.execute("CREATE TABLE main.scratch(x)").fetchall()
        for database, uri in attach.items():
            db.execute(f"ATTACH ? AS {database}", (uri,)).fetchall()
    except BaseException:
        db.close()
        raise
    return db, RowReader(db, name)
