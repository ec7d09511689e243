"""From the pages of a commit to its changes: page-guided where that can be proven, else whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import apsw

from watcher.sqlite.exclusion import Exclusion
from watcher.sqlite.locate import Locator
from watcher.sqlite.obstacles import may_be_held, still_unreadable, without
from watcher.sqlite.plan import Planned
from watcher.sqlite.rows import RowReader
from watcher.sqlite.schema import Schema
from watcher.sqlite.schema_changes import plan_changes
from watcher.sqlite.touched import Touched, Unattributed
from watcher.sqlite.versions import Versions
from watcher.sqlite.watched_schema import read_watched


class CommitReader:
    """Reads what commits did, one after the other; keeps what lasts from one to the next.

    Args:
        versions: opens the states before and after a commit.
        locator: finds what a commit touched.
        exclusion: what takes no part.
        whole: whether tables are always compared as a whole.
    """

    def __init__(
        self, versions: Versions, locator: Locator, exclusion: Exclusion, *, whole: bool
    ) -> None:
        self._versions = versions
        self._locator = locator
        self._exclusion = exclusion
        self._whole = whole
        # Why tables were compared as a whole, and how often.
        self.fallbacks: Counter[str] = Counter()
        # Of the state before; None where it has to be read.
        self._schema: Schema | None = None
        # Fits the next commit too, where that leaves the schema alone.
        self._planned: Planned | None = None

    @contextmanager
    def read(
        self,
        unreadable: Mapping[str, str],
        failed: Mapping[str, str],
        *,
        retry: bool,
        whole: bool,
    ) -> Iterator[tuple[Planned, dict[str, Touched] | None]]:
        """Opens both states and finds out what to do for the commit at hand.

        Args:
            unreadable: tables that took no part so far, and why.
            failed: tables that turned out to be unreadable in this very commit, and why.
            retry: whether the former are tried again.
            whole: whether tables are to be compared as a whole this time.

        Yields:
            The plan, and what the commit touched; None where that is not known.

        Raises:
            EncodingChanged: the states cannot be read side by side.
            Unattributed: the commit has to be read with `whole`.
            apsw.Error: SQLite cannot read the schema.
        """
        is_same, is_seen = self._look(whole=whole)
        with self._versions.open() as (db, rows):
            planned = self._planned
            if planned is None or not is_same or retry or failed or planned.rows is not rows:
                planned = self._plan(db, rows, unreadable, failed, retry=retry)
            yield planned, self._locate(planned, is_same=is_same) if is_seen else None
        if not is_same:
            # What is the state after now is the one before next time, perhaps with an equal cookie.
            self._versions.reopen()
        self._schema = planned.schema
        self._planned = planned if planned.is_lasting else None

    def _look(self, *, whole: bool) -> tuple[bool, bool]:
        """Looks at the changed pages: is the schema the same, and are the pages known?"""
        if self._schema is None:
            with self._versions.open_old() as (db, _):
                self._schema = read_watched(db, "old", self._exclusion)
        is_seen, touches_schema = False, True
        if not self._whole and not whole:
            try:
                touches_schema = self._locator.look(self._schema.roots)
                is_seen = True
            except Unattributed as error:
                self.fallbacks[error.reason] += 1
        if not is_seen:
            self._locator.distrust()
        if touches_schema:
            # The cookie by which SQLite would tell is the same where the file is another one.
            self._versions.reopen()
        return not touches_schema, is_seen

    def _plan(
        self,
        db: apsw.Connection,
        rows: RowReader,
        known: Mapping[str, str],
        failed: Mapping[str, str],
        *,
        retry: bool,
    ) -> Planned:
        old, schema = self._schema, read_watched(db, "new", self._exclusion)
        assert old is not None
        unreadable = dict(still_unreadable(rows, old, schema, known, failed, retry=retry))
        # What could not be read so far is not known to clients, or not as it is.
        void = known.keys() & schema.tables.keys() - unreadable.keys()
        # A failed read invents no deletes; but what is another table now is not held any more.
        kept = {name for name in unreadable if may_be_held(name, old, schema, known)}
        watched = without(schema, unreadable)
        plan = plan_changes(db, without(old, kept), watched, frozenset(void))
        return Planned(rows, plan, schema, watched, unreadable)

    def _locate(self, planned: Planned, *, is_same: bool) -> dict[str, Touched] | None:
        try:
            return self._locator.locate(planned.schema.roots, planned.trees)
        except Unattributed as error:
            self._locator.distrust()
            if is_same:
                # Nor is it certain then that the schema is the same: all from the beginning.
                raise
            self.fallbacks[error.reason] += 1
            return None

    def settle(self) -> None:
        """Goes on from the state after the commit."""
        self._locator.settle()

    def forget(self, schema: Schema | None = None) -> None:
        """Goes back to the state kept last, or on from one of which this is the schema."""
        self._schema, self._planned = schema, None
        self._versions.reopen()
        self._locator.forget()
