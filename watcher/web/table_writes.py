"""Writes to single rows of any watched table, on the condition that a row is as it was seen."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiosqlite

from watcher.changes import InvalidText, LargeValue, Row, Value, same
from watcher.sqlite.exclusion import NOTHING, Exclusion
from watcher.sqlite.names import file_uri, quote
from watcher.web.transaction import WriteRefused, write_transaction
from watcher.web.writable_table import Misfit, WritableTable, read_writable


class KnownRow(NamedTuple):
    """A row and how clients know it.

    Args:
        key: its key as on the wire.
        row: its columns, as far as clients get them.
    """

    key: Row
    row: Row


class RowChanged(WriteRefused):
    """A row is not as it was seen, so it is left alone.

    Args:
        row: as it is now, None where it is gone.
    """

    def __init__(self, row: Row | None) -> None:
        now = "was deleted" if row is None else "was changed"
        super().__init__(f"The row {now} since it was seen; nothing is written.", temporary=False)
        self.row = row


Place = Sequence[Value]


class TableWrites:
    """The rows of one database; opens a connection for each write and closes it.

    Args:
        path: the database, which must exist: it is never created.
        exclusion: what does not exist for clients.
    """

    def __init__(self, path: Path, exclusion: Exclusion = NOTHING) -> None:
        self._uri = file_uri(path, mode="rw")
        self._exclusion = exclusion

    async def add(self, table: str, row: Row) -> KnownRow:
        """Adds a row.

        Args:
            table: the table's name.
            row: values of some columns; the others take their defaults.

        Returns:
            The row as the database holds it.

        Raises:
            UnknownTable: there is no ordinary table of this name.
            Misfit: the table has no such column.
            WriteRefused: the database did not take it.
        """
        async with self._rows_of(table) as rows:
            rows.table.check_columns(row)
            return await rows.known(await rows.insert(row))

    async def change(self, table: str, key: Row, seen: Row, new: Row) -> KnownRow:
        """Gives columns of a row other values.

        Args:
            table: the table's name.
            key: of the row, as on the wire.
            seen: all columns of the row as the client saw it.
            new: the columns to set.

        Returns:
            The row as the database holds it now; its key may be another one.

        Raises:
            UnknownTable: there is no ordinary table of this name.
            Misfit: the table has no such column, or no such key.
            RowChanged: the row is not as it was seen.
            WriteRefused: the database did not take it.
        """
        async with self._rows_of(table) as rows:
            place, _ = await rows.as_seen(key, seen)
            rows.table.check_columns(new)
            return await rows.known(await rows.update(place, new))

    async def remove(self, table: str, key: Row, seen: Row) -> KnownRow:
        """Deletes a row.

        Args:
            table: the table's name.
            key: of the row, as on the wire.
            seen: all columns of the row as the client saw it.

        Returns:
            What was deleted.

        Raises:
            UnknownTable: there is no ordinary table of this name.
            Misfit: the table has no such key.
            RowChanged: the row is not as it was seen.
            WriteRefused: the database did not take it.
        """
        async with self._rows_of(table) as rows:
            place, row = await rows.as_seen(key, seen)
            await rows.delete(place)
            return KnownRow(key, row)

    @asynccontextmanager
    async def _rows_of(self, table: str) -> AsyncIterator[_Rows]:
        is_open = self._exclusion.is_empty
        async with write_transaction(self._uri, is_open=is_open) as connection:
            yield _Rows(connection, await read_writable(connection, table, self._exclusion))


class _Rows:
    """Rows of one table within one transaction; a *place* is what finds one of them again."""

    def __init__(self, connection: aiosqlite.Connection, table: WritableTable) -> None:
        self._connection = connection
        self.table = table
        self._name = f"main.{quote(table.name)}"
        self._returning = f" RETURNING {', '.join(table.terms)}"
        # What the table says may delete other rows, or write nothing. Where it says nothing the
        # clause is left out, because it would also decide for the statements of triggers.
        self._or = " OR ABORT" if table.resolves else ""

    async def as_seen(self, key: Row, seen: Row) -> tuple[Place, Row]:
        """Finds a row that is exactly as it was seen.

        Raises:
            RowChanged: it is not.
            Misfit: the key is none of this table.
        """
        found = await self._find(key)
        if seen.keys() != set(self.table.columns):
            raise RowChanged(None if found is None else found[1])
        if found is None and not self._is_key(key):
            columns = ", ".join(map(repr, self.table.key)) or "'$rowid'"
            detail = f"The key of a row of the table {self.table.name!r} is made of {columns}."
            raise Misfit(self.table.name, detail)
        if found is None or not await asyncio.to_thread(_is_as_seen, seen, found[1]):
            raise RowChanged(None if found is None else found[1])
        return found

    async def known(self, place: Place) -> KnownRow:
        """Reads a row that was written."""
        row = await self._read(place)
        if row is None:
            detail = f"A trigger of the table {self.table.name!r} takes the row away again."
            raise WriteRefused(detail, temporary=False)
        return KnownRow(self.table.key_of(row, place), row)

    async def insert(self, row: Row) -> Place:
        """Adds a row; its place."""
        values = "DEFAULT VALUES"
        if row:
            names = ", ".join(map(quote, row))
            values = f"({names}) VALUES ({', '.join(self._marks(row.values()))})"
        return await self._one(f"INSERT{self._or} INTO {self._name} {values}", row.values())

    async def update(self, place: Place, new: Row) -> Place:
        """Sets columns of a row; its place, which may be another one."""
        sets = ", ".join(self._equations(map(quote, new), new.values()))
        sql = f"UPDATE{self._or} {self._name} SET {sets} WHERE {self._at(place)}"
        return await self._one(sql, (*new.values(), *place))

    async def delete(self, place: Place) -> None:
        """Deletes a row."""
        await self._one(f"DELETE FROM {self._name} WHERE {self._at(place)}", place)

    async def _one(self, sql: str, parameters: Iterable[Value]) -> Place:
        """Runs a statement that writes one row; its place, as far as it still has one."""
        written = await self._all(sql + self._returning, parameters)
        if len(written) != 1:
            detail = f"A trigger of the table {self.table.name!r} does not let the row be written."
            raise WriteRefused(detail, temporary=False)
        return written[0]

    async def _find(self, key: Row) -> tuple[Place, Row] | None:
        """Finds the row that clients know by a key; its place and its columns."""
        for terms, values in self._searches(key):
            where = " AND ".join(self._equations(terms, values))
            places = ", ".join(self.table.terms)
            for place in await self._all(
                f"SELECT {places} FROM {self._name} WHERE {where}", values
            ):
                row = await self._read(place)
                # A collation, or an affinity, may find what has another key to clients.
                if row is not None and _is_same(self.table.key_of(row, place), key):
                    return place, row
        return None

    def _searches(self, key: Row) -> Iterator[tuple[Sequence[str], list[Value]]]:
        if self.table.key and key.keys() == set(self.table.key):
            yield self.table.key_terms, [key[column] for column in self.table.key]
        if self.table.has_rowid and key.keys() == {"$rowid"}:
            yield self.table.terms, [key["$rowid"]]

    def _is_key(self, key: Row) -> bool:
        return any(True for _ in self._searches(key))

    async def _read(self, place: Place) -> Row | None:
        columns = ", ".join(map(quote, self.table.columns))
        sql = f"SELECT {columns} FROM {self._name} WHERE {self._at(place)}"
        rows = await self._all(sql, place)
        return dict(zip(self.table.columns, rows[0], strict=True)) if rows else None

    def _at(self, place: Place) -> str:
        return " AND ".join(self._equations(self.table.terms, place))

    def _equations(self, terms: Iterable[str], values: Iterable[Value]) -> list[str]:
        return [f"{t} = {mark}" for t, mark in zip(terms, self._marks(values), strict=True)]

    def _marks(self, values: Iterable[Value]) -> list[str]:
        # Text that is not valid has no form as a Python string; SQLite takes it as bytes.
        return ["CAST(? AS TEXT)" if isinstance(v, InvalidText) else "?" for v in values]

    async def _all(self, sql: str, parameters: Iterable[Value]) -> list[tuple[Value, ...]]:
        bound = [self._encoded(v) if isinstance(v, InvalidText) else v for v in parameters]
        return [tuple(row) for row in await self._connection.execute_fetchall(sql, bound)]

    def _encoded(self, text: InvalidText) -> bytes:
        # A cast takes bytes for text in the encoding of the file.
        if self.table.encoding == "utf-8":
            return text.data
        decoded = text.data.decode("utf-8", "surrogatepass")
        return decoded.encode(self.table.encoding, "surrogatepass")


def _is_as_seen(seen: Row, now: Row) -> bool:
    return all(_is_value_as_seen(value, now[name]) for name, value in seen.items())


def _is_value_as_seen(seen: Value, now: Value) -> bool:
    if not isinstance(seen, LargeValue):
        return same(seen, now)
    kind, data = _bytes_of(now)
    if (seen.type, seen.bytes) != (kind, len(data)):
        return False
    return hashlib.sha256(data).hexdigest() == seen.sha256


def _bytes_of(value: Value) -> tuple[str, bytes]:
    if isinstance(value, str):
        return "text", value.encode()
    if isinstance(value, InvalidText):
        return "text", value.data
    return ("blob", value) if isinstance(value, bytes) else ("", b"")


def _is_same(left: Row, right: Row) -> bool:
    return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
