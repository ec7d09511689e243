"""Two states of a database, laid out as the engine has them: the shadow and the pending pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from watcher.sqlite.fileformat import parse_header
from watcher.sqlite.files import RawFile
from watcher.sqlite.shadow import Pending, Shadow
from watcher.sqlite.versions import Versions
from watcher.sqlite.whole_file import compare_file, nothing_newer


class States(NamedTuple):
    """A state directory with what is in it.

    Args:
        shadow: the current state.
        pending: the next one.
        versions: both, as SQLite sees them.
    """

    shadow: Shadow
    pending: Pending
    versions: Versions

    def put(self, database: Path) -> None:
        """Makes the pages pending in which a closed database differs from the shadow."""
        file = RawFile(database)
        found = file.refresh()
        assert found is not None
        try:
            header = parse_header(file.read(100, 0))
            self.pending.begin(header.page_size)
            self.pending.page_count = found.size // header.page_size
            compare_file(file, self.pending.page_count, self.shadow, self.pending, nothing_newer)
        finally:
            file.close()

    def advance(self, database: Path) -> None:
        """Makes a closed database the current state."""
        self.put(database)
        self.pending.settle()
        self.shadow.apply(self.pending)


@contextmanager
def states(directory: Path) -> Iterator[States]:
    """Opens a state directory as a new process does."""
    shadow = Shadow(directory)
    pending = Pending(directory, shadow)
    versions = Versions(pending)
    try:
        yield States(shadow, pending, versions)
    finally:
        versions.close()
        pending.close()
        shadow.close()


def plain_copy(states: States, directory: Path) -> Path:
    """The current state as a file of its own, which any program can open."""
    return Path(shutil.copy(states.shadow.path, directory / "copied.db"))
