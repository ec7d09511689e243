"""What a writing process of the machine can do: several connections, any statement, any file.

A process uses one SQLite library only, because two of them in one process drop each other's locks.
Statements that SQLite refuses are part of the game, as in `writer.py`, from which the simpler
operations come. No connection waits for another: who finds the file locked is refused at once.
"""

from __future__ import annotations

import ctypes
import sqlite3
from contextlib import closing
from typing import Any, NamedTuple

import apsw

from tests.oracle.contents import Contents, contents, digests
from tests.oracle.operations import Operations


class Ran(NamedTuple):
    """What became of some operations.

    Args:
        log: the statements, those that were refused as comments.
        in_transaction: whether a transaction is open on the connection now.
        spoiled: whether something went wrong that SQLite promises nothing about.
    """

    log: list[str]
    in_transaction: bool
    spoiled: bool


class Session(Operations):
    """Connections of one process to one database at a time.

    Args:
        library: `sqlite3` or `apsw`.
    """

    def __init__(self, library: str) -> None:
        self.library = library
        self.path = ""
        self.log: list[str] = []
        self.db: Any = None
        self._connections: dict[int, Any] = {}
        self._fresh: Any = None
        self._number = 0
        # Numbers of the connections that keep no journal.
        self._unsafe: set[int] = set()
        self._spoiled = False

    # The requests of the test, see `writers.Writers`.

    def make(self, path: str, pragmas: list[str], reserve: int, operations: list[Any]) -> Ran:
        """Makes a database and leaves a connection open on it."""
        self.path = path
        self._choose(0)
        for pragma in pragmas:
            self.run(f"PRAGMA {pragma}")
        if reserve:
            self._make_with_reserve(reserve, pragmas)
        return self.perform(path, 0, operations)

    def perform(self, path: str, number: int, operations: list[Any]) -> Ran:
        """Runs operations on one of the connections, which is opened if need be."""
        self.path, self.log = path, self.log if self.path == path else []
        try:
            self._choose(number)
            for operation in operations:
                self.do(operation)
        except self.refusals as error:
            # What an operation wanted to know before it writes; another connection has a lock.
            self._refused(f"-- {operations!r:.200}: {error}")
        log, self.log = self.log, []
        is_open = self.db is not None and self._in_transaction()
        return Ran(log, is_open, self._spoiled)

    def fresh(self, path: str, keep: bool) -> tuple[dict[str, str], str] | None:
        """Reads the file as any program would: digests and the journal mode; None if locked.

        Args:
            path: the database.
            keep: whether the connection stays open for the next time.
        """
        found = self._read(path, digests)
        if found is None:
            self._close_fresh()
            return None
        mode = self._fresh.execute("PRAGMA journal_mode").fetchone()[0]
        if not keep:
            self._close_fresh()
        return found, mode

    def contents(self, path: str) -> Contents | None:
        """All rows, for the message of a test that fails."""
        found: Contents | None = self._read(path, contents)
        return found

    def end(self, path: str, spoiled: bool) -> tuple[str, bool]:
        """Closes all connections; returns what an integrity check said then.

        Args:
            path: the database.
            spoiled: whether it was left so that nothing can be asked of it.

        Returns:
            What was said, and whether it is left so now: without a journal a transaction that is
            open at the end stays half written.
        """
        self._close_fresh()
        for number in list(self._connections):
            self._close(number)
        said, spoiled = "ok", spoiled or self._spoiled
        if not spoiled and self.library == "sqlite3":
            with closing(sqlite3.connect(path)) as db:
                said = db.execute("PRAGMA integrity_check").fetchone()[0]
        self._unsafe, self._spoiled, self.path, self.log = set(), False, "", []
        return said, spoiled

    def _read(self, path: str, read: Any) -> Any:
        try:
            if self._fresh is None:
                self._fresh = sqlite3.connect(path, isolation_level=None, timeout=0)
            return read(self._fresh)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                return None
            raise

    def _close_fresh(self) -> None:
        if self._fresh is not None:
            self._fresh.close()
            self._fresh = None

    # Connections.

    def _choose(self, number: int) -> None:
        self.db = None
        if number not in self._connections:
            self._connections[number] = self.connect()
        self.db, self._number = self._connections[number], number

    def connect(self) -> Any:
        """Opens a connection in autocommit mode that waits for no lock."""
        if self.library == "sqlite3":
            db: Any = sqlite3.connect(self.path, isolation_level=None, timeout=0)
        else:
            db = apsw.Connection(self.path)
        try:
            # Checkpoints come when the test says so.
            for pragma in ("synchronous=OFF", "wal_autocheckpoint=0"):
                db.execute(f"PRAGMA {pragma}").fetchall()
        except self.refusals:
            db.close()
            raise
        return db

    def _close(self, number: int) -> None:
        db = self._connections.pop(number)
        # Without a journal nothing takes back what an open transaction wrote.
        self._spoiled |= number in self._unsafe and bool(db.in_transaction)
        self._unsafe.discard(number)
        db.close()

    def _in_transaction(self) -> bool:
        return bool(self.db.in_transaction)

    def run(self, sql: str, *values: Any) -> None:
        """Runs a statement; a refusal is recorded, not raised."""
        before = len(self.log)
        super().run(sql, *values)
        self.log[before:] = [f"{self._number}: {line}" for line in self.log[before:]]
        refused = self.log[-1].startswith(f"{self._number}: --")
        if self._number in self._unsafe and (refused or "ROLLBACK" in sql):
            self._spoiled = True

    def do_close(self) -> None:
        self._close(self._number)
        self.log.append(f"{self._number}: -- closed")
        self.db = None

    def do_reconnect(self) -> None:
        self.do_close()
        self._choose(self._number)

    def do_journal(self, mode: str) -> None:
        self.run(f"PRAGMA journal_mode={mode}")
        now = self.db.execute("PRAGMA journal_mode").fetchone()[0]
        (self._unsafe.add if now == "off" else self._unsafe.discard)(self._number)

    # The file.

    def _make_with_reserve(self, reserve: int, pragmas: list[str]) -> None:
        self.run("PRAGMA user_version=1")
        self._close(0)
        with open(self.path, "r+b") as file:  # noqa: PTH123  # a path and no more
            head = file.read(108)
            size = int.from_bytes(head[16:18], "big")
            size = 65536 if size == 1 else size
            # An empty first page: its cells begin where the reserved bytes do.
            file.seek(20)
            file.write(bytes([reserve]))
            file.seek(105)
            file.write((size - reserve & 0xFFFF).to_bytes(2, "big"))
        self._choose(0)
        for pragma in pragmas:
            self.run(f"PRAGMA {pragma}")

    def do_reserve(self, size: int) -> None:
        if self.library == "apsw":
            wanted = ctypes.c_int(size)
            self.db.file_control("main", apsw.SQLITE_FCNTL_RESERVE_BYTES, ctypes.addressof(wanted))
            self.run("VACUUM")

    def do_page_size(self, size: int) -> None:
        mode = self.db.execute("PRAGMA journal_mode").fetchone()[0]
        if mode == "wal":
            self.run("PRAGMA journal_mode=delete")
        self.run(f"PRAGMA page_size={size}")
        self.run("VACUUM")
        if mode == "wal":
            self.run("PRAGMA journal_mode=wal")

    def do_auto_vacuum(self, kind: int) -> None:
        self.run(f"PRAGMA auto_vacuum={kind}")
        self.run("VACUUM")

    def do_mode(self) -> None:
        """Says in the log how this connection keeps its journal."""
        self.log.append(str(self.db.execute("PRAGMA journal_mode").fetchone()[0]))
