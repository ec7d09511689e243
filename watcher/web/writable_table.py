"""What a write must know of a table: read within its transaction, so it is true until the commit.

The definitions that clients get come from the history, and may be older than the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiosqlite

from watcher.changes import Row, Value
from watcher.errors import UnknownTable, WatchError
from watcher.sqlite.exclusion import Exclusion
from watcher.sqlite.names import quote

_ROWID_NAMES = ("rowid", "_rowid_", "oid")
_STATEMENT = "SELECT sql FROM main.sqlite_schema WHERE type = 'table' AND name = ?"
_HIDDEN = 1  # of a virtual table; see `hidden` in PRAGMA table_xinfo


class Misfit(WatchError):
    """A write names what the table does not have.

    Args:
        table: its name.
        detail: one sentence for a person.
    """

    def __init__(self, table: str, detail: str) -> None:
        super().__init__(table, detail)
        self.table = table
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


@dataclass(frozen=True, slots=True)
class WritableTable:
    """An ordinary table of the file as it is now.

    Args:
        name: its name.
        columns: those that clients get, in order.
        key: columns of the declared primary key in key order, empty where none is declared.
        terms: what a row is found by, as SQL: its rowid, where that has a name, else its key.
        key_terms: SQL of the key, each column with the collation of the key's index.
        has_rowid: whether `terms` is the rowid.
        encoding: of texts in the file, as PRAGMA encoding names it.
        resolves: whether the table itself says what becomes of rows that conflict.
    """

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    terms: tuple[str, ...]
    key_terms: tuple[str, ...]
    has_rowid: bool
    encoding: str
    resolves: bool

    def key_of(self, row: Row, place: Sequence[Value]) -> Row:
        """The key by which clients know a row.

        Args:
            row: its columns.
            place: the values of `terms`.
        """
        if self.key and all(row[column] is not None for column in self.key):
            return {column: row[column] for column in self.key}
        return {"$rowid": place[0]}

    def check_columns(self, row: Row) -> None:
        """Refuses a row of columns that are not there; those that are excluded are not.

        Raises:
            Misfit: there is such a column.
        """
        for name in row:
            if name not in self.columns:
                raise Misfit(self.name, f"The table {self.name!r} has no column {name[:80]!r}.")


async def read_writable(
    connection: aiosqlite.Connection, name: str, exclusion: Exclusion
) -> WritableTable:
    """Reads what the file says of a table.

    Args:
        connection: within the transaction that is to write.
        name: of the table, exactly.
        exclusion: what of it does not exist.

    Raises:
        UnknownTable: there is no ordinary table of this name.
    """
    # Not as table-valued functions: a table of the file may have the name of one.
    listed = await _rows(connection, f"PRAGMA main.table_list({quote(name)})")
    kinds = [(kind, wr) for _, found, kind, _, wr, _ in listed if found == name]
    columns = await _rows(connection, f"PRAGMA main.table_xinfo({quote(name)})")
    names = [column[1] for column in columns if column[6] != _HIDDEN]
    is_text = all(isinstance(each, str) for each in names)
    if [kind for kind, _ in kinds] != ["table"] or _is_internal(name) or not is_text:
        raise UnknownTable(name)
    ((_, without_rowid),) = kinds
    ((sql,),) = await _rows(connection, _STATEMENT, name)
    key = tuple(c[1] for c in sorted(columns, key=lambda c: c[5]) if c[5])
    key_terms = await _key_terms(connection, name, key)
    rowid = None if without_rowid else _rowid_name(names)
    ((encoding,),) = await _rows(connection, "PRAGMA main.encoding")
    return WritableTable(
        name=name,
        columns=tuple(each for each in names if not exclusion.hides_column(name, each)),
        key=key,
        terms=key_terms if rowid is None else (rowid,),
        key_terms=key_terms,
        has_rowid=rowid is not None,
        encoding=encoding.lower(),
        resolves="conflict" in str(sql).lower(),
    )


async def _key_terms(
    connection: aiosqlite.Connection, table: str, key: Sequence[str]
) -> tuple[str, ...]:
    """The columns of a key as they are compared to be unique."""
    indexes = await _rows(connection, f"PRAGMA main.index_list({quote(table)})")
    collations: dict[str, str] = {}
    for _, index, _, origin, _ in indexes:
        if origin == "pk":
            parts = await _rows(connection, f"PRAGMA main.index_xinfo({quote(index)})")
            collations |= {column: how for _, _, column, _, how, in_key in parts if in_key}
    # A key that is the rowid has no index.
    return tuple(f"{quote(c)} COLLATE {quote(collations.get(c, 'BINARY'))}" for c in key)


def _rowid_name(columns: Sequence[str]) -> str | None:
    taken = {column.lower() for column in columns}
    return next((name for name in _ROWID_NAMES if name not in taken), None)


def _is_internal(name: str) -> bool:
    return name.lower().startswith("sqlite_")


async def _rows(connection: aiosqlite.Connection, sql: str, *parameters: str) -> list[Any]:
    return list(await connection.execute_fetchall(sql, parameters))
