"""How long after a commit its message reaches a client of a real server, over a WebSocket and SSE.

Beside it, in the same run and on files of the same make, a control: a process that reads all rows
every 50 ms and compares them in Python. It reports through a pipe, which is a shorter way than a
socket and counts in its favour. A negative figure means that the message came before the writer
itself was told of its commit.
"""

from __future__ import annotations

import random
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol, Self

from benchmarks.clients_main import Client, address_of
from benchmarks.databases import Databases
from benchmarks.extent import Extent
from benchmarks.figures import Figure, count, percentile, ratio, shown
from benchmarks.processes import Child
from benchmarks.serving import serving
from benchmarks.writing import WriterProcess

_WAIT_SECONDS = 30.0
_INTERVAL_SECONDS = 0.05
_CONTROL = "all rows compared in Python every 50 ms"
_MODES = ("wal", "delete")
_MOST_RUNS = 3
_MOST_EDITS = 100
_WEBSOCKET = "watcher, over a WebSocket"
_EVENTS = "watcher, over /events"
_TARGET = "≤ 1.5 ms; p99 ≤ 6 ms"


class Await(Protocol):
    """Waits until a value is reported; returns when it came, in nanoseconds."""

    def __call__(self, value: str) -> int: ...


class Watching(Protocol):
    """Watches a database; `place` is an empty directory."""

    def __call__(self, path: Path, place: Path) -> AbstractContextManager[Await]: ...


def measure(databases: Databases, extent: Extent) -> list[Figure]:
    """Measures all ways in turn, in both kinds of journal mode, on a small table."""
    ways: dict[str, Watching] = {
        _WEBSOCKET: _served,
        _EVENTS: _streamed,
        _CONTROL: _controlled,
    }
    found: dict[tuple[str, str], list[list[float]]] = {}
    edits = min(extent.edits, _MOST_EDITS)
    for _ in range(min(extent.runs, _MOST_RUNS)):
        for mode in _MODES:
            for way, watching in ways.items():
                run = _run(databases, watching, extent.base, mode, edits)
                found.setdefault((mode, way), []).append(run)
    return [
        _figure(extent.base, mode, way, runs, found[mode, _WEBSOCKET])
        for (mode, way), runs in found.items()
    ]


def _run(databases: Databases, watching: Watching, rows: int, mode: str, edits: int) -> list[float]:
    with (
        databases.database(rows, mode) as path,
        databases.place() as place,
        WriterProcess(path, rows) as writer,
        watching(path, place) as came,
    ):
        return [_edit(writer, came) for _ in range(edits)]


def _edit(writer: WriterProcess, came: Await) -> float:
    # Edits at a steady beat would fall in step with the control's.
    time.sleep(random.uniform(0.01, 0.06))
    (value,) = writer.begin_edits(1)
    at = came(value)
    return (at - writer.end_edits().returned[0]) / 1e6


@contextmanager
def _served(path: Path, place: Path) -> Iterator[Await]:
    with serving(path, place) as service:
        # Not a client library, whose own thread would be part of the way.
        client = Client(address_of(service.url), "/ws", small=False)
        with client.socket:
            _receive_until(client, lambda: client.is_ready)

            def came(value: str) -> int:
                needle = f'"value":"{value}"'.encode()
                return _receive_until(client, lambda: needle in client.last)

            yield came


def _receive_until(client: Client, is_done: Callable[[], bool]) -> int:
    """Receives until something is so; when the last bytes came, in nanoseconds."""
    came = 0
    while not is_done():
        if not select.select([client.socket], [], [], _WAIT_SECONDS)[0]:
            raise TimeoutError("no message came")
        client.receive()
        came = time.monotonic_ns()
    return came


@contextmanager
def _streamed(path: Path, place: Path) -> Iterator[Await]:
    with serving(path, place) as service, EventSource(service.url) as source:
        source.wait_for("event: ready\n")

        def came(value: str) -> int:
            return source.wait_for(f'"value":"{value}"')

        yield came


class EventSource:
    """A client of `/events` that looks for texts in what comes.

    Args:
        url: of the server.
    """

    def __init__(self, url: str) -> None:
        host = url.removeprefix("http://")
        self._socket = socket.create_connection(address_of(url), timeout=_WAIT_SECONDS)
        self._socket.sendall(f"GET /events HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        self._text = ""
        self._came = 0

    def wait_for(self, needle: str) -> int:
        """Reads until a text comes; when it came, in nanoseconds.

        Raises:
            TimeoutError: nothing comes for long.
            RuntimeError: the stream ended.
        """
        while needle not in self._text:
            chunk = self._socket.recv(65536)
            self._came = time.monotonic_ns()
            if not chunk:
                raise RuntimeError("the server closed the connection")
            self._text += chunk.decode()
        # An event may be in the same piece as the one before it.
        self._text = self._text.partition(needle)[2]
        return self._came

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


@contextmanager
def _controlled(path: Path, place: Path) -> Iterator[Await]:
    del place  # it keeps everything in memory
    with Child("seed_main", str(path), str(_INTERVAL_SECONDS)) as control:
        if control.receive() != "ready":
            raise RuntimeError("the control did not begin")

        def came(value: str) -> int:
            while True:
                found: dict[str, int] = control.receive()
                if value in found:
                    return found[value]

        yield came


def _figure(
    rows: int, mode: str, way: str, runs: list[list[float]], ours: list[list[float]]
) -> Figure:
    medians = [percentile(run, 0.5) for run in runs]
    every = [latency for run in runs for latency in run]
    p99 = percentile(every, 0.99)
    is_ours, is_compared = way != _CONTROL, way != _WEBSOCKET
    return Figure(
        f"commit to message at a client, {mode.upper()}, {count(rows)} rows",
        way,
        "ms",
        tuple(medians),
        ratio(medians, [percentile(run, 0.5) for run in ours]) if is_compared else None,
        "the WebSocket",
        f"p99 {shown(p99, 'ms')}, worst {shown(max(every), 'ms')}",
        _TARGET if is_ours and mode == "wal" else "",
        more={"edits": len(every), "p99_ms": p99, "worst_ms": max(every)},
    )
