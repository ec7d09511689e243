"""Reads a schema as far as it is not excluded: what all that follows knows of the database.

Nothing else in the package reads a schema, so what is left out here is in no row that is read, no
definition, no statement and no comparison.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

import apsw

from watcher.sqlite.exclusion import Exclusion, folded
from watcher.sqlite.reduced import reduced_sql
from watcher.sqlite.schema import Schema, SchemaObject, TableSchema, read_schema

_log = logging.getLogger(__name__)

# They do not name the column: they are told to clients.
KEY_EXCLUDED = "a column of its key is excluded, and nothing else tells its rows apart"
ALL_EXCLUDED = "all its columns are excluded"


def read_watched(db: apsw.Connection, database: str, exclusion: Exclusion) -> Schema:
    """Reads what is not excluded of the schema of an attached database; see `read_schema`.

    Args:
        db: the connection.
        database: the name it is attached under.
        exclusion: what to leave out.

    Raises:
        apsw.Error: the schema is corrupt.
    """
    schema = read_schema(db, database)
    if exclusion.is_empty:
        return schema
    hidden = [name for name in schema.tables if exclusion.hides_table(name)]
    tables = {
        name: _shown(table, hidden, exclusion)
        for name, table in schema.tables.items()
        if name not in hidden
    }
    objects = {
        place: found
        for place, found in schema.objects.items()
        if _is_told(found, tables.get(found.table), exclusion)
    }
    return replace(schema, tables=tables, objects=objects)


def report_unmatched(db: apsw.Connection, database: str, exclusion: Exclusion) -> None:
    """Says which names of an exclusion nothing bears, as after a slip of the pen.

    Args:
        db: the connection.
        database: the name a database is attached under.
        exclusion: what is left out of it.

    Raises:
        apsw.Error: the schema is corrupt.
    """
    if exclusion.is_empty:
        return
    schema = read_schema(db, database)
    tables = {folded(name) for name in schema.tables}
    columns = {
        f"{folded(name)}.{folded(column.name)}"
        for name, table in schema.tables.items()
        for column in table.stored
    }
    for name in sorted(exclusion.names - tables - columns):
        _log.warning("no table or column is called %s, so nothing is excluded by that yet", name)
    for name in sorted((exclusion.tables or frozenset()) - tables):
        _log.warning("no table is called %s yet", name)


def _shown(table: TableSchema, hidden: Iterable[str], exclusion: Exclusion) -> TableSchema:
    """A table without its excluded columns."""
    if not _gives_away(table, hidden, exclusion):
        return table
    columns = tuple(c for c in table.columns if not exclusion.hides_column(table.name, c.name))
    shown = {column.name for column in columns}
    unique = (each for each in table.unique if all(name in shown for name, _ in each))
    reduced = replace(
        table,
        columns=columns,
        key=tuple(name for name in table.key if name in shown),
        unique=frozenset(unique),
    )
    reduced = replace(reduced, told=reduced_sql(reduced.definition, reduced.declared))
    if reduced.key != table.key:
        return _withheld(reduced, KEY_EXCLUDED)
    return _withheld(reduced, ALL_EXCLUDED) if table.columns and not columns else reduced


def _withheld(table: TableSchema, why: str) -> TableSchema:
    return replace(table, rowid_is_key=False, identities=(), obstacle=why)


def _gives_away(table: TableSchema, hidden: Iterable[str], exclusion: Exclusion) -> bool:
    """Whether the statement of a table may not be told as it is.

    Also where an excluded column is not there just now: it comes and goes unnoticed then.
    """
    sql = folded(table.sql)
    # Which tables an allow list leaves out is not known where they are gone again.
    refers = exclusion.tables is not None and _mentions(sql, "references")
    return (
        refers
        or bool(exclusion.columns_of(table.name))
        or any(_mentions(sql, name) for name in exclusion.names)
        or any(_mentions(sql, folded(name)) for name in hidden)
        or any(_mentions(sql, name) and _mentions(sql, c) for name, c in exclusion.pairs())
    )


def _is_told(found: SchemaObject, table: TableSchema | None, exclusion: Exclusion) -> bool:
    """Whether an index, a view or a trigger may be told: its statement names nothing excluded."""
    if table is not None and table.obstacle:
        return False
    sql = folded(found.sql)
    if found.type == "index":
        return not exclusion.hides_table(found.table) and not any(
            _mentions(sql, column) for column in exclusion.columns_of(found.table)
        )
    # These may name anything, and under an allow list most of what there is is excluded.
    words = {*exclusion.names, *(column for _, column in exclusion.pairs())}
    return exclusion.tables is None and not any(_mentions(sql, word) for word in words)


def _mentions(sql: str, name: str) -> bool:
    """Whether a folded statement names something, in a comment or a text too."""
    return _pattern(name).search(sql) is not None


@lru_cache(maxsize=1024)
def _pattern(name: str) -> re.Pattern[str]:
    # Quotation marks of the kind a name is enclosed in are doubled in it.
    written = {name, *(name.replace(mark, 2 * mark) for mark in "\"'`")}
    either = "|".join(re.escape(text) for text in sorted(written))
    return re.compile(rf"(?<![\w$])(?:{either})(?![\w$])")
