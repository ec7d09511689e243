"""The writing program of the oracle tests: a process of its own that knows nothing of the watcher.

Reads one JSON list of operations per line and answers each line, when it is done, with a JSON list
of the statements it ran. Statements that SQLite refuses are part of the game.
"""

from __future__ import annotations

import base64
import json
import sqlite3
import sys
from typing import Any


def quote(name: str) -> str:
    """Quotes an identifier."""
    return '"' + name.replace('"', '""') + '"'


class Writer:
    """Turns operations into SQL on whatever schema it finds.

    Args:
        path: the database.
    """

    # What SQLite says where it refuses a statement.
    refusals: tuple[type[Exception], ...] = (sqlite3.Error, OverflowError)

    def __init__(self, path: str) -> None:
        self.path = path
        self.log: list[str] = []
        self.db = self.connect()

    def connect(self) -> Any:
        """Opens a connection in autocommit mode."""
        db = sqlite3.connect(self.path, isolation_level=None, timeout=10)
        db.execute("PRAGMA synchronous=OFF")
        return db

    def run(self, sql: str, *values: Any) -> None:
        """Runs a statement; a refusal is recorded, not raised."""
        try:
            self.db.execute(sql, values).fetchall()
            self.log.append(f"{sql} {values!r:.200}")
        except self.refusals as error:
            self.log.append(f"-- {sql} {values!r:.200}: {error}")

    def tables(self) -> list[str]:
        """Names of the ordinary tables."""
        rows = self.db.execute(
            "SELECT name FROM pragma_table_list WHERE schema='main' AND type='table'"
            " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
        )
        return [name for (name,) in rows]

    def table(self, number: int) -> str | None:
        """One of the tables, None where there is none."""
        names = self.tables()
        return names[number % len(names)] if names else None

    def columns(self, table: str, *, stored: bool = True) -> list[str]:
        """Names of a table's columns."""
        rows = self.db.execute(f"PRAGMA table_xinfo({quote(table)})")
        return [row[1] for row in rows if not stored or row[6] == 0]

    def do(self, operation: list[Any]) -> None:
        """Runs one operation: its name, then its arguments."""
        getattr(self, f"do_{operation[0]}")(*operation[1:])

    def do_sql(self, sql: str) -> None:
        self.run(sql)

    def do_insert(self, number: int, values: list[Any], verb: str) -> None:
        table = self.table(number)
        if table is None:
            return
        columns = self.columns(table)
        bound = [decode(values[i % len(values)]) for i in range(len(columns))]
        names = ",".join(map(quote, columns))
        marks = ",".join(mark for mark, _ in bound)
        sql = f"INSERT OR {verb} INTO {quote(table)}({names}) VALUES({marks})"
        self.run(sql, *(value for _, value in bound))

    def do_bulk(self, number: int, count: int, width: int) -> None:
        table = self.table(number)
        if table is None:
            return
        columns = self.columns(table)
        values = ",".join(
            "value" if i == 0 else f"'v' || value || hex(zeroblob({width}))"
            for i in range(len(columns))
        )
        self.run(
            f"WITH g(value) AS (SELECT 1 UNION ALL SELECT value+1 FROM g WHERE value<{count})"
            f" INSERT OR IGNORE INTO {quote(table)}({','.join(map(quote, columns))})"
            f" SELECT {values} FROM g"
        )

    def do_update(self, number: int, column: int, value: Any, modulus: int) -> None:
        table = self.table(number)
        if table is None:
            return
        columns = self.columns(table)
        mark, bound = decode(value)
        first = quote(columns[0])
        self.run(
            f"UPDATE OR IGNORE {quote(table)} SET {quote(columns[column % len(columns)])}={mark}"
            f" WHERE length({first}) % {modulus} = 0 OR {first} % {modulus} = 0",
            bound,
        )

    def do_delete(self, number: int, modulus: int) -> None:
        table = self.table(number)
        if table is not None:
            first = quote(self.columns(table)[0])
            self.run(
                f"DELETE FROM {quote(table)} WHERE length({first}) % {modulus} = 0"
                f" OR {first} % {modulus} = 0"
            )

    def do_add_column(self, number: int, name: str, rest: str) -> None:
        table = self.table(number)
        if table is not None:
            self.run(f"ALTER TABLE {quote(table)} ADD COLUMN {quote(name)} {rest}")

    def do_drop_column(self, number: int, column: int) -> None:
        table = self.table(number)
        if table is not None:
            columns = self.columns(table, stored=False)
            self.run(
                f"ALTER TABLE {quote(table)} DROP COLUMN {quote(columns[column % len(columns)])}"
            )

    def do_rename_column(self, number: int, column: int, name: str) -> None:
        table = self.table(number)
        if table is not None:
            columns = self.columns(table, stored=False)
            old = quote(columns[column % len(columns)])
            self.run(f"ALTER TABLE {quote(table)} RENAME COLUMN {old} TO {quote(name)}")

    def do_rename_table(self, number: int, name: str) -> None:
        table = self.table(number)
        if table is not None:
            self.run(f"ALTER TABLE {quote(table)} RENAME TO {quote(name)}")

    def do_drop_table(self, number: int) -> None:
        table = self.table(number)
        if table is not None:
            self.run(f"DROP TABLE {quote(table)}")

    def do_reconnect(self) -> None:
        self.db.close()
        self.db = self.connect()
        self.log.append("-- reconnected")


def decode(value: Any) -> tuple[str, Any]:
    """The SQL and the bound value of one from JSON."""
    if isinstance(value, dict):
        ((kind, content),) = value.items()
        if kind == "blob":
            return "?", base64.b64decode(content)
        if kind == "bad":
            return "CAST(? AS TEXT)", base64.b64decode(content)
        return "?", float(content)
    return "?", value


def main() -> None:
    """Serves until standard input ends."""
    writer = Writer(sys.argv[1])
    for line in sys.stdin:
        writer.log = []
        for operation in json.loads(line):
            writer.do(operation)
        if writer.db.in_transaction:
            writer.run("COMMIT")
        print(json.dumps(writer.log), flush=True)
    writer.db.close()


if __name__ == "__main__":
    main()
