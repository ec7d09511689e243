"""Turns rows that may have changed into changes: reads each in both states and compares them.

The result is that of `compare.py`, for these rows alone. A row is the same row where it has the
same key; where the key is not the rowid, the partner of a row may have another rowid, and SQLite
finds it by the key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

from watcher.changes import Change, Op, Row, RowBatch, Value, same
from watcher.sqlite.btree import Layout, Malformed
from watcher.sqlite.candidates import Part, index_cells, rowids
from watcher.sqlite.compare import (
    Comparison,
    by_identity,
    identity_key,
    new_rows,
    old_rows,
    same_row,
    update,
)
from watcher.sqlite.names import quote
from watcher.sqlite.record import leading_values, payload_of
from watcher.sqlite.rows import MARK, MAX_RESULT_COLUMNS, RowLost, RowReader, Statement
from watcher.sqlite.schema import Identity, TableSchema
from watcher.sqlite.touched import Forcing, Side, Touched, Unattributed

_Row = tuple[Value, ...]
# A quarter of a part of a changeset; each row fits on a page.
_LONGEST_RUN = 250


class _Known(NamedTuple):
    """A row of one state.

    Args:
        identity: number of the identity by which it is known.
        known: its values of that.
        row: its columns.
    """

    identity: int
    known: _Row
    row: Row

    def is_known_as(self, other: _Known) -> bool:
        """Tells whether another row is known in the same way by the same values."""
        return self.identity == other.identity and _is_same(self.known, other.known)


def can_follow(pair: Comparison) -> bool:
    """Tells whether equal cells of the two versions of a table are equal rows.

    They are where the columns are the same but for their names. A column that was added holds its
    default in rows nobody wrote, and only SQLite can tell what that is.
    """
    old, new = pair.old, pair.new
    if old.sql == new.sql and old.columns == new.columns:
        return _addressable(new)
    if any(column.generated for column in (*old.stored, *new.stored)):
        return False
    carried = pair.carried == tuple(column.name for column in old.columns)
    return carried and old.layout == new.layout and _addressable(old) and _addressable(new)


def _addressable(table: TableSchema) -> bool:
    # The rowid is read beside the columns.
    is_readable = table.rowid_column is not None and len(table.columns) < MAX_RESULT_COLUMNS
    return table.without_rowid or is_readable


class RowChanges:
    """The changes of one table, found from what was touched.

    Args:
        reader: reads from the connection on which both states are attached.
        pair: the two versions of the table.
    """

    def __init__(self, reader: RowReader, pair: Comparison) -> None:
        self._reader = reader
        self._pair = pair
        self._table = pair.new
        self._columns = tuple(pair.names)
        self._by_rowid = not self._table.without_rowid and (
            not self._table.key or self._table.rowid_is_key
        )
        if not self._table.without_rowid:
            old, new = self._exprs()
            self._old_one, self._old_range = self._statements("old", pair.old, "o", old)
            self._new_one, self._new_range = self._statements("new", pair.new, "n", new)

    def _exprs(self) -> tuple[list[str], list[str]]:
        old = [f"o.{quote(source)}" for source in self._pair.carried if source is not None]
        return old, [f"n.{quote(name)}" for name in self._columns]

    def _statements(
        self, database: str, table: TableSchema, alias: str, columns: list[str]
    ) -> tuple[Statement, Statement]:
        assert table.rowid_column is not None
        rowid = f"{alias}.{quote(table.rowid_column)}"
        source = f"FROM {database}.{quote(table.name)} {alias} WHERE {rowid}"
        # Behind the columns, where it is in nobody's way.
        columns = [*columns, rowid]
        one = self._reader.prepare(columns, f"{source}=?")
        many = self._reader.prepare(columns, f"{source} BETWEEN ? AND ? ORDER BY {rowid}")
        return one, many

    def changes(self, touched: Touched) -> Iterator[Change | RowBatch]:
        """Yields what happened to the rows.

        Args:
            touched: what the commit did to the table.

        Raises:
            apsw.Error: SQLite cannot read the rows.
            RowLost: a row is not found by its key.
            Unattributed: a page is not what it should be.
        """
        if self._table.without_rowid:
            yield from self._of_cells(touched)
            return
        for part in rowids(touched):
            for run in _runs(part):
                pairs = [
                    (before, after)
                    for before, after in self._pairs(run)
                    if before is None or after is None or not _is_same(before, after)
                ]
                if not self._by_rowid:
                    for before, after in pairs:
                        yield from self._same_key(before, after)
                elif pairs:
                    yield RowBatch(self._table.name, self._columns, self._table.key, pairs)

    def _pairs(self, run: Sequence[int]) -> Iterator[tuple[_Row | None, _Row | None]]:
        """Reads rows with successive rowids in both states."""
        if len(run) == 1:
            before, after = self._old_one.all(run[0]), self._new_one.all(run[0])
        else:
            before = self._old_range.all(run[0], run[-1])
            after = self._new_range.all(run[0], run[-1])
        if len(before) == len(after) == len(run):
            return zip(before, after, strict=True)
        if not before:
            return zip(repeat(None), after, strict=False)
        return _outer_join(before, after)

    def _same_key(self, before: _Row | None, after: _Row | None) -> Iterator[Change]:
        old = None if before is None else self._known("old", before[-1])
        new = None if after is None else self._known("new", after[-1])
        if old is not None and new is not None and old.is_known_as(new):
            identity = self._pair.new.identities[new.identity]
            yield from update(self._pair, identity, old.known, old.row, new.known, new.row)
            return
        if old is not None:
            yield from self._of_old(old)
        if new is not None:
            yield from self._of_new(new)

    def _known(self, database: str, rowid: Value) -> _Known | None:
        table = self._pair.old if database == "old" else self._pair.new
        assert table.rowid_column is not None
        alias = database[0]
        for number, identity in enumerate(table.identities):
            rest = (
                f"FROM {database}.{quote(table.name)} {alias}"
                f" WHERE {alias}.{quote(table.rowid_column)} = {MARK}"
                f" AND {identity.condition(alias)}"
            )
            for known, row in self._rows(database, identity, rest, (rowid,)):
                return _Known(number, known, row)
        return None

    def _rows(
        self, database: str, identity: Identity, rest: str, parameters: Sequence[Value]
    ) -> list[tuple[_Row, Row]]:
        read = old_rows if database == "old" else new_rows
        return list(read(self._reader, self._pair, identity, rest, parameters))

    def _partner(self, database: str, number: int, known: _Row) -> _Known | None:
        """The row of a state that is known by these values."""
        table = self._pair.old if database == "old" else self._pair.new
        identity = table.identities[number]
        rest = by_identity(database, table, identity, database[0])
        found = self._rows(database, identity, rest, known)
        if len(found) > 1:
            raise RowLost
        return _Known(number, *found[0]) if found else None

    def _of_old(self, old: _Known) -> Iterator[Change]:
        identity = self._pair.new.identities[old.identity]
        new = self._partner("new", old.identity, old.known)
        if new is None:
            key = identity_key(self._table, identity, old.known, old.row)
            yield Change(Op.DELETE, self._table.name, key, old.row, None)
        elif not same_row(old.row, new.row):
            yield from update(self._pair, identity, old.known, old.row, new.known, new.row)

    def _of_new(self, new: _Known) -> Iterator[Change]:
        # Where there was such a row, it is the one that tells.
        if self._partner("old", new.identity, new.known) is None:
            identity = self._pair.new.identities[new.identity]
            key = identity_key(self._table, identity, new.known, new.row)
            yield Change(Op.INSERT, self._table.name, key, None, new.row)

    def _of_cells(self, touched: Touched) -> Iterator[Change]:
        gone, came = index_cells(touched)
        for cell in gone:
            yield from self._of_old(self._of_cell("old", touched.layout, touched.before, cell))
        for cell in came:
            yield from self._of_new(self._of_cell("new", touched.layout, touched.after, cell))

    def _of_cell(self, database: str, layout: Layout, side: Side, cell: Forcing) -> _Known:
        try:
            record = payload_of(cell.cell, cell.kind, layout, side.read)
            values = leading_values(record, len(self._table.key), self._reader.encoding)
        except Malformed as error:
            raise Unattributed("malformed cell") from error
        found = self._partner(database, 0, tuple(values))
        if found is None:
            raise RowLost
        return found


def _runs(part: Part) -> Iterator[Sequence[int]]:
    """Cuts rowids into successive ones, which one statement reads; large rows go alone."""
    run: list[int] = []
    for rowid in part.rowids:
        alone = rowid in part.heavy
        if run and (alone or rowid != run[-1] + 1 or len(run) == _LONGEST_RUN):
            yield run
            run = []
        run.append(rowid)
        if alone:
            yield run
            run = []
    if run:
        yield run


def _outer_join(
    before: Sequence[_Row], after: Sequence[_Row]
) -> Iterator[tuple[_Row | None, _Row | None]]:
    """Puts rows of both states together by the rowid behind their values."""
    old, new = {row[-1]: row for row in before}, {row[-1]: row for row in after}
    for rowid in sorted(old.keys() | new.keys()):  # type: ignore[type-var]  # integers
        yield old.get(rowid), new.get(rowid)


def _is_same(left: _Row, right: _Row) -> bool:
    # Unequal to Python is unequal to SQLite; equal to Python are also 1 and 1.0, 0.0 and -0.0.
    return left == right and all(map(same, left, right))
