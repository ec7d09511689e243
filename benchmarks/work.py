"""The reader's work for a one-row update, by the number of rows.

From the look that finds the commit to the changeset in the history and the moved shadow: finding
pages and rows, encoding and state included. The commit is made by another process.
"""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.databases import Databases
from benchmarks.engine import Cost, Engine
from benchmarks.extent import Extent
from benchmarks.figures import Figure, count, percentile, ratio, shown
from benchmarks.writing import WriterProcess

_MS = 1000


def measure(databases: Databases, extent: Extent) -> list[Figure]:
    """Edits databases of all sizes in turn and times each step of the engine."""
    with ExitStack() as stack:
        pairs = {
            rows: _open(stack, databases, rows) for rows in sorted({*extent.sizes, extent.base})
        }
        runs: dict[int, list[list[Cost]]] = {rows: [] for rows in pairs}
        for _ in range(extent.runs):
            for rows, (engine, writer) in pairs.items():
                runs[rows].append([_edit(engine, writer) for _ in range(extent.edits)])
    medians = {rows: [_wall(costs, 0.5) for costs in found] for rows, found in runs.items()}
    return [
        _figure(rows, found, medians[rows], medians[extent.base], extent)
        for rows, found in runs.items()
    ]


def _open(stack: ExitStack, databases: Databases, rows: int) -> tuple[Engine, WriterProcess]:
    path = stack.enter_context(databases.database(rows))
    # An open connection keeps the log, as that of any running application does.
    writer = stack.enter_context(WriterProcess(path, rows))
    writer.edit()
    engine = stack.enter_context(Engine(path, stack.enter_context(databases.place())))
    engine.first_copy()
    # What is done only once, for the first change, is not the cost of a change.
    _edit(engine, writer)
    return engine, writer


def _edit(engine: Engine, writer: WriterProcess) -> Cost:
    writer.edit()
    return engine.work()


def _wall(costs: list[Cost], share: float) -> float:
    return percentile([cost.wall * _MS for cost in costs], share)


def _figure(
    rows: int, runs: list[list[Cost]], medians: list[float], base: list[float], extent: Extent
) -> Figure:
    every = [cost for costs in runs for cost in costs]
    processor = percentile([cost.processor * _MS for cost in every], 0.5)
    slowest = _wall(every, 0.99)
    is_largest = rows == max(extent.sizes)
    return Figure(
        f"reader's work for a one-row update, WAL, {count(rows)} rows",
        "watcher",
        "ms",
        tuple(medians),
        ratio(medians, base),
        f"{count(extent.base)} rows",
        detail=f"processor {shown(processor, 'ms')}, p99 {shown(slowest, 'ms')}",
        target="≤ 0.5 ms; x ≤ 1.2" if is_largest else "",
        rows=rows,
        brief=rows == extent.base or is_largest,
        more={"processor_ms": processor, "p99_ms": slowest, "edits": len(every)},
    )
