"""What of a changeset a client wants: tables, columns, operations, rows for which SQL is true.

A view through `tables`, `columns` and `where` is exact: a row that enters it arrives as an insert,
one that leaves it as a delete. `ops` acts after that, and makes it inexact.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from watcher import wire
from watcher.changes import LargeValue, Op, Table, Value
from watcher.errors import BadFilter
from watcher.history import Head
from watcher.sqlite.condition import Condition
from watcher.sqlite.declared import declared_by
from watcher.sqlite.reduced import reduced_sql
from watcher.wire import Element, RowChange, SchemaElement

ROW_OPS = frozenset((Op.INSERT, Op.UPDATE, Op.DELETE))


@dataclass(frozen=True, slots=True)
class Filter:
    """What is wanted; None is all.

    Args:
        tables: names of tables.
        columns: names of columns, each `column` or `table.column`; those of a key always come.
        ops: operations on rows; schema changes always come.
        where: a SQL expression over the columns of a row.
    """

    tables: frozenset[str] | None = None
    columns: frozenset[str] | None = None
    ops: frozenset[Op] | None = None
    where: str | None = None

    @classmethod
    def of(
        cls,
        *,
        tables: Collection[str] | None = None,
        columns: Collection[str] | None = None,
        ops: Collection[str] | None = None,
        where: str | None = None,
    ) -> Filter:
        """Makes a filter of any collections of names.

        Raises:
            BadFilter: `ops` names another operation than those on rows.
        """
        for name in sorted(frozenset(ops or ()) - ROW_OPS):
            raise BadFilter("ops", f"{name[:80]!r} is not insert, update or delete")
        return cls(
            tables=None if tables is None else frozenset(tables),
            columns=None if columns is None else frozenset(columns),
            ops=None if ops is None else frozenset(map(Op, ops)),
            where=where,
        )

    @property
    def is_by_table(self) -> bool:
        """Whether it looks into no row."""
        return self.columns is None and self.ops is None and self.where is None

    def takes(self, table: str) -> bool:
        """Whether a table is wanted."""
        return self.tables is None or table in self.tables

    def reduced(self, table: Table) -> Table:
        """A table with those of its columns that are wanted."""
        return replace(table, columns=self.chosen(table.name, table.columns, table.key))

    def chosen(self, table: str, columns: Collection[str], key: Collection[str]) -> tuple[str, ...]:
        """Those of a table's columns that are wanted, those of the key, or else the first.

        Args:
            table: its name.
            columns: all of them, in order.
            key: those of its key.
        """
        wanted = self.columns
        if wanted is None:
            return tuple(columns)
        found = tuple(c for c in columns if c in wanted or f"{table}.{c}" in wanted or c in key)
        # There is no table without columns.
        return found or tuple(columns)[:1]


ALL = Filter()


class ViewVoid(Exception):
    """A schema change moves rows in or out of the view without changing them."""


class Sieve:
    """Applies a filter; safe to use from any thread.

    Args:
        wanted: the filter.
        head: gives the tables as they are now, with affinity and collation of their columns.
        large: gives a value that travels beside the stream: `text` or `blob`, and its bytes.

    Raises:
        BadFilter: the expression is too long.
    """

    def __init__(
        self,
        wanted: Filter,
        head: Callable[[], Head],
        large: Callable[[str], tuple[str, bytes] | None],
    ) -> None:
        self.filter = wanted
        self._head = head
        self._large = large
        self._condition = None if wanted.where is None else Condition(wanted.where)

    @property
    def is_costly(self) -> bool:
        """Whether it asks SQLite, which is not done in an event loop."""
        return self._condition is not None

    def check(self, tables: Iterable[Table]) -> None:
        """Requires that the filter fits the tables there are.

        Raises:
            BadFilter: a column is named that no table has, or the condition does not fit.
        """
        taken = [table for table in tables if self.filter.takes(table.name)]
        self._require_columns(taken)
        if self._condition is not None:
            for table in taken:
                self._condition.reads(table.name, table.columns, self._declared(table.name))

    def _require_columns(self, tables: Iterable[Table]) -> None:
        known = {
            name
            for table in tables
            for column in table.columns
            for name in (column, f"{table.name}.{column}")
        }
        for name in sorted((self.filter.columns or frozenset()) - known):
            raise BadFilter("columns", f"no watched table has a column {name[:80]!r}")

    def _declared(self, table: str) -> Mapping[str, tuple[str, str]]:
        return self._head().declared.get(table, {})

    def sift(self, tail: bytes) -> bytes | None:
        """Leaves in a part what is wanted.

        Args:
            tail: what `wire.changes_tail` made.

        Returns:
            The part without the rest, or None where nothing is left and it is not the last.

        Raises:
            BadFilter: the condition does not fit the rows, or takes too long.
            ViewVoid: what a client holds of a table is not what it should hold now.
        """
        is_by_table = self.filter.is_by_table and not wire.has_schema_change(tail)
        if is_by_table and self.filter.tables is not None:
            return wire.filter_tail(tail, self.filter.tables)
        head, changes = wire.split_tail(tail)
        kept = self.sift_changes(changes)
        if not kept and not wire.is_last(head):
            return None
        return head + kept + b"]}"

    def sift_changes(self, changes: bytes) -> bytes:
        """Does what `sift` does with the elements of a `changes` list, joined by commas."""
        if not changes:
            return changes
        elements = wire.decode_elements(changes)
        return wire.encode_elements(self._sifted(elements))

    def _sifted(self, elements: Sequence[Element]) -> Iterator[Element]:
        concerned = [element for element in elements if self._concerns(element)]
        # The schema first: it may void all that rows would be held against.
        for element in concerned:
            if isinstance(element, SchemaElement):
                yield self._schema(element)
        rows = [element for element in concerned if isinstance(element, RowChange)]
        held, keys = self._held(rows), {t.name: t.key for t in self._head().tables}
        for row in rows:
            if (change := self._row(row, held, keys.get(row.table, ()))) is not None:
                yield change

    def _concerns(self, element: Element) -> bool:
        if isinstance(element, SchemaElement):
            return any(self.filter.takes(name) for name in element.tables)
        return self.filter.takes(element.table)

    def _row(
        self, change: RowChange, held: dict[int, tuple[bool, bool]], key: tuple[str, ...]
    ) -> RowChange | None:
        was, is_ = held.get(id(change), (change.before is not None, change.after is not None))
        if not was and not is_:
            return None
        op = Op.UPDATE if was and is_ else Op.INSERT if is_ else Op.DELETE
        before = self._columns(change, change.before, key) if was else None
        after = self._columns(change, change.after, key) if is_ else None
        changed = None
        if op is Op.UPDATE:
            assert after is not None
            changed = [name for name in change.changed or () if name in after]
            if not changed:
                return None
        if self.filter.ops is not None and op not in self.filter.ops:
            return None
        return RowChange(op.value, change.table, change.key, before, after, changed)

    def _columns(
        self, change: RowChange, row: dict[str, Any] | None, key: tuple[str, ...]
    ) -> dict[str, Any] | None:
        if row is None or self.filter.columns is None:
            return row
        # A row with NULL in its key is known by its rowid, and has the columns of the key as well.
        keys = {*wire.decode_json(bytes(change.key)), *key}
        return {name: row[name] for name in self.filter.chosen(change.table, row, keys)}

    def _held(self, changes: Sequence[RowChange]) -> dict[int, tuple[bool, bool]]:
        """For each row change whether the row was in the view, and whether it is."""
        condition = self._condition
        if condition is None:
            return {}
        shapes: dict[tuple[str, tuple[str, ...]], list[tuple[int, bool, dict[str, Any]]]] = {}
        for change in changes:
            for is_after, row in ((False, change.before), (True, change.after)):
                if row is not None:
                    shape = (change.table, tuple(row))
                    shapes.setdefault(shape, []).append((id(change), is_after, row))
        held: dict[int, tuple[bool, bool]] = {id(change): (False, False) for change in changes}
        for (table, columns), images in shapes.items():
            matches = self._matches(condition, table, columns, [row for _, _, row in images])
            for (number, is_after, _), is_in in zip(images, matches, strict=True):
                was, is_ = held[number]
                held[number] = (was, is_in) if is_after else (is_in, is_)
        return held

    def _matches(
        self,
        condition: Condition,
        table: str,
        columns: tuple[str, ...],
        rows: Iterable[dict[str, Any]],
    ) -> list[bool]:
        declared = self._declared(table)
        reads = condition.reads(table, columns, declared)
        # What it does not read need not be there: a large value is fetched, and may be gone.
        values = [
            [self._value(raw) if name in reads else None for name, raw in row.items()]
            for row in rows
        ]
        return condition.matches(table, columns, declared, values)

    def _value(self, raw: Any) -> Value:
        value = wire.decode_value(wire.decode_json(bytes(raw)))
        if not isinstance(value, LargeValue):
            return value
        found = self._large(value.sha256)
        if found is None:
            raise BadFilter("where", "a large value it asks for is not kept any more")
        return wire.large_content(*found)

    def _schema(self, element: SchemaElement) -> SchemaElement:
        body = element.body
        self._require_unmoved(body)
        if body["object"] != "table" or "definition" not in body:
            return element
        table = wire.decode_table(body["definition"])
        if not self.filter.takes(table.name):
            return element
        declared = self._declared(table.name)
        if self._condition is not None:
            self._require_same(body, self._condition.reads(table.name, table.columns, declared))
        if self.filter.columns is None:
            return element
        if body["sql"]["before"] is not None:
            now = self._head().tables
            self._require_columns([table, *(t for t in now if self.filter.takes(t.name))])
        return SchemaElement(self._reduced_schema(body, self.filter.reduced(table), declared))

    def _require_unmoved(self, body: dict[str, Any]) -> None:
        """Requires that no table has come into the filter, or left it, by a new name."""
        former = body.get("renamed_from")
        if former is None:
            return
        if self.filter.takes(former) != self.filter.takes(body["table"]):
            raise ViewVoid
        if self._condition is not None:
            # What was declared under the name it had is not known any more, and so not how
            # changes before this one were to be looked at.
            raise ViewVoid

    def _require_same(self, body: dict[str, Any], reads: frozenset[str]) -> None:
        """Requires that what the condition reads is what it has read before."""
        before, after = body["sql"]["before"], body["sql"]["after"]
        if before is None or body.get("columns") is None:
            return
        sources = {column["name"]: column.get("from") for column in body["columns"]}
        if any(sources.get(name) != name for name in reads):
            raise ViewVoid
        # Another affinity or collation makes a comparison of the same values turn out otherwise.
        was, is_ = declared_by(before), declared_by(after)
        if was is None or is_ is None or any(was.get(name) != is_.get(name) for name in reads):
            raise ViewVoid

    def _reduced_schema(self, body: dict[str, Any], table: Table, declared: Any) -> dict[str, Any]:
        reduced = {**body, "definition": wire.table_object(table)}
        reduced["sql"] = {**body["sql"], "after": reduced_sql(table, declared)}
        if body.get("columns") is not None:
            kept = [column for column in body["columns"] if column["name"] in table.columns]
            reduced["columns"] = kept
            if any(column.get("from") not in (None, *self._held_columns(body)) for column in kept):
                # A column that was not wanted under its old name: clients do not hold its values.
                raise ViewVoid
        return reduced

    def _held_columns(self, body: dict[str, Any]) -> frozenset[str]:
        """Names of the former columns that a client holds."""
        wanted = self.filter.columns or frozenset()
        former = body.get("renamed_from") or body["table"]
        keys = frozenset(body["definition"]["key"])
        names = {column["from"] for column in body["columns"] if column.get("from") is not None}
        return frozenset(n for n in names if n in wanted or f"{former}.{n}" in wanted or n in keys)
