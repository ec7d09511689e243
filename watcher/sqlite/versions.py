"""Opens the old and the new state side by side on one connection of SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from watcher.sqlite.fileformat import ENCODINGS, HEADER_SIZE, UTF8, NotADatabase, parse_header
from watcher.sqlite.names import file_uri
from watcher.sqlite.rows import RowReader
from watcher.sqlite.shadow import OverlayVFS, Pending, Shadow

_URI = apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE


class EncodingChanged(Exception):
    """The new state stores text in another encoding; SQLite opens no two of them together."""


class Versions:
    """The old state is the shadow, the new one the shadow with the pending pages laid over it.

    Args:
        shadow: the current state.
        pending: the pages of the next one.
    """

    def __init__(self, shadow: Shadow, pending: Pending) -> None:
        self._shadow = shadow
        self._pending = pending
        self._vfs = OverlayVFS(shadow, pending)

    @contextmanager
    def open(self) -> Iterator[tuple[apsw.Connection, RowReader]]:
        """Opens a connection on which the states are attached as `old` and `new`.

        Its main database is scratch. A connection lasts for one step: what it has cached would be
        out of date after it.

        Raises:
            EncodingChanged: the two cannot be opened together.
        """
        before, after = self._old_encoding(), self._new_encoding()
        if before and after and before != after:
            raise EncodingChanged
        with _opened({"old": self._old_uri(), "new": self._new_uri()}, after or before) as opened:
            yield opened

    @contextmanager
    def open_old(self) -> Iterator[tuple[apsw.Connection, RowReader]]:
        """Opens the current state alone, attached as `old`."""
        with _opened({"old": self._old_uri()}, self._old_encoding()) as opened:
            yield opened

    @contextmanager
    def open_new(self) -> Iterator[tuple[apsw.Connection, RowReader]]:
        """Opens the next state alone, attached as `new`."""
        with _opened({"new": self._new_uri()}, self._new_encoding()) as opened:
            yield opened

    def _old_encoding(self) -> int:
        return _encoding_of(self._shadow.read(HEADER_SIZE, 0))

    def _new_encoding(self) -> int:
        page = self._pending.read(1, HEADER_SIZE, 0)
        return self._old_encoding() if page is None else _encoding_of(page)

    def _old_uri(self) -> str:
        return file_uri(self._shadow.path, mode="ro", immutable="1")

    def _new_uri(self) -> str:
        return file_uri(self._shadow.path, mode="ro", immutable="1", vfs=self._vfs.name)

    def close(self) -> None:
        """Removes the VFS; idempotent."""
        self._vfs.unregister()


def _encoding_of(page: bytes) -> int:
    try:
        return parse_header(page).encoding
    except NotADatabase:
        return 0


def _harden(db: apsw.Connection) -> None:
    # A watched file may come from anyone: nothing in its schema gets to run what could do harm, and
    # a column that is gone is an error, not a text of that name.
    db.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    db.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
    db.execute("PRAGMA temp_store=MEMORY").fetchall()


@contextmanager
def _opened(attach: dict[str, str], encoding: int) -> Iterator[tuple[apsw.Connection, RowReader]]:
    name = ENCODINGS.get(encoding, ENCODINGS[UTF8])
    db = apsw.Connection(":memory:", flags=_URI)
    try:
        _harden(db)
        # SQLite attaches only what has the encoding of the main database.
        db.execute(f"PRAGMA main.encoding='{name}'").fetchall()
        db.execute("CREATE TABLE main.scratch(x)").fetchall()
        for database, uri in attach.items():
            db.execute(f"ATTACH ? AS {database}", (uri,)).fetchall()
        yield db, RowReader(db, name)
    finally:
        db.close()
