"""The command `tail`."""

from __future__ import annotations

import argparse
import asyncio
import sys

from watcher.cli.arguments import history_limits, hold_limits, wanted
from watcher.cli.progress import show_first_copy
from watcher.cli.run import USAGE, Refusal
from watcher.hub import Hub
from watcher.sinks.stdout import JsonLines, Output, ReadableLines, tail
from watcher.sqlite.exclusion import Exclusion


async def follow(options: argparse.Namespace) -> None:
    """Prints changes until it is cancelled or nobody reads them any more.

    Raises:
        Refusal: there is nowhere to print to.
        WatchError: the database, the state or the output cannot be used.
    """
    if sys.stdout is None:
        raise Refusal(USAGE, "standard output is closed, there is nowhere to print to")
    task = asyncio.current_task()
    assert task is not None
    output = Output(sys.stdout.fileno())
    output.on_hangup(task.cancel)
    render = ReadableLines() if sys.stdout.isatty() else JsonLines()
    async with Hub(
        options.database,
        state=options.state,
        poll=options.poll,
        limits=history_limits(options),
        hold=hold_limits(options),
        # `--tables` is of this stream alone.
        exclusion=Exclusion.of(exclude=options.exclude),
    ) as hub:
        # Which tables there are is known only then.
        await show_first_copy(hub)
        with hub.subscribe(
            since=options.since, snapshot=options.snapshot, wanted=wanted(options)
        ) as subscription:
            await tail(subscription, output, render, _notice)


def _notice(sentence: str) -> None:
    print(f"sqlite-watcher: {sentence}", file=sys.stderr, flush=True)
