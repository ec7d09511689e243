"""The progress bar: one line on a terminal, one sentence elsewhere, nothing where nobody looks."""

from __future__ import annotations

import asyncio
import io
import os
import pty
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest

from watcher import wire
from watcher.cli.progress import ProgressBar
from watcher.errors import HubClosed
from watcher.hub import Message, Subscription
from watcher.sinks.stdout import JsonLines, Output, tail


def test_on_a_terminal_a_line_is_drawn_over_and_taken_away() -> None:
    """It is as long as before each time, and nothing of it stays."""
    screen, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        bar = ProgressBar(terminal)
        for part in (0.0, 0.42, 1.0):
            bar.draw(part)
        bar.clear()
        bar.clear()
        drawn = ""
        while "\x1b[K" not in drawn:
            drawn += os.read(screen, 4096).decode()
    os.close(screen)
    assert drawn.split("\r") == [
        "",
        "first copy [..............................]   0%",
        "first copy [############..................]  42%",
        "first copy [##############################] 100%",
        "\x1b[K",
    ]


def test_elsewhere_one_sentence_has_to_do() -> None:
    """However often the part changes."""
    log = io.StringIO()
    bar = ProgressBar(log)
    for part in (0.1, 0.2):
        bar.draw(part)
    bar.clear()
    assert log.getvalue() == "The first copy of the database is being made.\n"


def test_where_nothing_was_drawn_nothing_is_taken_away() -> None:
    """A copy that is made at once leaves no trace, on a terminal neither."""
    screen, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        ProgressBar(terminal).clear()
        terminal.write("next")
        terminal.flush()
        assert os.read(screen, 4096) == b"next"
    os.close(screen)


def test_nobody_who_looks_is_no_error() -> None:
    """Standard error may be closed, or lead nowhere."""
    ProgressBar(None).draw(0.5)
    ProgressBar(None).clear()
    with ExitStack() as stack:
        nowhere = stack.enter_context(Path("/dev/full").open("w"))
        bar = ProgressBar(nowhere)
        bar.draw(0.5)
        bar.draw(0.6)
        bar.clear()
        # What Python still holds to be written is tried again at the end.
        with pytest.raises(OSError, match="No space left"):
            stack.close()


class Told:
    """A subscription that brings these batches of messages, and ends."""

    def __init__(self, *batches: list[Message]) -> None:
        self._batches = iter(batches)

    async def next(self) -> list[Message]:
        """The next batch."""
        try:
            return next(self._batches)
        except StopIteration:
            raise HubClosed from None


def test_a_copy_in_midst_of_a_tail_is_one_notice() -> None:
    """A reader that lost its state copies anew: said once, whatever part is done, and its end."""
    parts = [
        wire.status_message("starting", "the first copy is being made", part)
        for part in (0.1, 0.2, 0.3)
    ]
    ok = wire.status_message("ok", "")
    told = cast(Subscription, Told(parts[:2], parts[2:], [ok], parts[:1]))
    said: list[str] = []
    with Path(os.devnull).open("wb") as nowhere, pytest.raises(HubClosed):
        asyncio.run(tail(told, Output(nowhere.fileno()), JsonLines(), said.append))
    copying = "starting: the first copy is being made"
    assert said == [copying, "ok: ", copying]
