"""What a statement declares of a table's columns."""

from __future__ import annotations

from contextlib import closing

import apsw

from watcher.sqlite.schema import TableSchema, read_schema

# What SQLite does to make a table. The statement comes from the watched file, and may be more.
_ADMITTED = frozenset((
    apsw.SQLITE_CREATE_TABLE,
    apsw.SQLITE_CREATE_INDEX,
    apsw.SQLITE_FUNCTION,
    apsw.SQLITE_INSERT,
    apsw.SQLITE_READ,
    apsw.SQLITE_REINDEX,
    apsw.SQLITE_UPDATE,
))  # fmt: skip


def declared_by(sql: str) -> dict[str, tuple[str, str]] | None:
    """Affinity and collation of each column of the table that a statement makes.

    Args:
        sql: `CREATE TABLE …`, as it stands in a schema.

    Returns:
        Both by the names of the columns, or None where it is no statement of that kind.
    """
    table = table_by(sql)
    return None if table is None else table.declared


def table_by(sql: str) -> TableSchema | None:
    """The table that a statement makes, None where it is no statement of that kind.

    Args:
        sql: `CREATE TABLE …`, as it stands in a schema.
    """
    with closing(apsw.Connection(":memory:")) as db:
        db.authorizer = _admit
        try:
            db.execute(sql).fetchall()
            db.authorizer = None
            tables = list(read_schema(db, "main").tables.values())
        except (apsw.Error, ValueError):
            return None
    return tables[0] if len(tables) == 1 else None


def _admit(action: int, *_: str | None) -> int:
    return apsw.SQLITE_OK if action in _ADMITTED else apsw.SQLITE_DENY
