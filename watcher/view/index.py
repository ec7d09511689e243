"""The order of a table's rows, in a private database: which row is the n-th, and which n is a row.

Values are kept as they are stored, in columns without affinity; with the collations and the
encoding of the table SQLite then orders them as it orders the table's own. The database is a
temporary one of SQLite: pages beyond its cache go to a file that has no name.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import apsw

from watcher.changes import InvalidText, Value
from watcher.errors import WatchError
from watcher.sqlite.channel import Declared
from watcher.sqlite.names import known_collation
from watcher.sqlite.rows import MARK, RowReader
from watcher.view.places import Place

MAX_ROWS = 5_000_000
"""Rows an index may hold."""

_PAGE = 4096
_CACHE_KIB = 16 * 1024
_MAX_BYTES = 1024**3


class TooLarge(WatchError):
    """A table has too many rows, or too large values, to be ordered here.

    Args:
        table: its name.
    """

    def __init__(self, table: str) -> None:
        super().__init__(table)
        self.table = table

    def __str__(self) -> str:
        return (
            f"the table {self.table[:80]!r} is too large to be shown by row numbers in this "
            f"order (more than {MAX_ROWS:,} rows, or a very large value in a column that it "
            "needs); it can be read page by page"
        )


class OrderLost(WatchError):
    """The order of a table cannot be kept; another attempt may do.

    Args:
        table: its name.
        detail: what is known of the cause.
    """

    def __init__(self, table: str, detail: str) -> None:
        super().__init__(table, detail)
        self.table = table
        self.detail = detail

    def __str__(self) -> str:
        return f"the rows of {self.table[:80]!r} cannot be put in order: {self.detail}"


class Index:
    """Rows of one table in the order of their keys, or of a column and then of their keys.

    Safe to use from any thread; one waits for the other.

    Args:
        table: the table's name.
        declared: what is declared of it.
        column: the column to order by, None for the key.
    """

    def __init__(self, table: str, declared: Declared, column: str | None) -> None:
        self._table = table
        self._declared = declared
        self._column = column
        self._width = max(len(identity.columns) for identity in declared.identities)
        self._lock = threading.Lock()
        self.rows = 0
        # An empty name is a temporary database of SQLite's own, in a file only when it is large.
        self._db = apsw.Connection("")
        self._reader = RowReader(self._db, declared.encoding)
        self._make()

    def _make(self) -> None:
        names = [f"k{number}" for number in range(self._width)]
        collations = ["BINARY"] * self._width
        for place, collation in enumerate(self._declared.identities[0].collations):
            collations[place] = collation
        keys = [
            f"{name} COLLATE {known_collation(collation)} NOT NULL"
            for name, collation in zip(names, collations, strict=True)
        ]
        self._names = ["n", *names] if len(self._declared.identities) > 1 else names
        if len(self._names) > len(names):
            keys.insert(0, "n NOT NULL")
        value = "" if self._column is None else f", v COLLATE {self._collation()}"
        for pragma in (
            f"encoding='{self._declared.encoding}'",
            f"page_size={_PAGE}",
            "journal_mode=OFF",
            "synchronous=OFF",
            "locking_mode=EXCLUSIVE",
            f"cache_size=-{_CACHE_KIB}",
            f"max_page_count={_MAX_BYTES // _PAGE}",
        ):
            self._db.execute(f"PRAGMA {pragma}").fetchall()
        self._db.execute(
            f"CREATE TABLE o({','.join(keys)}{value}, PRIMARY KEY({','.join(self._names)}))"
            " WITHOUT ROWID"
        )
        self._keys = ",".join(self._names)
        self._order = self._names if self._column is None else ["v", *self._names]
        self._is_key = " AND ".join(f"{name} = {MARK}" for name in self._names)
        self._marks = ",".join([MARK] * len(self._names))

    def _collation(self) -> str:
        found = (c.collation for c in self._declared.columns if c.name == self._column)
        return known_collation(next(found))

    def _row(self, place: Place) -> list[Value]:
        number, *values = place
        padded = [*values, *([0] * (self._width - len(values)))]
        return [number, *padded] if len(self._names) > self._width else padded

    def _place(self, row: Place) -> Place:
        if len(self._names) == self._width:
            return (0, *row)
        number = row[0]
        assert isinstance(number, int)
        return row[: 1 + len(self._declared.identities[number].columns)]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            try:
                self._db.execute("BEGIN")
                yield
                self._db.execute("COMMIT")
            except apsw.FullError as error:
                raise TooLarge(self._table) from error

    def load(self, number: int, rows: Sequence[Sequence[Value]]) -> None:
        """Takes rows while the index is being built; what it has of them already is replaced.

        Args:
            number: of the identity they are known by.
            rows: what each is known by, then the value of the column where there is one.

        Raises:
            TooLarge: they are too large.
        """
        width = len(self._declared.identities[number].columns)
        if len(self._names) > self._width or width < self._width:
            rows = [[*self._row((number, *row[:width])), *row[width:]] for row in rows]
        count = len(self._names) + (self._column is not None)
        insert = f"INSERT OR REPLACE INTO o VALUES({','.join('?' * count)})"
        plain: list[Any] = [r for r in rows if not any(type(v) is InvalidText for v in r)]
        with self._writing():
            self._db.executemany(insert, plain)
            if len(plain) < len(rows):
                for row in rows:
                    if any(type(value) is InvalidText for value in row):
                        self._insert(row)

    def complete(self) -> None:
        """Ends the building: all rows are there.

        Raises:
            TooLarge: they are too many, or too large.
        """
        with self._writing():
            if self._column is not None:
                self._db.execute("CREATE INDEX by_value ON o(v)")
            self.rows = self._count("")
        self._require_room()

    def _require_room(self) -> None:
        if self.rows > MAX_ROWS:
            raise TooLarge(self._table)

    def apply(self, gone: Iterable[Place], new: Iterable[tuple[Place, Value]]) -> None:
        """Follows changes of rows.

        Args:
            gone: places of rows that are not there any more.
            new: place and value of rows that are there now, whether they were or not; without a
                column the value is not looked at.

        Raises:
            TooLarge: they have become too many, or too large.
        """
        with self._writing():
            for place in gone:
                # A key that is the same only to the collation may have taken its place already.
                row = self._row(place)
                same = " AND ".join(
                    f"typeof({name}) = typeof({MARK}) AND {name} = {MARK} COLLATE BINARY"
                    for name in self._names
                )
                doubled = [value for value in row for _ in range(2)]
                self._delete(f"{self._is_key} AND {same}", [*row, *doubled])
            for place, value in new:
                row = self._row(place)
                self._delete(self._is_key, row)
                self._insert(row if self._column is None else [*row, value])
                self.rows += 1
        self._require_room()

    def _delete(self, where: str, values: Sequence[Value]) -> None:
        self._db.execute(*self._reader.bind(f"DELETE FROM o WHERE {where}", values))
        self.rows -= self._db.changes()

    def _insert(self, row: Sequence[Value]) -> None:
        marks = ",".join([MARK] * len(row))
        self._db.execute(*self._reader.bind(f"INSERT OR REPLACE INTO o VALUES({marks})", row))

    def window(self, offset: int, limit: int, *, desc: bool) -> list[Place]:
        """The places of the rows from a number on.

        Args:
            offset: number of the first, from 0.
            limit: at most so many.
            desc: whether they are counted from the other end, and come in that order.
        """
        with self._lock:
            count = min(limit, self.rows - offset)
            if count <= 0:
                return []
            # From the nearer end: SQLite walks over what comes before.
            behind = self.rows - offset - count
            is_turned = behind < offset
            how = " DESC" if desc != is_turned else ""
            order = ",".join(name + how for name in self._order)
            rest = f"FROM o ORDER BY {order} LIMIT {count} OFFSET {min(behind, offset)}"
            places = [self._place(row) for row in self._reader.select_exact(self._names, rest)]
        return places[::-1] if is_turned else places

    def find(self, place: Place, *, desc: bool) -> tuple[int, bool]:
        """The number of a row, and whether it is there; else where it would be.

        Where rows are ordered by a column, that cannot be told of a row that is not there: 0.
        """
        row = self._row(place)
        with self._lock:
            is_there = self._count(f"WHERE {self._is_key}", row) > 0
            if self._column is None:
                before = self._count(f"WHERE ({self._keys}) < ({self._marks})", row)
            elif is_there:
                before = self._before_value(row)
            else:
                return 0, False
        if desc:
            before = self.rows - before - is_there
        return before, is_there

    def _before_value(self, row: Sequence[Value]) -> int:
        value = f"(SELECT v FROM o WHERE {self._is_key})"
        tied = self._count(f"WHERE v IS {value} AND ({self._keys}) < ({self._marks})", [*row, *row])
        if self._count(f"WHERE {self._is_key} AND v IS NULL", row):
            return tied
        # NULL comes first, and compares with nothing.
        return tied + self._count("WHERE v IS NULL") + self._count(f"WHERE v < {value}", row)

    def _count(self, where: str, values: Sequence[Value] = ()) -> int:
        sql, bindings = self._reader.bind(f"SELECT count(*) FROM o {where}", values)
        ((count,),) = self._db.execute(sql, bindings).fetchall()
        assert isinstance(count, int)
        return count

    def close(self) -> None:
        """Lets go of the database, whatever is being done with it; idempotent."""
        with suppress(apsw.ConnectionClosedError):
            self._db.interrupt()
        with self._lock:
            self._db.close()
