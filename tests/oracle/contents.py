"""What a database holds, in a form in which equal means the same to the last bit."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

Contents = dict[str, tuple[list[str], list[tuple[Any, ...]]]]

# Tells all types of values apart, as bytes that can be sorted.
_encode = msgspec.msgpack.Encoder().encode


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def contents(db: sqlite3.Connection) -> Contents:
    """Reads all tables that can be followed: names of columns, rows with the type of each value.

    Rows that are known by their rowid come with it. A table whose rows nothing tells apart, because
    all names of the rowid are taken and the key may be NULL, is left out: so does the watcher.
    """
    return {
        name: (columns, sorted((tuple(map(_exact, row)) for row in rows), key=repr))
        for name, columns, rows in _tables(db)
    }


def digests(db: sqlite3.Connection, only: Collection[str] | None = None) -> dict[str, str]:
    """Sums up what `contents` reads, table by table: equal where that is equal, but made faster.

    Args:
        db: the database.
        only: names of the tables that are wanted, None for all.
    """
    found = {}
    for name, columns, rows in _tables(db, only):
        data = b"".join((_encode(columns), *sorted(map(_encode, rows))))
        found[name] = hashlib.blake2b(data, digest_size=16).hexdigest()
    return found


def _tables(
    db: sqlite3.Connection, only: Collection[str] | None = None
) -> Iterator[tuple[str, list[str], list[Any]]]:
    """Yields name, columns and rows of each table in the order of the names."""
    factory, db.text_factory = db.text_factory, bytes
    try:
        tables = db.execute(
            "SELECT name, wr FROM temp.pragma_table_list WHERE schema='main' AND type='table'"
        ).fetchall()
        found = {name.decode(): wr for name, wr in tables if not name.startswith(b"sqlite_")}
        for name, wr in sorted(found.items()):
            if only is not None and name not in only:
                continue
            table = _table(db, name, bool(wr))
            if table is not None:
                yield name, *table
    finally:
        db.text_factory = factory


def _table(db: sqlite3.Connection, table: str, wr: bool) -> tuple[list[str], list[Any]] | None:
    info = db.execute(f"PRAGMA table_xinfo({_quote(table)})").fetchall()
    columns = [row[1].decode() for row in info]
    key = [row[1].decode() for row in info if row[5]]
    taken = {column.lower() for column in columns}
    rowid = next((n for n in ("rowid", "_rowid_", "oid") if n not in taken), None)
    never_null = wr or (key and all(row[3] for row in info if row[5])) or _is_alias(info)
    if rowid is None and not never_null:
        return None
    # Rows without a key, and those with NULL in it, are known by their rowid.
    keyless = " OR ".join(f"{_quote(column)} IS NULL" for column in key) or "1"
    known = "0" if wr or rowid is None else f"CASE WHEN {keyless} THEN {rowid} ELSE 0 END"
    values = ",".join(f"typeof({_quote(c)}),{_quote(c)}" for c in columns)
    return columns, db.execute(f"SELECT {known},{values} FROM {_quote(table)}").fetchall()


def _is_alias(info: list[Any]) -> bool:
    keys = [row for row in info if row[5]]
    return len(keys) == 1 and keys[0][2].upper() == b"INTEGER"


def _exact(value: Any) -> Any:
    return value.hex() if isinstance(value, float) else value


def contents_of_file(path: Path) -> Contents:
    """Reads a database file as any program would."""
    with closing(sqlite3.connect(path, timeout=10)) as db:
        return contents(db)


def integrity(path: Path) -> str:
    """What `PRAGMA integrity_check` says."""
    with closing(sqlite3.connect(path, timeout=10)) as db:
        return str(db.execute("PRAGMA integrity_check").fetchone()[0])
