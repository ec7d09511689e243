"""What an idle WebSocket client costs in memory of the server.

Beside it, in the same run, an endpoint of FastAPI alone, in the same web server.
"""

from __future__ import annotations

from benchmarks.clients import ClientsProcess, allow_connections
from benchmarks.databases import Databases
from benchmarks.extent import Extent
from benchmarks.figures import Figure, count, ratio
from benchmarks.processes import Child, anonymous_megabytes, wait_until_calm
from benchmarks.serving import serving

_MOST_RUNS = 3
_BARE = "FastAPI alone"


def measure(databases: Databases, extent: Extent) -> list[Figure]:
    """Connects many clients to both in turn."""
    allow_connections()
    watched: list[float] = []
    bare: list[float] = []
    for _ in range(min(extent.runs, _MOST_RUNS)):
        with (
            databases.database(extent.base) as path,
            databases.place() as place,
            serving(path, place) as service,
        ):
            watched.append(_each(service.url, service.server, extent.idle_clients))
        with Child("plain_main", "fastapi") as server:
            url = f"http://127.0.0.1:{server.receive()}"
            bare.append(_each(url, server.pid, extent.idle_clients))
    what = f"memory of the server for each idle WebSocket, {count(extent.idle_clients)} clients"
    held = tuple(watched)
    return [
        Figure(what, "watcher", "KB", held, ratio(held, bare), _BARE, "RssAnon", "≤ 45 KB"),
        Figure(what, _BARE, "KB", tuple(bare)),
    ]


def _each(url: str, pid: int, number: int) -> float:
    """How much the server grows by with each client, in KB."""
    before = anonymous_megabytes(pid)
    with ClientsProcess(url) as clients:
        clients.open(number)
        wait_until_calm(pid)
        return (anonymous_megabytes(pid) - before) * 1000 / number
