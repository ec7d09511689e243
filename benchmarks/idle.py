"""What watching costs while nothing happens: processor time of the reader and of the server.

Beside them, in the same seconds, a bare application in the same web server.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

from benchmarks.databases import Databases
from benchmarks.extent import Extent
from benchmarks.figures import Figure, count, ratio
from benchmarks.processes import Child, processor_seconds, wait_until_calm
from benchmarks.serving import serving
from benchmarks.writing import WriterProcess

_BARE = "bare uvicorn"
_MOST_RUNS = 3


def measure(databases: Databases, extent: Extent) -> list[Figure]:
    """Watches the processes that watch an idle database."""
    spent: dict[str, list[float]] = {"the reader": [], "the server": [], _BARE: []}
    with ExitStack() as stack:
        path = stack.enter_context(databases.database(extent.large))
        # An application that is there and does nothing.
        writer = stack.enter_context(WriterProcess(path, extent.large))
        writer.edit()
        service = stack.enter_context(serving(path, stack.enter_context(databases.place())))
        bare = stack.enter_context(Child("bare_main"))
        bare.receive()
        wait_until_calm(bare.pid)
        pids = dict(zip(spent, (service.reader, service.server, bare.pid), strict=True))
        for _ in range(min(extent.runs, _MOST_RUNS)):
            for name, share in _shares(pids, extent.idle_seconds).items():
                spent[name].append(share)
    what = f"processor while idle, {extent.idle_seconds:g} s, {count(extent.large)} rows"
    targets = {"the reader": "≤ 0.05 %", "the server": "≤ 0.3 %"}
    return [
        Figure(
            f"{what}: {name}" if name != _BARE else what,
            "watcher" if name != _BARE else _BARE,
            "%",
            tuple(shares),
            ratio(shares, spent[_BARE]) if name != _BARE else None,
            _BARE,
            "of one core",
            targets.get(name, ""),
        )
        for name, shares in spent.items()
    ]


def _shares(pids: dict[str, int], seconds: float) -> dict[str, float]:
    """The share of one processor that each process takes, in percent."""
    began, before = time.perf_counter(), {n: processor_seconds(p) for n, p in pids.items()}
    time.sleep(seconds)
    after, ended = {n: processor_seconds(p) for n, p in pids.items()}, time.perf_counter()
    return {name: (after[name] - before[name]) / (ended - began) * 100 for name in pids}
