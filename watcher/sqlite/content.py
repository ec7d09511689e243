"""Rows and definitions of the current state, for clients that begin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import apsw

from watcher import wire
from watcher.changes import SchemaChange, Value
from watcher.errors import DatabaseUnavailable, UnknownTable
from watcher.sqlite.exclusion import Exclusion
from watcher.sqlite.obstacles import TableUnreadable, without
from watcher.sqlite.rows import RowLost, RowReader, read_page
from watcher.sqlite.schema import Schema, TableSchema
from watcher.sqlite.schema_changes import table_made
from watcher.sqlite.versions import Versions
from watcher.sqlite.watched_schema import read_watched


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of the current state.

    Args:
        inserts: each row, encoded as an insert.
        next: place of the last one if more may follow, else None.
        large: values among them that travel beside the stream: type and bytes by their digest.
    """

    inserts: list[bytes]
    next: tuple[Value, ...] | None
    large: dict[str, tuple[str, bytes]]


class Content:
    """Reads the current state.

    Args:
        path: the watched file, named in errors.
        versions: opens the state.
        exclusion: what takes no part.
    """

    def __init__(self, path: Path, versions: Versions, exclusion: Exclusion) -> None:
        self._path = path
        self._versions = versions
        self._exclusion = exclusion
        # What was read last: of which connection, with which cookie. With a state whose schema is
        # another one comes another connection.
        self._read: tuple[apsw.Connection, object, Schema] | None = None

    @contextmanager
    def naming_corruption(self) -> Iterator[None]:
        """Says of the watched file what SQLite says of our copy."""
        try:
            yield
        except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, UnicodeDecodeError) as error:
            # Where our own copy lies is nobody's business, and it may name what is excluded.
            said = str(error).partition(": file:")[0] if self._exclusion.is_empty else ""
            detail = "cannot be read by SQLite" + (f" ({said})" if said else "")
            raise DatabaseUnavailable(str(self._path), "corrupt", detail) from error

    @contextmanager
    def table(
        self, unreadable: Iterable[str], table: str
    ) -> Iterator[tuple[TableSchema, RowReader, Schema]]:
        """Opens the state for reading a table, attached as `old`.

        Args:
            unreadable: tables that take no part.
            table: the table's name.

        Yields:
            What is declared of it, what reads its rows, and the schema it is part of.

        Raises:
            UnknownTable: no watched table has that name.
            TableUnreadable: it turns out to be unreadable.
            DatabaseUnavailable: SQLite cannot read the schema.
        """
        with self.naming_corruption(), self._versions.open_old() as (db, rows):
            schema = self._watched(db, unreadable)
            found = schema.tables.get(table)
            if found is None:
                raise UnknownTable(table)
            try:
                yield found, rows, schema
            except (apsw.Error, RowLost) as error:
                raise TableUnreadable(table, str(error)) from error

    def made(self, unreadable: Iterable[str], tables: Iterable[str]) -> list[SchemaChange]:
        """The definitions of watched tables, as schema changes that make them.

        Args:
            unreadable: tables that take no part.
            tables: names of the tables; those that are not watched are left out.

        Raises:
            DatabaseUnavailable: SQLite cannot read the schema.
        """
        with self.naming_corruption(), self._versions.open_old() as (db, _):
            schema = self._watched(db, unreadable)
        wanted = set(tables)
        return [table_made(table) for name, table in schema.tables.items() if name in wanted]

    def is_readable(self) -> bool:
        """Whether SQLite can read the schema."""
        try:
            self.made((), ())
        except DatabaseUnavailable:
            return False
        return True

    def _watched(self, db: apsw.Connection, unreadable: Iterable[str]) -> Schema:
        cookie = db.execute("PRAGMA old.schema_version").fetchall()
        if self._read is None or self._read[0] is not db or self._read[1] != cookie:
            self._read = (db, cookie, read_watched(db, "old", self._exclusion))
        return without(self._read[2], unreadable)


def read_rows(
    reader: RowReader,
    table: TableSchema,
    after: Sequence[Value] | None,
    limit: int,
    max_bytes: int,
) -> Page:
    """Reads rows in the order of their keys.

    Args:
        reader: reads from the connection on which the state is attached as `old`.
        table: the table.
        after: the place of the row before them, None for the first.
        limit: at most so many.
        max_bytes: stop when their encoding, with the values beside it, reaches this size.

    Raises:
        MalformedPosition: `after` is no place in this table.
        RowLost: rows are not found again by their places.
    """
    page = Page([], None, {})

    def keep(sha256: str, kind: str, data: bytes) -> None:
        nonlocal max_bytes
        page.large[sha256] = (kind, data)
        max_bytes -= len(data)

    for place, change in read_page(reader, "old", table, after, limit):
        page.inserts.append(wire.encode_change(change, keep))
        max_bytes -= len(page.inserts[-1])
        if max_bytes <= 0 or len(page.inserts) == limit:
            return replace(page, next=place)
    return page
