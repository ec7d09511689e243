"""`python -m benchmarks`, or `make bench`: measures, prints a table, keeps the figures."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks import (
    bulk,
    burst,
    busy,
    comparison,
    copying,
    fanout,
    harm,
    idle,
    latency,
    memory,
    page,
    peers,
    resume,
    sockets,
    stuck,
    websocket,
    work,
)
from benchmarks.databases import Databases, databases
from benchmarks.extent import FULL, QUICK, Extent
from benchmarks.figures import Figure, missing
from benchmarks.plot import plot
from benchmarks.processes import ROOT
from benchmarks.report import fill, load, save, table

RESULTS = ROOT / "benchmarks" / "results"
PLOT = "latency.svg"

Measure = Callable[[Databases, Extent], list[Figure]]

BENCHMARKS: dict[str, Measure] = {
    "work": work.measure,
    "latency": latency.measure,
    "websocket": websocket.measure,
    "peers": peers.measure,
    "bulk": bulk.measure,
    "burst": burst.measure,
    "comparison": comparison.measure,
    "copy": copying.measure,
    "memory": memory.measure,
    "idle": idle.measure,
    "writer": harm.measure,
    "busy": busy.measure,
    "fanout": fanout.measure,
    "sockets": sockets.measure,
    "stuck": stuck.measure,
    "resume": resume.measure,
    "page": page.measure,
}


def main() -> int:
    """Runs the benchmarks; returns the exit code, 1 where one of them failed."""
    options = _options()
    extent = _extent(options)
    output = options.output or (RESULTS / "quick" if options.quick else RESULTS)
    with databases() as made:
        done = [_run(name, made, extent, output) for name in options.only or BENCHMARKS]
    found = {name: load(output, name) for name in BENCHMARKS}
    plot(output / PLOT, found["latency"], found["work"], found["peers"])
    if options.readme is not None and not options.quick:
        every = (figure for figures in found.values() for figure in figures)
        fill(options.readme, table(figure for figure in every if figure.brief))
    return 0 if all(done) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), help="just these")
    parser.add_argument("--quick", action="store_true", help="smaller: a minute or two")
    parser.add_argument("--runs", type=int, help="how often each figure is measured")
    parser.add_argument("--sizes", type=int, nargs="+", help="rows of the tables on the curves")
    parser.add_argument("--large", type=int, help="rows of the large database")
    parser.add_argument("--output", type=Path, help="directory for the figures and the plot")
    parser.add_argument(
        "--readme", type=Path, help="a file whose marked place takes the table, unless --quick"
    )
    return parser.parse_args()


def _extent(options: argparse.Namespace) -> Extent:
    extent = QUICK if options.quick else FULL
    if options.sizes:
        sizes = tuple(sorted(options.sizes))
        base = extent.base if extent.base in sizes else sizes[0]
        extent = replace(extent, sizes=sizes, base=base)
    if options.large:
        extent = replace(extent, large=options.large, update=min(extent.update, options.large))
    return replace(extent, runs=options.runs or extent.runs)


def _run(name: str, made: Databases, extent: Extent, output: Path) -> bool:
    """Runs one benchmark and keeps its figures; returns whether there are any."""
    began = time.perf_counter()
    print(f"{name} …", file=sys.stderr, flush=True)
    try:
        figures = BENCHMARKS[name](made, extent)
    except Exception as error:  # noqa: BLE001 - the others are measured all the same, and the table tells
        traceback.print_exc()
        figures = [missing(name, "watcher", "", f"{type(error).__name__}: {error}")]
    save(output, name, figures, extent)
    print(table(figures), flush=True)
    print(f"{name}: {time.perf_counter() - began:.0f} s\n", file=sys.stderr, flush=True)
    return any(figure.runs for figure in figures)


if __name__ == "__main__":
    sys.exit(main())
