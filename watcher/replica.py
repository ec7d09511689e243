"""Keeps a copy of a watched database up to date from its changesets alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from watcher.changes import Change, ChangeSet, InvalidText, LargeValue, Row, SchemaChange, Value
from watcher.errors import ReplicaError
from watcher.sqlite.names import quote

_ROWID_NAMES = ("rowid", "_rowid_", "oid")
_FORMER = "watcher former table"


def apply(connection: sqlite3.Connection, changeset: ChangeSet) -> None:
    """Brings a replica up to date, in one transaction.

    The replica is a database of its own: a reset empties it of all tables. It carries tables and
    rows; indexes, views and triggers of the source are not made in it, and its own triggers and
    foreign keys do not act while changes are applied; a trigger goes with its table where that is
    dropped or renamed. All rows that were are deleted before any that is now is inserted, because
    two rows that swap a unique value have no order of their own.

    Args:
        connection: of the replica; no transaction may be open on it.
        changeset: the next one after the last that was applied.

    Raises:
        ReplicaError: a transaction is open, the changeset does not fit what the replica holds, or
            the replica cannot be written; it is as it was before.
    """
    if connection.in_transaction:
        raise ReplicaError("a transaction is open on the replica's connection")
    with _plain_rows(connection), _quiet_constraints(connection), _transaction(connection):
        if changeset.reset is not None:
            _drop_all(connection)
        with _without_triggers(connection):
            _apply(connection, changeset.changes, is_content=changeset.position is None)


def _apply(
    connection: sqlite3.Connection,
    changes: Sequence[Change | SchemaChange],
    *,
    is_content: bool,
) -> None:
    for change in changes:
        if isinstance(change, SchemaChange) and change.object == "table":
            _change_table(connection, change)
    rows = [change for change in changes if isinstance(change, Change)]
    layouts: dict[str, _Layout] = {}
    for row in rows:
        if row.table not in layouts:
            layouts[row.table] = _layout(connection, row.table)
    for row in rows:
        # While the content is coming, a row may come both with its table and as a change.
        if row.before is not None or is_content:
            _delete(connection, layouts[row.table], row)
    for row in rows:
        if row.after is not None:
            _insert(connection, layouts[row.table], row.key, row.after)


@contextmanager
def _plain_rows(connection: sqlite3.Connection) -> Iterator[None]:
    # The application may have its rows made otherwise.
    before = connection.row_factory, connection.text_factory
    connection.row_factory, connection.text_factory = None, str
    try:
        yield
    finally:
        connection.row_factory, connection.text_factory = before


@contextmanager
def _quiet_constraints(connection: sqlite3.Connection) -> Iterator[None]:
    # These pragmas act only outside a transaction. Checks held for the state as a whole, which is
    # not there before the last row is; and renaming must not rewrite what refers to a table.
    wanted = {"foreign_keys": 0, "ignore_check_constraints": 1, "legacy_alter_table": 1}
    before = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted}
    for name, value in wanted.items():
        connection.execute(f"PRAGMA {name}={value}")
    try:
        yield
    finally:
        for name, value in before.items():
            connection.execute(f"PRAGMA {name}={value}")


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        # It may be refused too, while others read the replica.
        connection.execute("COMMIT")
    except BaseException as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            raise ReplicaError(f"the changeset does not fit the replica ({error})") from error
        raise


@contextmanager
def _without_triggers(connection: sqlite3.Connection) -> Iterator[None]:
    triggers = connection.execute(
        "SELECT name, tbl_name, sql FROM sqlite_schema WHERE type='trigger'"
    ).fetchall()
    for name, _, _ in triggers:
        connection.execute(f"DROP TRIGGER {quote(name)}")
    yield
    for _, table, sql in triggers:
        if _exists(connection, table):
            connection.execute(sql)


def _drop_all(connection: sqlite3.Connection) -> None:
    tables = connection.execute(
        "SELECT name FROM temp.pragma_table_list"
        " WHERE schema='main' AND type IN ('table','virtual')"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    ).fetchall()
    for (name,) in tables:
        connection.execute(f"DROP TABLE {quote(name)}")


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a table of the replica takes rows.

    Args:
        name: the table, quoted.
        stored: the columns that are not generated.
        key: columns of the declared primary key.
        rowid: a name for the rowid, None where it cannot be set apart from the columns.
    """

    name: str
    stored: tuple[str, ...]
    key: tuple[str, ...]
    rowid: str | None


def _layout(connection: sqlite3.Connection, table: str) -> _Layout:
    columns = connection.execute(f"PRAGMA table_xinfo({quote(table)})").fetchall()
    if not columns:
        raise ReplicaError(f"the replica has no table {table!r}")
    taken = {name.lower() for _, name, *_ in columns}
    without_rowid = connection.execute(
        "SELECT wr FROM temp.pragma_table_list WHERE schema='main' AND name=?", (table,)
    ).fetchone()[0]
    rowid = next((name for name in _ROWID_NAMES if name not in taken), None)
    stored = tuple(name for _, name, *_, hidden in columns if hidden == 0)
    key = tuple(row[1] for row in columns if row[5])
    return _Layout(quote(table), stored, key, None if without_rowid else rowid)


def _change_table(connection: sqlite3.Connection, change: SchemaChange) -> None:
    former = quote(change.renamed_from or change.table)
    exists = _exists(connection, change.renamed_from or change.table)
    if change.after is None or change.columns is None or not exists:
        # "If exists" would take a function of SQLite's that reads like a table for one.
        if _exists(connection, change.table):
            connection.execute(f"DROP TABLE {quote(change.table)}")
        if change.after is not None:
            _make_table(connection, change, change.after)
        return
    old = _layout(connection, change.renamed_from or change.table)
    connection.execute(f"ALTER TABLE {former} RENAME TO {quote(_FORMER)}")
    _make_table(connection, change, change.after)
    _carry_over(connection, change, old)
    connection.execute(f"DROP TABLE {quote(_FORMER)}")


def _make_table(connection: sqlite3.Connection, change: SchemaChange, sql: str) -> None:
    try:
        connection.execute(sql)
    except sqlite3.OperationalError as error:
        # It may name a function or a collation that only the application of the source has.
        if change.definition is None or error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            raise
        parts = [quote(column) for column in change.definition.columns]
        if change.definition.key:
            parts.append(f"PRIMARY KEY({','.join(map(quote, change.definition.key))})")
        connection.execute(f"CREATE TABLE {quote(change.table)}({','.join(parts)})")


def _exists(connection: sqlite3.Connection, table: str) -> bool:
    found = connection.execute(
        "SELECT 1 FROM sqlite_schema WHERE type IN ('table', 'view') AND name=? COLLATE NOCASE",
        (table,),
    ).fetchone()
    return found is not None


def _carry_over(connection: sqlite3.Connection, change: SchemaChange, old: _Layout) -> None:
    new = _layout(connection, change.table)
    targets, sources, values = [], [], []
    for column in change.columns or ():
        if column.name not in new.stored:
            continue
        targets.append(quote(column.name))
        if column.source is None:
            mark, value = _bound(column.default)
            sources.append(mark)
            values.append(value)
        else:
            sources.append(quote(column.source))
    if old.rowid is not None and new.rowid is not None:
        # Rows without a key of their own are known by it.
        targets.append(new.rowid)
        sources.append(old.rowid)
    connection.execute(
        f"INSERT INTO {new.name}({','.join(targets)})"
        f" SELECT {','.join(sources)} FROM {quote(_FORMER)}",
        values,
    )


def _bound(value: Value) -> tuple[str, Any]:
    if isinstance(value, InvalidText):
        # Text that is not valid UTF-8 has no form as a Python string.
        return "CAST(? AS TEXT)", value.data
    if isinstance(value, LargeValue):
        raise ReplicaError("a large value was not fetched")
    return "?", value


def _delete(connection: sqlite3.Connection, layout: _Layout, change: Change) -> None:
    tests, values = [], []
    if _is_by_rowid(layout, change.key) and layout.key:
        # Rows that are known by their key have rowids of the replica's own choosing.
        tests.append("(" + " OR ".join(f"{quote(name)} IS NULL" for name in layout.key) + ")")
    for name, value in _key(layout, change.key).items():
        mark, bound = _bound(value)
        # The first comparison finds the row by the key's index, the second tells 'a' from 'A'.
        tests.append(f"{quote(name)} = {mark} AND {quote(name)} = {mark} COLLATE BINARY")
        values += [bound, bound]
    connection.execute(f"DELETE FROM {layout.name} WHERE {' AND '.join(tests)}", values)


def _is_by_rowid(layout: _Layout, key: Row) -> bool:
    return "$rowid" in key and "$rowid" not in layout.key


def _key(layout: _Layout, key: Row) -> Row:
    if not _is_by_rowid(layout, key):
        return key
    if layout.rowid is None:
        raise ReplicaError(f"rows of {layout.name} cannot be known by rowid in the replica")
    return {layout.rowid: key["$rowid"]}


def _insert(connection: sqlite3.Connection, layout: _Layout, key: Row, row: Row) -> None:
    try:
        pairs = [(quote(name), _bound(row[name])) for name in layout.stored]
    except KeyError as error:
        raise ReplicaError(f"a row of {layout.name} has no column {error}") from error
    if _is_by_rowid(layout, key):
        ((name, rowid),) = _key(layout, key).items()
        if layout.key:
            _make_room(connection, layout, rowid)
        pairs.append((name, _bound(rowid)))
    names = ",".join(name for name, _ in pairs)
    marks = ",".join(mark for _, (mark, _) in pairs)
    connection.execute(
        f"INSERT INTO {layout.name}({names}) VALUES({marks})", [value for _, (_, value) in pairs]
    )


def _make_room(connection: sqlite3.Connection, layout: _Layout, rowid: Value) -> None:
    # A row that is known by its key has a rowid of the replica's own choosing, which may be the one
    # that a row without a key must have.
    connection.execute(
        f"UPDATE {layout.name} SET {layout.rowid} ="
        f" (SELECT min(min({layout.rowid}), 0) - 1 FROM {layout.name}) WHERE {layout.rowid} = ?",
        (rowid,),
    )
