"""Compares a whole table between two private copies: slow, never wrong.

It finds the changes where nothing better is known, and it is the oracle of whatever is faster. It
runs inside SQLite, needs memory only for the row at hand, and gives the rows that differ.

SQL's `=` would lose changes: 1 = 1.0, 0.0 = -0.0, 'a' = 'A' under NOCASE. So values are compared by
type first, then without collation and affinity, then by the sign of a zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from watcher.changes import Change, Op, Row, Value, same
from watcher.sqlite.names import quote
from watcher.sqlite.rows import MARK, RowLost, RowReader, key_of, select_known
from watcher.sqlite.schema import Identity, TableSchema


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions of one table.

    Args:
        old: the table as it was, attached as `old`.
        new: the table as it is, attached as `new`.
        carried: for each column of `new` the column of `old` it continues, or None.
        defaults: for each column of `new` what it holds in old rows where `carried` is None.
    """

    old: TableSchema
    new: TableSchema
    carried: tuple[str | None, ...]
    defaults: tuple[Value, ...]

    @property
    def names(self) -> list[str]:
        """Names of the columns of `new`."""
        return [column.name for column in self.new.columns]


def insert_all(reader: RowReader, table: TableSchema) -> Iterator[Change]:
    """Yields every row of a table that is new or came anew.

    Args:
        reader: reads from the connection on which the copy is attached as `new`.
        table: the table.
    """
    names = [column.name for column in table.columns]
    columns = [f"n.{quote(name)}" for name in names]
    for identity in table.identities:
        rest = (
            f"FROM new.{quote(table.name)} n WHERE {identity.condition('n')}{_ordered(table, 'n')}"
        )
        for known, row in select_known(reader, _known(identity, "n"), columns, rest):
            after = dict(zip(names, row, strict=True))
            yield Change(
                Op.INSERT, table.name, identity_key(table, identity, known, after), None, after
            )


def compare(reader: RowReader, pair: Comparison) -> Iterator[Change]:
    """Yields what happened to the rows of a table: deletes, then updates, then inserts.

    A row whose key changed is a delete and an insert.

    Args:
        reader: reads from the connection on which both copies are attached.
        pair: the two versions.

    Raises:
        apsw.Error: a table cannot be read.
        RowLost: a row is not found by its key.
    """
    identities = list(zip(pair.old.identities, pair.new.identities, strict=True))
    for old, new in identities:
        yield from _deletes(reader, pair, old, new)
    for old, new in identities:
        yield from _updates(reader, pair, old, new)
    for old, new in identities:
        yield from _inserts(reader, pair, old, new)


def _deletes(reader: RowReader, pair: Comparison, old: Identity, new: Identity) -> Iterator[Change]:
    rest = (
        f"FROM old.{quote(pair.old.name)} o WHERE {old.condition('o')} AND NOT EXISTS("
        f"SELECT 1 FROM new.{quote(pair.new.name)} n"
        f" WHERE {_match(old, new)} AND {new.condition('n')}){_ordered(pair.old, 'o')}"
    )
    for known, before in old_rows(reader, pair, old, rest):
        yield Change(
            Op.DELETE, pair.new.name, identity_key(pair.new, new, known, before), before, None
        )


def _inserts(reader: RowReader, pair: Comparison, old: Identity, new: Identity) -> Iterator[Change]:
    rest = (
        f"FROM new.{quote(pair.new.name)} n WHERE {new.condition('n')} AND NOT EXISTS("
        f"SELECT 1 FROM old.{quote(pair.old.name)} o"
        f" WHERE {_match(old, new)} AND {old.condition('o')}){_ordered(pair.new, 'n')}"
    )
    for known, after in new_rows(reader, pair, new, rest):
        yield Change(
            Op.INSERT, pair.new.name, identity_key(pair.new, new, known, after), None, after
        )


def _updates(reader: RowReader, pair: Comparison, old: Identity, new: Identity) -> Iterator[Change]:
    # CROSS JOIN keeps `old` the outer table: each row of `new` is then found by its key.
    rest = (
        f"FROM old.{quote(pair.old.name)} o CROSS JOIN new.{quote(pair.new.name)} n"
        f" ON {_match(old, new)} WHERE {old.condition('o')} AND {new.condition('n')}"
        f" AND {_differs(pair)}{_ordered(pair.old, 'o')}"
    )
    defaults = _difference_parameters(pair)
    known = [*_known(old, "o"), *_known(new, "n")]
    width = len(old.columns)
    for values in reader.select_exact(known, rest, defaults):
        of_old, of_new = values[:width], values[width:]
        before = _only(old_rows(reader, pair, old, by_identity("old", pair.old, old, "o"), of_old))
        after = _only(new_rows(reader, pair, new, by_identity("new", pair.new, new, "n"), of_new))
        yield from update(pair, new, of_old, before, of_new, after)


def _ordered(table: TableSchema, alias: str) -> str:
    """The order in which the rows lie.

    It has to be said: SQLite may go by an index for some columns and not for others, and rows that
    hold text that is none are read a second time in another way.
    """
    if table.rowid_column is not None:
        return f" ORDER BY {alias}.{quote(table.rowid_column)}"
    (identity, *_) = table.identities
    return f" ORDER BY {','.join(identity.terms(alias))}"


def by_identity(database: str, table: TableSchema, identity: Identity, alias: str) -> str:
    """SQL from FROM on that selects the row with given values of its identity."""
    where = " AND ".join(f"{term} = {MARK}" for term in identity.terms(alias))
    return (
        f"FROM {database}.{quote(table.name)} {alias} WHERE {where} AND {identity.condition(alias)}"
    )


def _only(found: Iterator[tuple[tuple[Value, ...], Row]]) -> Row:
    rows = [row for _, row in found]
    if len(rows) != 1:
        raise RowLost
    return rows[0]


def update(
    pair: Comparison,
    identity: Identity,
    old_known: Sequence[Value],
    before: Row,
    new_known: Sequence[Value],
    after: Row,
) -> Iterator[Change]:
    """Yields an update, or a delete and an insert where the key is another one.

    Args:
        pair: the two versions of the table.
        identity: how the row is known in the new one.
        old_known: what it was known by.
        before: the row as it was.
        new_known: what it is known by.
        after: the row as it is.
    """
    old_key = identity_key(pair.new, identity, old_known, before)
    new_key = identity_key(pair.new, identity, new_known, after)
    if same_row(old_key, new_key):
        yield Change(Op.UPDATE, pair.new.name, new_key, before, after)
    else:
        yield Change(Op.DELETE, pair.new.name, old_key, before, None)
        yield Change(Op.INSERT, pair.new.name, new_key, None, after)


def same_row(left: Row, right: Row) -> bool:
    """Tells whether two rows of the same columns are identical to SQLite's storage."""
    return all(same(value, right[name]) for name, value in left.items())


def old_rows(
    reader: RowReader,
    pair: Comparison,
    identity: Identity,
    rest: str,
    parameters: Sequence[Value] = (),
) -> Iterator[tuple[tuple[Value, ...], Row]]:
    """Yields what rows of the former version are known by, and the rows.

    Args:
        reader: reads from the connection on which both copies are attached.
        pair: the two versions.
        identity: how the rows are known.
        rest: the statement from FROM on, with the alias `o`.
        parameters: values for the marks in it.
    """
    # Columns that did not exist yet are filled in here rather than by SQL.
    held = [source for source in pair.carried if source is not None]
    columns = [f"o.{quote(source)}" for source in held]
    for known, row in select_known(reader, _known(identity, "o"), columns, rest, parameters):
        values = dict(zip(held, row, strict=True))
        yield (
            known,
            {
                name: default if source is None else values[source]
                for name, source, default in zip(
                    pair.names, pair.carried, pair.defaults, strict=True
                )
            },
        )


def new_rows(
    reader: RowReader,
    pair: Comparison,
    identity: Identity,
    rest: str,
    parameters: Sequence[Value] = (),
) -> Iterator[tuple[tuple[Value, ...], Row]]:
    """Yields what rows of the present version are known by, and the rows.

    Args:
        reader: reads from the connection on which both copies are attached.
        pair: the two versions.
        identity: how the rows are known.
        rest: the statement from FROM on, with the alias `n`.
        parameters: values for the marks in it.
    """
    columns = [f"n.{quote(name)}" for name in pair.names]
    for known, row in select_known(reader, _known(identity, "n"), columns, rest, parameters):
        yield known, dict(zip(pair.names, row, strict=True))


def _known(identity: Identity, alias: str) -> list[str]:
    return [f"{alias}.{quote(column)}" for column in identity.columns]


def _match(old: Identity, new: Identity) -> str:
    pairs = zip(old.terms("o"), new.terms("n"), strict=True)
    return " AND ".join(f"{left} = {right}" for left, right in pairs)


def _differs(pair: Comparison) -> str:
    tests = [
        _value_differs(MARK if source is None else f"o.{quote(source)}", f"n.{quote(name)}")
        for name, source in zip(pair.names, pair.carried, strict=True)
    ]
    return _balanced_or(tests)


def _value_differs(old: str, new: str) -> str:
    # A unary plus takes the affinity away; atan2 tells the sign of a zero.
    return (
        f"(typeof({old}) <> typeof({new}) OR +{old} IS NOT +{new} COLLATE BINARY"
        f" OR (typeof({new}) = 'real' AND {new} = 0.0"
        f" AND atan2({old}, -1.0) <> atan2({new}, -1.0)))"
    )


def _difference_parameters(pair: Comparison) -> list[Value]:
    marks = _value_differs(MARK, "").count(MARK)
    defaults = zip(pair.carried, pair.defaults, strict=True)
    return [value for source, value in defaults if source is None for _ in range(marks)]


def _balanced_or(tests: list[str]) -> str:
    # SQLite limits the depth of an expression to 1000; a table may have 2000 columns.
    if len(tests) == 1:
        return tests[0]
    half = len(tests) // 2
    return f"({_balanced_or(tests[:half])} OR {_balanced_or(tests[half:])})"


def identity_key(table: TableSchema, identity: Identity, known: Sequence[Value], row: Row) -> Row:
    """The key by which clients know a row that is known here by these values."""
    return key_of(table, row, known[0] if identity.columns == (table.rowid,) else None)
