"""The recipe: from "something may have changed" to a changeset in the history.

`Reader.step` is the whole of it. It runs in the reader process, beside the watched file.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import apsw

from watcher import wire
from watcher.changes import Change, ResetReason, SchemaChange, Value
from watcher.errors import DatabaseUnavailable, UnknownTable
from watcher.history import HistoryWriter
from watcher.sqlite.captured import Capture, Captured, Mark
from watcher.sqlite.compare import compare, insert_all
from watcher.sqlite.rows import RowLost, RowReader, read_page, read_samples
from watcher.sqlite.schema import Schema, TableSchema, read_schema
from watcher.sqlite.schema_changes import Plan, plan_changes, table_made
from watcher.sqlite.shadow import Pending, Shadow
from watcher.sqlite.versions import EncodingChanged, Versions

# How often tables that could not be read are tried again where the file has changed.
_RETRY_SECONDS = 2.0
_INDISTINCT = "its rows cannot be told apart: there is no key, and the rowid is hidden"
_NAMELESS = "its columns have names that are not text"


class TableUnreadable(Exception):
    """SQLite cannot read a table here: a collation or function of the application, or corruption.

    Args:
        table: its name.
        detail: what SQLite says.
    """

    def __init__(self, table: str, detail: str) -> None:
        super().__init__(table, detail)
        self.table = table
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of the current state.

    Args:
        inserts: each row, encoded as an insert.
        next: place of the last one if more may follow, else None.
    """

    inserts: list[bytes]
    next: tuple[Value, ...] | None


class Reader:
    """Keeps the shadow and the history in step with a watched file.

    Args:
        path: the watched file, named in errors.
        directory: the state directory, held by this process.
        capture: how to look at the file.
        history: where changesets go.
    """

    def __init__(
        self, path: Path, directory: Path, capture: Capture, history: HistoryWriter
    ) -> None:
        self._path = path
        self._capture = capture
        self._history = history
        self._shadow = Shadow(directory)
        self._pending = Pending(directory, self._shadow)
        self._versions = Versions(self._pending)
        # Tables SQL cannot read here, and why; they take no part until they can be read again.
        self.unreadable: dict[str, str] = {}
        self._retry_at = 0.0
        # Whether the file has changed since they were tried.
        self._untried = False
        # Whether the last state captured has been dealt with, and if it was found corrupt, how.
        self._settled = False
        self._failure: str | None = None
        # Whether there is a changeset whose pages the shadow has not got yet.
        self._unapplied = False
        # Not remembered: who knows which file it belonged to?
        self._mark: Mark | None = None
        # Whether there is a history that the shadow belongs to.
        self._has_begun = False
        # The part of a first copy that is done, None while none is under way.
        self.copying: float | None = None
        self._recover()

    def _recover(self) -> None:
        note = self._history.recall("pending")
        if isinstance(note, bytes) and self._history.epoch:
            self._has_begun = self._shadow.recover(self._pending, note)
        if not self._has_begun or not self._is_readable():
            self._has_begun = False
            self._shadow.clear()
            self._pending.forget()
            return
        unreadable = self._history.recall("unreadable")
        self.unreadable = json.loads(unreadable) if isinstance(unreadable, str) else {}
        self._untried = bool(self.unreadable)

    def _is_readable(self) -> bool:
        # A broken schema of our own copy would be taken for a fault of the watched file for ever.
        try:
            self.made(())
        except DatabaseUnavailable:
            return False
        return True

    def step(self) -> bool:
        """Takes one look; where the file has changed, adds a changeset.

        Returns:
            Whether the history has grown.

        Raises:
            NotQuiet: the file was being written; look again soon.
            DatabaseUnavailable: it cannot be read as it stands.
        """
        if self._unapplied:
            # The state volume was full at step 5. The changeset is in the history all the same.
            self._move_on()
            return True
        # 1. Has anything happened? A few system calls while idle.
        retry = bool(self.unreadable) and time.monotonic() >= self._retry_at
        overdue = retry and self._untried
        if self._settled and not overdue and not self._capture.changed():
            return self._nothing_new()
        self._settled, self._failure = False, None
        self._pending.drop()
        self._versions.reopen()
        # 2. The pages in which the file differs from the shadow, all of one committed state.
        captured = self._capture.capture(self._shadow, self._pending)
        if self._is_as_before(captured) and not overdue:
            self._mark, self._settled = captured.mark, True
            return False
        # 3. Old and new side by side: which rows are those pages?
        # 4. History, position and the note which pages belong to it, in one transaction.
        grown = self._record_readable(captured, retry=retry)
        # 5. Only now the shadow moves on; after a crash the note says it must.
        self._move_on()
        self._mark = captured.mark
        return grown

    def _nothing_new(self) -> bool:
        if self._failure is not None:
            raise DatabaseUnavailable(str(self._path), "corrupt", self._failure)
        return False

    def _move_on(self) -> None:
        self._shadow.apply(self._pending)
        self._unapplied, self._settled = False, True

    def _is_as_before(self, captured: Captured) -> bool:
        return (
            self._has_begun
            and len(self._pending) == 0
            and captured.page_count == self._shadow.page_count
        )

    def _record_readable(self, captured: Captured, *, retry: bool) -> bool:
        """Records the changes of all tables that can be read; one that cannot stops no other."""
        if not self._has_begun:
            return self._start(ResetReason.START)
        if retry:
            self._retry_at = time.monotonic() + _RETRY_SECONDS
        failed: dict[str, str] = {}
        while True:
            try:
                grown = self._record(captured, failed, retry=retry)
            except TableUnreadable as error:
                self._history.reload()
                failed[error.table] = error.detail
            except EncodingChanged:
                # Text that was written in another encoding cannot be compared at all.
                return self._start(ResetReason.REPLACED)
            else:
                self._untried = not retry and bool(self.unreadable)
                return grown

    def _record(self, captured: Captured, failed: dict[str, str], *, retry: bool) -> bool:
        """Records what became of the rows the shadow held."""
        with self._settling_corruption(), self._versions.open() as (db, rows):
            old, new = read_schema(db, "old"), read_schema(db, "new")
            unreadable = dict(self._still_unreadable(rows, old, new, failed, retry=retry))
            # What could not be read so far is not known to clients, or not as it is.
            void = self.unreadable.keys() & new.tables.keys() - unreadable.keys()
            # A failed read invents no deletes; but what is another table now is not held any more.
            kept = {name for name in unreadable if self._may_be_held(name, old, new)}
            old, new = _without(old, kept), _without(new, unreadable)
            plan = plan_changes(db, old, new, frozenset(void))
            with self._history.transaction():
                mark = captured.mark
                commits = None if mark is None else mark.commits_since(self._mark)
                count = self._history.append(commits, _changes(rows, plan))
                self._remember_tables(new)
                self._remember_state(unreadable)
        self.unreadable, self._unapplied = unreadable, True
        return count > 0

    def _still_unreadable(
        self, rows: RowReader, old: Schema, new: Schema, failed: dict[str, str], *, retry: bool
    ) -> Iterator[tuple[str, str]]:
        """Yields the tables to leave out this time, and why."""
        for name, table in new.tables.items():
            if name in failed:
                yield name, failed[name]
            elif old.tables.get(name) == table and name not in self.unreadable:
                continue
            elif old.tables.get(name) == table and not retry:
                yield name, self.unreadable[name]
            elif (why := _obstacle(rows, table)) is not None:
                yield name, why

    def _may_be_held(self, name: str, old: Schema, new: Schema) -> bool:
        before = old.tables.get(name)
        same = before is not None and before.sql == new.tables[name].sql
        return same or name in self.unreadable

    def _start(self, reason: ResetReason) -> bool:
        """Begins a history with the captured state."""
        with self._settling_corruption(), self._versions.open_new() as (db, rows):
            schema = read_schema(db, "new")
            unreadable = dict(_probe(rows, schema))
            with self._history.transaction():
                self._history.start_epoch(reason, ())
                self._remember_tables(_without(schema, unreadable.keys()))
                self._remember_state(unreadable)
        self.unreadable, self._unapplied, self._has_begun = unreadable, True, True
        return True

    @contextmanager
    def _naming_corruption(self) -> Iterator[None]:
        try:
            yield
        except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, UnicodeDecodeError) as error:
            # Where our own copy lies is nobody's business.
            said = str(error).partition(": file:")[0]
            detail = f"cannot be read by SQLite ({said})"
            raise DatabaseUnavailable(str(self._path), "corrupt", detail) from error

    @contextmanager
    def _settling_corruption(self) -> Iterator[None]:
        """A state found corrupt stays so until the file changes."""
        try:
            with self._naming_corruption():
                yield
        except DatabaseUnavailable as error:
            self._failure, self._settled = error.detail, True
            raise

    def _remember_tables(self, schema: Schema) -> None:
        definitions = [table.definition for table in schema.tables.values()]
        if definitions != self._history.tables:
            self._history.remember_tables(definitions)

    def _remember_state(self, unreadable: dict[str, str]) -> None:
        self._pending.settle()
        self._history.remember("pending", self._pending.note())
        self._history.remember("unreadable", json.dumps(unreadable))

    def rows(self, table: str, after: Sequence[Value] | None, limit: int, max_bytes: int) -> Page:
        """Reads rows of the current state.

        Args:
            table: the table's name.
            after: the place of the row before them, None for the first.
            limit: at most so many.
            max_bytes: stop when their encoding reaches this size.

        Raises:
            UnknownTable: no watched table has that name, or it turns out to be unreadable.
            MalformedPosition: `after` is no place in this table.
            DatabaseUnavailable: SQLite cannot read the schema.
            StateUnavailable: large values among them cannot be stored.
        """
        large: dict[str, tuple[str, bytes]] = {}
        page = Page([], None)

        def keep(sha256: str, kind: str, data: bytes) -> None:
            large[sha256] = (kind, data)

        with self._naming_corruption(), self._versions.open_old() as (db, rows):
            watched = self._watched(db)
            found = watched.tables.get(table)
            if found is None:
                raise UnknownTable(table)
            try:
                for place, change in read_page(rows, "old", found, after, limit):
                    page.inserts.append(wire.encode_change(change, keep))
                    max_bytes -= len(page.inserts[-1])
                    if max_bytes <= 0 or len(page.inserts) == limit:
                        page = replace(page, next=place)
                        break
            except (apsw.Error, RowLost) as error:
                self._give_up(watched, table, str(error))
                raise UnknownTable(table) from error
        if large:
            with self._history.transaction():
                for sha256, (kind, data) in large.items():
                    self._history.keep_large(sha256, kind, data)
        return page

    def _give_up(self, watched: Schema, table: str, why: str) -> None:
        unreadable = self.unreadable | {table: why}
        with self._history.transaction():
            self._remember_tables(_without(watched, {table}))
            self._history.remember("unreadable", json.dumps(unreadable))
        self.unreadable = unreadable

    def _watched(self, db: apsw.Connection) -> Schema:
        if not self._has_begun:
            # What the shadow holds is a first copy at most, which may be torn.
            raise DatabaseUnavailable(str(self._path), "starting", "the first copy is being made")
        return _without(read_schema(db, "old"), self.unreadable)

    def made(self, tables: Iterable[str]) -> list[SchemaChange]:
        """The definitions of watched tables, as schema changes that make them.

        Args:
            tables: names of the tables; those that are not watched are left out.

        Raises:
            DatabaseUnavailable: SQLite cannot read the schema.
        """
        with self._naming_corruption(), self._versions.open_old() as (db, _):
            schema = self._watched(db)
        wanted = set(tables)
        return [table_made(table) for name, table in schema.tables.items() if name in wanted]

    def sync(self) -> str:
        """Brings the shadow to disk, for a clean stop; returns its stamp."""
        self._pending.sync()
        return self._shadow.sync()

    def close(self) -> None:
        """Lets go of everything; idempotent."""
        self._versions.close()
        self._pending.close()
        self._shadow.close()
        self._capture.close()


def _changes(rows: RowReader, plan: Plan) -> Iterator[Change | SchemaChange]:
    yield from plan.changes
    for pair in plan.compare:
        yield from _naming(pair.new, compare(rows, pair))
    for table in plan.insert:
        yield from _naming(table, insert_all(rows, table))


def _naming(table: TableSchema, changes: Iterator[Change]) -> Iterator[Change]:
    try:
        yield from changes
    except (apsw.Error, RowLost) as error:
        raise TableUnreadable(table.name, str(error)) from error


def _probe(rows: RowReader, schema: Schema) -> Iterator[tuple[str, str]]:
    """Yields the tables that cannot be read, and why."""
    for table in schema.tables.values():
        why = _obstacle(rows, table)
        if why is not None:
            yield table.name, why


def _obstacle(rows: RowReader, table: TableSchema) -> str | None:
    if not table.identities:
        return _INDISTINCT if table.columns else _NAMELESS
    # Also where it is empty yet: what its order needs shows when SQLite prepares the statement.
    try:
        read_samples(rows, "new", table)
    except apsw.Error as error:
        return str(error)
    return None


def _without(schema: Schema, names: Iterable[str]) -> Schema:
    excluded = set(names)
    tables = {name: table for name, table in schema.tables.items() if name not in excluded}
    return replace(schema, tables=tables)
