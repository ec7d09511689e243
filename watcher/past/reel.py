"""What the rows of one table were before each change of a stretch of history.

A private SQLite database, in memory as far as its cache goes and beyond that in a temporary file.
SQLite compares the keys, so their order is that of the table itself. The values in them are as
they are stored, after any affinity; so the columns here have none, which would change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apsw

from watcher.changes import InvalidText, Value
from watcher.sqlite.names import known_collation

_CACHE_KIB = 8 * 1024
_MOST_IDS = 20_000

Place = Sequence[Value]
"""Where a row stands: 0 and the values of its key, or the last number and its rowid."""


class Was(NamedTuple):
    """What a row was before a change.

    Args:
        offset: of the changeset that changed it.
        key: names the row, always in the same bytes.
        place: where it stands; None where the reel knows the key.
        row: its JSON, None where it was not there.
    """

    offset: int
    key: bytes
    place: Place | None
    row: bytes | None


class Line(NamedTuple):
    """A row as it was.

    Args:
        key: names the row.
        row: its JSON.
        offset: of the changeset before which it had this form, None where it has it now.
    """

    key: bytes
    row: bytes
    offset: int | None


class Reel:
    """Versions of rows, by key and changeset; for one thread at a time.

    Args:
        collations: of the columns of the key; empty where rows are known by their rowid alone.
        encoding: how the watched database stores texts, as PRAGMA encoding names it; the order of
            texts depends on it.
    """

    def __init__(self, collations: Sequence[str], encoding: str) -> None:
        self._encoding = encoding.lower()
        self._width = len(collations)
        self._columns = [f"k{number}" for number in range(self._width)] + ["r"]
        # Numbers of the keys that came lately.
        self._ids: dict[bytes, int] = {}
        self._has_forgotten = False
        self._count = 0
        # An empty name: a temporary file, which SQLite has deleted already.
        self._db = apsw.Connection("")
        for pragma in (
            f'encoding="{encoding}"',
            "journal_mode=OFF",
            f"cache_size=-{_CACHE_KIB}",
            "temp_store=FILE",
        ):
            self._db.execute(f"PRAGMA {pragma}").fetchall()
        self._db.execute(self._schema(collations)).fetchall()

    def _schema(self, collations: Sequence[str]) -> str:
        typed = [f"k{n} COLLATE {known_collation(c)}" for n, c in enumerate(collations)]
        columns = ", ".join(["number", *typed, "r"])
        statements = [
            f"CREATE TABLE keys(id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, {columns})",
            "CREATE TABLE versions(id INTEGER NOT NULL, offset INTEGER NOT NULL, row BLOB)",
            "CREATE UNIQUE INDEX by_key ON versions(id, offset)",
            f"CREATE TABLE page(key BLOB, row BLOB, offset INTEGER, {columns})",
        ]
        for number in range(self._last + 1):
            terms = ", ".join(self._terms(number))
            statements.append(
                f"CREATE INDEX by_place{number} ON keys({terms}) WHERE number={number}"
            )
        return ";".join(statements)

    @property
    def _last(self) -> int:
        """Number of the identity by rowid."""
        return 1 if self._width else 0

    def _terms(self, number: int) -> list[str]:
        return ["r"] if number == self._last else self._columns[:-1]

    def fits(self, place: Place) -> bool:
        """Whether a place can be one of this table's."""
        number = place[0]
        if type(number) is not int or not 0 <= number <= self._last:
            return False
        return len(place) == 1 + len(self._terms(number))

    def close(self) -> None:
        """Lets the versions go; idempotent."""
        self._db.close()

    def knows(self, key: bytes) -> bool:
        """Whether versions of this key can be taken in without its place."""
        return key in self._ids

    def add(self, versions: Sequence[Was]) -> None:
        """Takes versions in; those of one changeset in their order, else in any.

        Raises:
            apsw.Error: there is no room for them.
        """
        with self._db:
            self._insert("keys", ["id", "key"], self._unknown(versions))
            self._db.executemany(
                "INSERT INTO versions VALUES(?, ?, ?)"
                # A changeset may both delete and insert a row: what was deleted was there before.
                " ON CONFLICT(id, offset) DO UPDATE SET row=excluded.row WHERE row IS NULL",
                ((self._ids[version.key], version.offset, version.row) for version in versions),
            )
        if len(self._ids) > _MOST_IDS:
            self._ids.clear()
            self._has_forgotten = True

    def _unknown(self, versions: Sequence[Was]) -> Iterator[list[Value]]:
        """Numbers the keys that come for the first time; yields what is stored of them."""
        for version in versions:
            if version.key in self._ids:
                continue
            number = self._find(version.key) if self._has_forgotten else None
            if number is None:
                self._count += 1
                number = self._count
                assert version.place is not None
                yield [number, version.key, *self._bindings(version.place)]
            self._ids[version.key] = number

    def _find(self, key: bytes) -> int | None:
        number: int | None = self._db.execute("SELECT id FROM keys WHERE key=?", (key,)).get
        return number

    def _bindings(self, place: Place) -> list[Value]:
        number, *values = place
        if number == self._last:
            return [number, *[None] * self._width, *values]
        return [number, *values, None]

    def _insert(self, table: str, names: Sequence[str], rows: Iterable[list[Value]]) -> None:
        odd: list[list[Value]] = []

        def plain() -> Iterator[Any]:
            for row in rows:
                if InvalidText in map(type, row):
                    odd.append(row)
                else:
                    yield row

        columns = [*names, "number", *self._columns]
        into = f"INSERT INTO {table}({', '.join(columns)}) VALUES"
        self._db.executemany(f"{into}({', '.join('?' * len(columns))})", plain())
        for row in odd:
            marks = ", ".join(self._marks(row))
            self._db.execute(f"{into}({marks})", [self._bound(v) for v in row])

    def _marks(self, values: Sequence[Value]) -> list[str]:
        # Text that is not valid has no form as a Python string; SQLite takes it as bytes.
        return ["CAST(? AS TEXT)" if isinstance(v, InvalidText) else "?" for v in values]

    def _bound(self, value: Value) -> Any:
        if not isinstance(value, InvalidText):
            return value
        if self._encoding == "utf-8":
            return value.data
        return value.data.decode("utf-8", "surrogatepass").encode(self._encoding, "surrogatepass")

    def merged(
        self,
        offset: int,
        present: Iterable[tuple[bytes, Place, bytes]],
        after: Place | None,
        end: Place | None,
        limit: int,
    ) -> Iterator[Line]:
        """Yields rows as they were, in the order of their keys.

        Args:
            offset: of the changeset after which they were so.
            present: all rows there are now in the stretch asked for: key, place and JSON.
            after: place of the row before the stretch, None for the beginning. With the complement
                of the number (`~number`) it is the first row of the stretch.
            end: place of the last row of the stretch, None for the end of the table.
            limit: at most so many.
        """
        self._db.execute("DELETE FROM page")
        self._add_former(offset, after, end, limit)
        self._insert(
            "page",
            ["key", "row", "offset"],
            (
                [key, row, None, *self._bindings(place)]
                for key, place, row in present
                if not self._has_changed(key, offset)
            ),
        )
        order = ", ".join(["number", *self._columns])
        rows = self._db.execute(
            f"SELECT key, row, offset FROM page ORDER BY {order} LIMIT ?", (limit,)
        )
        return (Line(*row) for row in rows)

    def _has_changed(self, key: bytes, offset: int) -> bool:
        found = self._db.execute(
            "SELECT 1 FROM keys JOIN versions USING(id) WHERE key=? AND offset>? LIMIT 1",
            (key, offset),
        )
        return found.get is not None

    def _add_former(self, offset: int, after: Place | None, end: Place | None, limit: int) -> None:
        first = 0 if after is None else _number(after)
        last = self._last if end is None else _number(end)
        columns = ", ".join(["number", *self._columns])
        for number in range(first, last + 1):
            terms = ", ".join(self._terms(number))
            tests, bindings = [f"number={number}"], [offset]
            if after is not None and number == first:
                tests.append(
                    f"({terms}) {'>' if after[0] == number else '>='} ({self._row(after)})"
                )
                bindings += [self._bound(value) for value in after[1:]]
            if end is not None and number == last:
                tests.append(f"({terms}) <= ({self._row(end)})")
                bindings += [self._bound(value) for value in end[1:]]
            self._db.execute(
                f"INSERT INTO page SELECT key, row, offset, {columns} FROM keys CROSS JOIN versions"
                " ON versions.id=keys.id AND versions.offset="
                "(SELECT min(offset) FROM versions v WHERE v.id=keys.id AND v.offset>?)"
                f" WHERE {' AND '.join(tests)} AND row IS NOT NULL ORDER BY {terms} LIMIT ?",
                [*bindings, limit],
            )

    def _row(self, place: Place) -> str:
        return ", ".join(self._marks(place[1:]))


def _number(place: Place) -> int:
    number = place[0]
    assert type(number) is int
    return number if number >= 0 else ~number
