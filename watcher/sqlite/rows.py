"""Reads rows of a private copy exactly: no value is changed and no row is dropped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import apsw

from watcher.changes import Change, InvalidText, Op, Row, Value
from watcher.errors import MalformedPosition
from watcher.sqlite.names import quote
from watcher.sqlite.schema import TableSchema

# SQLite's own limit for the columns of a result (SQLITE_MAX_COLUMN).
MAX_RESULT_COLUMNS = 2000
# Stands for a parameter in SQL that is being put together; no name can contain it.
MARK = "\0"


class RowLost(Exception):
    """A row is not found by the key that was read of it.

    A value has been stored that its column's affinity would have converted, by a schema edited by
    hand.
    """

    def __str__(self) -> str:
        return "a row is not found by its key"


class RowReader:
    """Selects rows on a connection.

    Args:
        db: the connection.
        encoding: the databases' text encoding, as PRAGMA encoding names it.
    """

    def __init__(self, db: apsw.Connection, encoding: str) -> None:
        self._db = db
        self._encoding = encoding.lower()

    def select(
        self, columns: Sequence[str], rest: str, parameters: Sequence[Value] = ()
    ) -> Iterator[tuple[Value, ...]]:
        """Yields the rows of `SELECT columns rest`.

        Args:
            columns: SQL expressions.
            rest: the statement from FROM on; its order must be the same each time it is run.
            parameters: values for the marks in it (`MARK`), in their order.
        """
        sql, bindings = self.bind(rest, parameters)
        done = 0
        try:
            for row in self._db.execute(f"SELECT {','.join(columns)} {sql}", bindings):
                yield row
                done += 1
        except UnicodeDecodeError:
            yield from self.select_bytes(columns, sql, bindings, done)

    @property
    def encoding(self) -> str:
        """How texts are stored, as Python names it."""
        return self._encoding

    def prepare(self, columns: Sequence[str], rest: str) -> Statement:
        """Prepares `SELECT columns rest`, to be run often.

        Args:
            columns: SQL expressions.
            rest: the statement from FROM on, with `?` for integers; its order must be the same
                each time it is run.
        """
        return Statement(self, self._db, columns, rest)

    @property
    def is_exact(self) -> bool:
        """Whether texts come as they are stored.

        From a UTF-16 database SQLite makes a character of half a surrogate pair and whatever is
        behind it, which is what every program sees, but not what finds the row again.
        """
        return self._encoding == "utf-8"

    def select_exact(
        self, columns: Sequence[str], rest: str, parameters: Sequence[Value] = ()
    ) -> Iterator[tuple[Value, ...]]:
        """Does what `select` does, with each text as it is stored."""
        if self.is_exact:
            yield from self.select(columns, rest, parameters)
        else:
            yield from self.select_bytes(columns, *self.bind(rest, parameters), 0)

    def bind(self, rest: str, parameters: Sequence[Value]) -> tuple[str, list[Any]]:
        """Puts parameters in the place of the marks of a statement; returns it and its bindings.

        Raises:
            MalformedPosition: the database cannot hold one, so it is none of its values.
        """
        # Text that is not valid has no form as a Python string; SQLite takes it as bytes.
        marks = ["CAST(? AS TEXT)" if isinstance(p, InvalidText) else "?" for p in parameters]
        values = [self._encode(p) if isinstance(p, InvalidText) else p for p in parameters]
        return _fill(rest, marks), values

    def _encode(self, text: InvalidText) -> bytes:
        # A cast takes bytes for text in the encoding of the database.
        if self._encoding == "utf-8":
            return text.data
        try:
            data = text.data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise MalformedPosition(str(text.data)) from error
        return data.encode(self._encoding, "surrogatepass")

    def select_bytes(
        self, columns: Sequence[str], sql: str, bindings: Sequence[Any], skip: int
    ) -> Iterator[tuple[Value, ...]]:
        """Yields rows whose texts are not all valid.

        Args:
            columns: SQL expressions.
            sql: the statement from FROM on.
            bindings: its parameters.
            skip: so many rows have been seen already.
        """
        # Text comes as its bytes and blobs as hexadecimal text, so that one column tells both.
        exact = [
            f"CASE typeof({c}) WHEN 'text' THEN CAST({c} AS BLOB)"
            f" WHEN 'blob' THEN hex({c}) ELSE {c} END"
            for c in columns
        ]
        rows = self._db.execute(f"SELECT {','.join(exact)} {sql}", bindings)
        for index, row in enumerate(rows):
            if index >= skip:
                yield tuple(map(self._decode, row))

    def _decode(self, value: Any) -> Value:
        if isinstance(value, str):
            return bytes.fromhex(value)
        if not isinstance(value, bytes):
            return value  # type: ignore[no-any-return]  # None, int or float
        try:
            return value.decode(self._encoding)
        except UnicodeDecodeError:
            if self._encoding == "utf-8":
                return InvalidText(value)
            text = value.decode(self._encoding, "surrogatepass")
            return InvalidText(text.encode("utf-8", "surrogatepass"))


class Statement:
    """A statement that is run often; see `RowReader.prepare`."""

    def __init__(
        self, reader: RowReader, db: apsw.Connection, columns: Sequence[str], rest: str
    ) -> None:
        self._reader = reader
        self._db = db
        self._columns = columns
        self._rest = rest
        self._sql = f"SELECT {','.join(columns)} {rest}"

    def all(self, *parameters: int) -> list[tuple[Value, ...]]:
        """Reads all rows."""
        try:
            # To the end: a statement left in the middle keeps its state open.
            return self._db.execute(self._sql, parameters).fetchall()
        except UnicodeDecodeError:
            return list(self._reader.select_bytes(self._columns, self._rest, parameters, 0))


def _fill(rest: str, marks: Sequence[str]) -> str:
    if not marks:
        return rest
    pieces = rest.split(MARK)
    return "".join(piece + mark for piece, mark in zip(pieces, [*marks, ""], strict=True))


def key_of(table: TableSchema, row: Row, rowid: Value) -> Row:
    """The key by which clients know a row.

    Args:
        table: its table.
        row: its visible columns.
        rowid: its rowid, needed where the primary key is missing or has a NULL.
    """
    if table.key and all(row[column] is not None for column in table.key):
        return {column: row[column] for column in table.key}
    return {"$rowid": rowid}


def read_page(
    reader: RowReader, database: str, table: TableSchema, after: Sequence[Value] | None, limit: int
) -> Iterator[tuple[tuple[Value, ...], Change]]:
    """Yields rows in the order of their identities: each row's place, and the row as an insert.

    Args:
        reader: reads from the connection the copy is attached to.
        database: the name it is attached under.
        table: the table.
        after: the place of the row before them: number of the identity, then its values. With the
            complement of the number (`~number`) the row at that place is the first of them.
        limit: at most so many rows.

    Raises:
        MalformedPosition: `after` is no place in this table.
        RowLost: rows are not found again by their places.
    """
    if after is not None and not _is_place(table, after):
        raise MalformedPosition(str(list(after)))
    start = 0 if after is None else _number(int(after[0]))  # type: ignore[arg-type]  # checked above
    for number in range(start, len(table.identities)):
        values = after[1:] if after is not None and number == start else None
        including = values is not None and after is not None and after[0] != number
        for found in _read_identity(reader, database, table, number, values, limit, including):
            yield found
            limit -= 1
        if limit <= 0:
            return


def read_samples(reader: RowReader, database: str, table: TableSchema) -> None:
    """Reads a row by each identity of a table, to see whether SQLite can.

    Args:
        reader: reads from the connection the copy is attached to.
        database: the name it is attached under.
        table: the table.

    Raises:
        apsw.Error: it cannot.
    """
    for number in range(len(table.identities)):
        next(_read_identity(reader, database, table, number, None, 1), None)


def _is_place(table: TableSchema, place: Sequence[Value]) -> bool:
    number = place[0]
    if not isinstance(number, int) or not 0 <= _number(number) < len(table.identities):
        return False
    return len(place) == 1 + len(table.identities[_number(number)].columns)


def _number(number: int) -> int:
    return number if number >= 0 else ~number


def _read_identity(
    reader: RowReader,
    database: str,
    table: TableSchema,
    number: int,
    after: Sequence[Value] | None,
    limit: int,
    including: bool = False,
) -> Iterator[tuple[tuple[Value, ...], Change]]:
    identity = table.identities[number]
    terms = identity.terms("t")
    where = identity.condition("t")
    if after is not None:
        behind = ">=" if including else ">"
        where += f" AND ({','.join(terms)}) {behind} ({','.join([MARK] * len(terms))})"
    rest = (
        f"FROM {database}.{quote(table.name)} t WHERE {where}"
        f" ORDER BY {','.join(terms)} LIMIT {limit}"
    )
    names = [column.name for column in table.columns]
    exprs = [f"t.{quote(name)}" for name in names]
    known = [f"t.{quote(name)}" for name in identity.columns]
    for values, row in select_known(reader, known, exprs, rest, after or ()):
        if after is not None and not including and values == tuple(after):
            raise RowLost
        after_row = dict(zip(names, row, strict=True))
        key = key_of(table, after_row, values[0])
        yield (number, *values), Change(Op.INSERT, table.name, key, None, after_row)


def select_known(
    reader: RowReader,
    known: Sequence[str],
    columns: Sequence[str],
    rest: str,
    parameters: Sequence[Value] = (),
) -> Iterator[tuple[tuple[Value, ...], tuple[Value, ...]]]:
    """Yields what a row is known by, and its columns.

    Args:
        reader: reads from the connection.
        known: SQL of the row's identity.
        columns: SQL of its columns.
        rest: the statement from FROM on, see `RowReader.select`.
        parameters: values for the marks in it.
    """
    if reader.is_exact and set(known) <= set(columns):
        places = [columns.index(name) for name in known]
        for row in reader.select(columns, rest, parameters):
            yield tuple(row[place] for place in places), row
    elif reader.is_exact and len(known) + len(columns) <= MAX_RESULT_COLUMNS:
        for row in reader.select([*known, *columns], rest, parameters):
            yield row[: len(known)], row[len(known) :]
    else:
        yield from zip(
            reader.select_exact(known, rest, parameters),
            reader.select(columns, rest, parameters),
            strict=True,
        )
