"""What happened to the schema between two states, and how the rows of each table carry over.

The guess how a table became another one (renamed, column added, dropped, renamed) need not be
right, only applicable: what it does not express follows as row changes. It is applicable where each
column that carries over keeps its type and constraints; otherwise the rows held are void.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import apsw

from watcher.changes import ColumnSource, InvalidText, SchemaChange, Value
from watcher.sqlite.compare import Comparison
from watcher.sqlite.schema import Column, Schema, SchemaObject, TableSchema


@dataclass(frozen=True, slots=True)
class Plan:
    """What to tell of the schema, and what to do for the rows.

    Args:
        changes: the schema changes, in the order in which they must be told.
        compare: tables whose rows carry over.
        insert: tables whose rows come anew.
    """

    changes: tuple[SchemaChange, ...]
    compare: tuple[Comparison, ...]
    insert: tuple[TableSchema, ...]


def plan_changes(db: apsw.Connection, old: Schema, new: Schema, void: frozenset[str]) -> Plan:
    """Finds out how one schema became the other.

    Args:
        db: a connection whose main database is scratch; defaults are evaluated in it.
        old: the schema as it was.
        new: the schema as it is.
        void: tables whose held rows cannot be relied on and must come anew.
    """
    renamed = _renamed_tables(old, new)
    gone = old.tables.keys() - new.tables.keys() - renamed.keys()
    changes = [_dropped(old.tables[name]) for name in sorted(gone)]
    comparisons, inserts = [], []
    former = {after: before for before, after in renamed.items()}
    for name, table in new.tables.items():
        before = old.tables.get(former.get(name, name))
        pair = None if before is None or name in void else _carry_over(db, before, table)
        changes.extend(_table_change(before, table, pair))
        if pair is None:
            inserts.append(table)
        else:
            comparisons.append(pair)
    changes.extend(_object_changes(old, new))
    return Plan(tuple(changes), tuple(comparisons), tuple(inserts))


def _renamed_tables(old: Schema, new: Schema) -> dict[str, str]:
    """Maps old names to new ones, by the root page, which a renaming does not move."""
    appeared = {t.root: t for name, t in new.tables.items() if name not in old.tables}
    return {
        name: appeared[table.root].name
        for name, table in old.tables.items()
        if name not in new.tables
        and table.root in appeared
        and _is_carried(table, appeared[table.root])
    }


def _dropped(table: TableSchema) -> SchemaChange:
    return SchemaChange(table.name, "table", table.name, table.statement, None)


def table_made(table: TableSchema) -> SchemaChange:
    """The change that makes a table: new and empty."""
    return SchemaChange(
        table.name, "table", table.name, None, table.statement, definition=table.definition
    )


def _table_change(
    before: TableSchema | None, after: TableSchema, pair: Comparison | None
) -> Iterator[SchemaChange]:
    if before is None:
        yield table_made(after)
    elif pair is None:
        yield replace(table_made(after), before=before.statement)
    elif not _unchanged(before, after):
        columns = zip(pair.names, pair.carried, pair.defaults, strict=True)
        yield replace(
            table_made(after),
            before=before.statement,
            renamed_from=before.name if before.name != after.name else None,
            columns=tuple(ColumnSource(*column) for column in columns),
        )


def _unchanged(before: TableSchema, after: TableSchema) -> bool:
    told = [(table.name, table.statement, table.columns) for table in (before, after)]
    return told[0] == told[1]


def _object_changes(old: Schema, new: Schema) -> Iterator[SchemaChange]:
    for key in sorted(old.objects.keys() | new.objects.keys()):
        before, after = old.objects.get(key), new.objects.get(key)
        if before != after:
            yield _object_change(before, after)


def _object_change(before: SchemaObject | None, after: SchemaObject | None) -> SchemaChange:
    either = after or before
    assert either is not None
    return SchemaChange(
        table=either.table,
        object=either.type,
        name=either.name,
        before=None if before is None else before.sql,
        after=None if after is None else after.sql,
    )


def _carry_over(db: apsw.Connection, old: TableSchema, new: TableSchema) -> Comparison | None:
    if not _is_carried(old, new):
        return None
    sources = _sources(old, new)
    defaults = tuple(
        None if source is not None else _default(db, column)
        for column, source in zip(new.columns, sources, strict=True)
    )
    return Comparison(old, new, sources, defaults)


def _is_carried(old: TableSchema, new: TableSchema) -> bool:
    """Tells whether each held row can become a row of the new table, constraints included."""
    if (old.without_rowid, old.strict) != (new.without_rowid, new.strict) or not new.identities:
        return False
    sources = _sources(old, new)
    by_name = {column.name: column for column in old.columns}
    for column, source in zip(new.columns, sources, strict=True):
        if source is None:
            if (column.required and column.default is None) or column.key_index:
                return False
        elif not _same_shape(by_name[source], column):
            return False
    return _same_keys(old, new, sources)


def _same_shape(old: Column, new: Column) -> bool:
    return (old.type, old.required, old.key_index, old.generated) == (
        new.type,
        new.required,
        new.key_index,
        new.generated,
    )


def _same_keys(old: TableSchema, new: TableSchema, sources: tuple[str | None, ...]) -> bool:
    names = {
        source: column.name
        for column, source in zip(new.columns, sources, strict=True)
        if source is not None
    }
    kept = {
        tuple((names.get(column, ""), collation) for column, collation in columns)
        for columns in old.unique
    }
    how = [(identity.collations, identity.with_null) for identity in old.identities]
    return (
        kept == new.unique
        and how == [(identity.collations, identity.with_null) for identity in new.identities]
        and tuple(names.get(column) for column in old.key) == new.key
    )


def _sources(old: TableSchema, new: TableSchema) -> tuple[str | None, ...]:
    """For each new column the old one of the same name, or the one it is a new name of."""
    old_names = [column.name for column in old.columns]
    new_names = [column.name for column in new.columns]
    if len(old_names) == len(new_names):
        # Renaming keeps columns in their places.
        free = {name for name in old_names if name not in new_names}
        return tuple(
            name if name in old_names else (before if before in free else None)
            for before, name in zip(old_names, new_names, strict=True)
        )
    return tuple(name if name in old_names else None for name in new_names)


def _default(db: apsw.Connection, column: Column) -> Value:
    """What rows older than an added column hold in it: its default, converted to its type."""
    if column.default is None:
        return None
    db.execute("DROP TABLE IF EXISTS main.scratch").fetchall()
    declaration = f"x {column.type} DEFAULT {column.default}"
    try:
        db.execute(f"CREATE TABLE main.scratch({declaration})").fetchall()
        db.execute("INSERT INTO main.scratch DEFAULT VALUES").fetchall()
        value: Value = db.execute("SELECT x FROM main.scratch").get
    except (apsw.Error, UnicodeDecodeError):
        # Only a guess is lost: the row comparison brings what the rows really hold.
        return None
    return value if not isinstance(value, InvalidText) else None
