"""A one-row change, found by the engine and by peers that compare whole tables."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.databases import Databases, value
from benchmarks.engine import Engine
from benchmarks.extent import Extent
from benchmarks.figures import Figure, count, missing, percentile, ratio
from benchmarks.processes import Child
from benchmarks.writing import WriterProcess
from tests import system

# Tables of more rows take a peer ten seconds and more.
_MANY_ROWS = 1_000_000
_MOST_RUNS_OF_MANY = 3
# Steps of the engine for each comparison by a peer: they are short, so one alone would be luck.
_STEPS = 20

_NAMES = {
    "watcher": "watcher",
    "session": "APSW Session.diff",
    "except": "SQL EXCEPT, both ways",
    "sqldiff": "sqldiff",
    "python": "all rows read and compared in Python",
}
_TO_BEAT = {"session", "except", "sqldiff"}


@dataclass
class _Size:
    """What is measured at one number of rows.

    Args:
        rows: in the table.
        runs: milliseconds of each way, a figure for each run.
        absent: ways that cannot be measured, and why.
    """

    rows: int
    runs: dict[str, list[float]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def add(self, way: str, milliseconds: float) -> None:
        self.runs.setdefault(way, []).append(milliseconds)


def measure(databases: Databases, extent: Extent) -> list[Figure]:
    """Measures all ways in turn, at each size up to the limits."""
    sizes = [rows for rows in extent.sizes if rows <= extent.peers_most]
    return [
        figure
        for rows in sizes
        for figure in _figures(_measure(databases, rows, extent), _headline(sizes))
    ]


def _headline(sizes: list[int]) -> int:
    return 1_000_000 if 1_000_000 in sizes else max(sizes)


def _measure(databases: Databases, rows: int, extent: Extent) -> _Size:
    size = _Size(rows)
    if rows > extent.python_most:
        size.absent["python"] = "it would hold several GB in memory"
    sqldiff = _sqldiff(size)
    with ExitStack() as stack:
        place = stack.enter_context(databases.place())
        old, new = databases.template(rows), _edited(databases.template(rows), place)
        path = stack.enter_context(databases.database(rows))
        writer = stack.enter_context(WriterProcess(path, rows))
        writer.edit()
        engine = stack.enter_context(Engine(path, stack.enter_context(databases.place())))
        engine.first_copy()
        peers = stack.enter_context(Child("peers_main", str(old), str(new)))
        if "python" not in size.absent:
            peers.ask(do="hold")
        runs = extent.runs if rows <= _MANY_ROWS else min(extent.runs, _MOST_RUNS_OF_MANY)
        for _ in range(runs):
            size.add("watcher", percentile([_step(engine, writer) for _ in range(_STEPS)], 0.5))
            for way in _ways(size):
                size.add(way, _compare(peers, way, sqldiff))
    return size


def _sqldiff(size: _Size) -> str:
    try:
        return str(system.required(system.SQLDIFF))
    except system.Absent as reason:
        size.absent["sqldiff"] = str(reason)
        return ""


def _edited(template: Path, place: Path) -> Path:
    path = Path(shutil.copyfile(template, place / "new.db"))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (middle,) = connection.execute("SELECT max(id) / 2 + 1 FROM items").fetchone()
        update = "UPDATE items SET value=? WHERE id=?"
        connection.execute(update, (value("changed"), middle))
    return path


def _ways(size: _Size) -> Iterator[str]:
    return (way for way in _NAMES if way != "watcher" and way not in size.absent)


def _step(engine: Engine, writer: WriterProcess) -> float:
    writer.edit()
    return engine.work().wall * 1000


def _compare(peers: Child, way: str, sqldiff: str) -> float:
    answer = peers.ask(do=way, **({"command": sqldiff} if way == "sqldiff" else {}))
    if answer["found"] != 1:
        raise RuntimeError(f"{_NAMES[way]} found {answer['found']} changed rows, not 1")
    return float(answer["seconds"]) * 1000


def _figures(size: _Size, headline: int) -> Iterator[Figure]:
    what = f"one-row change found, {count(size.rows)} rows"
    ours = size.runs["watcher"]
    for way, name in _NAMES.items():
        if way in size.absent:
            yield missing(what, name, "ms", size.absent[way], rows=size.rows)
            continue
        runs = size.runs[way]
        yield Figure(
            what,
            name,
            "ms",
            tuple(runs),
            ratio(runs, ours),
            "watcher",
            target="x ≥ 1,000" if way in _TO_BEAT and size.rows == 1_000_000 else "",
            rows=size.rows,
            brief=size.rows == headline,
        )
