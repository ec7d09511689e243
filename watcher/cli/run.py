"""Runs a command until it ends or is asked to, and turns whatever ends it into an exit code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from watcher.errors import (
    BadFilter,
    CannotListen,
    DatabaseUnavailable,
    MalformedPosition,
    OutputFailed,
    StateUnavailable,
    UnknownTable,
    WatchError,
)
from watcher.sinks.stdout import printable

Command = Callable[..., Coroutine[Any, Any, None]]

USAGE = 2
ENVIRONMENT = 3

# States of a database that only another DATABASE argument can mend.
_WRONG_FILE = {"missing", "not_a_database"}


class Refusal(Exception):
    """The command cannot do what it was asked.

    Args:
        code: exit code, `USAGE` or `ENVIRONMENT`.
        sentence: what a person reads.
    """

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(code, sentence)
        self.code = code
        self.sentence = sentence


def run(program: str, command: Command, *arguments: Any) -> int:
    """Runs a command to its end.

    Args:
        program: the name under which it speaks to the user.
        command: a coroutine function.
        arguments: what it is called with.

    Returns:
        The exit code.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    # Until the event loop takes over, SIGTERM ends the process the way Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        asyncio.run(_until_signal(command, *arguments))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 0
    except BrokenPipeError:
        # The reader of our output has seen enough.
        _drop_output()
        return 0
    except (Refusal, WatchError) as error:
        if isinstance(error, OutputFailed):
            _drop_output()
        refusal = _refusal(error)
        print(f"{program}: {printable(refusal.sentence)}", file=sys.stderr)
        return refusal.code
    return 0


def _drop_output() -> None:
    """Lets go of what Python still holds to be printed, and would try again at the exit."""
    with contextlib.suppress(OSError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _until_signal(command: Command, *arguments: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    on_signal(task.cancel)
    await command(*arguments)


def on_signal(stop: Callable[[], object]) -> None:
    """Lets SIGINT and SIGTERM call `stop`, in place of what they did before."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)


def _refusal(error: Refusal | WatchError) -> Refusal:
    match error:
        case Refusal():
            return error
        case DatabaseUnavailable():
            code = USAGE if error.state in _WRONG_FILE else ENVIRONMENT
            return Refusal(code, str(error))
        case CannotListen():
            return Refusal(USAGE if error.mistake else ENVIRONMENT, str(error))
        case StateUnavailable():
            return Refusal(ENVIRONMENT, f"{error}; another directory can be given with --state")
        case MalformedPosition() | UnknownTable() | BadFilter():
            return Refusal(USAGE, str(error))
    return Refusal(ENVIRONMENT, str(error))
