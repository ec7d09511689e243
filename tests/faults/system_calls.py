"""Has system calls of a process fail, or kill it, by what is put before its command."""

from __future__ import annotations

import os
from pathlib import Path


def refusing(
    strace: Path, calls: str, error: str, when: str, path: str | None = None
) -> tuple[str, ...]:
    """What to put before a command to have some of its system calls fail.

    Args:
        strace: the program that does it.
        calls: names of the calls.
        error: what they fail with.
        when: which of them, counted for each name: `3`, `3+` or `3..5`.
        path: the file that they have to be about, None for any.
    """
    about = () if path is None else (f"-P{path}",)
    return _injecting(strace, calls, f"error={error}:when={when}", *about)


def killing(strace: Path, call: str, number: int) -> tuple[str, ...]:
    """What to put before a command to have it killed at a certain call."""
    return _injecting(strace, call, f"signal=KILL:when={number}")


def _injecting(strace: Path, calls: str, what: str, *options: str) -> tuple[str, ...]:
    quiet = (str(strace), "-f", "-qq", "-o", os.devnull, *options)
    return (*quiet, "-e", f"trace={calls}", "-e", f"inject={calls}:{what}")
