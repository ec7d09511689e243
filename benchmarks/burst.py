"""Many single-row commits at full speed: does each arrive as its own changeset, and how fast?"""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.databases import Databases
from benchmarks.engine import Engine
from benchmarks.extent import Extent
from benchmarks.figures import Figure, count, ratio
from benchmarks.streaming import Arrival, StreamProcess
from benchmarks.writing import Edits, WriterProcess

_WAIT_SECONDS = 120.0
_UNIT = "commits/s"
_NORMAL = "synchronous=NORMAL"


def measure(databases: Databases, extent: Extent) -> list[Figure]:
    """Commits at full speed, unwatched, under `watch()`, and ahead of the engine alone."""
    commits = extent.burst
    alone: list[float] = []
    through: list[float] = []
    own: list[tuple[float, bool]] = []
    backlog: list[float] = []
    with ExitStack() as stack:
        unwatched = stack.enter_context(databases.database(extent.base))
        watched = stack.enter_context(databases.database(extent.base))
        control = stack.enter_context(WriterProcess(unwatched, extent.base, _NORMAL))
        writer = stack.enter_context(WriterProcess(watched, extent.base, _NORMAL))
        control.edit()
        writer.edit()
        stream = stack.enter_context(StreamProcess(watched, stack.enter_context(databases.place())))
        for _ in range(extent.runs):
            alone.append(commits / control.edits(commits).seconds)
            edits = writer.edits(commits)
            arrivals = stream.arrivals(commits, _WAIT_SECONDS)
            own.append(_own(edits, arrivals))
            through.append(_rate(edits, arrivals))
            backlog.append(_backlog(databases, extent))
    return _figures(commits, own, through, backlog, alone)


def _own(edits: Edits, arrivals: list[Arrival]) -> tuple[float, bool]:
    """How many came as their own changeset, and whether these came in the order of the commits."""
    place = {value: number for number, value in enumerate(edits.values)}
    own = [place[arrival.values[0]] for arrival in arrivals if _is_one(arrival)]
    return float(len(own)), own == sorted(own)


def _is_one(arrival: Arrival) -> bool:
    return arrival.commits == 1 and len(arrival.values) == 1


def _rate(edits: Edits, arrivals: list[Arrival]) -> float:
    """Commits in each second from the first commit to the last changeset."""
    began = edits.returned[0]
    return len(edits.values) / ((arrivals[-1].at - began) / 1e9) if arrivals else 0.0


def _backlog(databases: Databases, extent: Extent) -> float:
    """Commits in each second of the engine alone, all of them in the log before it looks."""
    with ExitStack() as stack:
        path = stack.enter_context(databases.database(extent.base))
        writer = WriterProcess(path, extent.base, _NORMAL, "wal_autocheckpoint=0")
        stack.enter_context(writer).edit()
        engine = stack.enter_context(Engine(path, stack.enter_context(databases.place())))
        engine.first_copy()
        writer.edits(extent.burst)
        return extent.burst / engine.catch_up().wall


def _figures(
    commits: int,
    own: list[tuple[float, bool]],
    through: list[float],
    backlog: list[float],
    alone: list[float],
) -> list[Figure]:
    what = f"{count(commits)} single-row commits at full speed, WAL, NORMAL"
    writer, target = "the writer, unwatched", "≥ 3,000 commits/s"
    order = "in order" if all(in_order for _, in_order in own) else "out of order"
    detail = f"{order}; {min(own)[0]:,.0f} in the worst run"
    numbers, whole = tuple(number for number, _ in own), count(commits)
    times = ratio(through, alone), ratio(backlog, alone)
    rate, alone_rate = "watcher, to the last changeset in watch()", "watcher, reader on a backlog"
    return [
        Figure(f"{what}: own changesets", "watcher", "", numbers, detail=detail, target=whole),
        Figure(what, rate, _UNIT, tuple(through), times[0], writer, target=target),
        Figure(what, alone_rate, _UNIT, tuple(backlog), times[1], writer, target=target),
        Figure(what, writer, _UNIT, tuple(alone)),
    ]
