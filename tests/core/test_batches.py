"""Many row changes at once: the JSON is that of `encode_change`, row by row."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.core.values import NAMES, VALUES
from watcher import wire
from watcher.changes import Change, InvalidText, Op, RowBatch, Value

LIMIT = 256 * 1024
_Row = tuple[Value, ...]
_Pair = tuple[_Row | None, _Row | None]
Large = dict[str, tuple[str, bytes]]


def change_of(batch: RowBatch, before: _Row | None, after: _Row | None) -> Change:
    """What a pair of rows stands for."""
    old = None if before is None else dict(zip(batch.names, before[:-1], strict=True))
    new = None if after is None else dict(zip(batch.names, after[:-1], strict=True))
    held, row = (new, after) if new is not None else (old, before)
    assert held is not None
    assert row is not None
    key = {name: held[name] for name in batch.key} or {"$rowid": row[-1]}
    op = Op.INSERT if old is None else Op.DELETE if new is None else Op.UPDATE
    return Change(op, batch.table, key, old, new)


def one_by_one(batch: RowBatch) -> tuple[list[bytes], Large]:
    large: Large = {}

    def keep(sha256: str, kind: str, data: bytes) -> None:
        large[sha256] = (kind, data)

    return [wire.encode_change(change_of(batch, *pair), keep) for pair in batch.pairs], large


def at_once(batch: RowBatch, max_bytes: int) -> tuple[list[tuple[bytes, int]], Large]:
    large: Large = {}

    def keep(sha256: str, kind: str, data: bytes) -> None:
        large[sha256] = (kind, data)

    return list(wire.encode_batch(batch, keep, max_bytes)), large


def check(batch: RowBatch, max_bytes: int = 1 << 30) -> None:
    expected, kept = one_by_one(batch)
    found, large = at_once(batch, max_bytes)
    assert b",".join(data for data, _ in found) == b",".join(expected)
    assert sum(count for _, count in found) == len(batch.pairs)
    assert all(len(data) <= max_bytes or count == 1 for data, count in found)
    assert large == kept


@st.composite
def batches(draw: st.DrawFn) -> RowBatch:
    """Rows of one table, each of which came, went, or is another one now."""
    names = tuple(draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)))
    key = draw(st.sampled_from([(), names[:1], names[::-1]]))
    row = st.tuples(*[VALUES] * len(names), st.integers(-(2**63), 2**63 - 1))
    kinds = draw(st.sampled_from([(0,), (1,), (2,), (0, 1, 2)]))
    pairs: list[_Pair] = []
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=5)):
        after = draw(row)
        # Of an update the key and the rowid stay, and some of the values.
        kept = draw(st.lists(st.booleans(), min_size=len(names), max_size=len(names)))
        other = draw(row)
        before = tuple(
            new if keep or name in key else old
            for name, new, old, keep in zip(names, after[:-1], other[:-1], kept, strict=True)
        )
        pairs.append(
            (
                None if kind == 0 else (*before, after[-1]),
                None if kind == 1 else after,
            )
        )
    return RowBatch(draw(NAMES), names, key, pairs)


def _batch(*pairs: _Pair, key: tuple[str, ...] = ("id",)) -> RowBatch:
    return RowBatch("items", ("id", "value"), key, pairs)


@given(batches(), st.integers(0, 400))
@example(_batch((None, (1, -0.0, 1)), (None, (2, 0.0, 2))), 0)
@example(_batch(((1, 0.0, 1), (1, -0.0, 1)), ((2, 1, 2), (2, 1.0, 2))), 0)
@example(_batch((None, (2**53, 2**53 - 1, 2**53))), 0)
@example(_batch((None, (1, 2**53, 1)), (None, (2, "a", 2)), (None, (3, None, 3))), 0)
@example(_batch((None, (1, float("inf"), 1)), (None, (2, float("-inf"), 2))), 0)
@example(_batch((None, (1, b"", 1)), ((1, InvalidText(b"\xff"), 1), None)), 0)
@example(_batch((None, (1, 1, 2**53)), ((1, 2, -(2**63)), None), key=()), 0)
def test_it_is_the_json_of_each_change(batch: RowBatch, max_bytes: int) -> None:
    """Whatever the values, the operations and the keys; in one piece or in many."""
    check(batch)
    check(batch, max_bytes)


@pytest.mark.parametrize("size", [LIMIT // 4, LIMIT // 4 + 1, LIMIT, LIMIT + 1])
@pytest.mark.parametrize(
    "letter", [b"x", "x", "é", "\U0001f600"], ids=["blob", "ascii", "latin", "astral"]
)
def test_large_values_travel_beside_the_stream(letter: str | bytes, size: int) -> None:
    """From the same length on, with the same digest, and of every row in which they are."""
    value: Value = letter * size
    check(_batch((None, (1, value, 1)), (None, (2, "small", 2))))
    check(_batch(((1, value, 1), (1, letter * (size + 1), 1)), ((2, value, 2), None)))


@pytest.mark.parametrize("width", [1, 20, 2000])
def test_pieces_are_bounded_where_they_are_more_than_one_row(width: int) -> None:
    """A row that is larger than a piece is a piece of its own."""
    pairs: Sequence[_Pair] = [(None, (n, "x" * width, n)) for n in range(200)]
    batch = _batch(*pairs)
    for max_bytes in (0, 1000, 100_000):
        check(batch, max_bytes)
    assert len(at_once(batch, 10_000_000)[0]) == 1
