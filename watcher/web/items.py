"""Writes to the table `items(id, name, value)` of the watched database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiosqlite

from watcher.changes import Value
from watcher.sqlite.exclusion import NOTHING, Exclusion
from watcher.sqlite.names import file_uri
from watcher.web.transaction import WriteRefused, write_transaction

_INSERT = "INSERT INTO main.items(name, value) VALUES (?, ?)"
_INSERTED = "SELECT id, name, value FROM main.items WHERE rowid = last_insert_rowid()"
_UPDATE = "UPDATE main.items SET value = ? WHERE id = ?"
_UPDATED = "SELECT id, name, value FROM main.items WHERE id = ?"
_TABLE = (
    "SELECT 1 FROM main.sqlite_master WHERE type = 'table' AND name = 'items' COLLATE NOCASE"
    " AND sql NOT LIKE 'CREATE VIRTUAL %'"
)


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
        is_open = self._exclusion.is_empty
        async with write_transaction(self._uri, is_open=is_open) as connection:
            if not is_open:
                # A view may show anything.
                await _require_table(connection)
            yield connection


async def _require_table(connection: aiosqlite.Connection) -> None:
    async with connection.execute(_TABLE) as cursor:
        if await cursor.fetchone() is None:
            raise WriteRefused("There is no ordinary table items.", temporary=False)


async def _one(
    connection: aiosqlite.Connection, query: str, parameters: tuple[int, ...]
) -> Item | None:
    async with connection.execute(query, parameters) as cursor:
        row = await cursor.fetchone()
    return None if row is None else Item(*row)
