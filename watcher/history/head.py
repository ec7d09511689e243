"""Where a history stands, and one part of it: what the writing and the reading side share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import apsw

from watcher import wire
from watcher.changes import Position, ResetReason, Table

FILE_NAME = "state.db"
# A sequence number is an offset and, in its low bits, the part within it.
PART_BITS = 20
PART_MASK = (1 << PART_BITS) - 1

Declared = Mapping[str, Mapping[str, tuple[str, str]]]
"""Affinity and collation of each column, by the names of table and column."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a history stands.

    Args:
        epoch: its epoch.
        offset: of the newest changeset, 0 at the beginning.
        chain: the hash chain up to it.
        floor: offset of the newest changeset that is no longer kept.
        tables: the watched tables.
        reason: why this epoch began.
        previous: the epoch before it, empty where there was none.
        declared: affinity and collation of the columns of each watched table.
    """

    epoch: str
    offset: int
    chain: bytes
    floor: int
    tables: tuple[Table, ...]
    reason: ResetReason
    previous: str
    declared: Declared

    @property
    def position(self) -> Position:
        """The position of the newest changeset."""
        return Position(self.epoch, self.offset, short_hash(self.chain))


class Entry(NamedTuple):
    """One part of a changeset, as history keeps it.

    A tuple, because there are many: a client that comes back is given them by the thousand.

    Args:
        seq: its place in the order of all parts.
        position: what a client has reached when it has this part.
        tail: the encoded message from its time on, see `wire.changes_tail`.
        last: whether it completes its changeset.
        time: when the commit was seen, in seconds since 1970.
    """

    seq: int
    position: Position
    tail: bytes
    last: bool
    time: float


def short_hash(chain: bytes) -> str:
    """The four hex digits of a chain that a position shows."""
    return chain[:2].hex()


def sequence(offset: int, part: int | None) -> int:
    """The place of a part in the order of all parts; without a part, of the changeset's end."""
    return offset << PART_BITS | (PART_MASK if part is None else part)


def read_head(db: apsw.Connection) -> Head:
    """Reads where the history stands; `epoch` is empty where none has begun."""
    meta: dict[str, Any] = dict(db.execute("SELECT name, value FROM meta").fetchall())  # type: ignore[arg-type]  # rows are pairs
    row = db.execute("SELECT seq, chain FROM history ORDER BY seq DESC LIMIT 1").get
    return Head(
        epoch=meta.get("epoch", ""),
        offset=row[0] >> PART_BITS if row else meta.get("floor", 0),
        chain=row[1] if row else meta.get("floor_chain", b""),
        floor=meta.get("floor", 0),
        tables=_decode_tables(meta.get("tables", "[]")),
        reason=ResetReason(meta.get("reason", ResetReason.START.value)),
        previous=meta.get("previous_epoch", ""),
        declared=_decode_declared(meta.get("declared", "{}")),
    )


@lru_cache(maxsize=8)
def _decode_tables(text: str) -> tuple[Table, ...]:
    # The same from changeset to changeset, nearly always.
    return tuple(wire.decode_table(table) for table in wire.decode_json(text))


@lru_cache(maxsize=8)
def _decode_declared(text: str) -> Declared:
    return {
        table: {name: (affinity, collation) for name, (affinity, collation) in columns.items()}
        for table, columns in wire.decode_json(text).items()
    }
