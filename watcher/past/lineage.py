"""What a table was called, and what columns it had, at earlier positions. Pure.

The stream tells each change of a table's definition; read backward, these tell what it was. What
rows were held is told back to where the table is new, came anew, or a statement cannot be read. By
its name and key it can be followed further, where it came anew with the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from watcher.changes import Table
from watcher.errors import PastUnavailable
from watcher.sqlite.declared import table_by


@dataclass(frozen=True, slots=True)
class _Step:
    """A change of the definition that rows were carried over.

    Args:
        offset: of its changeset.
        table: the table after it.
        sources: for each of its columns that is not new the column before.
    """

    offset: int
    table: Table
    sources: Mapping[str, str]


@dataclass(slots=True)
class Lineage:
    """The definitions of one table, followed from the newest backward.

    Args:
        name: under which it is asked for.
        oldest: the definition that was reached.
        steps: the changes passed, newest first.
        end: offset of the changeset before which its rows are not told, None where there is none.
        stop: the same for its name and key.
        renewals: offsets of changesets in which its rows came anew.
        mentions: where the name has come to stand for something else, newest first: the offset,
            and whether there was a table of that name before.
    """

    name: str
    oldest: Table
    steps: list[_Step] = field(default_factory=list)
    end: int | None = None
    stop: int | None = None
    renewals: set[int] = field(default_factory=set)
    mentions: list[tuple[int, bool]] = field(default_factory=list)

    def copy(self) -> Lineage:
        """A lineage that can be followed on without changing this one."""
        return replace(
            self, steps=[*self.steps], renewals={*self.renewals}, mentions=[*self.mentions]
        )

    def concerns(self, body: Mapping[str, Any]) -> bool:
        """Whether a schema change that is newer than all known ones touches the table."""
        names = (body["table"], body.get("renamed_from"))
        return body["object"] == "table" and self.newest.name in names

    @property
    def newest(self) -> Table:
        """The definition it began with."""
        return self.steps[0].table if self.steps else self.oldest

    def step_back(self, offset: int, body: Mapping[str, Any]) -> None:
        """Takes the next older schema change.

        Args:
            offset: of its changeset.
            body: its JSON object.
        """
        if body["object"] != "table":
            return
        if self.name in (body["table"], body.get("renamed_from")):
            was_there = body["sql"]["before"] is not None
            self.mentions.append((offset, was_there and not self._came(body)))
        if self.stop is None and body["table"] == self.oldest.name:
            self._pass(offset, body)

    def _came(self, body: Mapping[str, Any]) -> bool:
        former = body.get("renamed_from")
        return former is not None and former != self.name

    def _pass(self, offset: int, body: Mapping[str, Any]) -> None:
        columns, before = body.get("columns"), body["sql"]["before"]
        made = None if before is None else table_by(before)
        if columns is None or made is None:
            self.end = self.end or offset
        if before is not None and columns is None:
            self.renewals.add(offset)
        if made is None or body["sql"]["after"] is None or len(made.key) != len(self.oldest.key):
            self.end, self.stop = self.end or offset, offset
            return
        sources = {c["name"]: c["from"] for c in columns or () if c.get("from") is not None}
        self.steps.append(_Step(offset, self.oldest, sources))
        former = body.get("renamed_from") or body["table"]
        definition = made.definition
        self.oldest = Table(former, definition.key, definition.columns)

    def at(self, offset: int) -> Table:
        """The table after a changeset.

        Raises:
            PastUnavailable: there was no such table, or it is not the one that is there now.
        """
        if self.end is not None and offset < self.end:
            raise self._beyond(offset)
        return self._definition(offset)

    def _definition(self, offset: int) -> Table:
        return next((step.table for step in self.steps if step.offset <= offset), self.oldest)

    def _beyond(self, offset: int) -> PastUnavailable:
        name = self.name[:80]
        if self.stop is not None and offset < self.stop and not self._was_named(offset):
            return PastUnavailable("no_table", f"There was no table {name!r} then.")
        detail = f"The table {name!r} was made anew since then; what it held is not kept."
        return PastUnavailable("changed", detail)

    def _was_named(self, offset: int) -> bool:
        """Whether there was some table of this name after a changeset."""
        return next((was for at, was in reversed(self.mentions) if at > offset), True)

    def stretches(self, after: int, until: int) -> list[tuple[int, int, Table]]:
        """Cuts a stretch of changesets where the definition changes, as far as it can be followed.

        Args:
            after: offset of the changeset before it.
            until: offset of its last changeset.

        Returns:
            Of each piece the same two, and the table in it; the oldest first.
        """
        after = max(after, 0 if self.stop is None else self.stop - 1)
        begins = sorted({step.offset for step in self.steps if after + 1 < step.offset <= until})
        edges = [after, *(begin - 1 for begin in begins), until]
        return [(low, high, self._definition(high)) for low, high in pairwise(edges) if low < high]

    def names(self, newer: int, older: int) -> dict[str, str] | None:
        """Which column of the older definition each of the newer one continues.

        Args:
            newer: offset of the changeset with the one definition.
            older: offset of the changeset with the other.

        Returns:
            The older name by the newer one, None where nothing has changed.

        Raises:
            PastUnavailable: a column of the older is not among those of the newer.
        """
        passed = [step.sources for step in self.steps if older < step.offset <= newer]
        before, after = self._definition(older), self._definition(newer)
        names = {name: name for name in after.columns}
        for sources in passed:
            names = {name: sources[held] for name, held in names.items() if held in sources}
        gone = [name for name in before.columns if name not in names.values()]
        if gone:
            detail = f"The column {gone[0][:80]!r} has been dropped; what it held is not kept."
            raise PastUnavailable("changed", detail)
        is_same = before.columns == after.columns and all(n == o for n, o in names.items())
        return None if is_same else names
