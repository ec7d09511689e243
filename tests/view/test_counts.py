"""How many rows tables have: what is told is what a fresh count of the file says."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from tests.conftest import Write
from tests.view.served import reached, watching, writing
from watcher.hub import Hub
from watcher.web import create_app

_MANY = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 40000)"


def counts(http: httpx.Client) -> dict[str, Any]:
    """What `/tables` says of rows, by table."""
    return {table["name"]: table["rows"] for table in http.get("/tables").json()}


def counted(http: httpx.Client) -> dict[str, int]:
    """The number of rows of each table, once all of them are counted."""
    while True:
        found = counts(http)
        if None not in found.values():
            assert all(rows["exact"] for rows in found.values())
            return {name: rows["count"] for name, rows in found.items()}


def in_file(path: Path, *tables: str) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        return {
            table: connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]
            for table in tables
        }


def eventually(http: httpx.Client, expected: dict[str, int]) -> None:
    """Waits until these are the numbers; the test's time limit ends what does not come."""
    while counted(http) != expected:
        pass


def test_counts_follow_all_that_happens(tmp_path: Path, write: Write) -> None:
    """Rows that come and go, tables that are made, renamed, made anew and dropped."""
    script = (
        "CREATE TABLE a(id INTEGER PRIMARY KEY, x); INSERT INTO a(x) VALUES (1),(2),(3);"
        "CREATE TABLE b(k TEXT COLLATE NOCASE PRIMARY KEY) WITHOUT ROWID;"
        "CREATE TABLE c(k PRIMARY KEY, x); INSERT INTO c VALUES (NULL,1),(NULL,2),(3,3);"
    )
    names = ("items", "a", "b", "c", "marker")
    with watching(tmp_path, script) as (service, http):
        path = service.database
        assert counted(http) == {"items": 2, "a": 3, "b": 0, "c": 3, "marker": 1}
        renamed = ("items", "z", *names[2:])
        anew = "DROP TABLE b; CREATE TABLE b(n); INSERT INTO b VALUES (1),(1),(1),(1)"
        for sql, tables in (
            ("INSERT INTO b VALUES ('x'),('y'); DELETE FROM a WHERE id = 2", names),
            ("UPDATE b SET k = upper(k); UPDATE a SET id = id + 1; DELETE FROM c WHERE x", names),
            ("ALTER TABLE a RENAME TO z; INSERT INTO z(x) VALUES (9)", renamed),
            (anew, renamed),
            ("DROP TABLE b; DELETE FROM c", ("items", "z", "c", "marker")),
        ):
            reached(http, path, write, sql)
            eventually(http, in_file(path, *tables))


@pytest.mark.parametrize("key", ["id INTEGER PRIMARY KEY", "id TEXT COLLATE NOCASE PRIMARY KEY"])
def test_a_count_is_exact_though_rows_come_and_go_meanwhile(
    key: str, tmp_path: Path, write: Write
) -> None:
    """Changes before and behind the place that has been reached are told apart."""
    script = (
        f"PRAGMA journal_mode=wal; CREATE TABLE t({key}, x);"
        f"{_MANY} INSERT INTO t SELECT printf('%07d', i * 10), i FROM c;"
    )
    loop = """
n = 0
while True:
    n += 1
    connection.execute("BEGIN")
    connection.execute("INSERT INTO t VALUES (?, ?)", (f"{n * 7919 % 400000:07d}1", n))
    connection.execute("DELETE FROM t WHERE x % 40000 = ?", (n * 13,))
    connection.execute("COMMIT")
"""
    with watching(tmp_path, script) as (service, http):
        with writing(service.database, loop):
            found = counts(http)
            while found["t"] is None:
                found = counts(http)
        reached(http, service.database, write, "SELECT 1")
        eventually(http, in_file(service.database, "items", "t", "marker"))


def test_counts_outlive_the_reader(tmp_path: Path, write: Write) -> None:
    """What changes while there is none is counted."""
    hubs: list[Hub] = []

    def make_app(hub: Hub) -> ASGIApp:
        hubs.append(hub)
        return create_app(hub)

    with watching(tmp_path, "", make_app=make_app) as (service, http):
        assert counted(http)["items"] == 2
        assert hubs[0].reader_pid is not None
        os.kill(hubs[0].reader_pid, signal.SIGKILL)
        write(service.database, "INSERT INTO items(name) VALUES ('x'), ('y')")
        eventually(http, {"items": 4, "marker": 1})
