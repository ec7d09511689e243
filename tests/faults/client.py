"""A client of a real server that keeps a replica and comes back with its position."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.faults.watched import PATIENCE
from tests.oracle.contents import Contents, contents
from watcher import Change, ChangeSet, Position, ResetReason, SchemaChange, apply, wire


class Client:
    """Follows a server's WebSocket into a replica in memory; a context manager."""

    def __init__(self) -> None:
        self.replica = sqlite3.connect(":memory:", isolation_level=None)
        self.received: list[ChangeSet] = []
        self.resets: list[str] = []
        self.state = "ok"
        self.position: str | None = None
        self._connection: ClientConnection | None = None
        self._stack = ExitStack()
        self._forget()

    def _forget(self) -> None:
        # What is under way ends with a connection.
        self._parts: list[Change | SchemaChange] = []
        self._reset: ResetReason | None = None
        self._in_content = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.disconnect()
        self.replica.close()

    def connect(self, url: str) -> None:
        """Connects, with the position where there is one.

        Args:
            url: of the server, with `http`.
        """
        since = "" if self.position is None else f"&since={self.position}"
        self._forget()
        address = f"{url.replace('http', 'ws', 1)}/ws?snapshot=true{since}"
        self._connection = self._stack.enter_context(
            connect(address, compression=None, max_size=None, open_timeout=PATIENCE)
        )

    def disconnect(self) -> None:
        """Ends the connection; idempotent."""
        self._stack.close()
        self._connection = None

    def receive(self) -> bool:
        """Takes the next frame; False if the server is gone."""
        assert self._connection is not None
        try:
            frame = self._connection.recv(timeout=PATIENCE)
        except ConnectionClosed:
            return False
        for message in wire.decode_messages(frame):
            self._take(message)
        return True

    def _take(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "reset":
                self.resets.append(message["reason"])
                self._reset, self._parts = ResetReason(message["reason"]), []
                self._in_content = True
            case "status":
                self.state = message["state"]
            case "ready" if self._in_content:
                self._in_content = False
                self._apply(Position.parse(message["position"]), None, None, [])
            case "changes":
                self._take_changes(message)

    def _take_changes(self, message: dict[str, Any]) -> None:
        self._parts += map(wire.decode_change, message["changes"])
        position, time = message.get("position"), message["time"]
        if time is not None and not message["last"]:
            return
        parts, self._parts = self._parts, []
        if time is None or position is None:
            self._apply(None, None, None, parts)
        else:
            self._in_content = False
            at = datetime.fromisoformat(time)
            self._apply(Position.parse(position), at, message["commits"], parts)

    def _apply(
        self,
        position: Position | None,
        time: datetime | None,
        commits: int | None,
        changes: Sequence[Change | SchemaChange],
    ) -> None:
        reset, self._reset = self._reset, None
        changeset = ChangeSet(position, time, commits, tuple(changes), reset)
        apply(self.replica, changeset)
        if self.received and position and not self.resets[1:]:
            self._check_order(changeset)
        self.received.append(changeset)
        if position is not None:
            self.position = str(position)

    def _check_order(self, changeset: ChangeSet) -> None:
        before = [c.position.offset for c in self.received if c.position is not None]
        assert changeset.position is not None
        if before:
            assert changeset.position.offset == before[-1] + 1, "offsets have a gap"

    def receive_until_equal(self, wanted: Contents) -> None:
        """Receives until the replica equals what the file holds, and is live."""
        while self.position is None or contents(self.replica) != wanted:
            assert self.receive(), "the server closed the connection"

    def receive_until_state(self, wanted: str) -> None:
        """Receives until the server says that the file is in some state."""
        while self.state != wanted:
            assert self.receive(), "the server closed the connection"

    def receive_until_closed(self) -> None:
        """Receives what still comes from a server that has ended."""
        while self.receive():
            pass
        self.disconnect()
