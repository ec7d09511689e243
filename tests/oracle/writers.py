"""The writing processes as the machine sees them: asked over a socket, killed, replaced."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.oracle.contents import Contents
from tests.oracle.events import Events, Hearing
from tests.oracle.nursery import receive, send
from tests.oracle.session import Ran
from tests.served import ROOT

# Of each table by name; equal where the tables are equal to the last bit.
Digests = dict[str, str]

LIBRARIES = ("sqlite3", "apsw")
# Connections of one process.
CONNECTIONS = 2


class _Process:
    """One writing process."""

    def __init__(self, end: socket.socket, pid: int) -> None:
        self._end = end
        self._pid = pid
        self._handle = os.pidfd_open(pid)

    def ask(self, events: Events, name: str, *arguments: object) -> Any:
        send(self._end, [name, *arguments])
        while events.hearing is Hearing.PROMPT:
            waited: list[Any] = [self._end, events.descriptor]
            ready, _, _ = select.select(waited, [], [])
            if events.descriptor in ready:
                events.drain()
            if self._end in ready:
                break
        result, failure = receive(self._end)
        assert failure is None, failure
        return result

    def kill(self) -> None:
        """Ends it as a power cut would; when this returns all its locks are gone."""
        os.kill(self._pid, signal.SIGKILL)
        select.select([self._handle], [], [])
        self.close()

    def close(self) -> None:
        self._end.close()
        os.close(self._handle)


class Writers:
    """Two processes, each with an SQLite library of its own; a context manager.

    A connection is told by a number: that of its process times `CONNECTIONS`, plus its own there.

    Args:
        events: what is heard while they are at work.
    """

    def __init__(self, events: Events) -> None:
        self._events = events
        ours, theirs = socket.socketpair()
        with theirs:
            self._nursery = subprocess.Popen(
                [sys.executable, "-m", "tests.oracle.nursery", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                cwd=ROOT,
            )
        self._control = ours
        self._processes = [self._made(library) for library in LIBRARIES]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.close()
        self._control.close()
        self._nursery.wait(10)

    def _made(self, library: str) -> _Process:
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [library[0].encode()], [theirs.fileno()])
            (pid,) = struct.unpack("<i", self._control.recv(4))
        return _Process(ours, pid)

    def make(
        self, path: Path, process: int, pragmas: list[str], reserve: int, operations: list[Any]
    ) -> Ran:
        """Has a process make a database, see `session.Session.make`."""
        return Ran(
            *self._processes[process].ask(
                self._events, "make", str(path), pragmas, reserve, operations
            )
        )

    def run(self, path: Path, connection: int, operations: list[Any]) -> Ran:
        """Runs operations on a connection."""
        process, number = divmod(connection, CONNECTIONS)
        return Ran(
            *self._processes[process].ask(self._events, "perform", str(path), number, operations)
        )

    def fresh(self, path: Path, *, keep: bool) -> tuple[Digests, str] | None:
        """Digests of the file's tables and its journal mode, None if it is locked."""
        found = self._processes[0].ask(self._events, "fresh", str(path), keep)
        return None if found is None else (found[0], found[1])

    def contents(self, path: Path) -> Contents:
        """All rows of the file."""
        found = self._processes[0].ask(self._events, "contents", str(path))
        return {name: (columns, list(map(tuple, rows))) for name, (columns, rows) in found.items()}

    def kill(self, process: int) -> None:
        """Kills a process, whatever it has open, and starts another in its place."""
        self._processes[process].kill()
        self._processes[process] = self._made(LIBRARIES[process])

    def end(self, path: Path) -> str:
        """Closes all connections; returns what an integrity check said.

        The library that checks is the first; it goes last, when nobody else has the file open.
        """
        said, spoiled = "ok", False
        for process in reversed(self._processes):
            said, spoiled = process.ask(self._events, "end", str(path), spoiled)
        return said
