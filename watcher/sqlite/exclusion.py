"""What is kept from all clients: tables and columns that do not exist for them."""

from __future__ import annotations

import json
import string
from collections.abc import Collection, Iterator
from dataclasses import dataclass

_FOLDED = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def folded(name: str) -> str:
    """Writes a name so that two which are the same to SQLite are equal: ASCII has no case."""
    return name.translate(_FOLDED)


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Which tables and columns take no part; made by `of`, which folds the names.

    Args:
        tables: the only tables that take part, None for all.
        names: of what takes no part, each `TABLE` or `TABLE.COLUMN`. One that can be read both
            ways excludes both: too much is better than too little.
    """

    tables: frozenset[str] | None = None
    names: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, *, tables: Collection[str] | None = None, exclude: Collection[str] = ()
    ) -> Exclusion:
        """Makes one of any collections of names.

        Raises:
            TypeError: a single text was given, which would be taken for the names of its letters.
        """
        if isinstance(tables, str) or isinstance(exclude, str):
            raise TypeError("names come as a collection, not as one text")
        allowed = None if tables is None else frozenset(map(folded, tables))
        return cls(allowed, frozenset(map(folded, exclude)))

    @property
    def is_empty(self) -> bool:
        """Whether everything takes part."""
        return self.tables is None and not self.names

    @property
    def rule(self) -> str:
        """What it says, as text that is equal for equal ones; empty where all takes part."""
        if self.is_empty:
            return ""
        tables = None if self.tables is None else sorted(self.tables)
        return json.dumps({"tables": tables, "exclude": sorted(self.names)})

    def hides_table(self, table: str) -> bool:
        """Whether a table takes no part, by whatever columns it has."""
        name = folded(table)
        return name in self.names or (self.tables is not None and name not in self.tables)

    def hides_column(self, table: str, column: str) -> bool:
        """Whether a column of a table takes no part."""
        return f"{folded(table)}.{folded(column)}" in self.names or self.hides_table(table)

    def columns_of(self, table: str) -> list[str]:
        """The excluded columns of a table, whether it has them or not."""
        prefix = f"{folded(table)}."
        return [name.removeprefix(prefix) for name in self.names if name.startswith(prefix)]

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Yields each way to read a name as that of a table and a column."""
        for name in self.names:
            for place, character in enumerate(name):
                if character == ".":
                    yield name[:place], name[place + 1 :]


NOTHING = Exclusion()
