"""Rows of any watched table are written over HTTP: exactly one, as it was seen, or none."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from websockets.sync.client import ClientConnection

from tests.conftest import Write
from tests.web.service import Service, make_database, receive_until, run_service
from watcher.errors import UnknownTable
from watcher.sqlite.exclusion import Exclusion
from watcher.web import create_app, transaction
from watcher.web.body import MAX_BODY, MAX_ROW_BODY
from watcher.web.table_writes import TableWrites

HOSTILE = """a'b/c "{}[x]%2F;--"""
TABLES = f"""
CREATE TABLE "any"(id INTEGER PRIMARY KEY, v);
CREATE TABLE loose(a, b REAL);
CREATE TABLE nullable(k TEXT PRIMARY KEY, v);
CREATE TABLE folded(k TEXT COLLATE NOCASE, n, v, PRIMARY KEY(k, n)) WITHOUT ROWID;
CREATE TABLE crossed(k TEXT COLLATE NOCASE, v, PRIMARY KEY(k COLLATE BINARY));
CREATE TABLE hidden_rowid(rowid TEXT NOT NULL, _rowid_, oid, PRIMARY KEY(rowid));
CREATE TABLE odd("$rowid" PRIMARY KEY, v);
CREATE TABLE made(id INTEGER PRIMARY KEY, a DEFAULT 7, b DEFAULT (1 + 1), g AS (a || '!'));
CREATE TABLE firm(id INTEGER PRIMARY KEY, n INTEGER, t TEXT) STRICT;
CREATE TABLE numbered(id INTEGER PRIMARY KEY AUTOINCREMENT, v UNIQUE ON CONFLICT REPLACE);
CREATE TABLE ignoring(id INTEGER PRIMARY KEY, v NOT NULL ON CONFLICT IGNORE);
CREATE TABLE guarded(id INTEGER PRIMARY KEY, v);
CREATE TABLE tally(what UNIQUE, n);
CREATE TABLE parents(id INTEGER PRIMARY KEY);
CREATE TABLE children(id INTEGER PRIMARY KEY, parent REFERENCES parents);
CREATE TABLE late(parent REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "{HOSTILE.replace('"', '""')}"("{{}}" PRIMARY KEY, "x ? ""y", "main.z");
CREATE VIEW shown AS SELECT 1 AS a;
CREATE VIRTUAL TABLE search USING fts5(t);
CREATE TRIGGER g1 BEFORE INSERT ON guarded WHEN new.v = 'no'
  BEGIN SELECT raise(ABORT, 'not so'); END;
CREATE TRIGGER g2 BEFORE INSERT ON guarded WHEN new.v = 'hm' BEGIN SELECT raise(IGNORE); END;
CREATE TRIGGER g3 AFTER INSERT ON guarded WHEN new.v = 'gone'
  BEGIN DELETE FROM guarded WHERE id = new.id; END;
CREATE TRIGGER g4 AFTER UPDATE ON guarded WHEN new.v = 'gone'
  BEGIN DELETE FROM guarded WHERE id = new.id; END;
CREATE TRIGGER g5 BEFORE UPDATE ON guarded WHEN new.v = 'hm' BEGIN SELECT raise(IGNORE); END;
CREATE TRIGGER g6 BEFORE DELETE ON guarded WHEN old.v = 'stays' BEGIN SELECT raise(IGNORE); END;
CREATE TRIGGER g7 AFTER INSERT ON guarded WHEN new.v = 'low'
  BEGIN UPDATE guarded SET v = 'LOW' WHERE id = new.id; END;
CREATE TRIGGER g8 AFTER INSERT ON guarded
  BEGIN INSERT OR IGNORE INTO tally VALUES ('inserts', 0);
        UPDATE tally SET n = n + 1 WHERE what = 'inserts'; END;
CREATE TRIGGER e1 AFTER UPDATE ON guarded WHEN new.v = 'endless' BEGIN
  UPDATE guarded SET v = (WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)
                          SELECT max(x) FROM n); END;
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with run_service(tmp_path_factory.mktemp("rows"), script=TABLES, allow_writes=True) as running:
        yield running


class Rows:
    """Writes rows of one table."""

    def __init__(self, http: httpx.Client, table: str) -> None:
        self._http = http
        self._path = f"/tables/{quote(table, safe='')}/rows"

    def add(self, **row: Any) -> httpx.Response:
        return self._http.post(self._path, json={"row": row})

    def change(self, key: Any, seen: Any, **new: Any) -> httpx.Response:
        return self._send("PATCH", key, {"seen": seen, "set": new})

    def remove(self, key: Any, seen: Any) -> httpx.Response:
        return self._send("DELETE", key, {"seen": seen})

    def _send(self, method: str, key: Any, body: Any) -> httpx.Response:
        return self._http.request(method, self._path, params={"key": json.dumps(key)}, json=body)


Of = Callable[[str], Rows]


@pytest.fixture
def of(http: httpx.Client) -> Of:
    return lambda table: Rows(http, table)


def query(service: Service, sql: str) -> list[tuple[Any, ...]]:
    """Reads the file as another program does."""
    with contextlib.closing(sqlite3.connect(service.database)) as connection:
        return connection.execute(sql).fetchall()


def exactly(value: object) -> str:
    """JSON in which 1 and 1.0 differ."""
    return json.dumps(value)


def known(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()


def refused(answer: httpx.Response, status: int, *words: str) -> Any:
    body = answer.json()
    assert answer.status_code == status, answer.text
    assert all(word in body["detail"] for word in words), body
    assert "Traceback" not in answer.text
    return body


def receive_delete(client: ClientConnection) -> None:
    """Waits for a delete; commits before it may come merged with it."""
    ops: set[str] = set()
    while "delete" not in ops:
        ops = {change["op"] for change in receive_until(client, "changes")[-1]["changes"]}


# Values

ODD = [{"$text": "Yf8="}, {"$text": "/w=="}]
# As sent, and as it comes back, where that differs.
VALUES: list[Any] = [
    None, 0, 1, -1, 1.0, 0.0, -0.0, 1.5, 1e300, 5e-324, "", "x", "x\0y", "\0", "💡\u202e", "1",
    {"$int": "9223372036854775807"}, {"$int": "-9223372036854775808"},
    {"$int": "9007199254740992"}, {"$real": "Infinity"}, {"$real": "-Infinity"},
    {"$blob": ""}, {"$blob": "AP8="}, *ODD,
    ({"$real": "1.0"}, 1.0), ({"$real": "-0.0"}, -0.0), ({"$real": "1e16"}, 1e16),
    ({"$int": "5"}, 5), (9007199254740993, {"$int": "9007199254740993"}),
]  # fmt: skip


# Half a surrogate pair: the only text that is not valid which UTF-16 can hold.
HALF = {"$text": "Ye2ggA=="}


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_every_value_is_stored_as_sent_and_found_as_told(
    tmp_path: Path, write: Write, encoding: str
) -> None:
    """What is answered, and what the stream tells, is what may be sent as seen."""
    write(
        tmp_path / "test.db",
        f"PRAGMA encoding='{encoding}'; PRAGMA journal_mode=WAL; CREATE TABLE t(v, k DEFAULT 1);",
    )
    with (
        run_service(tmp_path, allow_writes=True) as service,
        httpx.Client(base_url=service.url, trust_env=False) as http,
        service.websocket() as client,
    ):
        receive_until(client, "ready")
        rows = Rows(http, "t")
        for value in [*VALUES, HALF]:
            if encoding != "UTF-8" and value in ODD:
                refused(rows.add(v=value), 422, "UTF-16")
                continue
            sent, told = value if isinstance(value, tuple) else (value, value)
            added = known(rows.add(v=sent), 201)
            assert exactly(added["row"]) == exactly({"v": told, "k": 1})
            (change,) = receive_until(client, "changes")[-1]["changes"]
            assert exactly([change["key"], change["after"]]) == exactly(
                [added["key"], added["row"]]
            )
            again = known(rows.change(change["key"], change["after"], k=2, v=sent))
            assert exactly(again["row"]) == exactly({"v": told, "k": 2})
            gone = known(rows.remove(again["key"], again["row"]))
            assert exactly(gone) == exactly(again)
            receive_delete(client)
        assert query(service, "PRAGMA encoding") == [(encoding,)]
        assert query(service, "SELECT * FROM t") == []


OTHERS = [
    (1, 1.0), (1, "1"), (0.0, -0.0), ("a", "A"), ("a", {"$blob": "YQ=="}), (None, 0), ("x", "x\0"),
    ({"$text": "/w=="}, {"$blob": "/w=="}), ({"$int": "9007199254740993"}, 9007199254740992.0),
]  # fmt: skip


@pytest.mark.parametrize(("now", "seen"), [*OTHERS, *((b, a) for a, b in OTHERS)])
def test_a_row_that_differs_in_type_or_a_byte_is_not_as_seen(of: Of, now: Any, seen: Any) -> None:
    added = known(of("any").add(v=now), 201)
    believed = {**added["row"], "v": seen}
    for answer in (
        of("any").change(added["key"], believed, v=2),
        of("any").remove(added["key"], believed),
    ):
        assert exactly(refused(answer, 409, "was changed")["row"]) == exactly(added["row"])
    known(of("any").remove(added["key"], added["row"]))


@pytest.mark.parametrize(
    "value",
    [
        True, [], [1], {}, {"$int": "x"}, {"$what": "1"}, {"$int": "1", "$real": "1"}, {"a": 1},
        {"$real": "NaN"}, {"$real": "1e999"}, {"$int": "9223372036854775808"}, 2**64,
        {"$blob": "%"}, {"$large": {"type": "text", "bytes": 1, "sha256": "0" * 64}},
    ],
)  # fmt: skip
def test_what_is_no_value_is_refused(service: Service, of: Of, value: Any) -> None:
    before = query(service, 'SELECT * FROM "any"')
    refused(of("any").add(v=value), 422)
    added = known(of("any").add(v="here"), 201)
    refused(of("any").change(added["key"], added["row"], v=value), 422)
    known(of("any").remove(added["key"], added["row"]))
    assert query(service, 'SELECT * FROM "any"') == before


BODIES = [
    b"", b"{", b"[]", b"null", b'{"row":[]}', b'{"row":{},"more":1}', b'{"seen":{},"set":{"v":1}}',
    b'{"row":{"v":NaN}}', b'{"row":{"v":1e999}}', b'{"row":{"v":"\xff"}}',
    b'{"row":{"v":"\\ud800"}}', b'{"row":{"\\ud800":1}}', b'{"row":' + b"[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES)
def test_a_body_of_another_kind_is_refused(http: httpx.Client, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    refused(http.post("/tables/any/rows", content=body, headers=headers), 422)


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_body_that_a_foreign_form_could_send_is_refused(
    http: httpx.Client, media: str | None
) -> None:
    headers = {} if media is None else {"content-type": media}
    answer = http.post("/tables/any/rows", content=b'{"row":{"v":1}}', headers=headers)
    refused(answer, 422, "application/json")


@pytest.mark.parametrize(
    "query", ["", "key=", "key=5", "key=[]", "key={", "key={}", "key=NaN",
              'key={"v":1}', 'key={"ID":1}', 'key={"id":1}&key={"id":2}', 'key={"id":1}&more=1',
              'key={"id":[]}', 'key={"id":{"$real":"NaN"}}', 'key={"id":"\\ud800"}'],
)  # fmt: skip
def test_what_is_no_key_is_refused(http: httpx.Client, query: str) -> None:
    seen = {"seen": {"id": 1, "v": None}}
    for method, body in (("DELETE", seen), ("PATCH", {**seen, "set": {"v": 1}})):
        refused(http.request(method, f"/tables/any/rows?{query}", json=body), 422)


# Which row it is


def test_a_row_is_added_changed_and_deleted(service: Service, of: Of) -> None:
    items = of("items")
    added = known(items.add(name="Fan"), 201)
    assert added == {"key": {"id": 3}, "row": {"id": 3, "name": "Fan", "value": None}}
    changed = known(items.change({"id": 3}, added["row"], value="on", id=30))
    assert changed == {"key": {"id": 30}, "row": {"id": 30, "name": "Fan", "value": "on"}}
    assert (30, "Fan", "on") in query(service, "SELECT * FROM items")
    assert refused(items.remove({"id": 3}, added["row"]), 409, "was deleted")["row"] is None
    assert known(items.remove({"id": 30}, changed["row"])) == changed
    assert query(service, "SELECT id FROM items ORDER BY id") == [(1,), (2,)]


def test_rows_without_a_key_are_known_by_their_rowid(service: Service, of: Of) -> None:
    loose = of("loose")
    first, second = (known(loose.add(a="same", b=1), 201) for _ in range(2))
    assert first["row"] == second["row"]
    assert first["key"] != second["key"]
    known(loose.remove(second["key"], {"a": "same", "b": {"$real": "1.0"}}))
    assert query(service, "SELECT rowid, a, b FROM loose") == [
        (first["key"]["$rowid"], "same", 1.0)
    ]
    known(loose.remove(first["key"], first["row"]))


def test_rows_with_null_in_their_key_are_known_by_their_rowid(service: Service, of: Of) -> None:
    """And by their key as soon as it has none, and by nothing else."""
    rows = of("nullable")
    first, second = (known(rows.add(k=None, v=1), 201) for _ in range(2))
    assert set(first["key"]) == set(second["key"]) == {"$rowid"}
    changed = known(rows.change(first["key"], first["row"], k="a"))
    assert changed == {"key": {"k": "a"}, "row": {"k": "a", "v": 1}}
    gone = refused(rows.change(first["key"], changed["row"], v=2), 409, "was deleted")
    assert gone["row"] is None
    assert query(service, "SELECT k, v FROM nullable ORDER BY k") == [(None, 1), ("a", 1)]


def test_a_collation_or_an_affinity_finds_no_other_row(service: Service, of: Of) -> None:
    rows = of("folded")
    row = known(rows.add(k="Ab", n=1, v="x"), 201)["row"]
    for key in ({"k": "aB", "n": 1}, {"k": "Ab", "n": {"$real": "1.0"}}, {"k": "Ab", "n": "1"}):
        assert refused(rows.remove(key, row), 409, "was deleted")["row"] is None
    refused(rows.add(k="AB", n=1), 409, "UNIQUE")
    changed = known(rows.change({"k": "Ab", "n": 1}, row, k="aB"))
    assert changed["key"] == {"k": "aB", "n": 1}
    assert query(service, "SELECT * FROM folded") == [("aB", 1, "x")]


def test_a_key_with_a_collation_of_its_own_tells_rows_apart(service: Service, of: Of) -> None:
    """To the column they are the same text, to the key they are not."""
    rows = of("crossed")
    for text in ("a", "A"):
        known(rows.add(k=text, v=text), 201)
    known(rows.change({"k": "A"}, {"k": "A", "v": "A"}, v="new"))
    known(rows.remove({"k": "a"}, {"k": "a", "v": "a"}))
    assert query(service, "SELECT * FROM crossed") == [("A", "new")]


def test_columns_may_have_the_names_of_the_rowid(service: Service, of: Of) -> None:
    hidden, odd = of("hidden_rowid"), of("odd")
    added = known(hidden.add(rowid="a", _rowid_=5), 201)
    assert added["key"] == {"rowid": "a"}
    known(hidden.change({"rowid": "a"}, added["row"], oid=1, rowid="b"))
    assert query(service, 'SELECT "rowid", _rowid_, oid FROM hidden_rowid') == [("b", 5, 1)]
    first = known(odd.add(**{"$rowid": 2, "v": "by its key"}), 201)
    second = known(odd.add(v="by its rowid"), 201)
    assert first["key"] == second["key"] == {"$rowid": 2}
    known(odd.remove({"$rowid": 2}, first["row"]))
    known(odd.remove({"$rowid": 2}, second["row"]))
    assert query(service, "SELECT * FROM odd") == []


def test_names_are_taken_as_names(service: Service, of: Of) -> None:
    rows = of(HOSTILE)
    added = known(rows.add(**{"{}": "?", 'x ? "y': "'"}), 201)
    known(rows.change(added["key"], added["row"], **{"main.z": '"', "{}": "{}"}))
    name = HOSTILE.replace('"', '""')
    assert query(service, f'SELECT * FROM "{name}"') == [("{}", "'", '"')]


def test_a_row_of_other_columns_is_not_as_seen(tmp_path: Path, write: Write) -> None:
    """The table may have changed since, whether the watching has come so far or not."""
    with (
        run_service(tmp_path, allow_writes=True) as service,
        httpx.Client(base_url=service.url, trust_env=False) as http,
    ):
        write(service.database, "ALTER TABLE items RENAME COLUMN value TO state;")
        items, seen = Rows(http, "items"), {"id": 1, "name": "Test", "value": "123"}
        now = {"id": 1, "name": "Test", "state": "123"}
        for answer in (
            items.change({"id": 1}, seen, name="x"),
            items.remove({"id": 1}, seen),
            items.remove({"id": 1}, {"id": 1, "name": "Test"}),
            items.remove({"id": 1}, {**now, "more": None}),
        ):
            assert refused(answer, 409, "was changed")["row"] == now
        write(service.database, "ALTER TABLE items RENAME COLUMN id TO number;")
        assert refused(items.remove({"id": 1}, now), 409)["row"] is None
        write(service.database, "DROP TABLE items; CREATE VIEW items AS SELECT 1 AS number;")
        refused(items.remove({"number": 1}, {"number": 1}), 404)


def test_of_many_who_saw_the_same_one_writes(service: Service, of: Of) -> None:
    added = known(of("any").add(v="start"), 201)

    def write(number: int) -> int:
        with httpx.Client(base_url=service.url, trust_env=False) as http:
            answer = Rows(http, "any").change(added["key"], added["row"], v=number)
            return number if answer.status_code == 200 else -answer.status_code

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(write, range(8)))
    (winner,) = [number for number in results if number >= 0]
    assert sorted(results)[:-1] == [-409] * 7
    key = added["key"]["id"]
    assert query(service, f'SELECT v FROM "any" WHERE id = {key}') == [(winner,)]
    known(of("any").remove(added["key"], {"id": key, "v": winner}))


# What the database says


def test_a_column_that_is_left_out_takes_its_default(of: Of) -> None:
    made = of("made")
    assert known(made.add(), 201)["row"] == {"id": 1, "a": 7, "b": 2, "g": "7!"}
    row = known(made.add(a=None), 201)["row"]
    assert row == {"id": 2, "a": None, "b": 2, "g": None}
    assert known(made.change({"id": 2}, row, a=1))["row"]["g"] == "1!"
    refused(made.add(g="x"), 409, "generated column")
    refused(made.change({"id": 2}, {**row, "a": 1, "g": "1!"}, g="x"), 409, "generated column")


def test_a_strict_table_refuses_other_types(of: Of) -> None:
    firm = of("firm")
    row = known(firm.add(n=1, t="x"), 201)["row"]
    refused(firm.add(n="x"), 409, "cannot store TEXT value in INTEGER column")
    refused(firm.change({"id": 1}, row, t={"$blob": ""}), 409, "cannot store BLOB")
    refused(firm.change({"id": 1}, row, id="x"), 409, "mismatch")
    # Affinity comes first, as for any other program.
    assert exactly(known(firm.change({"id": 1}, row, n={"$real": "2.0"}))["row"]["n"]) == "2"


def test_a_clause_of_the_table_touches_no_other_row(service: Service, of: Of) -> None:
    """REPLACE would delete the other one, IGNORE would write nothing and say nothing."""
    numbered = of("numbered")
    first = known(numbered.add(v=1), 201)
    known(numbered.add(v=2), 201)
    refused(numbered.add(v=1), 409, "UNIQUE")
    refused(numbered.change(first["key"], first["row"], v=2), 409, "UNIQUE")
    assert query(service, "SELECT v FROM numbered ORDER BY v") == [(1,), (2,)]
    refused(of("ignoring").add(), 409, "NOT NULL")


def test_triggers_have_their_say(service: Service, of: Of) -> None:
    guarded = of("guarded")
    refused(guarded.add(v="no"), 409, "not so")
    refused(guarded.add(v="hm"), 409, "trigger")
    refused(guarded.add(v="gone"), 409, "trigger")
    assert known(guarded.add(v="low"), 201)["row"]["v"] == "LOW"
    added = known(guarded.add(v="stays"), 201)
    refused(guarded.change(added["key"], added["row"], v="hm"), 409, "trigger")
    refused(guarded.change(added["key"], added["row"], v="gone"), 409, "trigger")
    refused(guarded.remove(added["key"], added["row"]), 409, "trigger")
    assert query(service, "SELECT v FROM guarded") == [("LOW",), ("stays",)]
    # Theirs are the conflicts of their own statements, and only what is committed counts.
    assert query(service, "SELECT * FROM tally") == [("inserts", 2)]


def test_references_are_kept(service: Service, of: Of) -> None:
    """Whether a connection keeps them is its own choice in SQLite; these do."""
    parent = known(of("parents").add(), 201)
    child = known(of("children").add(parent=parent["key"]["id"]), 201)
    refused(of("parents").remove(parent["key"], parent["row"]), 409, "FOREIGN KEY")
    refused(of("children").add(parent=99), 409, "FOREIGN KEY")
    refused(of("late").add(parent=99), 409, "FOREIGN KEY")
    known(of("children").remove(child["key"], child["row"]))
    known(of("parents").remove(parent["key"], parent["row"]))
    assert query(service, "SELECT * FROM late") == []


@pytest.mark.parametrize(
    "table",
    ["shown", "search", "search_content", "sqlite_sequence", "sqlite_schema", "none", "", "ITEMS",
     "main.items", "items/rows", "any\0"],
)  # fmt: skip
def test_what_is_not_watched_is_not_written(of: Of, table: str) -> None:
    for answer in (
        of(table).add(a=1),
        of(table).change({"$rowid": 1}, {"a": 1}, a=2),
        of(table).remove({"$rowid": 1}, {"a": 1}),
    ):
        refused(answer, 404)


def test_a_column_that_is_not_there_cannot_be_set(of: Of) -> None:
    refused(of("items").add(name="a", nothing=1), 422, "no column 'nothing'")
    seen = {"id": 1, "name": "Test", "value": "123"}
    refused(of("items").change({"id": 1}, seen, Name="x"), 422, "no column 'Name'")
    refused(of("items").change({"id": 1}, seen, **{"name = 'x' --": 1}), 422, "no column")
    refused(of("items").change({"id": 1}, seen), 422, "names no column")


# Sizes


def test_long_values_are_seen_by_their_digest(of: Of) -> None:
    """As the stream tells them; a short one may be given so too."""
    text = "é" * 150_000
    added = known(of("any").add(v=text), 201)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    large = {"$large": {"type": "text", "bytes": 300_000, "sha256": sha256}}
    assert added["row"]["v"] == large
    for wrong in ({"sha256": "0" * 64}, {"type": "blob"}, {"bytes": 299_999}):
        seen = {**added["row"], "v": {"$large": {**large["$large"], **wrong}}}
        assert refused(of("any").remove(added["key"], seen), 409)["row"] == added["row"]
    changed = known(of("any").change(added["key"], added["row"], v="short"))
    digest = hashlib.sha256(b"short").hexdigest()
    seen = {**changed["row"], "v": {"$large": {"type": "text", "bytes": 5, "sha256": digest}}}
    known(of("any").remove(added["key"], seen))


def test_a_long_value_that_is_kept_may_be_named(service: Service, of: Of) -> None:
    """So a deleted row can be put back without sending all of it."""
    with service.websocket("?tables=any") as client:
        receive_until(client, "ready")
        for value in ({"$blob": "AAAA" * 100_000}, "x" * 300_000):
            added = known(of("any").add(v=value), 201)
            receive_until(client, "changes")
            gone = known(of("any").remove(added["key"], added["row"]))
            back = known(of("any").add(**gone["row"]), 201)
            assert back == gone
            kind, length = ("blob", 300_000) if isinstance(value, dict) else ("text", 300_000)
            id_ = back["key"]["id"]
            assert query(service, f'SELECT typeof(v), length(v) FROM "any" WHERE id = {id_}') == [
                (kind, length)
            ]
            known(of("any").remove(back["key"], back["row"]))
            receive_delete(client)


def test_bodies_are_limited_but_hold_a_long_row(service: Service, of: Of) -> None:
    text = "x" * 250_000  # the stream sends it whole
    added = known(of("any").add(v=text), 201)
    assert added["row"]["v"] == text
    known(of("any").remove(added["key"], added["row"]))
    for path, length in ((b"/tables/any/rows", MAX_ROW_BODY + 1), (b"/items", MAX_BODY + 1)):
        head = b"POST %b HTTP/1.1\r\nHost: %b\r\nContent-Length: %d\r\n\r\n"
        status, answer = service.raw(head % (path, service.host.encode(), length))
        assert status == 413
        assert b"%d bytes" % (length - 1) in answer


# Who else writes

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def held(database: Path) -> Iterator[None]:
    """Another program holds the lock of the writer until the end of the block."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield


def test_beside_another_writer_it_is_refused_for_now(
    service: Service, of: Of, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "BUSY_TIMEOUT", 0.2)
    seen = {"id": 1, "name": "Test", "value": "123"}
    with held(service.database):
        for answer in (
            of("items").add(name="a"),
            of("items").change({"id": 1}, seen, value="x"),
            of("items").remove({"id": 1}, seen),
        ):
            refused(answer, 503, "Another program")
            assert answer.headers["retry-after"] == "1"
    assert (1, "Test", "123") in query(service, "SELECT * FROM items")


def test_it_waits_for_another_writer(service: Service, of: Of) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = threading.Event()

        def write() -> httpx.Response:
            asked.set()
            return of("any").add(v="after")

        with held(service.database):
            answer = pool.submit(write)
            asked.wait()
            assert not answer.done()
        added = known(answer.result(), 201)
    known(of("any").remove(added["key"], added["row"]))


def test_a_trigger_without_end_is_given_up(of: Of, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "BUSY_TIMEOUT", 0.1)
    monkeypatch.setattr(transaction, "RUN_TIMEOUT", 0.1)
    added = known(of("guarded").add(v="x"), 201)
    refused(of("guarded").change(added["key"], added["row"], v="endless"), 503, "too long")
    known(of("guarded").remove(added["key"], added["row"]))


def test_a_file_that_can_only_be_read_is_refused(tmp_path: Path) -> None:
    """Here by its header, which names a way of writing that no SQLite knows."""
    with (
        run_service(tmp_path, allow_writes=True) as service,
        httpx.Client(base_url=service.url, trust_env=False) as http,
    ):
        with service.database.open("r+b") as file:
            file.seek(18)
            file.write(b"\3")
        refused(Rows(http, "items").add(name="x"), 409, "can only be read")


def test_an_old_sqlite_is_named(of: Of, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    refused(of("items").add(name="x"), 409, "SQLite 3.37")


# Who may


def everything(http: httpx.Client, **options: Any) -> list[httpx.Response]:
    """A request of each kind that would write, were it let."""
    seen = {"id": 1, "name": "Test", "value": "123"}
    params = {"key": '{"id":1}'}
    path = "/tables/items/rows"
    change = {"seen": seen, "set": {"value": "x"}}
    return [
        http.post(path, json={"row": {"name": "x"}}, **options),
        http.patch(path, params=params, json=change, **options),
        http.request("DELETE", path, params=params, json={"seen": seen}, **options),
    ]


def test_where_writing_is_off_nothing_is_written(tmp_path: Path) -> None:
    with (
        run_service(tmp_path) as service,
        httpx.Client(base_url=service.url, trust_env=False) as http,
    ):
        for answer in everything(http):
            refused(answer, 403, "off")
        assert http.get("/health").json()["writes"] is False
        assert len(query(service, "SELECT * FROM items")) == 2


def test_each_of_several_databases_is_written_below_its_path(tmp_path: Path) -> None:
    with (
        run_service(
            tmp_path, make_app=lambda hub: create_app({"a b.db": hub}, allow_writes=True)
        ) as service,
        httpx.Client(base_url=f"{service.url}/db/a%20b.db", trust_env=False) as http,
    ):
        assert http.get("/health").json()["writes"] is True
        known(Rows(http, "items").add(name="x" * 100_000), 201)
        assert query(service, "SELECT id, length(name) FROM items WHERE id > 2") == [(3, 100_000)]


@pytest.mark.parametrize("origin", ["http://evil.example", "null"])
@pytest.mark.fault("H10")
def test_a_page_of_another_site_writes_no_row(
    service: Service, http: httpx.Client, origin: str
) -> None:
    before = query(service, "SELECT * FROM items")
    for answer in everything(http, headers={"origin": origin}):
        refused(answer, 403)
    assert query(service, "SELECT * FROM items") == before


SECRETIVE = """
CREATE TABLE people(id INTEGER PRIMARY KEY, name, salary NOT NULL DEFAULT 5 CHECK(salary <> name));
INSERT INTO people(name) VALUES ('Ann');
CREATE TABLE vault(id INTEGER PRIMARY KEY, v);
CREATE TABLE keyed(secret PRIMARY KEY, v);
"""


@pytest.mark.parametrize(
    "shape",
    ["(rowid, oid, _rowid_)", "(secret PRIMARY KEY, v)", "(secret, SECRET2)"],
    ids=["no-key", "key-excluded", "all-excluded"],
)
def test_a_table_that_can_no_longer_be_watched_is_not_written(tmp_path: Path, shape: str) -> None:
    """Though the watching may not know yet that it was made anew."""
    path = make_database(tmp_path / "a.db", f"CREATE TABLE t{shape}; INSERT INTO t DEFAULT VALUES;")
    exclusion = Exclusion.of(exclude=["t.secret", "t.secret2"])
    with pytest.raises(UnknownTable):
        asyncio.run(TableWrites(path, exclusion).add("t", {}))
    with pytest.raises(UnknownTable):
        asyncio.run(TableWrites(path, exclusion).remove("t", {"$rowid": 1}, {}))


def test_what_is_excluded_cannot_be_written_or_seen(tmp_path: Path) -> None:
    """It is as if it were not there, and no word of the database names it."""
    exclusion = Exclusion.of(exclude=["vault", "people.Salary", "keyed.secret"])
    watching = {"exclusion": exclusion}
    with (
        run_service(tmp_path, script=SECRETIVE, watching=watching, allow_writes=True) as service,
        httpx.Client(base_url=service.url, trust_env=False) as http,
    ):
        people, seen = Rows(http, "people"), {"id": 1, "name": "Ann"}
        answers = [
            refused(Rows(http, "vault").add(v=1), 404),
            refused(Rows(http, "keyed").add(v=1), 404),
            refused(people.add(name=5), 409),
            refused(people.remove({"id": 1}, {**seen, "other": 5}), 409),
        ]
        for column in ("salary", "nothing"):
            detail = f"The table 'people' has no column {column!r}."
            assert refused(people.add(**{column: 1}), 422)["detail"] == detail
            assert refused(people.change({"id": 1}, seen, **{column: 1}), 422)["detail"] == detail
            refusal = refused(people.remove({"id": 1}, {**seen, column: 5}), 409)
            assert refusal["row"] == seen
        assert "salary" not in json.dumps(answers)
        assert answers[2] == {"detail": "The database refuses the write."}
        assert known(people.add(name="Bob"), 201)["row"] == {"id": 2, "name": "Bob"}
        assert known(people.change({"id": 1}, seen, name="Eve"))["row"]["name"] == "Eve"
        assert query(service, "SELECT * FROM people") == [(1, "Eve", 5), (2, "Bob", 5)]


def test_health_tells_of_writing_and_the_time(http: httpx.Client) -> None:
    before = datetime.now(UTC)
    health = http.get("/health").json()
    assert health["writes"] is True
    assert health["time"].endswith("Z")
    assert before <= datetime.fromisoformat(health["time"]) <= datetime.now(UTC)
