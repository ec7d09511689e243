"""What to do for a commit: tell of the schema, compare these tables, read those anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import apsw

from watcher.changes import Change, RowBatch, SchemaChange
from watcher.sqlite.compare import Comparison, compare, insert_all
from watcher.sqlite.obstacles import TableUnreadable
from watcher.sqlite.row_changes import RowChanges, can_follow
from watcher.sqlite.rows import RowLost, RowReader
from watcher.sqlite.schema import Schema
from watcher.sqlite.schema_changes import Plan
from watcher.sqlite.touched import Touched


@dataclass(slots=True)
class Planned:
    """A plan, kept from commit to commit while the schema stays the same.

    Args:
        rows: reads from the connection on which both states are attached.
        plan: what to tell, and what to do for the rows.
        schema: all that is declared in the state after.
        watched: the same without the tables that take no part.
        unreadable: those, and why.
        trees: for each root page of a compared table its name and its root page after.
    """

    rows: RowReader
    plan: Plan
    schema: Schema
    watched: Schema
    unreadable: dict[str, str]
    trees: dict[int, tuple[str, int]] = field(init=False)
    _pairs: dict[str, Comparison] = field(init=False)
    _followed: dict[str, RowChanges] = field(init=False)
    _always: list[Comparison] = field(init=False)

    def __post_init__(self) -> None:
        pairs = self.plan.compare
        self.trees = {pair.old.root: (pair.new.name, pair.new.root) for pair in pairs}
        self._pairs = {pair.new.name: pair for pair in pairs}
        self._followed = {}
        # Their rows differ although nobody wrote them.
        self._always = [
            pair for pair in pairs if pair.old.sql != pair.new.sql and not can_follow(pair)
        ]

    @property
    def is_lasting(self) -> bool:
        """Whether the schema is the same after as before, so that the next commit can use it."""
        return not self.plan.changes and not self.plan.insert

    def changes(
        self, touched: Mapping[str, Touched] | None
    ) -> Iterator[Change | RowBatch | SchemaChange]:
        """Yields the changes: of the schema first, then of the rows, table by table.

        Args:
            touched: what the commit did to the tables it touched; None to compare all as a whole.

        Raises:
            TableUnreadable: a table cannot be read.
            Unattributed: a page is not what it should be.
        """
        yield from self.plan.changes
        if touched is None:
            for pair in self.plan.compare:
                yield from _naming(pair.new.name, compare(self.rows, pair))
        else:
            for pair in self._always:
                yield from _naming(pair.new.name, compare(self.rows, pair))
            compared = {pair.new.name for pair in self._always}
            for name, found in touched.items():
                if name not in compared:
                    yield from _naming(name, self._follow(name, found))
        for table in self.plan.insert:
            yield from _naming(table.name, insert_all(self.rows, table))

    def _follow(self, name: str, touched: Touched) -> Iterator[Change | RowBatch]:
        followed = self._followed.get(name)
        if followed is None:
            pair = self._pairs[name]
            if not can_follow(pair):
                return compare(self.rows, pair)
            followed = self._followed[name] = RowChanges(self.rows, pair)
        return followed.changes(touched)


def _naming(table: str, changes: Iterator[Change | RowBatch]) -> Iterator[Change | RowBatch]:
    try:
        yield from changes
    except (apsw.Error, RowLost) as error:
        raise TableUnreadable(table, str(error)) from error
