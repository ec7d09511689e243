"""Reads parts of a table: some columns of its rows, rows at known places, how many there are.

A *place* is the number of an identity of the table and the values a row is known by in it; places
have the order in which pages of rows come. The number alone is the place before all rows known
this way.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from watcher.changes import Change, Op, Value
from watcher.errors import MalformedPosition
from watcher.sqlite.names import quote
from watcher.sqlite.rows import MARK, RowLost, RowReader, key_of, select_known
from watcher.sqlite.schema import TableSchema

MAX_VALUE_BYTES = 1024 * 1024
"""Bytes a value may have in a slice; SQLite tells them without reading the value."""

# So many rows between two looks at the clock or the size.
_STRIDE = 128
# Rows that are counted in one step, well below a millisecond where they are not large.
_STEP = 2000


class Slice(NamedTuple):
    """Some columns of rows that follow each other.

    Args:
        number: of the identity they are known by.
        rows: what each is known by, and then the columns.
        next: place to go on from, None at the end of the table.
        too_large: whether the row behind them has a value that is too large to be read.
    """

    number: int
    rows: list[tuple[Value, ...]]
    next: tuple[Value, ...] | None
    too_large: bool = False


class Counted(NamedTuple):
    """How many rows follow each other.

    Args:
        rows: so many.
        next: place to go on from, None at the end of the table.
    """

    rows: int
    next: tuple[Value, ...] | None


def read_slice(
    reader: RowReader,
    table: TableSchema,
    columns: Sequence[str],
    after: Sequence[Value] | None,
    *,
    limit: int,
    max_bytes: int,
    seconds: float,
) -> Slice:
    """Reads columns of the rows behind a place.

    Args:
        reader: reads from the connection on which the state is attached as `old`.
        table: the table.
        columns: names of the columns.
        after: the place, None for the first rows.
        limit: at most so many rows.
        max_bytes: stop about where their values reach this size.
        seconds: stop when this time has passed.

    Raises:
        MalformedPosition: `after` is no place in this table, or a column is not in it.
        RowLost: rows are not found again by their places.
    """
    number, values = _number(table, after)
    if not set(columns) <= {column.name for column in table.columns}:
        raise MalformedPosition(str(list(columns)))
    identity = table.identities[number]
    known = [f"t.{quote(name)}" for name in identity.columns]
    exprs = [_bounded(f"t.{quote(name)}") for name in columns]
    if exprs:
        exprs.append(" OR ".join(_is_large(f"t.{quote(name)}") for name in columns))
    rest = f"{_behind(table, number, values)} ORDER BY {_order(table, number)} LIMIT {limit}"
    until = time.monotonic() + seconds
    rows: list[tuple[Value, ...]] = []
    if exprs:
        pairs = select_known(reader, known, exprs, rest, values)
    else:
        pairs = ((place, (0,)) for place in reader.select_exact(known, rest, values))
    for place, (*row, is_large) in pairs:
        if values and not rows and place == tuple(values):
            raise RowLost
        if is_large:
            return Slice(number, rows, None, too_large=True)
        rows.append((*place, *row))
        max_bytes -= _size(rows[-1])
        is_pause = len(rows) % _STRIDE == 0 and time.monotonic() > until
        if max_bytes <= 0 or is_pause or len(rows) == limit:
            return Slice(number, rows, (number, *place))
    return Slice(number, rows, _end(table, number))


def count_stretch(
    reader: RowReader, table: TableSchema, after: Sequence[Value] | None, seconds: float
) -> Counted:
    """Counts the rows behind a place.

    Args:
        reader: reads from the connection on which the state is attached as `old`.
        table: the table.
        after: the place, None for the first rows.
        seconds: stop soon after this time.

    Raises:
        MalformedPosition: `after` is no place in this table.
    """
    until = time.monotonic() + seconds
    number, values = _number(table, after)
    known = [f"t.{quote(name)}" for name in table.identities[number].columns]
    counted = 0
    while True:
        rest = _behind(table, number, values)
        step = f"{rest} ORDER BY {_order(table, number)} LIMIT 1 OFFSET {_STEP - 1}"
        last = list(reader.select_exact(known, step, values))
        if not last:
            ((count,),) = reader.select(["count(*)"], rest, values)
            assert isinstance(count, int)
            return Counted(counted + count, _end(table, number))
        counted, values = counted + _STEP, last[0]
        if time.monotonic() > until:
            return Counted(counted, (number, *values))


def read_at(reader: RowReader, table: TableSchema, place: Sequence[Value]) -> Change | None:
    """Reads the row at a place as an insert; None where there is none.

    Args:
        reader: reads from the connection on which the state is attached as `old`.
        table: the table.
        place: the place.

    Raises:
        MalformedPosition: it is no place in this table.
    """
    number, values = _number(table, place)
    if not values:
        raise MalformedPosition(str(list(place)))
    terms = table.identities[number].terms("t")
    rest = (
        f"FROM old.{quote(table.name)} t WHERE {table.identities[number].condition('t')}"
        f" AND ({','.join(terms)}) = ({','.join([MARK] * len(terms))})"
    )
    names = [column.name for column in table.columns]
    for row in reader.select([f"t.{quote(name)}" for name in names], rest, values):
        after = dict(zip(names, row, strict=True))
        return Change(Op.INSERT, table.name, key_of(table, after, values[0]), None, after)
    return None


def _number(table: TableSchema, place: Sequence[Value] | None) -> tuple[int, Sequence[Value]]:
    """The number of a place's identity and its values, none for the place before all of it."""
    if place is None:
        place = (0,)
    number, *values = place
    if not isinstance(number, int) or not 0 <= number < len(table.identities):
        raise MalformedPosition(str(list(place)))
    if len(values) not in (0, len(table.identities[number].columns)):
        raise MalformedPosition(str(list(place)))
    return number, values


def _end(table: TableSchema, number: int) -> tuple[Value, ...] | None:
    """The place behind all rows of an identity."""
    return (number + 1,) if number + 1 < len(table.identities) else None


def _behind(table: TableSchema, number: int, values: Sequence[Value]) -> str:
    identity = table.identities[number]
    where = identity.condition("t")
    if values:
        terms = identity.terms("t")
        where += f" AND ({','.join(terms)}) > ({','.join([MARK] * len(terms))})"
    return f"FROM old.{quote(table.name)} t WHERE {where}"


def _is_large(column: str) -> str:
    return f"coalesce(octet_length({column}), 0) > {MAX_VALUE_BYTES}"


def _bounded(column: str) -> str:
    return f"CASE WHEN {_is_large(column)} THEN NULL ELSE {column} END"


def _order(table: TableSchema, number: int) -> str:
    return ",".join(table.identities[number].terms("t"))


def _size(row: tuple[Value, ...]) -> int:
    return 16 * len(row) + sum(len(v) for v in row if isinstance(v, str | bytes))
