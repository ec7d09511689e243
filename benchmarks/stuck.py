"""Whether clients that never read make the others wait, and what the server holds for them.

The latency of the others is taken twice in a run: without the clients that never read, and while
these have all their buffers full.
"""

from __future__ import annotations

import math
import random
import re
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.clients import ClientsProcess, allow_connections
from benchmarks.databases import Databases
from benchmarks.extent import Extent
from benchmarks.figures import Figure, count, percentile, ratio
from benchmarks.processes import Peak, anonymous_megabytes, wait_until_calm
from benchmarks.serving import Service, serving
from benchmarks.writing import WriterProcess

_MOST_RUNS = 3
# Changes that fill all buffers on the way to a client: 5 MB as messages.
_FILLING = 12_000
# The server waits for room for 10 s.
_CLOSE_SECONDS = 30.0
_SLOW = re.compile(rb"^watcher_slow_disconnects_total\{[^}]*\} (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Run:
    """One run.

    Args:
        free: median latency of those who read while all do, in ms.
        beside: the same beside those who never read.
        grown: the most memory the server held in addition, in MB.
        closed: how many were closed for not reading.
    """

    free: float
    beside: float
    grown: float
    closed: int


def measure(databases: Databases, extent: Extent) -> list[Figure]:
    """Measures with and without clients that never read."""
    allow_connections()
    runs = [_run(databases, extent) for _ in range(min(extent.runs, _MOST_RUNS))]
    what = f"commit to message, median of {count(extent.readers)} WebSocket clients"
    beside = f"{what}, beside {count(extent.stuck)} that never read"
    memory = f"memory the server takes beside {count(extent.stuck)} clients that never read"
    free, held = tuple(run.free for run in runs), tuple(run.beside for run in runs)
    closed = f"{runs[-1].closed} of them closed with 4008 in the end"
    grown = tuple(run.grown for run in runs)
    return [
        Figure(what, "watcher", "ms", free),
        Figure(beside, "watcher", "ms", held, ratio(held, free), "without them", closed, "x ≤ 1.2"),
        Figure(memory, "watcher", "MB", grown, detail="the most RssAnon, above that before"),
    ]


def _run(databases: Databases, extent: Extent) -> _Run:
    with ExitStack() as stack:
        path = stack.enter_context(databases.database(extent.base))
        writer = stack.enter_context(WriterProcess(path, extent.base))
        writer.edit()
        service = stack.enter_context(serving(path, stack.enter_context(databases.place())))
        readers = stack.enter_context(ClientsProcess(service.url))
        readers.open(extent.readers)
        # So that what the first large changes take for good is there before.
        _fill(service, writer, readers, extent)
        with Peak(service.server).watching():  # for its own cost, which meets both alike
            free = _latency(writer, readers, extent.edits)
        before = anonymous_megabytes(service.server)
        stuck = stack.enter_context(ClientsProcess(service.url))
        with Peak(service.server).watching() as peak:
            stuck.open(extent.stuck, reads=False)
            _fill(service, writer, readers, extent)
            beside = _latency(writer, readers, extent.edits)
            closed = _closed(service, extent.stuck)
        return _Run(free, beside, peak.megabytes - before, closed)


def _fill(service: Service, writer: WriterProcess, readers: ClientsProcess, extent: Extent) -> None:
    for _ in range(math.ceil(_FILLING / extent.base)):
        writer.update(extent.base)
        readers.take(extent.base)
    wait_until_calm(service.server)


def _latency(writer: WriterProcess, readers: ClientsProcess, edits: int) -> float:
    latencies: list[float] = []
    for _ in range(edits):
        time.sleep(random.uniform(0.01, 0.06))
        writer.begin_edits(1)
        arrived = readers.take(1).arrived
        returned = writer.end_edits().returned[0]
        latencies += [(at - returned) / 1e6 for at in arrived]
    return percentile(latencies, 0.5)


def _closed(service: Service, expected: int) -> int:
    """Waits until the clients are closed for not reading; how many are."""
    deadline = time.monotonic() + _CLOSE_SECONDS
    while (closed := _slow(service)) < expected and time.monotonic() < deadline:
        time.sleep(0.2)
    return closed


def _slow(service: Service) -> int:
    url = f"{service.url}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own server, by its own address
        found = _SLOW.search(answer.read())
    if found is None:
        raise RuntimeError("the server does not count slow clients")
    return int(float(found[1]))
