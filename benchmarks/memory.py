"""Memory that only the reader process holds: at rest beside a large database, and at its worst."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from benchmarks.databases import Databases
from benchmarks.extent import Extent
from benchmarks.figures import Figure, count, ratio
from benchmarks.processes import Child, Peak, anonymous_megabytes
from benchmarks.serving import Service, serving
from benchmarks.writing import WriterProcess

# Each takes a minute at full size.
_MOST_RUNS = 3


def measure(databases: Databases, extent: Extent) -> list[Figure]:
    """Updates many rows in one commit beside a server without clients."""
    idle: list[float] = []
    peaks: list[float] = []
    held: list[float] = []
    for _ in range(min(extent.runs, _MOST_RUNS)):
        with ExitStack() as stack:
            path = stack.enter_context(databases.database(extent.large))
            writer = stack.enter_context(WriterProcess(path, extent.large))
            writer.edit()
            place = stack.enter_context(databases.place())
            service = stack.enter_context(serving(path, place))
            idle.append(anonymous_megabytes(service.reader))
            peaks.append(_peak(service, writer, extent.update))
        held.append(_held(databases.template(extent.large), extent))
    return _figures(idle, peaks, held, extent)


def _peak(service: Service, writer: WriterProcess, rows: int) -> float:
    position = service.position()
    with Peak(service.reader).watching() as peak:
        writer.update(rows)
        service.wait_for_change(position)
        service.wait_until_calm()
    return peak.megabytes


def _held(path: Path, extent: Extent) -> float:
    """What a program holds that compares as many rows in Python: one side of them."""
    with Child("encode_main", str(path)) as control:
        answer = control.ask(after=extent.large - extent.update, hold=True)
    return float(answer["megabytes"])


def _figures(
    idle: list[float], peaks: list[float], held: list[float], extent: Extent
) -> list[Figure]:
    at_rest = f"memory of the reader at rest (RssAnon), {count(extent.large)} rows"
    at_most = f"{count(extent.update)} rows updated in one commit, peak RssAnon of the reader"
    rows, watcher = "these rows held in Python", "watcher"
    ratios = (ratio(idle, held), ratio(peaks, held))
    return [
        Figure(at_rest, watcher, "MB", tuple(idle), ratios[0], rows, target="≤ 80 MB"),
        Figure(at_most, watcher, "MB", tuple(peaks), ratios[1], rows, target="≤ 300 MB"),
        Figure(at_most, rows, "MB", tuple(held), detail="one side of the comparison"),
    ]
