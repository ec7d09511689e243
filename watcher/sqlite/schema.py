"""Reads the schema of a private copy: which tables are watched and how their rows are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import apsw

from watcher.changes import Table
from watcher.sqlite.names import quote

_ROWID_NAMES = ("rowid", "_rowid_", "oid")
# Generated columns have these values of `hidden` in PRAGMA table_xinfo.
_GENERATED = (2, 3)
# In this order.
_AFFINITIES = {
    "INTEGER": ("INT",),
    "TEXT": ("CHAR", "CLOB", "TEXT"),
    "BLOB": ("BLOB",),
    "REAL": ("REAL", "FLOA", "DOUB"),
}


class Column(NamedTuple):
    """One column, as PRAGMA table_xinfo tells it.

    Args:
        name: its name.
        type: declared type, empty where there is none.
        required: whether it is NOT NULL.
        default: SQL of its default, None where there is none.
        key_index: place in the primary key from 1, 0 if it is not part of it.
        generated: whether it is computed from others.
        collation: how its texts are compared.
    """

    name: str
    type: str
    required: bool
    default: str | None
    key_index: int
    generated: bool
    collation: str = "BINARY"

    def affinity(self, *, strict: bool) -> str:
        """What becomes of values put into it, see https://sqlite.org/datatype3.html section 3.1.

        Args:
            strict: whether the table is a STRICT one, in which ANY means just that.
        """
        type_ = self.type.upper()
        if not type_ or (strict and type_ == "ANY"):
            return "BLOB"
        for affinity, parts in _AFFINITIES.items():
            if any(part in type_ for part in parts):
                return affinity
        return "NUMERIC"


class Identity(NamedTuple):
    """A way rows are known, for all rows of a table or for some of them.

    Args:
        columns: the columns that tell them apart, or the name of the rowid.
        collations: how each is compared, one per column.
        key: columns of the primary key, where having NULL in one decides who is known this way.
        with_null: whether just the rows with NULL in `key` are, or just those without.
    """

    columns: tuple[str, ...]
    collations: tuple[str, ...]
    key: tuple[str, ...] = ()
    with_null: bool = False

    def terms(self, alias: str) -> list[str]:
        """The columns as SQL, with their collations."""
        return [
            f"{alias}.{quote(column)} COLLATE {quote(collation)}"
            for column, collation in zip(self.columns, self.collations, strict=True)
        ]

    def condition(self, alias: str) -> str:
        """SQL that is true for the rows known this way."""
        if not self.key:
            return "1"
        has_null = " OR ".join(f"{alias}.{quote(column)} IS NULL" for column in self.key)
        return f"({has_null})" if self.with_null else f"NOT ({has_null})"


@dataclass(frozen=True, slots=True)
class TableSchema:
    """An ordinary table.

    Args:
        name: its name.
        sql: the statement that made it.
        root: number of its root page.
        without_rowid: whether it is a WITHOUT ROWID table.
        strict: whether it is a STRICT table.
        columns: the columns that clients get.
        key: columns of the declared primary key in key order, empty where none is declared.
        rowid: a name under which its rowid can be read, None where it is hidden or there is none.
        rowid_is_key: whether the primary key is a column that is the rowid.
        unique: columns and collations of each UNIQUE or PRIMARY KEY constraint.
        identities: how its rows are known; empty where they cannot be told apart.
        stored: all visible columns, those that are excluded too.
        told: the statement clients get, None where it is `sql`.
        obstacle: why its rows are not to be read, empty where they are.
    """

    name: str
    sql: str
    root: int
    without_rowid: bool
    strict: bool
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    rowid: str | None
    rowid_is_key: bool
    unique: frozenset[tuple[tuple[str, str], ...]]
    identities: tuple[Identity, ...]
    stored: tuple[Column, ...] = ()
    told: str | None = None
    obstacle: str = ""

    @property
    def statement(self) -> str:
        """The statement that made it, as clients may know it."""
        return self.sql if self.told is None else self.told

    @property
    def layout(self) -> list[tuple[Column, bool]]:
        """What lies where in a row: each column but for its name, and whether clients get it."""
        got = {column.name for column in self.columns}
        return [(column._replace(name=""), column.name in got) for column in self.stored]

    @property
    def rowid_column(self) -> str | None:
        """A column that is the rowid, by whatever name; None where there is none."""
        return self.key[0] if self.rowid_is_key else self.rowid

    @property
    def definition(self) -> Table:
        """What clients must know of it."""
        return Table(self.name, self.key, tuple(column.name for column in self.columns))

    @property
    def declared(self) -> dict[str, tuple[str, str]]:
        """Affinity and collation of each column: what a condition on its rows must know."""
        return {c.name: (c.affinity(strict=self.strict), c.collation) for c in self.columns}


class SchemaObject(NamedTuple):
    """An index, a view or a trigger.

    Args:
        type: `index`, `view` or `trigger`.
        name: its name.
        table: the table it belongs to; a view's own name.
        sql: the statement that made it.
    """

    type: str
    name: str
    table: str
    sql: str


@dataclass(frozen=True, slots=True)
class Schema:
    """All that is declared in one state of a database.

    Args:
        tables: the ordinary tables by name.
        objects: the other objects, by type and name.
        roots: root pages of all trees, those of indexes and of tables left out included.
    """

    tables: dict[str, TableSchema]
    objects: dict[tuple[str, str], SchemaObject]
    roots: frozenset[int]


def read_schema(db: apsw.Connection, database: str) -> Schema:
    """Reads the schema of an attached database.

    Virtual tables, their shadow tables and tables named `sqlite_…` are left out.

    Args:
        db: the connection.
        database: the name it is attached under.

    Raises:
        apsw.Error: the schema is corrupt.
    """
    ((encoding,),) = _rows(db, f"PRAGMA {database}.encoding")
    entries = _read_entries(db, database, encoding)
    kinds = _read_kinds(db, database, encoding)
    tables: dict[str, TableSchema] = {}
    objects: dict[tuple[str, str], SchemaObject] = {}
    for type_, name, table, root, sql in entries:
        if type_ == "table":
            kind, without_rowid, strict = kinds.get(name, ("", False, False))
            if kind == "table" and not name.lower().startswith("sqlite_"):
                try:
                    tables[name] = _read_table(db, database, name, sql, root, without_rowid, strict)
                except UnicodeDecodeError:
                    tables[name] = _nameless(name, sql, root)
        elif sql is not None:
            objects[type_, name] = SchemaObject(type_, name, table, sql)
    roots = frozenset((1, *(root for *_, root, _ in entries if root)))
    return Schema(tables, objects, roots)


def _read_entries(db: apsw.Connection, database: str, encoding: str) -> list[Any]:
    source = f"FROM {database}.sqlite_schema"
    try:
        return _rows(db, f"SELECT type, name, tbl_name, rootpage, sql {source}")
    except UnicodeDecodeError:
        # Comments in it may be anything; a name that is no text is refused where it is used.
        texts = ", ".join(f"CAST({name} AS BLOB)" for name in ("type", "name", "tbl_name", "sql"))
        rows = _rows(db, f"SELECT {texts}, rootpage {source}")
        return [
            (*(_text(data, encoding) for data in names), root, _text(sql, encoding))
            for *names, sql, root in rows
        ]


def _read_kinds(
    db: apsw.Connection, database: str, encoding: str
) -> dict[str, tuple[str, bool, bool]]:
    rows = db.execute(
        "SELECT CAST(name AS BLOB), type, wr, strict FROM temp.pragma_table_list WHERE schema=?",
        (database,),
    )
    return {
        data.decode(encoding, "replace"): (kind, bool(without_rowid), bool(strict))
        for data, kind, without_rowid, strict in rows
    }


def _nameless(name: str, sql: str, root: int) -> TableSchema:
    """A table of which SQLite cannot tell the columns as text; its rows are not read."""
    return TableSchema(name, sql, root, False, False, (), (), None, False, frozenset(), ())


def _text(data: bytes | None, encoding: str) -> str | None:
    return None if data is None else data.decode(encoding, "replace")


def _read_table(
    db: apsw.Connection,
    database: str,
    name: str,
    sql: str,
    root: int,
    without_rowid: bool,
    strict: bool,
) -> TableSchema:
    columns = _read_columns(db, database, name)
    key = tuple(c.name for c in sorted(columns, key=lambda c: c.key_index) if c.key_index)
    indexes = _rows(db, f"PRAGMA {database}.index_list({quote(name)})")
    constraints = {row[3]: _read_index(db, database, row[1]) for row in indexes if row[3] == "pk"}
    unique = {tuple(_read_index(db, database, row[1])) for row in indexes if row[3] in ("u", "pk")}
    rowid = None if without_rowid else _rowid_name(columns)
    is_rowid_alias = len(key) == 1 and not without_rowid and "pk" not in constraints
    if is_rowid_alias:
        unique.add(((key[0], "BINARY"),))
    collations = dict(constraints.get("pk", ()))
    return TableSchema(
        name=name,
        sql=sql,
        root=root,
        without_rowid=without_rowid,
        strict=strict,
        columns=columns,
        key=key,
        rowid=rowid,
        rowid_is_key=is_rowid_alias,
        unique=frozenset(unique),
        identities=_identities(columns, key, collations, rowid, without_rowid or is_rowid_alias),
        stored=columns,
    )


def _read_columns(db: apsw.Connection, database: str, table: str) -> tuple[Column, ...]:
    rows = _rows(db, f"PRAGMA {database}.table_xinfo({quote(table)})")
    return tuple(
        Column(
            name,
            type_ or "",
            bool(required),
            default,
            key_index,
            hidden in _GENERATED,
            db.column_metadata(database, table, name)[1],
        )
        for _, name, type_, required, default, key_index, hidden in rows
        if hidden != 1
    )


def _read_index(db: apsw.Connection, database: str, index: str) -> list[tuple[str, str]]:
    rows = _rows(db, f"PRAGMA {database}.index_xinfo({quote(index)})")
    return [(name, collation) for _, _, name, _, collation, is_key in rows if is_key]


def _rowid_name(columns: Sequence[Column]) -> str | None:
    taken = {column.name.lower() for column in columns}
    return next((name for name in _ROWID_NAMES if name not in taken), None)


def _identities(
    columns: Sequence[Column],
    key: tuple[str, ...],
    collations: dict[str, str],
    rowid: str | None,
    never_null: bool,
) -> tuple[Identity, ...]:
    by_rowid = (Identity((rowid,), ("BINARY",)),) if rowid is not None else ()
    if not key:
        return by_rowid
    how = tuple(collations.get(column, "BINARY") for column in key)
    required = {column.name for column in columns if column.required}
    if never_null or required.issuperset(key):
        return (Identity(key, how),)
    if rowid is None:
        return ()
    # SQLite allows NULL in a primary key that is not INTEGER, even several times.
    return (
        Identity(key, how, key, with_null=False),
        Identity((rowid,), ("BINARY",), key, with_null=True),
    )


def _rows(db: apsw.Connection, sql: str) -> list[Any]:
    return db.execute(sql).fetchall()
