"""The first copy of a large database, from the start to the beginning of its history."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from benchmarks.databases import Databases, settle
from benchmarks.engine import Engine
from benchmarks.extent import Extent
from benchmarks.figures import Figure, count, ratio


def measure(databases: Databases, extent: Extent) -> list[Figure]:
    """Makes the first copy of a database, up to the history, and copies the file with `cp`."""
    ours: list[float] = []
    control: list[float] = []
    with databases.database(extent.large, "delete") as path:
        megabytes = path.stat().st_size / 1e6
        for _ in range(extent.runs):
            with databases.place() as place:
                settle()
                with Engine(path, place) as engine:
                    ours.append(megabytes / engine.first_copy().wall)
            with databases.place() as place:
                settle()
                control.append(megabytes / _cp(path, place / "copy.db"))
    what = f"first copy, {megabytes:,.0f} MB, {count(extent.large)} rows"
    times = ratio(ours, control)
    return [
        Figure(what, "watcher", "MB/s", tuple(ours), times, "cp", target="≥ 300 MB/s"),
        Figure(what, "cp", "MB/s", tuple(control)),
    ]


def _cp(source: Path, target: Path) -> float:
    began = time.perf_counter()
    subprocess.run(["cp", source, target], check=True)
    return time.perf_counter() - began
