"""Shows how far the first copy is: a bar on a terminal, one sentence anywhere else.

Only on standard error, and nothing where the copy is made at once.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TextIO

from watcher.hub import Hub

_CELLS = 30


class ProgressBar:
    """One line that is drawn over and over, and leaves nothing behind.

    Args:
        screen: where to draw; where it is no terminal a sentence must do. None shows nothing.
    """

    def __init__(self, screen: TextIO | None) -> None:
        self._screen = screen
        self._shown = False

    def draw(self, part: float) -> None:
        """Shows the part that is done, 0 to 1."""
        if self._screen is None:
            return
        if self._screen.isatty():
            done = "#" * int(part * _CELLS)
            # All of it each time: whatever else is printed spoils it only for a moment.
            self._write(self._screen, f"\rfirst copy [{done:.<{_CELLS}}] {part:4.0%}")
        elif not self._shown:
            self._write(self._screen, "The first copy of the database is being made.\n")
        self._shown = True

    def clear(self) -> None:
        """Takes the line away; idempotent."""
        if self._screen is not None and self._shown and self._screen.isatty():
            self._write(self._screen, "\r\x1b[K")
        self._shown = False

    def _write(self, screen: TextIO, text: str) -> None:
        try:
            screen.write(text)
            screen.flush()
        except OSError:
            # Nobody looks any more, which is no reason to stop watching.
            self._screen = None


async def show_first_copy(hub: Hub) -> None:
    """Shows how far the first copy is; returns when it is complete or something is in its way.

    Args:
        hub: the database, just opened.
    """
    bar = ProgressBar(sys.stderr)
    try:
        while hub.status.state == "starting" and not hub.closed:
            if hub.status.progress is not None:
                bar.draw(hub.status.progress)
            await asyncio.wait((hub.wake,))
    finally:
        bar.clear()
