"""How long after a commit its message reaches a WebSocket client of a real server.

Beside it, in the same run and on files of the same make, a control: a process that reads all rows
every 50 ms and compares them in Python. It reports through a pipe, which is a shorter way than a
WebSocket and counts in its favour. A negative figure means that the message came before the writer
itself was told of its commit.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from websockets.sync.client import connect

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
_MOST_EDITS = 50


class Await(Protocol):
    """Waits until a value is reported; returns when it came, in nanoseconds."""

    def __call__(self, value: str) -> int: ...


class Watching(Protocol):
    """Watches a database; `place` is an empty directory."""

    def __call__(self, path: Path, place: Path) -> AbstractContextManager[Await]: ...


def measure(databases: Databases, extent: Extent) -> list[Figure]:
    """Measures both ways in turn, in both kinds of journal mode, on a small table."""
    ways: dict[str, Watching] = {"watcher": _served, _CONTROL: _controlled}
    found: dict[tuple[str, str], list[list[float]]] = {}
    edits = min(extent.edits, _MOST_EDITS)
    for _ in range(min(extent.runs, _MOST_RUNS)):
        for mode in _MODES:
            for way, watching in ways.items():
                run = _run(databases, watching, extent.base, mode, edits)
                found.setdefault((mode, way), []).append(run)
    return [
        _figure(extent.base, mode, way, runs, found[mode, "watcher"])
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
    with (
        serving(path, place) as service,
        connect(f"{service.url.replace('http', 'ws')}/ws", proxy=None, max_size=None) as client,
    ):
        while all(message["type"] != "ready" for message in json.loads(client.recv(_WAIT_SECONDS))):
            pass

        def came(value: str) -> int:
            needle = f'"value":"{value}"'
            # For all frames together: heartbeats come as well.
            deadline = time.monotonic() + _WAIT_SECONDS
            while True:
                frame = client.recv(timeout=deadline - time.monotonic())
                at = time.monotonic_ns()
                if needle in str(frame):
                    return at

        yield came


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
    p95 = percentile(every, 0.95)
    return Figure(
        f"commit to message at a WebSocket client, {mode.upper()}, {count(rows)} rows",
        way,
        "ms",
        tuple(medians),
        None if way == "watcher" else ratio(medians, [percentile(run, 0.5) for run in ours]),
        "watcher",
        f"p95 {shown(p95, 'ms')}, worst {shown(max(every), 'ms')}",
        more={"edits": len(every), "p95_ms": p95, "worst_ms": max(every)},
    )
