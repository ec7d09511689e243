"""Which tables SQLite cannot read here, and why: the others go on without them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import apsw

from watcher.sqlite.rows import RowReader, read_samples
from watcher.sqlite.schema import Schema, TableSchema
from watcher.sqlite.watched_schema import ALL_EXCLUDED, KEY_EXCLUDED

_INDISTINCT = "its rows cannot be told apart: there is no key, and the rowid is hidden"
_NAMELESS = "its columns have names that are not text"
# Only a change of the schema ends these.
_LASTING = frozenset((_INDISTINCT, _NAMELESS, KEY_EXCLUDED, ALL_EXCLUDED))


class TableUnreadable(Exception):
    """SQLite cannot read a table here: a collation or function of the application, or corruption.

    Args:
        table: its name.
        detail: what SQLite says.
    """

    def __init__(self, table: str, detail: str) -> None:
        super().__init__(table, detail)
        self.table = table
        self.detail = detail


def probe(rows: RowReader, schema: Schema) -> Iterator[tuple[str, str]]:
    """Yields the tables of the state after that cannot be read, and why."""
    for table in schema.tables.values():
        why = _obstacle(rows, table)
        if why is not None:
            yield table.name, why


def still_unreadable(
    rows: RowReader,
    old: Schema,
    new: Schema,
    known: Mapping[str, str],
    failed: Mapping[str, str],
    *,
    retry: bool,
) -> Iterator[tuple[str, str]]:
    """Yields the tables to leave out this time, and why.

    Args:
        rows: reads from the connection on which both states are attached.
        old: the schema before.
        new: the schema after.
        known: tables left out so far, and why.
        failed: tables that turned out to be unreadable just now, and why.
        retry: whether those left out so far are tried again.
    """
    for name, table in new.tables.items():
        if name in failed:
            yield name, failed[name]
        elif old.tables.get(name) == table and name not in known:
            continue
        elif old.tables.get(name) == table and not retry:
            yield name, known[name]
        elif (why := _obstacle(rows, table)) is not None:
            yield name, why


def may_pass(unreadable: Mapping[str, str]) -> bool:
    """Tells whether one of these tables may become readable while the schema stays as it is."""
    return any(why not in _LASTING for why in unreadable.values())


def may_be_held(name: str, old: Schema, new: Schema, known: Mapping[str, str]) -> bool:
    """Tells whether clients may still hold rows of a table that cannot be read now.

    A failed read invents no deletes; but what is another table now is not held any more.
    """
    before = old.tables.get(name)
    same = before is not None and before.sql == new.tables[name].sql
    return same or name in known


def _obstacle(rows: RowReader, table: TableSchema) -> str | None:
    if table.obstacle:
        return table.obstacle
    if not table.identities:
        return _INDISTINCT if table.columns else _NAMELESS
    # Also where it is empty yet: what its order needs shows when SQLite prepares the statement.
    try:
        read_samples(rows, "new", table)
    except apsw.Error as error:
        return str(error)
    return None


def without(schema: Schema, names: Iterable[str]) -> Schema:
    """Leaves tables out of a schema."""
    excluded = set(names)
    tables = {name: table for name, table in schema.tables.items() if name not in excluded}
    return replace(schema, tables=tables)
