"""How fast a client that was away gets what it missed, all of it from disk.

The server is another one than that which recorded the history, so it holds nothing of it in memory.
Beside it, in the same run, an endpoint of FastAPI that sends the same messages from a file, line by
line.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

from benchmarks.clients import ClientsProcess
from benchmarks.databases import Databases
from benchmarks.extent import Extent
from benchmarks.figures import Figure, count, ratio
from benchmarks.processes import Child, wait_until_calm
from benchmarks.serving import serving
from benchmarks.writing import WriterProcess
from watcher import wire
from watcher.changes import Position
from watcher.history import HistoryReader

_LINES = "FastAPI, the same messages from a file, line by line"
_UNIT = "changes/s"
# Fewer than there are rows: no row twice, so that merged commits would leave all changes.
_PIECE = 5_000
_BATCH = 1 << 20


def measure(databases: Databases, extent: Extent) -> list[Figure]:
    """Records a history once, and takes it from both servers in turn."""
    changes = extent.resumed
    resumed: list[float] = []
    plain: list[float] = []
    with ExitStack() as stack:
        path = stack.enter_context(databases.database(extent.base))
        place = stack.enter_context(databases.place())
        options = ("--keep-changesets", str(2 * changes), "--keep-bytes", str(1 << 40))
        since = _record(path, place, extent, options)
        lines = place / "lines"
        _write_lines(place / "state", Position.parse(since), lines)
        service = stack.enter_context(serving(path, place, options))
        server = stack.enter_context(Child("plain_main", "fastapi", str(lines)))
        url = f"http://127.0.0.1:{server.receive()}"
        for _ in range(extent.runs):
            wait_until_calm(service.server)
            resumed.append(_rate(service.url, f"/ws?since={quote(since)}", changes))
            wait_until_calm(server.pid)
            plain.append(_rate(url, "/lines", changes))
    what = f"resume of {count(changes)} changesets from disk"
    times = ratio(resumed, plain)
    target = "≥ 100,000 changes/s"
    return [
        Figure(what, "watcher", _UNIT, tuple(resumed), times, _LINES, target=target),
        Figure(what, _LINES, _UNIT, tuple(plain)),
    ]


def _record(path: Path, place: Path, extent: Extent, options: tuple[str, ...]) -> str:
    """Has a history written; the position before it."""
    with (
        WriterProcess(path, extent.base, "synchronous=NORMAL") as writer,
        serving(path, place, options) as service,
    ):
        since = service.position()
        assert since is not None
        left = extent.resumed
        while left:
            position, commits = service.position(), min(left, _PIECE, extent.base)
            writer.edits(commits)
            service.wait_for_change(position)
            service.wait_until_calm()
            left -= commits
        return since


def _write_lines(state: Path, since: Position, lines: Path) -> None:
    history = HistoryReader(state)
    try:
        place = history.locate(since)
        assert isinstance(place, int)
        with lines.open("wb") as file:
            while entries := history.read(since.epoch, place, _BATCH):
                for entry in entries:
                    message = wire.changes_message(entry.tail, entry.position)
                    file.write(b"[" + message.data + b"]\n")
                place = entries[-1].seq
    finally:
        history.close()


def _rate(url: str, path: str, changes: int) -> float:
    with ClientsProcess(url) as clients:
        received = clients.open(1, path)
    if received.changes != changes:
        raise RuntimeError(f"{received.changes} changes came, not {changes}")
    return received.changes / received.seconds
