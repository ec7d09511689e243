"""Watches a SQLite file from outside and turns every commit into row-level changes.

async for changeset in watch("app.db"):
    for change in changeset.changes:
        print(change.op, change.table, change.key)
"""

from typing import TYPE_CHECKING, Any

from watcher.changes import (
    Change,
    ChangeSet,
    ColumnSource,
    InvalidText,
    LargeValue,
    Op,
    Position,
    ResetReason,
    SchemaChange,
    Table,
)
from watcher.errors import (
    DatabaseUnavailable,
    HubClosed,
    MalformedPosition,
    ProtocolError,
    ReaderStopped,
    Refused,
    ReplicaError,
    StateUnavailable,
    UnknownTable,
    WatchError,
)

if TYPE_CHECKING:
    from watcher.replica import apply
    from watcher.stream import Watch, watch

__all__ = [
    "Change",
    "ChangeSet",
    "ColumnSource",
    "DatabaseUnavailable",
    "HubClosed",
    "InvalidText",
    "LargeValue",
    "MalformedPosition",
    "Op",
    "Position",
    "ProtocolError",
    "ReaderStopped",
    "Refused",
    "ReplicaError",
    "ResetReason",
    "SchemaChange",
    "StateUnavailable",
    "Table",
    "UnknownTable",
    "Watch",
    "WatchError",
    "apply",
    "watch",
]

_LATER = {"apply": "watcher.replica", "Watch": "watcher.stream", "watch": "watcher.stream"}


def __getattr__(name: str) -> Any:
    # The reader process imports this package too and needs none of what these bring with them.
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
