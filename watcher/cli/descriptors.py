"""How many connections this process can hold, so that its own files always find room."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

# More than any number of clients here needs; some systems allow a billion.
_MOST = 2**20
# Kept free for what the service itself opens while it runs: its history, pages, a new reader.
_OWN = 64
# The event loop takes in so many connections at once before it hands over the first of them, and
# up to four such batches exist before the first of one too many is closed.
_BACKLOG = 2048
_BATCHES = 4
# Seconds between two complaints about the same lack.
_SILENCE = 60.0
_LACKING = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


@dataclass(frozen=True, slots=True)
class Room:
    """What fits into a limit of open files.

    Args:
        clients: WebSockets and streams.
        connections: these, and those that ask for anything else.
        backlog: connections that are taken in at once.
    """

    clients: int
    connections: int
    backlog: int


def raise_limit() -> int:
    """Raises the limit of open files as far as it may be, and says where it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return _MOST if soft == resource.RLIM_INFINITY else soft


def room(limit: int, used: int, asked: int) -> Room:
    """Divides the limit of open files.

    Args:
        limit: files this process may have open.
        used: those it has.
        asked: clients there are to be at most.
    """
    free = max(0, limit - used - _OWN)
    backlog = max(1, min(_BACKLOG, free // (4 * _BATCHES)))
    connections = max(1, free - _BATCHES * backlog)
    # An eighth is left for those who ask how it goes, or write.
    return Room(min(asked, connections - connections // 8), connections, backlog)


def room_here(asked: int) -> Room:
    """Divides the limit of this process, raised as far as it may be; see `room`.

    Where fewer clients fit than are asked for, the log says so.
    """
    limit = raise_limit()
    found = room(limit, len(list(Path("/proc/self/fd").iterdir())), asked)
    if found.clients < asked:
        logger.warning(
            "%d clients fit into the limit of %d open files (ulimit -n), not %d",
            found.clients,
            limit,
            asked,
        )
    return found


def complains_of_lack() -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """Makes an exception handler for an event loop that takes in connections.

    Where there are no descriptors left the loop reports each attempt, thousands in a second and
    each with a traceback, and tries again later by itself. One sentence is enough.
    """
    last: float | None = None

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal last
        error = context.get("exception")
        if "socket" not in context or getattr(error, "errno", None) not in _LACKING:
            loop.default_exception_handler(context)
            return
        if last is None or loop.time() - last >= _SILENCE:
            last = loop.time()
            logger.warning("new clients have to wait: %s", error)

    return handle
