"""A subscriber that keeps what it is sent in a database, and what a query says it should hold."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import datetime
from typing import Any

from tests.core.listener import Listener, body
from watcher import Change, ChangeSet, Position, ResetReason, SchemaChange, apply, wire
from watcher.changes import LargeValue, Row, Value
from watcher.hub import ALL, Filter, Hub, Message

Held = dict[str, tuple[list[str], list[tuple[Any, ...]]]]
"""Columns and rows of each table, with the type of each value."""


class View:
    """Follows a filtered subscription, content included, by the rules of the protocol.

    Args:
        hub: to subscribe to.
        wanted: the filter.
    """

    def __init__(self, hub: Hub, wanted: Filter = ALL) -> None:
        self.wanted = wanted
        self.replica = sqlite3.connect(":memory:", isolation_level=None)
        self.resets: list[str] = []
        self.position: str | None = None
        self._hub = hub
        self._listener = Listener(hub.subscribe(snapshot=True, wanted=wanted))
        self._parts: list[Change | SchemaChange] = []
        self._reset: ResetReason | None = None

    async def reach(self, position: str) -> None:
        """Receives until it has all up to a position.

        Raises:
            BadFilter: the filter does not fit any more.
        """
        while self.position != position:
            self._take(await self._listener.next())

    async def reach_next(self) -> None:
        """Receives until it has one changeset more."""
        before = self.position
        while self.position in {None, before}:
            self._take(await self._listener.next())

    def _take(self, message: Message) -> None:
        found = body(message)
        match message.type:
            case "reset":
                assert found["snapshot"]
                self.resets.append(found["reason"])
                self._reset, self._parts, self.position = ResetReason(found["reason"]), [], None
            case "ready" if self._reset is not None:
                self._apply(Position.parse(found["position"]), None)
            case "changes":
                self._parts += map(wire.decode_change, found["changes"])
                if found["time"] is None or found["last"]:
                    self._take_changeset(found)
        if message.type in {"ready", "changes", "heartbeat"} and message.position is not None:
            self.position = message.position

    def _take_changeset(self, found: dict[str, Any]) -> None:
        time = None if found["time"] is None else datetime.fromisoformat(found["time"])
        at = found.get("position")
        self._apply(None if at is None else Position.parse(at), time)

    def _apply(self, position: Position | None, time: datetime | None) -> None:
        parts, self._parts = tuple(map(self._whole, self._parts)), []
        reset, self._reset = self._reset, None
        apply(self.replica, ChangeSet(position, time, None, parts, reset))

    def _whole(self, change: Change | SchemaChange) -> Change | SchemaChange:
        """A change with its large values fetched."""
        if isinstance(change, SchemaChange):
            return change
        before, after = self._fetched(change.before), self._fetched(change.after)
        key = self._fetched(change.key)
        assert key is not None
        return replace(change, key=key, before=before, after=after)

    def _fetched(self, row: Row | None) -> Row | None:
        return None if row is None else {name: self._value(v) for name, v in row.items()}

    def _value(self, value: Value) -> Value:
        if not isinstance(value, LargeValue):
            return value
        found = self._hub.value(value.sha256)
        assert found is not None
        return found[1].decode() if found[0] == "text" else found[1]

    @property
    def held(self) -> Held:
        """What it holds."""
        return asked(self.replica, ALL)


def asked(db: sqlite3.Connection, wanted: Filter) -> Held:
    """What a query with the tables, the columns and the condition of a filter gives.

    Raises:
        sqlite3.OperationalError: the condition does not fit.
    """
    found: Held = {}
    factory, db.text_factory = db.text_factory, bytes
    try:
        for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type='table'").fetchall():
            table = name.decode()
            if wanted.takes(table):
                found[table] = _asked_of(db, table, wanted)
    finally:
        db.text_factory = factory
    return found


def _asked_of(
    db: sqlite3.Connection, table: str, wanted: Filter
) -> tuple[list[str], list[tuple[Any, ...]]]:
    info = db.execute(f'PRAGMA table_xinfo("{table}")').fetchall()
    names = [row[1].decode() for row in info]
    key = {row[1].decode() for row in info if row[5]}
    chosen = wanted.columns or frozenset()
    columns = [name for name in names if name in chosen | key or f"{table}.{name}" in chosen]
    columns = names if wanted.columns is None else columns or names[:1]
    values = ",".join(f'typeof("{column}"),"{column}"' for column in columns)
    rows = db.execute(f'SELECT {values} FROM "{table}" WHERE ({wanted.where or 1}) IS TRUE')
    return columns, sorted((tuple(row) for row in rows), key=repr)
