"""The statement that makes a table of some of another one's columns."""

from __future__ import annotations

from collections.abc import Mapping

from watcher.changes import Table
from watcher.sqlite.names import known_collation, quote

# INT, because a single column of the type INTEGER would become another name of the rowid.
_TYPES = {"INTEGER": " INT", "TEXT": " TEXT", "REAL": " REAL", "NUMERIC": " NUMERIC"}


def reduced_sql(table: Table, declared: Mapping[str, tuple[str, str]]) -> str:
    """Writes the statement that makes a table which takes the rows as clients get them.

    Constraints other than the key are left out: they may speak of columns that are left out.

    Args:
        table: its name, key and the columns it is to have.
        declared: affinity and collation of its columns.
    """
    parts = [_column(name, *declared.get(name, ("BLOB", "BINARY"))) for name in table.columns]
    if table.key:
        parts.append(f"PRIMARY KEY({', '.join(map(quote, table.key))})")
    return f"CREATE TABLE {quote(table.name)}({', '.join(parts)})"


def _column(name: str, affinity: str, collation: str) -> str:
    known = known_collation(collation)
    collate = "" if known == "BINARY" else f" COLLATE {known}"
    return f"{quote(name)}{_TYPES.get(affinity, '')}{collate}"
