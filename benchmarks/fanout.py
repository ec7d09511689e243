"""What it costs to bring changes to many WebSocket clients: deliveries by processor time.

Counted is the processor time of the server process, which reads the history and writes to all
sockets; the clients are another process. First each commit is a message of its own: the next one is
made when all clients have it. Then the writer goes at full speed, and messages are joined.

Beside it, in the same run and with the same text, the plain ways to send to all clients.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.clients import ClientsProcess, allow_connections
from benchmarks.databases import Databases
from benchmarks.extent import Extent
from benchmarks.figures import Figure, count, ratio, shown
from benchmarks.processes import Child, processor_seconds, wait_until_calm
from benchmarks.serving import Service, serving
from benchmarks.writing import WriterProcess

_MOST_RUNS = 3
_UNIT = "1/s"
_LOOP = "FastAPI, `await ws.send_text(…)` for one after the other"
_BROADCAST = "`websockets.broadcast`, without FastAPI"
_PLAIN = {"fastapi": _LOOP, "broadcast": _BROADCAST}


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of the watcher.

    Args:
        single: deliveries for each second of processor, one change in each message.
        joined: the same at full speed.
        frame: changes in each frame at full speed, on the average.
        text: of a message with one change.
    """

    single: float
    joined: float
    frame: float
    text: str


def measure(databases: Databases, extent: Extent) -> list[Figure]:
    """Runs the watcher and the plain ways in turn, each with as many clients."""
    allow_connections()
    runs: list[_Run] = []
    plain: dict[str, list[float]] = {way: [] for way in _PLAIN}
    for _ in range(min(extent.runs, _MOST_RUNS)):
        runs.append(_watched(databases, extent))
        for way, found in plain.items():
            found.append(_sent_plainly(way, runs[-1].text, extent))
    return _figures(runs, plain, extent)


def _watched(databases: Databases, extent: Extent) -> _Run:
    with ExitStack() as stack:
        path = stack.enter_context(databases.database(extent.base))
        writer = stack.enter_context(WriterProcess(path, extent.base, "synchronous=NORMAL"))
        writer.edit()
        service = stack.enter_context(serving(path, stack.enter_context(databases.place())))
        clients = stack.enter_context(ClientsProcess(service.url))
        clients.open(extent.clients)
        wait_until_calm(service.server)
        single, text = _one_by_one(service, writer, clients, extent)
        joined, frame = _at_full_speed(service, writer, clients, extent)
        return _Run(single, joined, frame, text)


def _one_by_one(
    service: Service, writer: WriterProcess, clients: ClientsProcess, extent: Extent
) -> tuple[float, str]:
    deliveries, text = 0, ""
    before = processor_seconds(service.server)
    for _ in range(extent.messages):
        writer.edit()
        received = clients.take(1)
        deliveries, text = deliveries + received.frames, received.last
    return deliveries / (processor_seconds(service.server) - before), text


def _at_full_speed(
    service: Service, writer: WriterProcess, clients: ClientsProcess, extent: Extent
) -> tuple[float, float]:
    before = processor_seconds(service.server)
    writer.begin_edits(extent.joined)
    received = clients.take(extent.joined)
    spent = processor_seconds(service.server) - before
    writer.end_edits()
    return received.changes / spent, received.changes / received.frames


def _sent_plainly(way: str, text: str, extent: Extent) -> float:
    with (
        Child("plain_main", way) as server,
        ClientsProcess(f"http://127.0.0.1:{server.receive()}") as clients,
    ):
        clients.open(extent.clients)
        wait_until_calm(server.pid)
        deliveries = 0
        before = processor_seconds(server.pid)
        for _ in range(extent.messages):
            server.ask(text=text)
            deliveries += clients.take(1).frames
        return deliveries / (processor_seconds(server.pid) - before)


def _figures(runs: list[_Run], plain: dict[str, list[float]], extent: Extent) -> list[Figure]:
    each = f"for each second of the server's processor, {count(extent.clients)} WebSocket clients"
    single = f"deliveries {each}, one change a commit"
    joined = f"changes delivered {each}, writer at full speed"
    singles, joins = tuple(run.single for run in runs), tuple(run.joined for run in runs)
    of_loop = ratio(joins, plain["fastapi"])
    size = f"messages of {len(runs[-1].text)} bytes"
    frame = f"{shown(runs[-1].frame, '')} changes in a frame"
    return [
        Figure(
            single,
            "watcher",
            _UNIT,
            singles,
            ratio(singles, plain["broadcast"]),
            _BROADCAST,
            size,
            "≥ 50,000",
        ),
        *(Figure(single, way, _UNIT, tuple(plain[name])) for name, way in _PLAIN.items()),
        Figure(joined, "watcher", _UNIT, joins, of_loop, _LOOP, frame, "≥ 500,000"),
    ]
