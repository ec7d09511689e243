"""Commits of a writer without patience: how many meet a lock, in each journal mode.

Beside the watcher, as a control, a program that asks `PRAGMA data_version` every millisecond, the
usual way to learn of another program's commits. Errors add up, so there is one run of many commits
rather than a median of several.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path

from benchmarks.databases import Databases
from benchmarks.extent import Extent
from benchmarks.figures import Figure, count
from benchmarks.processes import Child
from benchmarks.serving import serving
from benchmarks.writing import WriterProcess

_MODES = ("delete", "truncate", "persist", "wal", "memory", "off")
_POLL_SECONDS = 0.001
_UNWATCHED = "unwatched"
_POLL = "PRAGMA data_version every ms"
Watching = Callable[[Path, Path], AbstractContextManager[object]]


def measure(databases: Databases, extent: Extent) -> list[Figure]:
    """Commits in each mode unwatched, watched and beside the control, each on a file of its own."""
    ways: dict[str, Watching] = {
        "watcher": serving,
        _UNWATCHED: lambda _path, _place: nullcontext(),
        _POLL: _polling,
    }
    return [
        _figure(mode, way, _errors(databases, mode, watching, extent), extent)
        for mode in _MODES
        for way, watching in ways.items()
    ]


def _polling(path: Path, _place: Path) -> Child:
    child = Child("poll_main", str(path), str(_POLL_SECONDS))
    child.receive()
    return child


def _errors(databases: Databases, mode: str, watching: Watching, extent: Extent) -> int:
    with ExitStack() as stack:
        path = stack.enter_context(databases.database(extent.base, mode))
        pragmas = (f"journal_mode={mode}", "synchronous=OFF")
        writer = stack.enter_context(WriterProcess(path, extent.base, *pragmas, timeout=0))
        writer.edit()
        stack.enter_context(watching(path, stack.enter_context(databases.place())))
        return writer.edits(extent.busy).errors


def _figure(mode: str, way: str, errors: int, extent: Extent) -> Figure:
    return Figure(
        f"{count(extent.busy)} commits with busy_timeout=0, {mode.upper()}: errors",
        way,
        "",
        (float(errors),),
        target="0" if way == "watcher" else "",
        brief=way != _UNWATCHED or errors > 0,
    )
