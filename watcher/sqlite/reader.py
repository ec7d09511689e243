"""The recipe: from "something may have changed" to changesets in the history.

`Reader.step` is the whole of it. It runs in the reader process, beside the watched file.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from watcher.changes import ResetReason, SchemaChange
from watcher.errors import DatabaseUnavailable, UnknownTable
from watcher.history import HistoryWriter
from watcher.sqlite.captured import Capture, Captured, Discontinuity, Mark, NotQuiet
from watcher.sqlite.commit_reader import CommitReader
from watcher.sqlite.content import Content
from watcher.sqlite.exclusion import NOTHING, Exclusion
from watcher.sqlite.first_copy import FirstCopy
from watcher.sqlite.locate import Locator
from watcher.sqlite.obstacles import TableUnreadable, may_pass, probe, without
from watcher.sqlite.plan import Planned
from watcher.sqlite.pointer_map import PointerMap
from watcher.sqlite.rows import RowReader
from watcher.sqlite.schema import Schema, TableSchema
from watcher.sqlite.shadow import Pending, Shadow
from watcher.sqlite.touched import Unattributed
from watcher.sqlite.versions import EncodingChanged, Versions
from watcher.sqlite.watched_schema import read_watched, report_unmatched

# How often tables that could not be read are tried again where the file has changed.
_RETRY_SECONDS = 2.0
# A batch of commits ends where one of these is reached: what waits is told, then it goes on.
_BATCH_SECONDS = 0.02
_BATCH_COMMITS = 500
_BATCH_BYTES = 8 * 1024 * 1024


class Reader:
    """Keeps the shadow and the history in step with a watched file.

    Args:
        path: the watched file, named in errors.
        directory: the state directory, held by this process.
        capture: how to look at the file.
        history: where changesets go.
        exclusion: what takes no part.
        whole: compare whole tables always, as an oracle.
    """

    def __init__(
        self,
        path: Path,
        directory: Path,
        capture: Capture,
        history: HistoryWriter,
        exclusion: Exclusion = NOTHING,
        *,
        whole: bool = False,
    ) -> None:
        self._path = path
        self._capture = capture
        self._history = history
        self._shadow = Shadow(directory)
        self._pending = Pending(directory, self._shadow)
        self._versions = Versions(self._pending)
        self._pointers = PointerMap(directory)
        self._locator = Locator(self._pending, self._pointers)
        self._exclusion = exclusion
        self._content = Content(path, self._versions, exclusion)
        self._commits = CommitReader(self._versions, self._locator, exclusion, whole=whole)
        self._copy: FirstCopy | None = None
        # How much of the first copy is made, None where none is being made.
        self.copying: float | None = None
        # Tables SQL cannot read here, and why; they take no part until they can be read again.
        self.unreadable: dict[str, str] = {}
        # Those before the batch at hand.
        self._unreadable_before = self.unreadable
        # What the history says of them, None where that is not known.
        self._remembered: dict[str, str] | None = None
        self._retry_at = 0.0
        # Whether the file has changed since they were tried.
        self._untried = False
        # Whether the last state captured has been dealt with, and if it was found corrupt, how.
        self._settled = False
        self._failure: str | None = None
        # Whether there is a changeset whose pages the shadow has not got yet.
        self._unapplied = False
        # What the next commit needs that could not be dealt with like any other.
        self._failed: dict[str, str] = {}
        self._compare_next = False
        self._limit = _BATCH_COMMITS
        # Not remembered: who knows which file it belonged to?
        self._mark: Mark | None = None
        # The plan whose tables the history knows of.
        self._told: Planned | None = None
        # The last state that is in the history.
        self._recorded: Captured | None = None
        # Whether there is a history that the shadow belongs to, and why the next one begins.
        self._has_begun = False
        self._reason = ResetReason.START
        self._recover()

    def _recover(self) -> None:
        note, is_trusted = self._history.recall("pending"), self._history.recall("pointers")
        if isinstance(note, bytes) and self._history.epoch:
            recovered = self._shadow.recover(self._pending, note)
            # A broken schema of our own copy would be taken for a fault of the file for ever.
            self._has_begun = recovered and self._content.is_readable()
        if not self._has_begun:
            self._shadow.clear()
            return
        if is_trusted:
            self._locator.trust()
            self._history.remember("pointers", 0)
        place, unreadable = self._history.recall("place"), self._history.recall("unreadable")
        if isinstance(place, bytes):
            self._capture.resume(place)
        self.unreadable = json.loads(unreadable) if isinstance(unreadable, str) else {}
        self._untried = may_pass(self.unreadable)

    @property
    def has_begun(self) -> bool:
        """Whether there is a state to answer from; before that the copy may be torn."""
        return self._has_begun

    @property
    def fallbacks(self) -> Counter[str]:
        """Why tables were compared as a whole, and how often."""
        return self._commits.fallbacks

    @property
    def is_settled(self) -> bool:
        """Whether everything the last look has seen is in the history; if not, look again."""
        return self._settled

    @property
    def is_being_written(self) -> bool:
        """Whether a commit may be under way of whose end there will be no event."""
        return self._capture.is_being_written()

    def step(self) -> bool:
        """Takes one look; adds a changeset for each commit that is found.

        Returns:
            Whether the history has grown.

        Raises:
            NotQuiet: the file was being written; look again soon.
            DatabaseUnavailable: it cannot be read as it stands.
        """
        if self._unapplied:
            # The state volume was full at step 5. The changesets are in the history all the same.
            self._move_on()
            return True
        if not self._has_begun and not self._is_copied():
            return False
        # 1. Has anything happened? A few system calls while idle.
        retry = may_pass(self.unreadable) and time.monotonic() >= self._retry_at
        overdue = retry and self._untried
        if self._settled and not overdue and not self._capture.changed():
            return self._nothing_new()
        self._settled, self._failure = False, None
        # 2. The pages of the next commit; where commits cannot be told apart, those in which the
        #    file differs from the shadow, all of one committed state.
        captured = self._first(overdue)
        if captured is None:
            self._settled = True
            return False
        # 3. Old and new side by side: which rows are those pages?
        # 4. History, position and the note which pages belong to it, in one transaction.
        grown = self._record_batch(captured, retry=retry)
        # 5. Only now the shadow moves on; after a crash the note says it must.
        if self._unapplied:
            self._move_on()
        return grown

    def _is_copied(self) -> bool:
        if self._copy is None:
            self._pending.forget()
            self._copy = self._capture.first_copy(self._shadow)
        part = 1.0 if self._copy is None else self._copy.advance()
        self.copying = None if part == 1.0 else part
        return self.copying is None

    def _nothing_new(self) -> bool:
        if self._failure is not None:
            raise DatabaseUnavailable(str(self._path), "corrupt", self._failure)
        return False

    def _first(self, overdue: bool) -> Captured | None:
        self._pending.drop()
        try:
            if not self._has_begun or overdue:
                raise Discontinuity("start")
            return self._capture.follow(self._shadow, self._pending)
        except Discontinuity:
            captured = self._capture.capture(self._shadow, self._pending)
        self._settled = True
        if self._is_as_before(captured) and not overdue:
            self._settle(captured)
            self._recorded = captured
            return None
        return captured

    def _is_as_before(self, captured: Captured) -> bool:
        is_changed = len(self._pending) or captured.page_count != self._shadow.page_count
        return self._has_begun and not is_changed

    def _record_batch(self, captured: Captured, *, retry: bool) -> bool:
        """Records a commit and those that wait behind it."""
        if not self._has_begun:
            return self._start(captured)
        done, grown, until = 0, False, time.monotonic() + _BATCH_SECONDS
        self._unreadable_before = self.unreadable
        following: Captured | None = captured
        try:
            with self._history.transaction():
                while following is not None:
                    grown = self._record(following, retry=retry) or grown
                    self._settle(following)
                    captured, done = following, done + 1
                    following = self._follow(done, until)
                self._remember_state(captured)
        except (TableUnreadable, Unattributed, EncodingChanged, DatabaseUnavailable) as error:
            self._go_back(done)
            if done == 0:
                self._remedy(error)
            return False
        except BaseException:
            self._go_back(done)
            raise
        self._recorded, self._unapplied = captured, True
        failed, self._failed = self._failed, {}
        self._compare_next, self._limit = False, _BATCH_COMMITS
        self._untried = not retry and may_pass(self.unreadable)
        if retry or failed:
            self._retry_at = time.monotonic() + _RETRY_SECONDS
        return grown

    def _follow(self, done: int, until: float) -> Captured | None:
        """The next commit of a batch, None where the batch ends."""
        if self._failed or self._compare_next or done >= self._limit:
            return None
        if time.monotonic() >= until or self._pending.settled_bytes >= _BATCH_BYTES:
            return None
        try:
            captured = self._capture.follow(self._shadow, self._pending)
        except (NotQuiet, Discontinuity, DatabaseUnavailable):
            # Said again, and dealt with, when it is the first of the next batch.
            return None
        self._settled = captured is None
        return captured

    def _settle(self, captured: Captured) -> None:
        self._pending.settle()
        self._capture.settle(captured)
        self._commits.settle()
        self._mark = captured.mark

    def _go_back(self, done: int) -> None:
        """Forgets what was not recorded; the commits before the one that failed come first."""
        self._remembered = self._told = None
        self.unreadable = self._unreadable_before
        self._pending.drop()
        self._commits.forget()
        self._capture.settle(self._recorded)
        self._mark = None if self._recorded is None else self._recorded.mark
        self._settled = False
        self._limit = done or 1
        # Last, because it may fail itself.
        self._history.reload()

    def _remedy(self, error: Exception) -> None:
        """Sees to it that the next attempt at the same commit goes another way."""
        if isinstance(error, TableUnreadable):
            self._failed[error.table] = error.detail
        elif isinstance(error, Unattributed):
            self._commits.fallbacks[error.reason] += 1
            self._compare_next = True
        elif isinstance(error, EncodingChanged):
            # Text that was written in another encoding cannot be compared at all.
            self._has_begun, self._reason = False, ResetReason.REPLACED
        elif isinstance(error, DatabaseUnavailable):
            # It stays so until the file changes; a later commit may have mended it.
            self._failure, self._settled = error.detail, True
            self._capture.settle(None)
            raise error

    def _record(self, captured: Captured, *, retry: bool) -> bool:
        """Records what became of the rows of the state before."""
        with (
            self._content.naming_corruption(),
            self._capture.meanwhile(len(self._pending)),
            self._commits.read(
                self.unreadable, self._failed, retry=retry, whole=self._compare_next
            ) as (planned, touched),
        ):
            commits = captured.commits_since(self._mark)
            count = self._history.append(commits, planned.changes(touched))
            if planned is not self._told:
                self._remember_tables(planned.watched)
        self.unreadable, self._told = planned.unreadable, planned
        return count > 0

    def _start(self, captured: Captured) -> bool:
        """Begins a history with the captured state."""
        try:
            with self._content.naming_corruption(), self._versions.open_new() as (db, rows):
                report_unmatched(db, "new", self._exclusion)
                schema = read_watched(db, "new", self._exclusion)
                unreadable = dict(probe(rows, schema))
                with self._history.transaction():
                    self._history.start_epoch(self._reason, ())
                    self._remember_tables(without(schema, unreadable))
                    self._settle(captured)
                    self._unreadable_before, self.unreadable = self.unreadable, unreadable
                    self._remember_state(captured)
                    self._history.remember("pointers", 0)
        except DatabaseUnavailable as error:
            self._commits.forget()
            self._failure, self._settled = error.detail, True
            raise
        except BaseException:
            self._go_back(0)
            raise
        self._recorded = captured
        self._commits.forget(schema)
        self._unapplied, self._has_begun, self._reason = True, True, ResetReason.START
        self._locator.distrust()
        self._move_on()
        return True

    def _move_on(self) -> None:
        self._shadow.apply(self._pending)
        self._locator.keep()
        self._unapplied = False

    def _remember_tables(self, schema: Schema) -> None:
        tables = [table.definition for table in schema.tables.values()]
        declared = {name: table.declared for name, table in schema.tables.items()}
        if tables != self._history.tables or declared != self._history.declared:
            self._history.remember_tables(tables, declared)

    def _remember_state(self, captured: Captured) -> None:
        self._history.remember("pending", self._pending.note())
        self._history.remember("place", captured.place)
        if self.unreadable != self._remembered:
            self._history.remember("unreadable", json.dumps(self.unreadable))
            self._remembered = self.unreadable

    @contextmanager
    def table(self, name: str) -> Iterator[tuple[TableSchema, RowReader, Schema]]:
        """Opens the current state for reading a table; see `Content.table`.

        Raises:
            UnknownTable: in place of TableUnreadable too.
        """
        try:
            with self._content.table(self.unreadable, name) as opened:
                yield opened
        except TableUnreadable as error:
            self._give_up(error)
            raise UnknownTable(name) from error

    def keep_large(self, large: Mapping[str, tuple[str, bytes]]) -> None:
        """Keeps values that travel beside the stream: type and bytes by their digest."""
        with self._history.transaction():
            for sha256, value in large.items():
                self._history.keep_large(sha256, *value)

    def _give_up(self, error: TableUnreadable) -> None:
        unreadable = self.unreadable | {error.table: error.detail}
        kept = [table for table in self._history.tables if table.name != error.table]
        with self._history.transaction():
            self._history.remember_tables(kept, self._history.declared)
            self._history.remember("unreadable", json.dumps(unreadable))
        self.unreadable = self._remembered = unreadable
        self._told = None
        self._commits.forget()

    def made(self, tables: Iterable[str]) -> list[SchemaChange]:
        """The definitions of watched tables; see `Content.made`."""
        return self._content.made(self.unreadable, tables)

    def sync(self) -> str:
        """Brings the shadow to disk, for a clean stop; returns its stamp."""
        self._pending.sync()
        self._pointers.sync()
        self._history.remember("pointers", int(self._locator.is_trusted))
        return self._shadow.sync()

    def close(self) -> None:
        """Lets go of everything; idempotent."""
        for part in (self._versions, self._pointers, self._pending, self._shadow, self._capture):
            part.close()
