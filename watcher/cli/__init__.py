"""The command line: puts the parts together.

The only room that prints, reads the environment, reads arguments and sets up logging. Whatever goes
wrong ends as one sentence on standard error and an exit code: 2 where the call was wrong, 3 where
the machine stands in the way.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Sequence
from pathlib import Path

from watcher.cli.arguments import parser, serve_parser
from watcher.cli.follow import follow
from watcher.cli.run import run

__all__ = ["main", "serve_main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command `sqlite-watcher`.

    Args:
        arguments: what follows the command's name; None takes them from the process.

    Returns:
        The exit code.
    """
    options = parser().parse_args(arguments)
    if options.command == "tail":
        return run("sqlite-watcher", follow, options)
    return run("sqlite-watcher", _serve, options, Path.cwd())


def serve_main(demo_directory: Path, arguments: Sequence[str] | None = None) -> int:
    """Runs `server.py`: the command `serve` alone.

    Args:
        demo_directory: where the demo database lies when no DATABASE is named.
        arguments: what follows the script's name; None takes them from the process.

    Returns:
        The exit code.
    """
    options = serve_parser("server.py").parse_args(arguments)
    return run("server.py", _serve, options, demo_directory)


async def _serve(options: argparse.Namespace, demo_directory: Path) -> None:
    # All that is made until the service runs stays: to look through it for garbage again and again
    # would take a sixth of the start.
    gc.disable()
    # FastAPI takes a third of a second to import, which `tail` and `--help` need not wait for.
    from watcher.cli.serve import serve  # noqa: PLC0415

    await serve(options, demo_directory)
