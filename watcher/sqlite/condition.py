"""A client's condition on rows, evaluated by SQLite itself where it can reach nothing else.

The expression comes from a stranger. It is compiled on a database in memory that holds one table
of the row's shape, with an authorizer that admits that table's columns and functions that have no
effect and no great cost; SQLite's limits bound the text, its depth and the size of what it makes,
and a clock bounds its time. https://sqlite.org/security.html names these means.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apsw

from watcher.changes import InvalidText, Value
from watcher.errors import BadFilter
from watcher.sqlite.names import known_collation, quote

MAX_EXPRESSION = 4096
"""Characters an expression may have."""
MAX_SECONDS = 0.25
"""Seconds the rows of one part of a changeset may take."""

# Beyond the largest value of a row. A function on long texts is one step, in which no clock is
# looked at.
_MAX_MADE = 64 * 1024
_MAX_LENGTH = 1_000_000_000
_MOST_SHAPES = 64
_OPS_BETWEEN_CHECKS = 100
_LIMITS = {
    apsw.SQLITE_LIMIT_SQL_LENGTH: 1_000_000,
    apsw.SQLITE_LIMIT_EXPR_DEPTH: 100,
    apsw.SQLITE_LIMIT_COMPOUND_SELECT: 1,
    apsw.SQLITE_LIMIT_VDBE_OP: 50_000,
    apsw.SQLITE_LIMIT_FUNCTION_ARG: 32,
    apsw.SQLITE_LIMIT_ATTACHED: 0,
    apsw.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100,
    apsw.SQLITE_LIMIT_VARIABLE_NUMBER: 32_766,
    apsw.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
    apsw.SQLITE_LIMIT_WORKER_THREADS: 0,
}
# Without effect, and of a cost that grows no faster than what they are given; that of `instr` and
# `replace` does.
_FUNCTIONS = frozenset(
    """
    abs char coalesce concat concat_ws glob hex if ifnull iif length like likelihood likely
    lower ltrim max min nullif octet_length quote round rtrim sign substr substring trim
    typeof unhex unicode unlikely upper
    date datetime julianday strftime time timediff unixepoch
    -> ->> json_array_length json_extract json_type json_valid
    acos acosh asin asinh atan atan2 atanh ceil ceiling cos cosh degrees exp floor ln log log10 log2
    mod pi pow power radians sin sinh sqrt tan tanh trunc
    """.split()  # noqa: SIM905 - words read best as words
)
# So does that of these with a second argument.
_UNARY = ("ltrim", "rtrim", "trim", "unhex")
# A name no column has by chance and no expression can ask for; with it as the key, `rowid` names
# nothing.
_NUMBER = f"watcher row number {secrets.token_hex(8)}"

Declared = Mapping[str, tuple[str, str]]
"""Affinity and collation of the columns of a table, by their names."""


class Condition:
    """An expression over the columns of a row; safe to use from any thread.

    Args:
        expression: SQL, such as `value > 3 AND name LIKE 'a%'`.
        seconds: how long the rows of one call may take.

    Raises:
        BadFilter: it is too long.
    """

    def __init__(self, expression: str, seconds: float = MAX_SECONDS) -> None:
        if len(expression) > MAX_EXPRESSION:
            raise BadFilter("where", f"is longer than {MAX_EXPRESSION} characters")
        self._expression = expression
        self._seconds = seconds
        self._deadline = 0.0
        self._lock = threading.Lock()
        self._shapes: dict[tuple[object, ...], _Shape] = {}
        self._db = apsw.Connection(":memory:")
        for limit, value in _LIMITS.items():
            self._db.limit(limit, value)
        for setting in (apsw.SQLITE_DBCONFIG_DQS_DML, apsw.SQLITE_DBCONFIG_DQS_DDL):
            self._db.config(setting, 0)
        for name in _UNARY:
            self._db.create_scalar_function(name, None, 2)
        self._db.set_progress_handler(self._is_overdue, _OPS_BETWEEN_CHECKS)

    def reads(self, table: str, columns: Sequence[str], declared: Declared) -> frozenset[str]:
        """Compiles the expression for rows of this shape; returns the columns it reads.

        Args:
            table: the table's name, by which the expression may qualify columns.
            columns: its columns.
            declared: what is declared of them.

        Raises:
            BadFilter: it is no such expression, or it asks for what is not allowed.
        """
        with self._lock:
            return self._shape(table, columns, declared).reads

    def matches(
        self,
        table: str,
        columns: Sequence[str],
        declared: Declared,
        rows: Sequence[Sequence[Value]],
    ) -> list[bool]:
        """Tells for each row whether the expression is true of it; NULL is not.

        Args:
            table: as for `reads`.
            columns: as for `reads`.
            declared: as for `reads`.
            rows: values in the order of the columns.

        Raises:
            BadFilter: as for `reads`, or it takes too long or makes too much of these rows.
        """
        with self._lock:
            shape = self._shape(table, columns, declared)
            largest = max((_size(value) for row in rows for value in row), default=0)
            # What is made of a value may not be much larger than the value.
            self._db.limit(apsw.SQLITE_LIMIT_LENGTH, _MAX_MADE + largest)
            self._deadline = time.monotonic() + self._seconds
            try:
                return self._evaluate(shape, rows)
            except apsw.Error as error:
                raise BadFilter("where", _said(error)) from error
            finally:
                self._deadline = 0.0
                self._db.limit(apsw.SQLITE_LIMIT_LENGTH, _MAX_LENGTH)

    def _evaluate(self, shape: _Shape, rows: Sequence[Sequence[Value]]) -> list[bool]:
        found = [False] * len(rows)
        try:
            for statement, bindings in shape.inserts(rows):
                self._db.executemany(statement, bindings)
            for (number,) in self._db.execute(shape.select):
                found[number] = True
        finally:
            # Whatever went wrong, the next rows meet an empty table.
            self._deadline = 0.0
            self._db.execute(f"DELETE FROM {shape.name}")
        return found

    def _shape(self, table: str, columns: Sequence[str], declared: Declared) -> _Shape:
        known = tuple(declared.get(column, ("", "BINARY")) for column in columns)
        key = (table, tuple(columns), known)
        shape = self._shapes.get(key)
        if shape is None:
            self._forget_if_many()
            shape = self._compile(table, tuple(columns), known)
            self._shapes[key] = shape
        return shape

    def _forget_if_many(self) -> None:
        if len(self._shapes) >= _MOST_SHAPES:
            for shape in self._shapes.values():
                self._db.execute(f"DROP TABLE {shape.name}")
            self._shapes.clear()

    def _compile(
        self, table: str, columns: tuple[str, ...], known: tuple[tuple[str, str], ...]
    ) -> _Shape:
        shape = _Shape(f"t{len(self._shapes)}", table, columns, self._expression)
        guard = _Guard(shape)
        try:
            self._db.execute(shape.definition(known))
            # What is the same for all rows is worked out even for none.
            self._db.limit(apsw.SQLITE_LIMIT_LENGTH, _MAX_MADE)
            self._db.authorizer = guard
            self._deadline = time.monotonic() + self._seconds
            # Compiled, and run over no rows.
            self._db.execute(shape.select).fetchall()
        except (apsw.Error, ValueError) as error:
            self._db.authorizer = None
            self._db.execute(f"DROP TABLE IF EXISTS {shape.name}")
            raise BadFilter("where", guard.refused or _said(error, self._expression)) from error
        finally:
            self._db.authorizer = None
            self._deadline = 0.0
            self._db.limit(apsw.SQLITE_LIMIT_LENGTH, _MAX_LENGTH)
        shape.reads = frozenset(guard.reads)
        return shape

    def _is_overdue(self) -> bool:
        return bool(self._deadline) and time.monotonic() > self._deadline


class _Shape:
    """The table that rows of one shape are put into.

    Args:
        name: its own name.
        alias: what the expression may call it.
        columns: its columns.
        expression: the condition.
    """

    def __init__(self, name: str, alias: str, columns: tuple[str, ...], expression: str) -> None:
        self.name = name
        self.number = _NUMBER
        while self.number in columns:
            self.number += "_"
        self.columns = columns
        self.reads: frozenset[str] = frozenset()
        number = quote(self.number)
        # The line break ends a comment in the expression. It stands where no aggregate may stand;
        # and what would end the clause early, such as LIMIT, cannot be followed by GROUP BY.
        self.select = (
            f"SELECT {number} FROM {name} AS {quote(alias)}"
            f" WHERE ({expression}\n) IS TRUE GROUP BY {number}"
        )

    def definition(self, known: Iterable[tuple[str, str]]) -> str:
        """The statement that makes the table."""
        columns = [
            f"{quote(column)} {affinity} COLLATE {known_collation(collation)}"
            for column, (affinity, collation) in zip(self.columns, known, strict=True)
        ]
        key = f"{quote(self.number)} INTEGER PRIMARY KEY"
        return f"CREATE TABLE {self.name}({', '.join([key, *columns])}) WITHOUT ROWID"

    def inserts(
        self, rows: Sequence[Sequence[Value]]
    ) -> Iterator[tuple[str, Iterable[Sequence[apsw.SQLiteValue]]]]:
        """The statements that put rows in, and the bindings of each."""
        # Text that is not valid has no form as a Python string; SQLite takes it as bytes.
        special = [n for n, row in enumerate(rows) if any(type(v) is InvalidText for v in row)]
        marks = ",".join("?" * (len(self.columns) + 1))
        odd = frozenset(special)
        plain: Any = ((n, *row) for n, row in enumerate(rows) if n not in odd)
        yield f"INSERT INTO {self.name} VALUES({marks})", plain
        for number in special:
            row = rows[number]
            marks = ",".join("CAST(? AS TEXT)" if isinstance(v, InvalidText) else "?" for v in row)
            values: Any = [v.data if isinstance(v, InvalidText) else v for v in row]
            yield f"INSERT INTO {self.name} VALUES(?,{marks})", [(number, *values)]


class _Guard:
    """Admits one SELECT over one table; https://sqlite.org/c3ref/set_authorizer.html."""

    def __init__(self, shape: _Shape) -> None:
        self._shape = shape
        self._selects = 0
        self.reads: set[str] = set()
        # Why something was refused, None where nothing was.
        self.refused: str | None = None

    def __call__(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        why = self._objection(action, first, second)
        if why is None:
            return apsw.SQLITE_OK
        self.refused = self.refused or why
        return apsw.SQLITE_DENY

    def _objection(self, action: int, first: str | None, second: str | None) -> str | None:
        if action == apsw.SQLITE_SELECT:
            self._selects += 1
            return None if self._selects == 1 else "may not hold a query of its own"
        if action == apsw.SQLITE_READ and first == self._shape.name:
            # A name may be empty, which also stands for no column at all.
            if second in self._shape.columns:
                self.reads.add(second)
            return None
        if action == apsw.SQLITE_FUNCTION:
            known = second is not None and second.lower() in _FUNCTIONS
            return None if known else f"may not call the function {second}"
        return "may only be an expression over the columns of a row"


def _size(value: Value) -> int:
    if isinstance(value, str):
        return 4 * len(value)
    if isinstance(value, InvalidText):
        return len(value.data)
    return len(value) if isinstance(value, bytes) else 0


def _said(error: Exception, expression: str = "") -> str:
    if isinstance(error, apsw.InterruptError):
        return "takes too long"
    if isinstance(error, apsw.TooBigError):
        return "makes too large a value"
    if isinstance(error, apsw.BindingsError):
        return "may not hold parameters"
    said = str(error).removeprefix("SQLError: ")
    if 'near ")"' in said and ")" not in expression:
        return "syntax error: it is not complete"  # the bracket is the one behind it
    return said
