"""JSON of many row changes at once.

What holds for a column of a batch is asked once: most hold nothing that JSON could not express, and
then the encoder takes the values as they are. The result is that of `encode_change`, row by row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from math import isfinite
from typing import NamedTuple

import msgspec

from watcher.changes import RowBatch, Value, same
from watcher.wire.values import (
    LARGE_VALUE_BYTES,
    SAFE_INTEGER,
    KeepLarge,
    encode_json,
    encode_value,
)

_Row = tuple[Value, ...]
_Encoded = tuple[object, ...]
# Fewer rows are not worth a question about their columns.
_FEW_ROWS = 8
# What msgspec does not take for the name of a field.
_UNNAMEABLE = re.compile(r'["\\\\\x00-\x1f]')
_PLAIN = frozenset((type(None), int, float, str))


def encode_batch(
    batch: RowBatch, keep: KeepLarge | None, max_bytes: int
) -> Iterator[tuple[bytes, int]]:
    """Encodes elements of a `changes` list.

    Args:
        batch: the changes.
        keep: as for `encode_value`.
        max_bytes: what comes out in one piece is not larger, where it is more than one element.

    Yields:
        JSON of some elements, joined by commas, and how many they are.
    """
    objects = _objects(batch, keep)
    data = encode_json(objects)
    if len(data) <= max_bytes:
        yield data[1:-1], len(objects)
    else:
        for element in objects:
            yield encode_json(element), 1


def _objects(batch: RowBatch, keep: KeepLarge | None) -> list[object]:
    befores = [before for before, _ in batch.pairs if before is not None]
    afters = [after for _, after in batch.pairs if after is not None]
    old, new = _encoded(befores, keep), _encoded(afters, keep)
    forms = _forms(batch.names, batch.key)
    table, row_of, key_of = batch.table, forms.row, forms.key
    if not befores:
        return [_Other("insert", table, key_of(row), None, row_of(row)) for row in new]
    if not afters:
        return [_Other("delete", table, key_of(row), row_of(row), None) for row in old]
    return list(_mixed(batch, forms, iter(old), iter(new)))


def _mixed(
    batch: RowBatch, forms: _Forms, old: Iterator[_Encoded], new: Iterator[_Encoded]
) -> Iterator[object]:
    names, table = batch.names, batch.table
    for before, after in batch.pairs:
        if before is None:
            row = next(new)
            yield _Other("insert", table, forms.key(row), None, forms.row(row))
        elif after is None:
            row = next(old)
            yield _Other("delete", table, forms.key(row), forms.row(row), None)
        else:
            row = next(new)
            changed = _changed(names, before, after)
            held = forms.row(next(old))
            yield _Update("update", table, forms.key(row), changed, held, forms.row(row))


class _Other(msgspec.Struct, gc=False):
    """An insert or a delete; objects with fixed fields are encoded in half the time of dicts."""

    op: str
    table: str
    key: object
    before: object
    after: object


class _Update(msgspec.Struct, gc=False):
    """An update."""

    op: str
    table: str
    key: object
    changed: list[str]
    before: object
    after: object


class _Forms(NamedTuple):
    """What makes encodable objects of the rows of a table; the rowid behind the values is left out.

    Args:
        row: of all values.
        key: of those of its key.
    """

    row: Callable[[_Encoded], object]
    key: Callable[[_Encoded], object]


@lru_cache(maxsize=64)
def _forms(names: tuple[str, ...], key: tuple[str, ...]) -> _Forms:
    width, places = len(names), [names.index(name) for name in key] or [len(names)]
    row_type, key_type = _form(names), _form(key or ("$rowid",))
    if len(places) == 1:
        (place,) = places
        return _Forms(lambda row: row_type(*row[:width]), lambda row: key_type(row[place]))
    return _Forms(
        lambda row: row_type(*row[:width]), lambda row: key_type(*[row[place] for place in places])
    )


def _form(names: tuple[str, ...]) -> Callable[..., object]:
    if any(_UNNAMEABLE.search(name) for name in names):
        return lambda *values: dict(zip(names, values, strict=True))
    fields = {f"f{place}": name for place, name in enumerate(names)}
    types = [(field, object) for field in fields]
    return msgspec.defstruct("Row", types, rename=fields, gc=False)


def _changed(names: tuple[str, ...], before: _Row, after: _Row) -> list[str]:
    return [
        name
        for name, old, new in zip(names, before, after)  # noqa: B905 - the rowid has no name
        if old is not new and (old != new or not same(old, new))
    ]


def _encoded(rows: Sequence[_Row], keep: KeepLarge | None) -> Sequence[_Encoded]:
    """Gives the values the form they have in JSON, those of plain columns as they are."""
    if len(rows) < _FEW_ROWS:
        return [tuple([encode_value(value, keep) for value in row]) for row in rows]
    columns: list[Sequence[object]] = list(zip(*rows, strict=True))
    odd = [place for place, column in enumerate(columns) if not _is_plain(column)]
    if not odd:
        return rows
    for place in odd:
        columns[place] = [encode_value(row[place], keep) for row in rows]
    return list(zip(*columns, strict=True))


def _is_plain(column: Sequence[object]) -> bool:
    types = set(map(type, column))
    if len(types) == 1:
        (only,) = types
        return only in _PLAIN and _is_plain_type(column, only)
    return types <= _PLAIN and all(
        _is_plain_type([value for value in column if type(value) is one], one) for one in types
    )


def _is_plain_type(values: Sequence[object], type_: type) -> bool:
    if type_ is int:
        return max(values) <= SAFE_INTEGER and min(values) >= -SAFE_INTEGER  # type: ignore[type-var,operator]  # all are integers
    if type_ is float:
        return all(map(isfinite, values))  # type: ignore[arg-type]  # all are reals
    if type_ is str:
        return max(map(len, values)) * 4 <= LARGE_VALUE_BYTES  # type: ignore[arg-type]  # all are texts
    return True
