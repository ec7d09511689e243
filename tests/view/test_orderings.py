"""Rows by their number: what an order says is what a fresh SELECT … ORDER BY of the file says."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote as url_quote

import httpx
import pytest
from starlette.types import ASGIApp

from tests.conftest import Write
from tests.view.served import reached, watching, writing
from watcher import wire
from watcher.changes import InvalidText
from watcher.hub import Hub
from watcher.sqlite.names import quote
from watcher.view import index, ordering
from watcher.view.orderings import MAX_ORDERINGS
from watcher.web import create_app

_VALUES = (
    "NULL", "0", "1", "-1", "1.0", "1.5", "-0.5", "9007199254740993", "-9223372036854775808",
    "9e999", "-9e999", "''", "'a'", "'A'", "'a '", "'B'", "'b'", "'é'", "'ê  '", "'10'", "'9'",
    "char(0)", "'a'||char(0)||'b'", "x''", "x'00ff'", "x'61'", "printf('%.300c', 'x')",
)  # fmt: skip


class Shape(NamedTuple):
    """A table to order, and how SQLite orders it by its key.

    Args:
        name: of the table.
        sql: the statement that makes it, after `CREATE TABLE name`.
        columns: those values are put into.
        key: how rows are ordered by their key, in SQL.
        setup: statements before it is made.
    """

    name: str
    sql: str
    columns: tuple[str, ...]
    key: str
    setup: str = ""


_NULLS_LAST = "(a IS NULL), CASE WHEN a IS NULL THEN 0 ELSE a END, rowid"
SHAPES = {
    "integer key": Shape(
        "t", "(id INTEGER PRIMARY KEY, a, b TEXT COLLATE NOCASE)", ("a", "b"), "id"
    ),
    "no key": Shape("t", "(a, b REAL, c INT)", ("a", "b", "c"), "rowid"),
    "key with NULL": Shape("t", "(a PRIMARY KEY, b)", ("a", "b"), _NULLS_LAST),
    "key of its own collation": Shape(
        "t",
        "(a TEXT COLLATE NOCASE NOT NULL, b, c COLLATE RTRIM, PRIMARY KEY(a COLLATE BINARY))",
        ("a", "b", "c"),
        "a COLLATE BINARY",
    ),
    "without rowid": Shape(
        "t",
        "(a COLLATE RTRIM, b COLLATE NOCASE, c, PRIMARY KEY(b, a)) WITHOUT ROWID",
        ("a", "b", "c"),
        "b, a",
    ),
    "strict and generated": Shape(
        "t",
        "(id INTEGER PRIMARY KEY, a ANY, g ANY AS (CASE WHEN typeof(a)='text' THEN upper(a) END),"
        " h ANY AS (a) STORED) STRICT",
        ("a",),
        "id",
    ),
    "hostile names": Shape(
        "it's \"a\" table; --\n/rows",
        '("v" INT, "k0", "sel""ect]" TEXT, "$rowid", "ключ" UNIQUE)',
        ("v", "k0", 'sel"ect]', "$rowid"),
        "rowid",
    ),
    "sixteen bits": Shape(
        "t",
        "(a PRIMARY KEY, b COLLATE NOCASE) WITHOUT ROWID",
        ("a", "b"),
        "a",
        "PRAGMA encoding='UTF-16le';",
    ),
}  # fmt: skip


def window(http: httpx.Client, table: str, **parameters: Any) -> dict[str, Any]:
    """A window, once its order is built."""
    while True:
        answer = http.get(f"/tables/{url_quote(table, safe='')}/rows", params=parameters)
        if answer.status_code != 202:
            assert answer.status_code == 200, answer.text
            found: dict[str, Any] = answer.json()
            return found
        assert answer.json()["state"] == "building"


def whole(http: httpx.Client, table: str, limit: int, **parameters: Any) -> list[dict[str, Any]]:
    """All rows of an order by windows that follow each other; none changes meanwhile."""
    rows: list[dict[str, Any]] = []
    while True:
        found = window(http, table, offset=len(rows), limit=limit, **parameters)
        assert found["offset"] == len(rows)
        assert found["next"] is None
        rows += found["rows"]
        assert len(found["rows"]) == min(limit, found["total"] - found["offset"])
        if len(rows) == found["total"]:
            return rows


def typed(value: Any) -> tuple[str, Any]:
    """A value on the wire with its type in SQLite; texts as bytes."""
    stored = wire.decode_value(value)
    if isinstance(stored, InvalidText):
        return "text", stored.data
    if isinstance(stored, str):
        return "text", stored.encode()
    names = {int: "integer", float: "real", bytes: "blob"}
    return names.get(type(stored), "null"), stored


def selected(path: Path, table: str, rest: str) -> list[list[tuple[str, Any]]]:
    """The rows of the file, each value with its type; texts as bytes in UTF-8."""
    with closing(sqlite3.connect(path)) as connection:
        ((encoding,),) = connection.execute("PRAGMA encoding")
        names = [row[1] for row in connection.execute(f"PRAGMA table_xinfo({quote(table)})")]
        columns = ", ".join(
            f"typeof({quote(name)}), CASE typeof({quote(name)}) WHEN 'text'"
            f" THEN CAST({quote(name)} AS BLOB) ELSE {quote(name)} END"
            for name in names
        )
        found = connection.execute(f"SELECT {columns} FROM {quote(table)} {rest}").fetchall()
    return [
        [(kind, _utf8(value, encoding) if kind == "text" else value) for kind, value in pairs]
        for pairs in (list(zip(row[::2], row[1::2], strict=True)) for row in found)
    ]


def _utf8(data: bytes, encoding: str) -> bytes:
    return data if encoding == "UTF-8" else data.decode(encoding).encode()


def values_of(rows: list[dict[str, Any]]) -> list[list[tuple[str, Any]]]:
    return [[typed(value) for value in row["row"].values()] for row in rows]


def some_writes(chance: random.Random, shape: Shape) -> str:
    """Statements that change some rows, each a commit of its own or several together."""
    table, is_utf8 = quote(shape.name), "16" not in shape.setup
    values = [*_VALUES, *(["CAST(x'61ff' AS TEXT)"] if is_utf8 else [])]
    requires = "NOT NULL" in shape.sql or "WITHOUT" in shape.sql
    names = ",".join(map(quote, shape.columns))
    statements = []
    for _ in range(chance.randrange(1, 12)):
        several = ",".join(
            "(" + ",".join(chance.choice(values) for _ in shape.columns) + ")"
            for _ in range(chance.randrange(1, 6))
        )
        # Nothing takes the place of a value that must be there.
        replace = "IGNORE" if "NULL" in several and requires else "REPLACE"
        how = "IGNORE" if requires else "REPLACE"
        column, other = (quote(chance.choice(shape.columns)) for _ in range(2))
        value, limit = chance.choice(values), chance.choice(values)
        statements.append(
            chance.choice(
                (
                    f"INSERT OR IGNORE INTO {table}({names}) VALUES {several}",
                    f"INSERT OR {replace} INTO {table}({names}) VALUES {several}",
                    f"UPDATE OR IGNORE {table} SET {column} = {value} WHERE {other} < {limit}",
                    f"UPDATE OR {how} {table} SET {column} = {value} WHERE {other} IS {limit}",
                    f"DELETE FROM {table} WHERE {column} IS {value}",
                    f"DELETE FROM {table} WHERE {column} > {value} AND random() % 3 = 0",
                )
            )
        )
    joined = "; ".join(statements)
    return f"BEGIN; {joined}; COMMIT" if chance.random() < 0.5 else joined


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_an_order_equals_a_fresh_select(shape: Shape, tmp_path: Path, write: Write) -> None:
    """After random writes, all orders at a position show what the file would."""
    chance = random.Random(shape.sql)
    script = f"{shape.setup} CREATE TABLE {quote(shape.name)}{shape.sql};"
    filling = [some_writes(chance, shape) for _ in range(4)]
    with watching(tmp_path, script + "; ".join(filling) + ";") as (service, http):
        for turn in range(3):
            sql = some_writes(chance, shape)
            position = reached(http, service.database, write, sql)
            for place, column in enumerate((None, *shape.columns)):
                desc = (turn + place) % 2 == 1
                order = shape.key if column is None else f"{quote(column)}, {shape.key}"
                expected = selected(service.database, shape.name, f"ORDER BY {order}")
                asked = {"order": column} if column is not None else {}
                rows = whole(
                    http, shape.name, 30, at_least=position, desc=str(desc).lower(), **asked
                )
                assert values_of(rows) == (expected[::-1] if desc else expected), (sql, order)
        key = [row["key"] for row in whole(http, shape.name, 1000)]
        for number in {0, len(key) // 2, len(key) - 1} - {-1}:
            encoded = json.dumps(key[number])
            found = window(http, shape.name, around=encoded, limit=5)
            assert (found["found"], found["index"]) == (True, number)
            assert found["rows"][number - found["offset"]]["key"] == key[number]


def test_a_condition_is_part_of_an_order(tmp_path: Path, write: Write) -> None:
    """Rows come into it and leave it as they are changed."""
    script = (
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT COLLATE NOCASE, n INT);"
        "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 5000)"
        " INSERT INTO t SELECT i, char(65 + i % 26), i % 100 FROM c;"
    )
    where = "n > 50 AND a < 'k'"
    writes = (
        "UPDATE t SET n = 100 - n WHERE id % 7 = 0",
        "DELETE FROM t WHERE n = 60; INSERT INTO t(a, n) VALUES ('b', 99), ('Z', 99)",
        "UPDATE t SET a = lower(a), id = id + 10000 WHERE id % 11 = 0",
    )
    with watching(tmp_path, script) as (service, http):
        for sql in ("SELECT 1", *writes):
            position = reached(http, service.database, write, sql)
            rows = whole(http, "t", 1000, order="a", where=where, at_least=position)
            expected = selected(service.database, "t", f"WHERE {where} ORDER BY a, id")
            assert values_of(rows) == expected
        refused = http.get("/tables/t/rows", params={"offset": 0, "where": "load_extension('x')"})
        assert refused.status_code == 422


def test_the_place_of_a_row_that_is_not_there(tmp_path: Path) -> None:
    """By key it is where the row would be; a column says nothing of a row that is gone."""
    script = "CREATE TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (10,1),(20,2),(30,3);"
    with watching(tmp_path, script) as (_, http):
        found = window(http, "t", around='{"id":25}', limit=2)
        assert (found["found"], found["index"], found["offset"], found["total"]) == (False, 2, 1, 3)
        turned = window(http, "t", around='{"id":25}', desc="true")
        assert (turned["index"], [row["row"]["id"] for row in turned["rows"]]) == (1, [30, 20, 10])
        by_column = window(http, "t", around='{"id":25}', order="a")
        assert (by_column["found"], by_column["index"]) == (False, 0)


def test_a_window_is_exact_while_rows_come_and_go(tmp_path: Path) -> None:
    """Each answer is a state the table really had, however fast it changes."""
    script = (
        "PRAGMA journal_mode=wal; CREATE TABLE t(id INTEGER PRIMARY KEY, twin INT, n INT);"
        "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 3000)"
        " INSERT INTO t SELECT i, -i, i FROM c;"
    )
    with watching(tmp_path, script) as (service, http), writing(service.database, _STORM):
        seen: set[str] = set()
        while len(seen) < 20:
            found = window(http, "t", offset=0, limit=50, order="n", desc="true")
            numbers = [row["row"]["n"] for row in found["rows"]]
            # Each commit moves a row to the top and takes one away from it, so none is missing.
            assert numbers == list(range(numbers[0], numbers[0] - 50, -1))
            assert all(row["row"]["twin"] == -row["row"]["id"] for row in found["rows"])
            assert found["total"] == 3000
            seen.add(found["position"])


_STORM = """
n = 3000
while True:
    n += 1
    connection.execute("BEGIN")
    connection.execute("DELETE FROM t WHERE n = ?", (n - 3000,))
    connection.execute("INSERT INTO t VALUES (?, ?, ?)", (10**6 + n, -10**6 - n, n))
    connection.execute("COMMIT")
"""


def test_another_schema_builds_an_order_anew(tmp_path: Path, write: Write) -> None:
    """A column that comes, a table that is made anew, one that goes."""
    script = "CREATE TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1,'x'),(2,'b');"
    with watching(tmp_path, script) as (service, http):
        path = service.database
        assert [row["key"]["id"] for row in whole(http, "t", 9, order="a")] == [2, 1]
        position = reached(
            http, path, write, "ALTER TABLE t ADD COLUMN z DEFAULT 5; UPDATE t SET z = id"
        )
        assert [row["row"]["z"] for row in whole(http, "t", 9, order="a", at_least=position)] == [
            2,
            1,
        ]
        assert [row["row"]["z"] for row in whole(http, "t", 9, order="z")] == [1, 2]
        sql = "DROP TABLE t; CREATE TABLE t(a PRIMARY KEY) WITHOUT ROWID; INSERT INTO t VALUES (7)"
        position = reached(http, path, write, sql)
        assert whole(http, "t", 9, order="a", at_least=position) == [
            {"key": {"a": 7}, "row": {"a": 7}}
        ]
        gone = http.get("/tables/t/rows?offset=0&order=z")
        while gone.status_code == 202:
            gone = http.get("/tables/t/rows?offset=0&order=z")
        assert (gone.status_code, gone.json()) == (422, {"detail": "order: there is no column 'z'"})
        reached(http, path, write, "DROP TABLE t")
        answer = http.get("/tables/t/rows?offset=0&order=a")
        assert (answer.status_code, answer.json()["detail"]) == (
            404,
            "no watched table is named 't'",
        )


def test_an_order_outlives_the_reader(tmp_path: Path, write: Write) -> None:
    """The next reader goes on in the same epoch; what came meanwhile is in the order."""
    script = "CREATE TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, 'x');"
    hubs: list[Hub] = []

    def make_app(hub: Hub) -> ASGIApp:
        hubs.append(hub)
        return create_app(hub)

    with watching(tmp_path, script, make_app=make_app) as (service, http):
        assert len(whole(http, "t", 9, order="a")) == 1
        assert hubs[0].reader_pid is not None
        os.kill(hubs[0].reader_pid, signal.SIGKILL)
        write(service.database, "INSERT INTO t VALUES (2, 'b'); UPDATE marker SET n = n + 1")
        found: httpx.Response | None = None
        while found is None or found.status_code != 200 or found.json()["total"] != 2:
            found = http.get("/tables/t/rows?offset=0&order=a")
            assert found.status_code in {200, 202, 503}, found.text
        assert [row["key"]["id"] for row in found.json()["rows"]] == [2, 1]


def test_bad_parameters_are_refused_in_a_sentence(tmp_path: Path) -> None:
    script = "CREATE TABLE t(id INTEGER PRIMARY KEY, a);"
    with watching(tmp_path, script) as (_, http):
        for query in (
            "offset=-1", "offset=x", "limit=0&offset=0", "limit=1001&offset=0", "around=1",
            "around={}", 'around={"a":1}', 'around={"$rowid":1}', 'around={"id":[]}', "around=%FF",
            "offset=0&around={}", "offset=0&after=x", "offset=0&offset=1", "desc=maybe",
            "at_least=1", "offset=0&nothing=1", "nothing=1", "offset=0&order=", "offset=0&where=",
            'around={"id":{"$large":{"type":"blob","bytes":1,"sha256":"x"}}}',
        ):  # fmt: skip
            answer = http.get(f"/tables/t/rows?{query}")
            while answer.status_code == 202:
                answer = http.get(f"/tables/t/rows?{query}")
            assert answer.status_code == 422, query
            assert set(answer.json()) == {"detail"}
        assert window(http, "t", offset=5)["rows"] == []
        assert http.get("/health").json()["clients"] == 0


def test_large_values_are_ordered_and_read(tmp_path: Path, write: Write) -> None:
    """Values that travel beside the stream have their place, and few rows come at once."""
    script = (
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO t SELECT value,"
        " printf('%.300000c', char(100 - value)) FROM json_each('[1,2,3,4,5,6,7,8]');"
    )
    with watching(tmp_path, script) as (service, http):
        rows = whole(http, "t", 9, order="a")
        assert [row["key"]["id"] for row in rows] == [*range(8, 0, -1)]
        position = reached(
            http, service.database, write, "UPDATE t SET a = printf('%.300000c', 'a') WHERE id = 1"
        )
        rows = whole(http, "t", 9, order="a", at_least=position)
        assert [row["key"]["id"] for row in rows] == [8, 7, 6, 5, 4, 1, 3, 2]
        assert rows[0]["row"]["a"]["$large"]["bytes"] == 300000


def test_an_order_nobody_asks_for_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And built again for who asks later."""
    monkeypatch.setattr(ordering, "_IDLE_SECONDS", 0.2)
    monkeypatch.setattr(ordering, "_IDLE_LOOK_SECONDS", 0.05)
    with watching(tmp_path, "") as (service, http):
        before = service.open_tasks()
        assert window(http, "items", order="name")["total"] == 2
        assert service.open_tasks() > before
        while service.open_tasks() > before:
            pass
        assert window(http, "items", order="name")["total"] == 2


def test_few_orders_are_kept_at_once(tmp_path: Path) -> None:
    """The one unused for longest makes room; whoever asks for it again waits for it."""
    columns = ",".join(f"c{number}" for number in range(2 * MAX_ORDERINGS))
    with watching(tmp_path, f"CREATE TABLE t({columns}); INSERT INTO t(c1) VALUES (5);") as (
        service,
        http,
    ):
        before = service.open_tasks()
        for number in [*range(2 * MAX_ORDERINGS), 0, 1]:
            assert window(http, "t", order=f"c{number}")["total"] == 1
        while service.open_tasks() > before + MAX_ORDERINGS:
            pass


def refused(http: httpx.Client, table: str, **parameters: str) -> str:
    """Why the rows of a table cannot be had by number; that may be known only after a while."""
    while True:
        answer = http.get(f"/tables/{table}/rows", params={"offset": 0, **parameters})
        if answer.status_code != 202:
            assert answer.status_code == 422, answer.text
            return str(answer.json()["detail"])


def test_a_table_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    """In a sentence, before it is read; and when it grows too large later."""
    for module in (index, ordering):
        monkeypatch.setattr(module, "MAX_ROWS", 3)
    script = "CREATE TABLE t(x); INSERT INTO t VALUES (1),(2),(3),(4);"
    with watching(tmp_path, script) as (service, http):
        for _ in range(2):
            assert "too large" in refused(http, "t", order="x")
        assert len(http.get("/tables/t/rows").json()["rows"]) == 4
        assert window(http, "items", offset=0)["total"] == 2
        sql = "INSERT INTO items(name) VALUES ('a'), ('b')"
        position = reached(http, service.database, write, sql)
        assert "too large" in refused(http, "items", at_least=position)
        write(service.database, "DELETE FROM t")


def test_orders_end_with_the_service(tmp_path: Path) -> None:
    """Whatever they are at; the fixture would report a task that is left behind."""
    script = (
        "CREATE TABLE t(id INTEGER PRIMARY KEY, x);"
        "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 100000)"
        " INSERT INTO t SELECT i, random() FROM c;"
    )
    with watching(tmp_path, script) as (_, http):
        assert http.get("/tables/t/rows?offset=0&order=x").status_code in {200, 202}
