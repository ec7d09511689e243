"""Operations on rows and on the schema, whatever tables there are, by either SQLite library."""

from __future__ import annotations

import sqlite3
from typing import Any

import apsw

from tests.oracle.writer import Writer, decode, quote

# So much one operation may write, and from so large a file on it writes next to nothing.
_BYTES_AT_ONCE = 40_000
_PAGES_AT_ONCE = 3
_LARGE_FILE_BYTES = 400_000
_LARGE_FILE_PAGES = 24


class Operations(Writer):
    """The operations; `session.Session` brings the connections."""

    refusals = (sqlite3.Error, apsw.Error, OverflowError, ValueError, IndexError)
    library: str
    # Numbers of the connections that keep no journal, and of the present one.
    _unsafe: set[int]
    _number: int
    _spoiled: bool

    def _refused(self, line: str) -> None:
        self.log.append(f"{self._number}: {line}")
        self._spoiled |= self._number in self._unsafe

    # Which rows, and how many of them.

    def _page_size(self) -> int:
        return int(self.db.execute("PRAGMA page_size").fetchone()[0])

    def _affordable(self, bytes_each: int) -> int:
        ((pages,),) = self.db.execute("PRAGMA page_count").fetchall()
        size = self._page_size()
        if pages * size > max(_LARGE_FILE_BYTES, _LARGE_FILE_PAGES * size):
            return 1
        return max(1, max(_BYTES_AT_ONCE, _PAGES_AT_ONCE * size) // (bytes_each + 1))

    def _value(self, value: Any) -> tuple[str, Any, int]:
        """SQL, bound value and size of a value; lengths may be told in quarters of a page."""
        if isinstance(value, dict) and "quarters" in value:
            quarters, kind = value["quarters"]
            size = min(max(1, self._page_size() * quarters // 4), 290_000)
            if kind == "zero":
                return "zeroblob(?)", size, size
            data = (kind * (size // len(kind) + 1))[:size]
            return "?", data, size
        mark, bound = decode(value)
        return mark, bound, len(bound) if isinstance(bound, str | bytes) else 8

    def _row(self, table: str, columns: list[str], values: list[Any]) -> list[tuple[str, Any, int]]:
        """A value for each column; for a rowid what is no number becomes the next one."""
        bound = [self._value(values[i % len(values)]) for i in range(len(columns))]
        for _, name, kind, _, _, key, _ in self.db.execute(f"PRAGMA table_xinfo({quote(table)})"):
            if key and kind == "INTEGER" and not isinstance(bound[columns.index(name)][1], int):
                bound[columns.index(name)] = ("?", None, 0)
        return bound

    def _identity(self, table: str) -> list[str]:
        """The columns by which rows can be picked, quoted."""
        info = self.db.execute(f"PRAGMA table_xinfo({quote(table)})").fetchall()
        taken = {row[1].lower() for row in info}
        free = next((name for name in ("rowid", "_rowid_", "oid") if name not in taken), None)
        if free is not None and not self._without_rowid(table):
            return [free]
        return [quote(row[1]) for row in info if row[5]]

    def _without_rowid(self, table: str) -> bool:
        rows = self.db.execute(
            "SELECT wr FROM pragma_table_list WHERE schema='main' AND name=?", (table,)
        )
        return bool(rows.fetchall()[0][0])

    def _some(self, table: str, place: int, count: int) -> str:
        """A condition for so many rows, from so many sixteenths of the table on."""
        ((rows,),) = self.db.execute(f"SELECT count(*) FROM {quote(table)}").fetchall()
        known = ",".join(self._identity(table))
        return (
            f"({known}) IN (SELECT {known} FROM {quote(table)}"
            f" LIMIT {count} OFFSET {rows * place // 16})"
        )

    def _column(self, table: str, number: int) -> str:
        columns = self.columns(table)
        return quote(columns[number % len(columns)])

    # Rows.

    def do_insert(self, number: int, values: list[Any], verb: str) -> None:
        table = self.table(number)
        if table is not None:
            columns = self.columns(table)
            bound = self._row(table, columns, values)
            self.run(
                f"INSERT OR {verb} INTO {quote(table)}({','.join(map(quote, columns))})"
                f" VALUES({','.join(mark for mark, _, _ in bound)})",
                *(value for _, value, _ in bound),
            )

    def do_upsert(self, number: int, values: list[Any], column: int) -> None:
        table = self.table(number)
        if table is not None:
            columns = self.columns(table)
            bound = self._row(table, columns, values)
            name = self._column(table, column)
            self.run(
                f"INSERT INTO {quote(table)}({','.join(map(quote, columns))})"
                f" VALUES({','.join(mark for mark, _, _ in bound)})"
                f" ON CONFLICT DO UPDATE SET {name}=excluded.{name}",
                *(value for _, value, _ in bound),
            )

    def do_fill(self, number: int, start: int, count: int, quarters: int) -> None:
        """Inserts a range of rows; the size of a row is told in quarters of a page."""
        table = self.table(number)
        if table is None:
            return
        columns = self.columns(table)
        size = min(self._page_size() * quarters // 4, 290_000)
        count = min(count, self._affordable(16 * len(columns) + size))
        # The first column is the key as a rule; the last is the long one.
        values = [
            "value" if i == 0 else "'v' || value || ?1" if i == len(columns) - 1 else "'v' || value"
            for i in range(len(columns))
        ]
        end = start + count - 1
        self.run(
            f"WITH g(value) AS (SELECT {start} UNION ALL SELECT value+1 FROM g WHERE value<{end})"
            f" INSERT OR IGNORE INTO {quote(table)}({','.join(map(quote, columns))})"
            f" SELECT {','.join(values)} FROM g WHERE ?1 IS NOT NULL",
            "x" * size,
        )

    def do_change(
        self, number: int, place: int, count: int, column: int, value: Any, verb: str
    ) -> None:
        table = self.table(number)
        if table is not None:
            mark, bound, size = self._value(value)
            rows = self._some(table, place, min(count, self._affordable(size)))
            self.run(
                f"UPDATE OR {verb} {quote(table)} SET {self._column(table, column)}={mark}"
                f" WHERE {rows}",
                bound,
            )

    def do_overwrite(self, number: int, place: int, column: int, mark: str) -> None:
        """Changes one character deep in the longest values, which keep their length."""
        table = self.table(number)
        if table is not None:
            name = self._column(table, column)
            self.run(
                f"UPDATE OR IGNORE {quote(table)} SET {name} = substr({name}, 1,"
                f" length({name}) * {place} / 16) || ? ||"
                f" substr({name}, length({name}) * {place} / 16 + 2)"
                f" WHERE length({name}) > 300",
                mark,
            )

    def do_blob(self, number: int, place: int, column: int, data: bytes) -> None:
        """Writes into the longest value in place, past SQL."""
        table = self.table(number)
        if table is None or self._identity(table)[0].startswith('"'):
            return
        rowid, (name,) = self._identity(table)[0], self._named(table, column)
        found = self.db.execute(
            f"SELECT {rowid} FROM {quote(table)} WHERE typeof({quote(name)}) IN ('blob', 'text')"
            f" ORDER BY length(CAST({quote(name)} AS BLOB)) DESC LIMIT 1"
        ).fetchall()
        if found:
            self._write_blob(table, name, found[0][0], place, data)

    def _named(self, table: str, column: int) -> tuple[str]:
        columns = self.columns(table)
        return (columns[column % len(columns)],)

    def _write_blob(self, table: str, column: str, row: int, place: int, data: bytes) -> None:
        said = f"blob {table!r} {column!r} {row} {place} {data!r}"
        try:
            if self.library == "sqlite3":
                blob = self.db.blobopen(table, column, row)
                size = len(blob)
            else:
                blob = self.db.blob_open("main", table, column, row, True)
                size = blob.length()
            with blob:
                # Whole UTF-16 units: half of one would be no text in any encoding.
                at = max(0, size - len(data)) * place // 16 & ~1
                # Of a long text in UTF-16 SQLite 3.43 and later drop a mark of the byte order.
                blob.seek(2 if at == 0 and size >= 4000 else at)
                blob.write(data[:size])
            self.log.append(f"{self._number}: {said}")
        except self.refusals as error:
            self._refused(f"-- {said}: {error}")

    def do_remove(self, number: int, place: int, count: int) -> None:
        table = self.table(number)
        if table is not None:
            self.run(f"DELETE FROM {quote(table)} WHERE {self._some(table, place, count)}")

    def do_empty(self, number: int) -> None:
        """Deletes without a condition, which SQLite does by freeing the pages."""
        table = self.table(number)
        if table is not None:
            self.run(f"DELETE FROM {quote(table)}")

    def do_move_keys(self, number: int, place: int, count: int, by: int, verb: str) -> None:
        table = self.table(number)
        if table is not None:
            rows = self._some(table, place, count)
            key = self._identity(table)[by % len(self._identity(table))]
            moved = f"CASE typeof({key}) WHEN 'integer' THEN {key} + {by} ELSE {key} || 'm' END"
            self.run(f"UPDATE OR {verb} {quote(table)} SET {key} = {moved} WHERE {rows}")

    def do_copy(self, number: int, source: int) -> None:
        """Copies a whole table; where both have the same form SQLite copies raw cells."""
        table, other = self.table(number), self.table(source)
        if table is not None and other is not None:
            ((rows,),) = self.db.execute(f"SELECT count(*) FROM {quote(other)}").fetchall()
            if rows <= self._affordable(100):
                self.run(f"INSERT OR IGNORE INTO {quote(table)} SELECT * FROM {quote(other)}")

    # The schema.

    def _sql_of(self, table: str) -> str:
        rows = self.db.execute(
            "SELECT sql FROM sqlite_schema WHERE type='table' AND name=?", (table,)
        )
        return str(rows.fetchall()[0][0])

    def do_again(self, number: int, count: int) -> None:
        """Drops a table, makes it anew under the same name and fills it again."""
        table = self.table(number)
        if table is not None:
            sql = self._sql_of(table)
            self.run("SAVEPOINT again")
            self.run(f"DROP TABLE {quote(table)}")
            self.run(sql)
            self.do_fill(self.tables().index(table) if table in self.tables() else 0, 1, count, 0)
            self.run("RELEASE again")

    def do_twin(self, number: int, name: str) -> None:
        """Makes another table of the same form."""
        table = self.table(number)
        if table is not None:
            columns = self._sql_of(table).partition("(")[2]
            self.run(f"CREATE TABLE {quote(name)}({columns}")

    def do_index(self, number: int, column: int, name: str, unique: str) -> None:
        table = self.table(number)
        if table is not None:
            self.run(
                f"CREATE {unique} INDEX {quote(name)}"
                f" ON {quote(table)}({self._column(table, column)})"
            )

    def do_required(self, number: int, column: int, verb: str) -> None:
        table = self.table(number)
        if table is not None:
            name = self._column(table, column)
            self.run(f"ALTER TABLE {quote(table)} ALTER COLUMN {name} {verb} NOT NULL")

    def do_trigger(self, number: int, other: int, name: str) -> None:
        """Makes changes of one table delete rows of another."""
        table, victim = self.table(number), self.table(other)
        if table is not None and victim is not None:
            key = self._identity(victim)[0]
            self.run(
                f"CREATE TRIGGER {quote(name)} AFTER UPDATE ON {quote(table)} BEGIN"
                f" DELETE FROM {quote(victim)} WHERE {key} IN"
                f" (SELECT {key} FROM {quote(victim)} LIMIT 1); END"
            )
