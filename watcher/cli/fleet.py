"""Several databases in one daemon: which they are, under which names, and new ones that appear."""

from __future__ import annotations

import asyncio
import glob
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from watcher.cli.run import USAGE, Refusal
from watcher.errors import WatchError
from watcher.hub import Hub
from watcher.sinks.stdout import printable

_LOOK_SECONDS = 2.0
_MAGIC = b"SQLite format 3\0"

Open = Callable[[str, Path], Hub]
"""Makes the hub of a database from its name here and its path."""


def is_pattern(text: str) -> bool:
    """Whether an argument stands for the files it matches; one that is itself a file does not."""
    return glob.has_magic(text) and not Path(text).exists()


def named(arguments: Iterable[str]) -> dict[str, Path]:
    """Gives each database its name: that of the file, or the one before `=`.

    Args:
        arguments: `PATH` or `NAME=PATH` each.

    Raises:
        Refusal: two have the same name.
    """
    found: dict[str, Path] = {}
    for argument in arguments:
        name, path = _name_and_path(argument)
        if name in found:
            sentence = (
                f"two databases would be called {printable(name)}; "
                "give one another name as in NAME=PATH"
            )
            raise Refusal(USAGE, sentence)
        found[name] = path
    return found


def _name_and_path(argument: str) -> tuple[str, Path]:
    before, separator, after = argument.partition("=")
    if separator and before and "/" not in before and not Path(argument).exists():
        return before, Path(after)
    path = Path(argument)
    return _shown(path), path


def _shown(path: Path) -> str:
    return path.name.encode("utf-8", "replace").decode()


class Fleet:
    """The hubs of several databases.

    Args:
        open_hub: makes one.
        stack: ends them.
    """

    def __init__(self, open_hub: Open, stack: AsyncExitStack) -> None:
        self._open = open_hub
        self._stack = stack
        self._hubs: dict[str, Hub] = {}
        self._refused: set[Path] = set()

    @property
    def hubs(self) -> Mapping[str, Hub]:
        """All of them by their names."""
        return self._hubs

    async def add(self, databases: Mapping[str, Path]) -> None:
        """Begins to watch databases.

        Raises:
            WatchError: one cannot be watched.
        """
        for name, path in databases.items():
            self._hubs[name] = await self._stack.enter_async_context(self._open(name, path))

    async def look(self, patterns: Iterable[str]) -> None:
        """Begins to watch what has come to match; what cannot be watched is said once."""
        for path in _matching(patterns):
            if _shown(path) in self._hubs or path in self._refused:
                continue
            try:
                await self.add({_shown(path): path})
            except WatchError as error:
                self._refused.add(path)
                print(f"not watched: {printable(str(error))}", file=sys.stderr)

    async def keep_looking(self, patterns: Iterable[str]) -> None:
        """Does so until it is cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self.look(patterns)


def _matching(patterns: Iterable[str]) -> Iterator[Path]:
    for pattern in patterns:
        # Path.glob takes no absolute pattern.
        for text in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - as said above
            path = Path(text)
            if _is_database(path):
                yield path


def _is_database(path: Path) -> bool:
    # Logs and journals match many a pattern too.
    try:
        with path.open("rb") as file:
            return path.is_file() and file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False
