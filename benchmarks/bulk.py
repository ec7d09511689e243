"""Many rows in one commit: rows per second from the log to encoded changes in the history."""

from __future__ import annotations

from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from benchmarks.databases import Databases
from benchmarks.engine import Engine
from benchmarks.extent import Extent
from benchmarks.figures import Figure, count, ratio
from benchmarks.processes import Child
from benchmarks.writing import WriterProcess

_UNIT = "rows/s"


def measure(databases: Databases, extent: Extent) -> list[Figure]:
    """Inserts rows in one commit, and lets a control encode the same rows."""
    ours: list[float] = []
    control: list[float] = []
    with ExitStack() as stack:
        path = stack.enter_context(databases.database(extent.base))
        writer = stack.enter_context(WriterProcess(path, extent.base))
        writer.edit()
        engine = stack.enter_context(Engine(path, stack.enter_context(databases.place())))
        engine.first_copy()
        inserted = extent.base
        for _ in range(extent.runs):
            writer.insert(extent.bulk)
            ours.append(extent.bulk / engine.work().wall)
            control.append(extent.bulk / _encode(path, inserted, extent.bulk))
            inserted += extent.bulk
    what = f"{count(extent.bulk)} rows inserted in one commit, to encoded changes"
    encoder = f"encoder: msgspec {version('msgspec')}; state included"
    times, target = ratio(ours, control), "≥ 250,000 rows/s"
    json = "json.dumps of the rows, read with sqlite3"
    return [
        Figure(what, "watcher", _UNIT, tuple(ours), times, json, encoder, target),
        Figure(what, json, _UNIT, tuple(control), detail="no state, no comparison"),
    ]


def _encode(path: Path, after: int, rows: int) -> float:
    """The seconds in which a process of its own reads the rows and encodes them."""
    with Child("encode_main", str(path)) as control:
        answer = control.ask(after=after)
    if answer["rows"] != rows:
        raise RuntimeError(f"the control encoded {answer['rows']} rows, not {rows}")
    return float(answer["seconds"])
