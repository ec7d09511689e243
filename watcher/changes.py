"""The vocabulary: what a change is. Bottom layer, no I/O, no clock.

A *changeset* is what one commit (or several merged ones) did to the rows and the schema of a
database. It is identified by a *position* within an *epoch*: offsets of one epoch have no gaps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from watcher.errors import MalformedPosition


@dataclass(frozen=True, slots=True)
class InvalidText:
    """A TEXT value whose bytes are not valid UTF-8; SQLite stores such values unchecked.

    Args:
        data: the bytes as SQLite gives them in UTF-8.
    """

    data: bytes


@dataclass(frozen=True, slots=True)
class LargeValue:
    """Stands for a value over 256 KiB that travels beside the stream.

    Args:
        type: `text` or `blob`.
        bytes: length of the value in bytes (text: as UTF-8).
        sha256: hex digest of those bytes, the name under which the value is fetched.
    """

    type: str
    bytes: int
    sha256: str


Value: TypeAlias = None | int | float | str | bytes | InvalidText | LargeValue
Row: TypeAlias = Mapping[str, Value]


class Op(StrEnum):
    """What happened to a row, or that the schema changed."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    SCHEMA = "schema"


class ResetReason(StrEnum):
    """Why a stream could not go on from where it was."""

    START = "start"
    POSITION_EXPIRED = "position_expired"
    UNKNOWN_EPOCH = "unknown_epoch"
    REPLACED = "replaced"


_POSITION = re.compile(r"([0-9a-z]{1,16}):([0-9]{1,18})(?:\.([0-9]{1,9}))?~([0-9a-f]{4})")


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the history, opaque to clients; as text `epoch:offset~hash`.

    Args:
        epoch: names one unbroken history of one database.
        offset: number of the changeset, without gaps within the epoch; 0 is its beginning.
        hash: four hex digits of the hash chain over the history up to here.
        part: number of the part within the changeset, None where the changeset is complete.
    """

    epoch: str
    offset: int
    hash: str
    part: int | None = None

    def __str__(self) -> str:
        part = "" if self.part is None else f".{self.part}"
        return f"{self.epoch}:{self.offset}{part}~{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Reads the text form.

        Raises:
            MalformedPosition: the text has not that form.
        """
        match = _POSITION.fullmatch(text)
        if match is None:
            raise MalformedPosition(text)
        epoch, offset, part, digest = match.groups()
        return cls(epoch, int(offset), digest, None if part is None else int(part))


@dataclass(frozen=True, slots=True)
class Table:
    """What a client must know of a table to hold its rows.

    Args:
        name: the table's name.
        key: columns of the declared primary key in key order, empty where none is declared.
        columns: all visible columns in order, generated ones included.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ColumnSource:
    """Where a column of a changed table takes the values of the rows held so far.

    Args:
        name: the column as it is named now.
        source: the old column it continues, None where it is new.
        default: what a new column holds in every old row.
    """

    name: str
    source: str | None
    default: Value = None


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """A change of the schema; it precedes the row changes that depend on it.

    `before` None: the object is new, a table is empty. `after` None: it is gone, a table with its
    rows. Both, with `columns`: every held row becomes these columns. Both, without: the rows held
    are void and come again as inserts.

    Args:
        table: the table concerned (for an index or trigger, the table it belongs to).
        object: `table`, `index`, `view` or `trigger`.
        name: the object's own name; for a table the same as `table`.
        before: the SQL that defined it, or None.
        after: the SQL that defines it now, or None.
        definition: the table as it is now; None for other objects and where it is gone.
        renamed_from: the table's former name, where it has been renamed.
        columns: how held rows carry over, or None.
    """

    table: str
    object: str
    name: str
    before: str | None
    after: str | None
    definition: Table | None = None
    renamed_from: str | None = None
    columns: tuple[ColumnSource, ...] | None = None

    @property
    def op(self) -> Op:
        """Always `Op.SCHEMA`."""
        return Op.SCHEMA


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one row.

    Args:
        op: insert, update or delete.
        table: the table's name.
        key: the declared primary key where none of its columns is null in this row, else
            `{"$rowid": n}`.
        before: the row before, None for an insert.
        after: the row after, None for a delete.
    """

    op: Op
    table: str
    key: Row
    before: Row | None
    after: Row | None

    @property
    def changed(self) -> tuple[str, ...]:
        """Names of the columns an update changed, compared exactly; empty for other operations."""
        if self.before is None or self.after is None:
            return ()
        old = self.before
        return tuple(name for name, value in self.after.items() if not same(old[name], value))


class RowBatch(NamedTuple):
    """Changes of rows that keep their keys, many at a time and not yet taken apart.

    Args:
        table: the table's name.
        names: its columns.
        key: those of its primary key; empty where rows are known by their rowid.
        pairs: for each row its values before and after, None where it was not or is no more; behind
            the values comes the rowid.
    """

    table: str
    names: tuple[str, ...]
    key: tuple[str, ...]
    pairs: Sequence[tuple[tuple[Value, ...] | None, tuple[Value, ...] | None]]


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """What one commit did, or several merged ones.

    Args:
        position: where the stream stands after it; None for content that follows a reset and is
            not complete yet.
        time: when the commit was seen, with time zone; None for content after a reset.
        commits: how many commits it holds, None where SQLite does not tell.
        changes: schema changes first, then rows, table by table.
        reset: not None where what was held before is void: this and the following changesets
            bring the content anew.
    """

    position: Position | None
    time: datetime | None
    commits: int | None
    changes: tuple[Change | SchemaChange, ...]
    reset: ResetReason | None = None


def same(left: Value, right: Value) -> bool:
    """Tells whether two values are identical to SQLite's storage: type, sign of zero and all.

    Python's and SQL's equality hold 1 = 1.0 and 0.0 = -0.0; a replica that believes them drifts.
    """
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return left.hex() == right.hex()  # type: ignore[union-attr]  # both are float by the test above
    return left == right
