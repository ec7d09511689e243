"""The reader as the machine runs it: in this process, and a replica made of its changesets.

This process never opens the watched file otherwise than through the reader.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from tests.oracle.contents import contents, digests
from tests.oracle.events import Events
from tests.oracle.follower import difference
from tests.oracle.writers import Digests, Writers
from watcher import ChangeSet, apply, wire
from watcher.changes import Change, Position, SchemaChange
from watcher.history import HistoryReader
from watcher.history.writer import Limits
from watcher.sqlite.capture import RawCapture
from watcher.sqlite.captured import NotQuiet
from watcher.sqlite.caught_journals import CaughtJournals
from watcher.sqlite.content import read_rows
from watcher.sqlite.files import DatabaseFiles
from watcher.sqlite.kept_history import open_history
from watcher.sqlite.reader import Reader

# For a file at rest; a leftover wal-index alone takes a second to be known as one.
_PATIENCE_SECONDS = 8.0
_PAUSE_SECONDS = 0.0005
# Calls by which the state on disk can change.
_WRITES = frozenset({"pwrite", "pwritev", "writev", "write", "ftruncate", "truncate", "execute",
    "executemany", "fsync", "rename", "replace", "unlink", "copy_file_range", "ioctl"})  # fmt: skip


class Killed(BaseException):
    """Ends a reader in mid-step, where nothing of it may run on."""


class Watch:
    """A reader with its state, and a replica that follows it.

    Args:
        path: the watched file.
        state: where its state directories may lie.
        events: what the reader hears of the file.
        whole: whether it always compares whole tables.
    """

    def __init__(
        self,
        path: Path,
        state: Path,
        events: Events,
        *,
        whole: bool,
    ) -> None:
        self.path = path
        self._events = events
        self._whole = whole
        self._home = state
        self._lives = 0
        self._directory = self._next_directory()
        self._directory.mkdir(parents=True)
        self.replica = sqlite3.connect(":memory:", isolation_level=None)
        self.fallbacks: Counter[str] = Counter()
        # The replica's tables as of the last time, and those that may have changed since.
        self._known: Digests = {}
        self._touched_tables: set[str] = set()
        self._position: Position | None = None
        self._sequence = 0
        self._open()

    @property
    def name(self) -> str:
        """What it is called where it is wrong."""
        return "the reader that compares whole tables" if self._whole else "the reader"

    def _next_directory(self) -> Path:
        self._lives += 1
        return self._home / f"{'whole' if self._whole else 'guided'}-{self._lives}"

    def _open(self) -> None:
        self._writer = open_history(self._directory, Limits())
        journals = CaughtJournals(self.path)
        self._events.listen(self._whole, journals.on_event)
        touched = partial(self._events.touched, self._whole)
        capture = RawCapture(DatabaseFiles(self.path), touched, journals=journals)
        self._reader = Reader(self.path, self._directory, capture, self._writer, whole=self._whole)
        self._history = HistoryReader(self._directory)
        self._assembler = wire.Assembler()
        if self._position is not None:
            # A new epoch would be a reset to every client; nothing was lost that called for one.
            assert self._history.head().epoch == self._position.epoch, f"{self.name}: a new epoch"
            assert isinstance(self._history.locate(self._position), int), "the position is lost"

    def _take(self, message: wire.Message) -> list[ChangeSet]:
        changeset = self._assembler.take(wire.decode_object(message.data))
        if changeset is None:
            return []
        values = {value: self._large(value) for value in wire.large_values(changeset)}
        return [wire.with_values(changeset, values) if values else changeset]

    def _large(self, value: Any) -> Any:
        kind, data = self._history.large(value.sha256) or ("", b"")
        assert kind, "a large value is not kept"
        return data.decode() if kind == "text" else data

    # Looking.

    def step(self) -> bool:
        """Takes one look; returns whether it was a valid one, after which nothing is left."""
        try:
            while self._reader.step() or not self._reader.is_settled:
                pass
        except NotQuiet:
            return False
        finally:
            self._count_fallbacks()
        return True

    def _count_fallbacks(self) -> None:
        self.fallbacks.update(self._reader.fallbacks)
        self._reader.fallbacks.clear()

    def catch_up(self) -> None:
        """Looks until a look was valid; the file is at rest."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while not self.step():
            assert time.monotonic() < end, f"{self.name} finds no quiet moment"
            time.sleep(_PAUSE_SECONDS)

    def received(self) -> list[ChangeSet]:
        """The changesets that have come since the last call."""
        if self._position is None:
            return self._content()
        found: list[ChangeSet] = []
        entries = self._history.read(self._position.epoch, self._sequence, 1 << 40)
        assert entries is not None, f"{self.name}: parts of the history are gone"
        for entry in entries:
            self._sequence = entry.seq
            found += self._take(wire.changes_message(entry.tail, entry.position))
        for changeset in found:
            self._advance(changeset.position)
        return found

    def _advance(self, position: Position | None) -> None:
        assert position is not None
        assert self._position is not None
        assert position.epoch == self._position.epoch, f"{self.name}: a new epoch"
        assert position.offset == self._position.offset + 1, f"{self.name}: offsets have a gap"
        self._position = position

    def _content(self) -> list[ChangeSet]:
        """All that is there at the beginning, as a client is sent it."""
        self._position = self._writer.position
        located = self._history.locate(self._position)
        assert isinstance(located, int)
        self._sequence = located
        names = [table.name for table in self._writer.tables]
        made = [wire.encode_change(change) for change in self._reader.made(names)]
        found = self._take(wire.reset_message("start", snapshot=True))
        for encoded in (made, *(self._rows(name) for name in names)):
            found += self._take(wire.changes_message(_content_tail(encoded), None))
        return found + self._take(wire.ready_message(str(self._position)))

    def _rows(self, table: str) -> list[bytes]:
        rows: list[bytes] = []
        after = None
        while True:
            with self._reader.table(table) as (found, reader, _):
                page = read_rows(reader, found, after, 1000, 1 << 20)
            rows += page.inserts
            if page.next is None:
                return rows
            after = page.next

    def follow(self, changesets: list[ChangeSet], *, each: bool) -> list[Digests]:
        """Applies changesets to the replica; returns the states it went through.

        Args:
            changesets: the next ones.
            each: whether all states are wanted, or only the last.
        """
        states = []
        for changeset in changesets:
            apply(self.replica, changeset)
            self._touched_tables |= _tables_of(changeset)
            if each and changeset is not changesets[-1]:
                states.append(self._state())
        return [*states, self._state()]

    def _state(self) -> Digests:
        touched, self._touched_tables = self._touched_tables, set()
        if touched:
            kept = {name: found for name, found in self._known.items() if name not in touched}
            self._known = kept | digests(self.replica, touched)
        return self._known

    def check_replica(self) -> None:
        """Sees whether the replica is what it was taken for, untouched tables included."""
        assert digests(self.replica) == self._state()

    def difference(self, writers: Writers) -> str:
        """Says where the replica differs from the file."""
        return f"{self.name}: " + difference(contents(self.replica), writers.contents(self.path))

    # Ending.

    def restart(self) -> None:
        """Ends the reader as its process does, and starts another."""
        self._writer.remember_durably("clean", self._reader.sync())
        self._close()
        self._open()

    def kill(self, writes: int) -> bool:
        """Ends the reader like SIGKILL when it is about to write so many times in its next step.

        What lies on disk at that moment is what its successor finds. Returns whether it came so
        far; if it did not it is killed after the step.
        """
        survivor = self._next_directory()
        left = writes

        def watch(_frame: FrameType, event: str, function: Any) -> None:
            nonlocal left
            if event == "c_call" and function.__name__ in _WRITES:
                if left == 0:
                    sys.setprofile(None)
                    shutil.copytree(self._directory, survivor)
                    raise Killed
                left -= 1

        sys.setprofile(watch)
        try:
            self.step()
        except Killed:
            pass
        finally:
            sys.setprofile(None)
        killed = survivor.exists()
        if not killed:
            shutil.copytree(self._directory, survivor)
        self._close()
        shutil.rmtree(self._directory)
        self._directory = survivor
        self._open()
        return killed

    def _close(self) -> None:
        self._count_fallbacks()
        self._reader.close()
        self._history.close()
        self._writer.close()

    def close(self) -> None:
        self._close()
        self.replica.close()
        shutil.rmtree(self._directory)


def _content_tail(encoded: list[bytes]) -> bytes:
    return wire.changes_tail(time=None, commits=None, part=0, last=True, changes=b",".join(encoded))


def _tables_of(changeset: ChangeSet) -> set[str]:
    renamed = {c.renamed_from for c in changeset.changes if isinstance(c, SchemaChange)} - {None}
    return {change.table for change in changeset.changes} | renamed  # type: ignore[operator]


def what_changed(changesets: list[ChangeSet]) -> tuple[list[str], list[str]]:
    """The schema changes in order, and the row changes in an order that does not matter."""
    changes = [change for changeset in changesets for change in changeset.changes]
    return (
        [repr(change) for change in changes if isinstance(change, SchemaChange)],
        sorted(repr(change) for change in changes if isinstance(change, Change)),
    )
