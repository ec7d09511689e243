"""Messages put together: whole changesets, with the values that travel beside the stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from watcher.changes import (
    Change,
    ChangeSet,
    ColumnSource,
    LargeValue,
    Position,
    ResetReason,
    Row,
    SchemaChange,
    Value,
)
from watcher.errors import MalformedPosition, ProtocolError
from watcher.wire.changes import decode_change


class Assembler:
    """Makes changesets of messages: joins parts, marks what follows a reset."""

    def __init__(self) -> None:
        self._parts: list[Change | SchemaChange] = []
        self._reset: ResetReason | None = None
        self._in_content = False

    @property
    def is_under_way(self) -> bool:
        """Whether parts of a changeset have come that is not complete."""
        return bool(self._parts)

    def break_off(self, *, resumes: bool) -> None:
        """The messages break off here; the next ones come from another connection.

        Args:
            resumes: whether they go on after the last position; else they begin anew.
        """
        if self._in_content or not resumes:
            # Content has no positions to go on from: it comes again, after a reset.
            self._parts = []
        self._reset, self._in_content = None, False

    def take(self, message: Mapping[str, Any]) -> ChangeSet | None:
        """Takes the next message; returns the changeset it completes, if any.

        Raises:
            ProtocolError: the message does not follow the format.
        """
        try:
            return self._take(message)
        except (KeyError, ValueError, TypeError, MalformedPosition) as error:
            raise ProtocolError(f"not a message: {str(message)[:80]}") from error

    def _take(self, message: Mapping[str, Any]) -> ChangeSet | None:
        if message["type"] == "changes":
            return self._take_changes(message)
        if message["type"] == "reset":
            self._reset = ResetReason(message["reason"])
            self._in_content, self._parts = True, []
        elif message["type"] == "ready" and self._in_content:
            self._in_content = False
            return self._made(Position.parse(message["position"]), None, None, ())
        return None

    def _take_changes(self, message: Mapping[str, Any]) -> ChangeSet | None:
        changes = list(map(decode_change, message["changes"]))
        if message["time"] is None:
            # Rows of the content: no commit holds them together.
            return self._made(None, None, None, tuple(changes))
        position = message.get("position")
        # What has a position is news, and comes only after all of the content.
        self._in_content = self._in_content and position is None
        self._parts += changes
        if not message["last"]:
            return None
        parts, self._parts = tuple(self._parts), []
        if position is None:
            return self._made(None, None, None, parts)
        time = datetime.fromisoformat(message["time"])
        return self._made(Position.parse(position), time, message["commits"], parts)

    def _made(
        self,
        position: Position | None,
        time: datetime | None,
        commits: int | None,
        changes: tuple[Change | SchemaChange, ...],
    ) -> ChangeSet:
        reset, self._reset = self._reset, None
        return ChangeSet(position, time, commits, changes, reset)


def large_values(changeset: ChangeSet) -> set[LargeValue]:
    """The values of a changeset that travel beside the stream."""
    found: set[LargeValue] = set()
    for change in changeset.changes:
        for values in _values(change):
            found.update(value for value in values if type(value) is LargeValue)
    return found


def _values(change: Change | SchemaChange) -> Iterator[Iterator[Value]]:
    if isinstance(change, SchemaChange):
        yield (column.default for column in change.columns or ())
        return
    for row in (change.key, change.before, change.after):
        if row is not None:
            yield iter(row.values())


def with_values(changeset: ChangeSet, values: Mapping[LargeValue, Value]) -> ChangeSet:
    """Puts large values in the places where others stand for them.

    Args:
        changeset: what they are missing in.
        values: all that `large_values` names.
    """
    return replace(changeset, changes=tuple(_with(c, values) for c in changeset.changes))


def _with(
    change: Change | SchemaChange, values: Mapping[LargeValue, Value]
) -> Change | SchemaChange:
    if isinstance(change, SchemaChange):
        return replace(change, columns=_columns_with(change.columns, values))
    return replace(
        change,
        key=_row_with(change.key, values) or {},
        before=_row_with(change.before, values),
        after=_row_with(change.after, values),
    )


def _columns_with(
    columns: tuple[ColumnSource, ...] | None, values: Mapping[LargeValue, Value]
) -> tuple[ColumnSource, ...] | None:
    if columns is None:
        return None
    return tuple(replace(c, default=_value_with(c.default, values)) for c in columns)


def _row_with(row: Row | None, values: Mapping[LargeValue, Value]) -> Row | None:
    if row is None:
        return None
    return {name: _value_with(value, values) for name, value in row.items()}


def _value_with(value: Value, values: Mapping[LargeValue, Value]) -> Value:
    return values[value] if isinstance(value, LargeValue) else value
