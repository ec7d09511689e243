"""What a writer loses: the time of its commits, watched and with triggers, against unwatched."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from sqlite_chronicle import enable_chronicle  # type: ignore[import-untyped]  # has no types

from benchmarks.databases import Databases, settle
from benchmarks.extent import Extent
from benchmarks.figures import Figure, count, shown
from benchmarks.serving import serving
from benchmarks.writing import WriterProcess

# Without sync the disk cannot hide what the writer loses; with it (the default of a rollback
# journal) a commit may take a hundred times as long, so there are fewer of them.
_SETTINGS = (("wal", "NORMAL", 1), ("delete", "OFF", 1), ("delete", "FULL", 100))
_CHRONICLE = "triggers of sqlite-chronicle"


def measure(databases: Databases, extent: Extent) -> list[Figure]:
    """Times the same number of commits in turn: unwatched, watched, unwatched, with triggers."""
    return [
        figure
        for mode, synchronous, fewer in _SETTINGS
        for figure in _measure(databases, mode, synchronous, extent, extent.pair_commits // fewer)
    ]


def _measure(
    databases: Databases, mode: str, synchronous: str, extent: Extent, commits: int
) -> Iterator[Figure]:
    rows = extent.base
    watched: list[float] = []
    chronicled: list[float] = []
    plain: list[float] = []
    with ExitStack() as stack:
        paths = [stack.enter_context(databases.database(rows, mode)) for _ in range(3)]
        _add_triggers(paths[2])
        alone, beside, triggered = (
            stack.enter_context(WriterProcess(path, rows, f"synchronous={synchronous}"))
            for path in paths
        )
        for writer in (alone, beside, triggered):
            writer.edit()
        service = stack.enter_context(serving(paths[1], stack.enter_context(databases.place())))
        for _ in range(extent.pairs):
            before = _seconds(alone, commits)
            plain.append(before)
            watched.append(_seconds(beside, commits) / before)
            service.wait_until_calm()
            before = _seconds(alone, commits)
            plain.append(before)
            chronicled.append(_seconds(triggered, commits) / before)
    what = f"writer's slowdown, {count(commits)} commits, {mode.upper()}, {synchronous}"
    speed = f"unwatched {shown(commits / sorted(plain)[len(plain) // 2], 'commits/s')}"
    yield _figure(what, "watcher", watched, speed, "≤ 5 %")
    yield _figure(what, _CHRONICLE, chronicled, "", "")


def _add_triggers(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        enable_chronicle(connection, "items")


def _seconds(writer: WriterProcess, commits: int) -> float:
    settle()
    return writer.edits(commits).seconds


def _figure(what: str, way: str, times: list[float], detail: str, target: str) -> Figure:
    lost = tuple((times_as_long - 1) * 100 for times_as_long in times)
    against = "unwatched"
    ratio = sorted(times)[len(times) // 2]
    return Figure(what, way, "%", lost, ratio, against, detail, target)
