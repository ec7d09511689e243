"""The server as users run it, with its reader process."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.processes import PATIENCE_SECONDS, reader_of, wait_until_calm
from tests.served import Served


class _Health(msgspec.Struct):
    position: str | None


@dataclass(frozen=True, slots=True)
class Service:
    """A running server that watches one database, without clients.

    Args:
        url: its address.
        server: process id of the server.
        reader: process id of its reader.
    """

    url: str
    server: int
    reader: int

    def position(self) -> str | None:
        """Where its history stands, None before the first copy is complete."""
        with urllib.request.urlopen(f"{self.url}/health", timeout=10) as answer:  # noqa: S310 - our own server, by its own address
            return msgspec.json.decode(answer.read(), type=_Health).position

    def wait_for_change(self, position: str | None) -> None:
        """Waits until the history has gone on from a position.

        Raises:
            RuntimeError: it does not.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.position() == position:
            if time.monotonic() > deadline:
                raise RuntimeError("the server does not see the change")
            time.sleep(0.05)

    def wait_until_calm(self) -> None:
        """Waits until it has nothing left to do."""
        wait_until_calm(self.reader)
        wait_until_calm(self.server)


@contextmanager
def serving(database: Path, place: Path, options: tuple[str, ...] = ()) -> Iterator[Service]:
    """Runs a server until the block is left.

    Args:
        database: what to watch.
        place: a directory for its state and its errors, empty or that of an earlier server.
        options: further options of its command line.
    """
    served = Served(place, database, state=place / "state", options=options)
    try:
        service = Service(served.url, served.process.pid, reader_of(served.process.pid))
        if service.position() is None:
            service.wait_for_change(None)
        service.wait_until_calm()
        yield service
        # Not killed: its reader still writes to the directory that is removed next.
        served.process.terminate()
        served.process.wait(PATIENCE_SECONDS)
    finally:
        served.kill()
