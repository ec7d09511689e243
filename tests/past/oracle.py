"""What tables hold, in the bytes in which the service tells it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from watcher import wire
from watcher.changes import InvalidText, Value
from watcher.hub import Hub
from watcher.past.tables import Past


class Held(NamedTuple):
    """A table.

    Args:
        sql: the statement that made it.
        columns: names of its columns.
        rows: key and columns of each row as JSON, in the order of their keys.
    """

    sql: str
    columns: tuple[str, ...]
    rows: list[tuple[bytes, bytes]]


def held(path: Path) -> dict[str, Held]:
    """Reads all tables, with the library the watcher reads with.

    Another version may read another default from a row that is older than its column.
    """
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        db.set_busy_timeout(5000)
        tables: list[Any] = db.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type='table'"
        ).fetchall()
        return {name: _table(db, name, sql) for name, sql in tables}


def _value(kind: str, value: Any, encoding: str) -> Value:
    if kind != "text":
        return value  # type: ignore[no-any-return]  # a value as it is
    try:
        return str(value, encoding)
    except UnicodeDecodeError:
        return InvalidText(value)


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _table(db: apsw.Connection, name: str, sql: str) -> Held:
    info: list[Any] = db.execute(f"PRAGMA table_xinfo({_quote(name)})").fetchall()
    columns = tuple(row[1] for row in info)
    key = [row[1] for row in sorted(info, key=lambda row: row[5]) if row[5]]
    rows = []
    for query in _queries(name, sql, columns, key):
        for rowid, *values in _exact(db, query):
            row = dict(zip(columns, values, strict=True))
            names = {"$rowid": rowid} if rowid is not None else {c: row[c] for c in key}
            rows.append((_json(names), _json(row)))
    return Held(sql, columns, rows)


def _queries(name: str, sql: str, columns: tuple[str, ...], key: list[str]) -> list[str]:
    """Those with a key in its order, then the others in that of their rowids."""
    # The type of each value beside it, and texts as their bytes.
    parts = [
        f"typeof({c}), CASE typeof({c}) WHEN 'text' THEN CAST({c} AS BLOB) ELSE {c} END"
        for c in map(_quote, columns)
    ]
    source = f"{', '.join(parts)} FROM {_quote(name)}"
    if not key:
        return [f"SELECT 'integer', rowid, {source} ORDER BY rowid"]
    # The key's own collation, where it has one.
    (collation,) = re.findall(r"PRIMARY KEY\(k COLLATE (\w+)\)", sql) or ["BINARY"]
    known = ", ".join(map(_quote, key))
    if collation != "BINARY":
        known += f" COLLATE {collation}"
    null = " OR ".join(f"{_quote(column)} IS NULL" for column in key)
    queries = [f"SELECT 'null', NULL, {source} WHERE NOT ({null}) ORDER BY {known}"]
    if "WITHOUT ROWID" not in sql:
        queries.append(f"SELECT 'integer', rowid, {source} WHERE {null} ORDER BY rowid")
    return queries


def _exact(db: apsw.Connection, query: str) -> Iterator[list[Value]]:
    encoding = str(db.execute("PRAGMA encoding").get)
    for row in db.execute(query):
        pairs: Any = zip(row[::2], row[1::2], strict=True)
        yield [_value(kind, value, encoding) for kind, value in pairs]


def _json(row: dict[str, Value]) -> bytes:
    return wire.encode_json({name: wire.encode_value(v, _leave) for name, v in row.items()})


def _leave(sha256: str, kind: str, data: bytes) -> None:
    """What is large is told by its digest."""


async def told(past: Past, table: str, at: str, limit: int) -> tuple[tuple[str, ...], list[Any]]:
    """Reads a table as it was, page by page: its columns and rows."""
    rows: list[tuple[bytes, bytes]] = []
    after = None
    while True:
        page = await past.page(table, at, after=after, limit=limit)
        assert len(page.rows) <= limit
        rows += [(bytes(row.key), bytes(row.row)) for row in page.rows]
        if page.next is None:
            return page.columns, rows
        assert page.next != after
        after = page.next


async def position_when(hub: Hub, number: int) -> str:
    """Waits until the table `clock` holds a number; the position of that state."""
    while True:
        wake = hub.wake
        rows = await hub.rows("clock")
        if b'"n":%d}' % number in rows.inserts:
            return rows.position
        await hub.woken(wake)
