"""How benchmarks speak to `clients_main.py`."""

from __future__ import annotations

import resource
from dataclasses import dataclass

from benchmarks.processes import Child

_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Received:
    """What came at all clients together.

    Args:
        frames: with changes in them.
        changes: in these frames.
        bytes: of these frames.
        arrived: when each client had what was waited for, in nanoseconds of the monotonic clock.
        last: the text of a frame, empty where none came.
        seconds: from the first connection on, where clients were opened.
    """

    frames: int
    changes: int
    bytes: int
    arrived: list[int]
    last: str
    seconds: float = 0.0


class ClientsProcess(Child):
    """Another process with any number of WebSocket clients of one server.

    Args:
        url: of the server, without a path.
    """

    def __init__(self, url: str) -> None:
        super().__init__("clients_main", url)

    def open(self, clients: int, path: str = "/ws", *, reads: bool = True) -> Received:
        """Connects clients, and waits until the stream of each is live.

        Args:
            clients: how many.
            path: what they ask for.
            reads: False for clients that never read anything, and take little unread.
        """
        request = {"path": path, "clients": clients, "reads": reads, "seconds": _SECONDS}
        return Received(**self.ask(do="open", **request))

    def take(self, changes: int) -> Received:
        """Waits until each client has got so many changes more."""
        return Received(**self.ask(do="receive", changes=changes, seconds=_SECONDS))


def allow_connections() -> None:
    """Lets this process, and those it starts from now on, open as many files as they may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
