"""Processes that stand still for a while."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def stopped(*pids: int | None) -> Iterator[None]:
    """Stops processes; they go on at the end.

    Args:
        pids: their ids, of which none may be None.
    """
    with ExitStack() as stack:
        for pid in pids:
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            stack.callback(os.kill, pid, signal.SIGCONT)
        yield
