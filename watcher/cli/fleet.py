"""Several databases in one daemon: which they are, under which names, and new ones that appear."""

from __future__ import annotations

import asyncio
import glob
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from watcher.cli.run import USAGE, Refusal
from watcher.errors import WatchError
from watcher.hub import Hub
from watcher.sinks.stdout import printable

_LOOK_SECONDS = 2.0
_MAGIC = b"SQLite format 3\0"
_BESIDE = ("-wal", "-shm", "-journal")

_Identity = tuple[int, int, int]

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
    if (
        separator
        and before not in {"", ".", ".."}
        and "/" not in before
        and not Path(argument).exists()
    ):
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
        # Files that cannot be watched, as they were when that was found.
        self._known: set[tuple[Path, int, int, int]] = set()

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

    async def look(self, patterns: Sequence[str]) -> None:
        """Begins to watch what has come to match; what cannot be watched is said once."""
        for path in await asyncio.to_thread(_matching, patterns):
            if self._is_new(path) and await asyncio.to_thread(_is_database, path):
                await self._add_matching(path)

    def _is_new(self, path: Path) -> bool:
        # A file that is watched is not even opened: to close it again would drop the locks of
        # the connections on which this process writes to it.
        resolved = path.resolve()
        if any(resolved == hub.path for hub in self._hubs.values()):
            return False
        if any(resolved.is_relative_to(hub.state_directory) for hub in self._hubs.values()):
            return False
        # Another name of a watched file, or one of which it was said that it cannot be watched?
        watched = {_identity(hub.path)[:2] for hub in self._hubs.values()}
        identity = _identity(path)
        is_known = (path, *identity) in self._known or identity[:2] in watched
        return path.is_file() and not is_known

    async def _add_matching(self, path: Path) -> None:
        name, known = _shown(path), (path, *_identity(path))
        if name in self._hubs:
            why = f"{path}: another database is called {name} already; use NAME=PATH"
        else:
            try:
                await self.add({name: path})
                return
            except WatchError as error:
                why = str(error)
        self._known.add(known)
        print(f"not watched: {printable(why)}", file=sys.stderr)

    async def keep_looking(self, patterns: Sequence[str]) -> None:
        """Does so until it is cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self.look(patterns)
            except OSError as error:
                print(f"cannot look for databases: {printable(str(error))}", file=sys.stderr)


def _matching(patterns: Iterable[str]) -> list[Path]:
    # Path.glob takes no absolute pattern.
    found = [text for pattern in patterns for text in glob.glob(pattern, recursive=True)]  # noqa: PTH207 - as said above
    return [Path(text) for text in sorted(found) if not text.endswith(_BESIDE)]


def _identity(path: Path) -> _Identity:
    """Which file it is, and when it was written; of one that is not there nothing but zeros."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _is_database(path: Path) -> bool:
    # Other files match many a pattern too; a pipe in the place of one must not be waited for.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.read(descriptor, len(_MAGIC)) == _MAGIC
    except OSError:
        return False
    finally:
        os.close(descriptor)
