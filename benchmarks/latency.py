"""How long after a commit its changeset is there in `watch()`, and what the seed way takes.

A writer in another process commits one-row updates with short random pauses and notes when each
COMMIT returned; a program that iterates over `watch()` notes when each value came. A negative
figure means that it came before the writer itself was told of its commit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.databases import Databases
from benchmarks.extent import Extent
from benchmarks.figures import Figure, count, missing, percentile, ratio, shown
from benchmarks.processes import Child
from benchmarks.streaming import StreamProcess
from benchmarks.writing import WriterProcess

_PAUSE_SECONDS = 0.01
_WAIT_SECONDS = 60.0
# The seed: a thread that reads all tables every two seconds.
_SEED_SECONDS = 2.0
_SEED_EDITS = 10
_MOST_SEED_RUNS = 3
SEED = "seed way, every 2 s"


@dataclass
class _Case:
    """What is measured of one file.

    Args:
        rows: in the table.
        mode: the journal mode.
        runs: milliseconds of each edit, for each run.
        lost: edits whose value did not come in time.
        merged: edits that came together with others.
    """

    rows: int
    mode: str
    runs: list[list[float]] = field(default_factory=list)
    seed: list[list[float]] = field(default_factory=list)
    lost: int = 0
    merged: int = 0

    @property
    def what(self) -> str:
        return f"commit to changeset, {self.mode.upper()}, {count(self.rows)} rows"


def measure(databases: Databases, extent: Extent) -> list[Figure]:
    """Measures WAL at all sizes, DELETE at a small and at the large one, all in turn."""
    cases = [_Case(rows, "wal") for rows in extent.sizes]
    cases += [_Case(rows, "delete") for rows in (extent.base, max(extent.sizes))]
    with ExitStack() as stack:
        watched = [_open(stack, databases, case) for case in cases]
        for run in range(extent.runs):
            for case, (writer, stream) in zip(cases, watched, strict=True):
                case.runs.append(_run(case, writer, stream, extent.edits))
            if run < _MOST_SEED_RUNS:
                _run_seed(databases, cases, extent)
    base = _medians(next(case for case in cases if case.rows == extent.base))
    return [figure for case in cases for figure in _figures(case, base, extent)]


def _open(
    stack: ExitStack, databases: Databases, case: _Case
) -> tuple[WriterProcess, StreamProcess]:
    path = stack.enter_context(databases.database(case.rows, case.mode))
    writer = stack.enter_context(WriterProcess(path, case.rows))
    writer.edit()
    stream = stack.enter_context(StreamProcess(path, stack.enter_context(databases.place())))
    writer.edit()
    if not stream.arrivals(1, _WAIT_SECONDS):
        raise RuntimeError(f"{case.what}: nothing came")
    return writer, stream


def _run(case: _Case, writer: WriterProcess, stream: StreamProcess, commits: int) -> list[float]:
    edits = writer.edits(commits, pause=_PAUSE_SECONDS)
    arrivals = stream.arrivals(commits, _WAIT_SECONDS)
    came = {value: arrival.at for arrival in arrivals for value in arrival.values}
    case.merged += sum(len(a.values) for a in arrivals if len(a.values) > 1)
    case.lost += sum(value not in came for value in edits.values)
    return _latencies(dict(zip(edits.values, edits.returned, strict=True)), came)


def _latencies(returned: dict[str, int], came: dict[str, int]) -> list[float]:
    return [(came[value] - at) / 1e6 for value, at in returned.items() if value in came]


def _run_seed(databases: Databases, cases: list[_Case], extent: Extent) -> None:
    for case in cases:
        if case.mode == "wal" and case.rows <= extent.python_most:
            case.seed.append(_seed(databases, case.rows))


def _seed(databases: Databases, rows: int) -> list[float]:
    """Edits a file that the seed way watches; it works only while it is measured."""
    with databases.database(rows) as path, WriterProcess(path, rows) as writer:
        writer.edit()
        with Child("seed_main", str(path), str(_SEED_SECONDS)) as seed:
            if seed.receive() != "ready":
                raise RuntimeError("the seed way did not begin")
            # Spread over a whole interval, as commits are that know nothing of it.
            edits = writer.edits(_SEED_EDITS, pause=2 * _SEED_SECONDS / _SEED_EDITS)
            came: dict[str, int] = {}
            deadline = time.monotonic() + _WAIT_SECONDS
            while not came.keys() >= set(edits.values) and time.monotonic() < deadline:
                came |= seed.receive()
    return _latencies(dict(zip(edits.values, edits.returned, strict=True)), came)


def _medians(case: _Case) -> list[float]:
    return [percentile(run, 0.5) for run in case.runs if run]


def _figures(case: _Case, base: list[float], extent: Extent) -> list[Figure]:
    every = [latency for run in case.runs for latency in run]
    if not every:
        return [missing(case.what, "watcher", "ms", "nothing came in time", rows=case.rows)]
    p99, medians = percentile(every, 0.99), _medians(case)
    brief = case.rows in {extent.base, max(extent.sizes)}
    ours = Figure(
        case.what,
        "watcher",
        "ms",
        tuple(medians),
        ratio(medians, base),
        f"WAL, {count(extent.base)} rows",
        detail=", ".join([f"p99 {shown(p99, 'ms')}", *_faults(case, len(every))]),
        target=_target(case, extent) if brief else "",
        rows=case.rows,
        brief=brief,
        more={"p99_ms": p99, "edits": len(every), "merged": case.merged, "lost": case.lost},
    )
    return [ours, *_seed_figures(case, medians, brief=brief)]


def _faults(case: _Case, edits: int) -> Iterator[str]:
    if case.merged:
        yield f"{case.merged} of {edits} commits came merged"
    if case.lost:
        yield f"{case.lost} did not come within {_WAIT_SECONDS:.0f} s"


def _seed_figures(case: _Case, medians: list[float], *, brief: bool) -> Iterator[Figure]:
    if case.seed:
        seed = [percentile(run, 0.5) for run in case.seed]
        times = ratio(seed, medians)
        runs = tuple(seed)
        yield Figure(case.what, SEED, "ms", runs, times, "watcher", rows=case.rows, brief=brief)


def _target(case: _Case, extent: Extent) -> str:
    if case.mode == "wal":
        return "≤ 1 ms; p99 ≤ 5 ms"
    return "≤ 2 ms" if case.rows == extent.base else "≤ 5 ms"
