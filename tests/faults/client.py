"""A client of a real server that keeps a replica and comes back with its position."""

from __future__ import annotations

import json
import sqlite3
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.faults.watched import PATIENCE
from tests.oracle.contents import Contents, contents
from watcher import ChangeSet, apply
from watcher.changes import LargeValue, Value
from watcher.stream import _Assembler
from watcher.wire import Message


class Client:
    """Follows a server's WebSocket into a replica in memory; a context manager."""

    def __init__(self) -> None:
        self.replica = sqlite3.connect(":memory:", isolation_level=None)
        self.received: list[ChangeSet] = []
        self.resets: list[str] = []
        self.position: str | None = None
        self._connection: ClientConnection | None = None
        self._stack = ExitStack()
        self._assembler = _Assembler(_no_large_values)

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
        self._assembler = _Assembler(_no_large_values)
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
        for message in json.loads(frame):
            self._take(message)
        return True

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "reset":
            self.resets.append(message["reason"])
        whole = Message(message["type"], message.get("position"), json.dumps(message).encode())
        for changeset in self._assembler.take(whole):
            apply(self.replica, changeset)
            if self.received and changeset.position and not self.resets[1:]:
                self._check_order(changeset)
            self.received.append(changeset)
            if changeset.position is not None:
                self.position = str(changeset.position)

    def _check_order(self, changeset: ChangeSet) -> None:
        before = [c.position.offset for c in self.received if c.position is not None]
        assert changeset.position is not None
        if before:
            assert changeset.position.offset == before[-1] + 1, "offsets have a gap"

    def receive_until_equal(self, wanted: Contents) -> None:
        """Receives until the replica equals what the file holds."""
        while contents(self.replica) != wanted:
            assert self.receive(), "the server closed the connection"

    def receive_until_closed(self) -> None:
        """Receives what still comes from a server that has ended."""
        while self.receive():
            pass
        self.disconnect()


def _no_large_values(value: LargeValue) -> Value:
    raise AssertionError(f"these tests write no large values: {value}")
