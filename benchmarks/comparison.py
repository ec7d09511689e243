"""The comparison of a whole file with the shadow: how the engine finds pages without a log."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.databases import Databases
from benchmarks.engine import Engine
from benchmarks.extent import Extent
from benchmarks.figures import Figure, ratio

_BLOCK_BYTES = 256 * 1024
# What no memory gives: faster than that, nothing was compared.
_IMPOSSIBLE_GIGABYTES = 100.0


def measure(databases: Databases, extent: Extent) -> list[Figure]:
    """Makes the engine compare an unchanged file, and reads the file twice without comparing."""
    ours: list[float] = []
    control: list[float] = []
    with ExitStack() as stack:
        path = stack.enter_context(databases.database(extent.large, "delete"))
        engine = stack.enter_context(Engine(path, stack.enter_context(databases.place())))
        engine.first_copy()
        gigabytes = path.stat().st_size / 1e9
        for _ in range(extent.runs):
            # New file times and the same bytes: only a comparison can tell.
            os.utime(path)
            ours.append(gigabytes / engine.look_in_vain().wall)
            control.append(gigabytes / _read_twice(path))
    if max(ours) > _IMPOSSIBLE_GIGABYTES:
        raise RuntimeError("the engine did not compare the file")
    what = f"comparison of file and shadow, {gigabytes * 1000:,.0f} MB each, in memory"
    read = "as much read, not compared"
    times = ratio(ours, control)
    return [
        Figure(what, "watcher", "GB/s", tuple(ours), times, read, target="≥ 4 GB/s"),
        Figure(what, read, "GB/s", tuple(control), detail="256 KiB at once"),
    ]


def _read_twice(path: Path) -> float:
    began = time.perf_counter()
    with path.open("rb", buffering=0) as one, path.open("rb", buffering=0) as other:
        while one.read(_BLOCK_BYTES) and other.read(_BLOCK_BYTES):
            pass
    return time.perf_counter() - began
