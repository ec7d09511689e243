"""The writing side of the history: one per state directory, in the reader process."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw

from watcher import wire
from watcher.changes import Change, Position, ResetReason, RowBatch, SchemaChange, Table
from watcher.errors import StateUnavailable
from watcher.history.head import (
    FILE_NAME,
    PART_BITS,
    Declared,
    read_head,
    sequence,
    short_hash,
)

PART_CHANGES = 1000
PART_BYTES = 256 * 1024
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history(
  seq INTEGER PRIMARY KEY, last INTEGER NOT NULL, time REAL NOT NULL,
  chain BLOB NOT NULL, tail BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS large(
  sha256 TEXT PRIMARY KEY, type TEXT NOT NULL, data BLOB NOT NULL, last_offset INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much history is kept; the newest changeset is kept whatever its size.

    Args:
        seconds: age.
        changesets: count.
        bytes: size of the encoded changes.
    """

    seconds: float = 7 * 86400.0
    changesets: int = 100_000
    bytes: int = 256 * 1024 * 1024


def _first_chain(epoch: str) -> bytes:
    return hashlib.blake2b(epoch.encode(), digest_size=16).digest()


class HistoryWriter:
    """The writing side; there is one per state directory.

    Args:
        directory: the state directory, which exists and is held by this process.
        limits: how much to keep.
    """

    def __init__(self, directory: Path, limits: Limits) -> None:
        self._directory = directory
        self._limits = limits
        self._db = apsw.Connection(str(directory / FILE_NAME))
        for statement in ("journal_mode=WAL", "synchronous=OFF", "temp_store=MEMORY"):
            self._db.execute(f"PRAGMA {statement}").fetchall()
        self._db.execute(_SCHEMA).fetchall()
        self._next_age_check = 0.0
        # Values that no changeset has, but rows that were read: offset and size by their digest.
        self._beside: dict[str, tuple[int, int]] = {}
        self.reload()

    def reload(self) -> None:
        """Reads where the history stands; needed after a transaction was rolled back.

        Otherwise what was read once is kept: no other process writes it.
        """
        head = read_head(self._db)
        self.epoch = head.epoch
        self._offset, self._chain, self._floor = head.offset, head.chain, head.floor
        self.tables, self.declared = list(head.tables), dict(head.declared)
        self._bytes = int(
            self._db.execute(
                "SELECT (SELECT total(length(tail)) FROM history)"
                " + (SELECT total(length(data)) FROM large)"
            ).get
        )

    @property
    def position(self) -> Position:
        """Where the history stands."""
        return Position(self.epoch, self._offset, short_hash(self._chain))

    def recall(self, name: str) -> apsw.SQLiteValue:
        """Reads what `remember` stored, None where nothing is stored."""
        value: apsw.SQLiteValue = self._db.execute(
            "SELECT value FROM meta WHERE name=?", (name,)
        ).get
        return value

    def remember(self, name: str, value: apsw.SQLiteValue) -> None:
        """Stores a value beside the history, in the running transaction if there is one."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES(?,?)", (name, value))

    def remember_durably(self, name: str, value: apsw.SQLiteValue) -> None:
        """Stores a value so that it outlives a power cut, after all that was written before it."""
        self._db.execute("PRAGMA synchronous=FULL").fetchall()
        # The first write and the checkpoint sync what was left to the system; then the value.
        self.remember("synced", secrets.token_bytes(8))
        self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self.remember(name, value)
        self._db.execute("PRAGMA synchronous=OFF").fetchall()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside is stored at once, or none of it is.

        Raises:
            StateUnavailable: it cannot be written, because the volume is full, say.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            # SQLite has done it by itself where it had no other way.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(error, apsw.Error):
                detail = f"the history cannot be written ({error})"
                raise StateUnavailable(str(self._directory), detail) from error
            raise

    def start_epoch(self, reason: ResetReason, tables: Sequence[Table]) -> None:
        """Begins a new history; what was kept before is gone. Runs inside a transaction."""
        previous = self.epoch
        self.epoch = "".join(secrets.choice(_ALPHABET) for _ in range(6))
        self._offset, self._floor, self._bytes = 0, 0, 0
        self._chain = _first_chain(self.epoch)
        self._db.execute("DELETE FROM history; DELETE FROM large").fetchall()
        self._beside.clear()
        self.remember("epoch", self.epoch)
        self.remember("previous_epoch", previous)
        self.remember("reason", reason.value)
        self.remember("floor", 0)
        self.remember("floor_chain", self._chain)
        self.remember_tables(tables)

    def remember_tables(self, tables: Sequence[Table], declared: Declared | None = None) -> None:
        """Stores the definitions that `hello` announces. Runs inside a transaction.

        Args:
            tables: the watched tables.
            declared: affinity and collation of the columns of each, which filters need.
        """
        self.tables, self.declared = list(tables), dict(declared or {})
        objects = [wire.table_object(table) for table in tables]
        self.remember("tables", wire.encode_json(objects).decode())
        self.remember("declared", wire.encode_json(self.declared).decode())

    def append(
        self, commits: int | None, changes: Iterator[Change | RowBatch | SchemaChange]
    ) -> int:
        """Adds one changeset, in parts, encoding each change once. Runs inside a transaction.

        Nothing is added where there are no changes. The caller's transaction must not be given up
        after this returned without `reload`.

        Args:
            commits: number of commits it merges, None where unknown.
            changes: schema changes first, then rows.

        Returns:
            Number of changes added.
        """
        appender = _Appender(self._db, self._offset + 1, self._chain, commits)
        count = appender.run(changes)
        if count:
            self._offset, self._chain = self._offset + 1, appender.chain
            self._bytes += appender.bytes
            for sha256 in appender.large:
                self._beside.pop(sha256, None)
            self._prune()
        return count

    def keep_large(self, sha256: str, kind: str, data: bytes) -> None:
        """Stores a value that is sent beside rows, for the life of the newest changeset.

        Where it is no changeset's too, it goes before any changeset does.
        """
        grown = _keep_large(self._db, sha256, kind, data, self._offset)
        self._bytes += grown
        if grown or self._beside.pop(sha256, None) is not None:
            self._beside[sha256] = (self._offset, len(data))

    def _prune_beside(self) -> None:
        """Makes room by values that were only read, the oldest first."""
        if self._bytes <= self._limits.bytes:
            return
        for sha256, (offset, size) in list(self._beside.items()):
            if self._bytes <= self._limits.bytes * 9 // 10:
                return
            del self._beside[sha256]
            found = "DELETE FROM large WHERE sha256=? AND last_offset=?"
            self._db.execute(found, (sha256, offset))
            self._bytes -= size * self._db.changes()

    def _prune(self) -> None:
        self._prune_beside()
        floor = self._floor_wanted()
        if floor <= self._floor:
            return
        limit = sequence(floor, None)
        freed, chain = self._db.execute(
            "SELECT total(length(tail)), (SELECT chain FROM history WHERE seq<=?1"
            " ORDER BY seq DESC LIMIT 1) FROM history WHERE seq<=?1",
            (limit,),
        ).get
        freed += self._db.execute(
            "SELECT total(length(data)) FROM large WHERE last_offset<=?", (floor,)
        ).get
        self._db.execute("DELETE FROM history WHERE seq<=?", (limit,))
        self._db.execute("DELETE FROM large WHERE last_offset<=?", (floor,))
        self._bytes -= int(freed)
        self._floor = floor
        self._beside = {k: place for k, place in self._beside.items() if place[0] > floor}
        self.remember("floor", floor)
        self.remember("floor_chain", chain)

    def _floor_wanted(self) -> int:
        most = self._limits.changesets
        floor = self._floor
        # A hundredth more is kept for a while, so that not every commit prunes.
        if self._offset - floor > most + most // 100:
            floor = self._offset - most
        if self._bytes > self._limits.bytes:
            floor = max(floor, self._floor_by_bytes())
        if time.monotonic() >= self._next_age_check:
            self._next_age_check = time.monotonic() + 60
            floor = max(floor, self._floor_by_age())
        return min(floor, self._offset - 1)

    def _floor_by_bytes(self) -> int:
        # A tenth more than needed goes at once, so that not every commit prunes.
        excess = self._bytes - self._limits.bytes * 9 // 10
        rows = self._db.execute(
            "SELECT seq >> ? AS place, length(tail) FROM history"
            " UNION ALL SELECT last_offset, length(data) FROM large ORDER BY place",
            (PART_BITS,),
        )
        for offset, size in rows:
            excess -= size
            if excess <= 0:
                return int(offset)
        return self._offset - 1

    def _floor_by_age(self) -> int:
        newest_old = self._db.execute(
            "SELECT max(seq) FROM history WHERE time<?", (time.time() - self._limits.seconds,)
        ).get
        return 0 if newest_old is None else int(newest_old) >> PART_BITS

    def close(self) -> None:
        """Closes the file; idempotent."""
        self._db.close()


def _keep_large(db: apsw.Connection, sha256: str, kind: str, data: bytes, offset: int) -> int:
    """Stores a large value; returns the bytes by which the history grows."""
    kept = db.execute("SELECT 1 FROM large WHERE sha256=?", (sha256,)).get is not None
    db.execute(
        "INSERT INTO large VALUES(?,?,?,?) ON CONFLICT(sha256) DO UPDATE"
        " SET last_offset=max(last_offset, excluded.last_offset)",
        (sha256, kind, data, offset),
    )
    return 0 if kept else len(data)


class _Appender:
    """Encodes the changes of one changeset and writes a row for each full part."""

    def __init__(self, db: apsw.Connection, offset: int, chain: bytes, commits: int | None) -> None:
        self._db = db
        self._offset = offset
        self._commits = commits
        self._seconds = time.time()
        self._time = wire.encode_time(self._seconds)
        self._part = 0
        self._elements: list[bytes] = []
        self._size = 0
        self._count = 0
        self.chain = chain
        self.bytes = 0
        self.large: set[str] = set()

    def run(self, changes: Iterator[Change | RowBatch | SchemaChange]) -> int:
        total = 0
        for change in changes:
            for data, count in self._encoded(change):
                # Before the piece, not after it: only when another follows is a part not the last.
                if self._is_full(len(data), count):
                    self._write(last=False)
                self._elements.append(data)
                self._size += len(data) + 1
                self._count += count
                total += count
        if total:
            self._write(last=True)
        return total

    def _encoded(self, change: Change | RowBatch | SchemaChange) -> Iterable[tuple[bytes, int]]:
        if isinstance(change, RowBatch):
            return wire.encode_batch(change, self._keep, PART_BYTES // 2)
        return ((wire.encode_change(change, self._keep), 1),)

    def _is_full(self, size: int, count: int) -> bool:
        # A change larger than a part goes alone.
        full = self._count + count > PART_CHANGES or self._size + size > PART_BYTES
        return bool(self._elements) and full

    def _keep(self, sha256: str, kind: str, data: bytes) -> None:
        self.large.add(sha256)
        self.bytes += _keep_large(self._db, sha256, kind, data, self._offset)

    def _write(self, *, last: bool) -> None:
        body = b",".join(self._elements)
        tail = wire.changes_tail(
            time=self._time,
            commits=self._commits,
            part=self._part,
            last=last,
            changes=body,
        )
        self.chain = hashlib.blake2b(self.chain + tail, digest_size=16).digest()
        row = (sequence(self._offset, self._part), last, self._seconds, self.chain, tail)
        self._db.execute("INSERT INTO history VALUES(?,?,?,?,?)", row)
        self.bytes += len(tail)
        self._part += 1
        self._elements, self._size, self._count = [], 0, 0
