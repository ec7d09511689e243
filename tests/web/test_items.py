"""Writing: exactly what was sent is stored, or nothing, and the answer says which."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.web.service import Service, make_database, receive_until, run_service, stored
from watcher.sqlite.names import file_uri
from watcher.web import transaction
from watcher.web.items import Items
from watcher.web.transaction import WAIT_AT_ONCE, WriteRefused

# Over the network


def test_add_answers_the_row_and_stores_it(service: Service, http: httpx.Client) -> None:
    answer = http.get("/add/Fan/on")
    assert answer.status_code == 200
    row = answer.json()
    assert row["name"] == "Fan"
    assert row["value"] == "on"
    assert (row["id"], "Fan", "on") in stored(service.database)
    assert answer.headers["cache-control"] == "no-store"


def test_update_answers_the_row_and_stores_it(service: Service, http: httpx.Client) -> None:
    answer = http.get("/update/1/456")
    assert answer.status_code == 200
    assert answer.json() == {"id": 1, "name": "Test", "value": "456"}
    assert (1, "Test", "456") in stored(service.database)


def test_the_twins_take_json(service: Service, http: httpx.Client) -> None:
    answer = http.post("/items", json={"name": "Door", "value": None})
    assert answer.status_code == 201
    row = answer.json()
    assert row == {"id": row["id"], "name": "Door", "value": None}
    answer = http.patch(f"/items/{row['id']}", json={"value": "open"})
    assert answer.status_code == 200
    assert answer.json() == {"id": row["id"], "name": "Door", "value": "open"}
    assert (row["id"], "Door", "open") in stored(service.database)


TEXTS = [
    "a/b",
    "?",
    "#",
    "%",
    "%41",
    "+",
    " x ",
    "..",
    "a;b",
    "'",
    '"',
    "<img src=x onerror=alert(1)>",
]
TEXTS += ["💡" * 2500, "x" * 10_000, "x\0y", "\u202eabc", "", "e\u0301", "\ufffd", "\r\n", "\\"]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.fault("H1")
def test_every_text_is_stored_as_sent(service: Service, http: httpx.Client, text: str) -> None:
    encoded = quote(text, safe="").replace(".", "%2E")
    added = http.get(f"/add/{encoded}/{encoded}")
    assert added.status_code == 200
    item = added.json()["id"]
    assert (item, text, text) in stored(service.database)
    assert http.post("/items", json={"name": text, "value": text}).json()["value"] == text
    assert http.get(f"/update/{item}/{quote(text + '!', safe='')}").status_code in {200, 422}


def test_a_slash_in_the_value_needs_no_encoding(http: httpx.Client) -> None:
    answer = http.get("/add/link/http://example.org/a")
    assert answer.json()["value"] == "http://example.org/a"


def raw_get(service: Service, target: bytes) -> tuple[int, bytes]:
    head = b" HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % service.host.encode()
    return service.raw(b"GET " + target + head)


LONG = b"x" * 10_001
REFUSED_TARGETS = [
    (b"/add/a/%FF", {400}),
    (b"/add/%C3/a", {400}),
    (b"/add/a/\xff", {400}),
    (b"/add/a/" + LONG, {422}),
    (b"/add/" + LONG + b"/a", {422}),
    (b"/add/a/what?", {200, 400}),
    (b"/add/a/is it", {400, 404}),
    (b"/add/a?b", {404}),
    (b"/add/a/b?c", {400}),
    (b"/add/a", {404}),
    (b"/add/a%2Fb", {404}),
    (b"/update/1/%FF", {400}),
    (b"/update/1/" + LONG, {422}),
    (b"/update/999999/x", {404}),
    (b"/update/-5/x", {404}),
    (b"/update/9223372036854775808/1", {422}),
    (b"/update/-9223372036854775809/1", {422}),
    (b"/update/1.0/x", {422}),
    (b"/update/1_0/x", {422}),
    (b"/update/%201/x", {422}),
    (b"/update/+1/x", {422}),
    (b"/update/01/x", {422}),
    (b"/update/%D9%A1/x", {422}),
    (b"/update/1%00/x", {422}),
    (b"/update//x", {422}),
    (b"/update/" + b"9" * 9000 + b"/x", {422}),
]


@pytest.mark.parametrize(("target", "statuses"), REFUSED_TARGETS)
@pytest.mark.fault("H3")
def test_what_cannot_be_taken_exactly_is_refused_and_not_stored(
    service: Service, target: bytes, statuses: set[int]
) -> None:
    before = stored(service.database)
    status, answer = raw_get(service, target)
    assert status in statuses
    if status != 200:
        assert stored(service.database) == before
    assert b"Traceback" not in answer


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"name": "a", "value": "\xff"}', 400),
        (b'{"name": "\\ud800", "value": "a"}', 422),
        (b'{"name": "a", "value": "a", "\\ud800": 1}', 422),
        (b'{"name": 1, "value": "a"}', 422),
        (b'{"name": null, "value": "a"}', 422),
        (b'{"value": "a"}', 422),
        (b'{"name": "a", "value": "a", "id": 5}', 422),
        (b'{"name": "a", "value": ["a"]}', 422),
        (b'{"name": "%b"}' % LONG, 422),
        (b"[" * 30_000, 400),
        (b"{", 422),
        (b"", 422),
        (b'{"name": "%b"}' % (b"x" * 70_000), 413),
    ],
)
@pytest.mark.fault("H3")
def test_bodies_that_cannot_be_taken_are_refused(
    service: Service, http: httpx.Client, body: bytes, status: int
) -> None:
    before = stored(service.database)
    answer = http.post("/items", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["detail"]
    assert stored(service.database) == before


@pytest.mark.fault("H3")
def test_a_body_of_unannounced_length_is_limited_too(http: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 1024

    headers = {"content-type": "application/json"}
    assert http.post("/items", content=chunks(), headers=headers).status_code == 413


@pytest.mark.parametrize("item", ["1.0", "1_0", "%201", "+1", "9223372036854775808", "x"])
def test_patch_refuses_a_bad_id(http: httpx.Client, item: str) -> None:
    answer = http.patch(f"/items/{item}", json={"value": "x"})
    assert answer.status_code == 422
    assert "decimal integer" in answer.json()["detail"]


def test_patch_of_an_unknown_id_is_not_found(http: httpx.Client) -> None:
    answer = http.patch("/items/999999", json={"value": "x"})
    assert answer.status_code == 404
    assert answer.json() == {"detail": "No item has this id."}


@pytest.mark.parametrize(
    "headers",
    [{"sec-fetch-site": site} for site in ("cross-site", "same-site", "", "None", "x")]
    + [{"sec-purpose": "prefetch"}, {"sec-purpose": "prefetch;prerender"}, {"purpose": "prefetch"}]
    + [{"origin": "http://evil.example"}, {"origin": "null"}],
)
@pytest.mark.parametrize("path", ["/add/Evil/x", "/update/1/evil"])
@pytest.mark.fault("H10")
def test_a_page_of_another_site_cannot_write(
    service: Service, http: httpx.Client, path: str, headers: dict[str, str]
) -> None:
    before = stored(service.database)
    answer = http.get(path, headers=headers)
    assert answer.status_code == 403
    assert answer.headers["cache-control"] == "no-store"
    assert stored(service.database) == before


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_the_page_itself_and_a_typed_address_may_write(http: httpx.Client, site: str) -> None:
    assert http.get("/update/2/x", headers={"sec-fetch-site": site}).status_code == 200


def test_a_write_reaches_clients_through_the_watcher(service: Service, http: httpx.Client) -> None:
    with service.websocket() as client:
        receive_until(client, "ready")
        row = http.get("/add/Seen/through").json()
        changes = receive_until(client, "changes")[-1]["changes"]
    assert changes[0]["op"] == "insert"
    assert changes[0]["after"] == row


def test_where_writing_is_off_every_route_says_so(tmp_path: Path) -> None:
    with (
        run_service(tmp_path) as service,
        httpx.Client(base_url=service.url, trust_env=False) as http,
    ):
        before = stored(service.database)
        for answer in (
            http.get("/add/a/b"),
            http.get("/update/1/x"),
            http.post("/items", json={"name": "a", "value": "b"}),
            http.patch("/items/1", json={"value": "x"}),
        ):
            assert answer.status_code == 403
            assert "off" in answer.json()["detail"]
        assert stored(service.database) == before


# The writes themselves


def run(write: Awaitable[Any]) -> Any:
    """Waits for a write and for the thread that its connection used."""

    def join_threads() -> None:
        for thread in threading.enumerate():
            if "_connection_worker_thread" in thread.name:
                thread.join()

    async def both() -> Any:
        try:
            return await write
        finally:
            await asyncio.to_thread(join_threads)

    return asyncio.run(both())


def add(path: Path, name: str = "a", value: str | None = "b") -> Any:
    return run(Items(path).add(name, value))


def update(path: Path, item: int = 1, value: str | None = "b") -> Any:
    return run(Items(path).update(item, value))


NAMES = [
    "a?mode=memory",
    "a%41",
    "a#b",
    "a b",
    "a&cache=shared",
    "ü💡",
    "a'b",
    'a"b',
    "a;b",
    "%",
    "a+b",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.fault("H2")
def test_exactly_the_named_file_is_opened(tmp_path: Path, name: str) -> None:
    path = make_database(tmp_path / name)
    add(path, "found", "x")
    assert stored(path)[-1] == (3, "found", "x")
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_that_is_no_utf8_is_quoted_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / b"a\xff".decode("utf-8", "surrogateescape")
    assert file_uri(path, mode="rw").endswith("/a%FF?mode=rw")


def test_a_missing_file_is_refused_and_not_created(tmp_path: Path) -> None:
    with pytest.raises(WriteRefused) as caught:
        add(tmp_path / "missing.db")
    assert caught.value.temporary
    assert list(tmp_path.iterdir()) == []


def test_a_locked_database_is_refused_for_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "BUSY_TIMEOUT", 0.05)
    path = make_database(tmp_path / "a.db")
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(WriteRefused) as caught:
            add(path)
    assert caught.value.temporary
    assert "Another program" in str(caught.value)


def test_a_constraint_is_named_and_nothing_is_stored(tmp_path: Path) -> None:
    path = make_database(tmp_path / "a.db", "CREATE UNIQUE INDEX u ON items(name);")
    before = stored(path)
    with pytest.raises(WriteRefused) as caught:
        add(path, "Test")
    assert not caught.value.temporary
    assert "UNIQUE" in str(caught.value)
    assert stored(path) == before


@pytest.mark.parametrize(
    "script",
    [
        "DROP TABLE items;",
        "ALTER TABLE items DROP COLUMN value;",
        "DROP TABLE items; CREATE VIEW items AS SELECT 1 AS id, 'a' AS name, 'b' AS value;",
        "DROP TABLE items; CREATE TABLE items(id INTEGER PRIMARY KEY, name, value) WITHOUT ROWID;",
        "CREATE TRIGGER t BEFORE INSERT ON items BEGIN SELECT raise(ABORT, 'no more'); END;",
        "CREATE TRIGGER t AFTER INSERT ON items BEGIN DELETE FROM items WHERE id = new.id; END;",
        "CREATE TRIGGER t AFTER INSERT ON items BEGIN UPDATE items SET value = nosuch(1); END;",
    ],
)
def test_a_table_of_another_shape_is_refused_in_a_sentence(tmp_path: Path, script: str) -> None:
    path = make_database(tmp_path / "a.db", script)
    size = path.read_bytes()
    with pytest.raises(WriteRefused) as caught:
        add(path)
    assert not caught.value.temporary
    assert str(caught.value).endswith(".")
    assert path.read_bytes() == size


def test_an_id_that_names_several_rows_is_refused(tmp_path: Path) -> None:
    path = make_database(
        tmp_path / "a.db",
        "DROP TABLE items; CREATE TABLE items(id, name, value);"
        "INSERT INTO items VALUES (1, 'a', 'x'), (1, 'b', 'y');",
    )
    with pytest.raises(WriteRefused, match="More than one"):
        update(path, 1, "z")
    assert stored(path) == [(1, "a", "x"), (1, "b", "y")]


def test_a_trigger_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "BUSY_TIMEOUT", 0.05)
    monkeypatch.setattr(transaction, "RUN_TIMEOUT", 0.05)
    path = make_database(
        tmp_path / "a.db",
        "CREATE TRIGGER t AFTER INSERT ON items BEGIN UPDATE items SET value = (WITH RECURSIVE "
        "n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n); END;",
    )
    before = stored(path)
    with pytest.raises(WriteRefused, match="took too long"):
        add(path)
    assert stored(path) == before


@pytest.mark.parametrize("content", [b"not a database at all" * 50, b""])
def test_a_file_that_is_no_database_of_items_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(content)
    with pytest.raises(WriteRefused):
        add(path)
    assert path.read_bytes() == content


def test_a_row_that_holds_other_types_is_answered(tmp_path: Path) -> None:
    path = make_database(
        tmp_path / "a.db", "UPDATE items SET name = CAST(x'ff' AS TEXT) WHERE id = 1;"
    )
    assert update(path).name.data == b"\xff"


def test_a_write_in_wal_mode_leaves_the_mode_and_reads_back(tmp_path: Path) -> None:
    path = make_database(tmp_path / "a.db", "PRAGMA journal_mode=WAL;")
    assert add(path, "w", None) == (3, "w", None)
    assert stored(path)[-1] == (3, "w", None)
    assert path.read_bytes()[18:20] == b"\2\2"


# Waiting for other programs


def is_locked(path: Path) -> bool:
    """Whether a program that wants to read would be turned away."""
    with contextlib.closing(sqlite3.connect(path, timeout=0)) as connection:
        try:
            connection.execute("SELECT * FROM items").fetchall()
        except sqlite3.OperationalError:
            return True
    return False


def test_a_commit_waits_until_readers_have_ended(tmp_path: Path) -> None:
    path = make_database(tmp_path / "a.db")

    async def written() -> Any:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM items").fetchall()
            writing = asyncio.ensure_future(Items(path).add("a", "b"))
            # A commit that waits keeps new readers out, and is tried more than once.
            while not is_locked(path):
                await asyncio.wait((writing,), timeout=0.01)
            await asyncio.wait((writing,), timeout=3 * WAIT_AT_ONCE)
            assert not writing.done()
            reader.execute("COMMIT")
        return await writing

    assert run(written()) == (3, "a", "b")
    assert stored(path)[-1] == (3, "a", "b")


def test_a_write_waits_until_another_program_has_written(tmp_path: Path) -> None:
    path = make_database(tmp_path / "a.db")

    async def written() -> Any:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            writing = asyncio.ensure_future(Items(path).add("a", "b"))
            await asyncio.wait((writing,), timeout=3 * WAIT_AT_ONCE)
            assert not writing.done()
            other.execute("INSERT INTO items VALUES (3, 'other', NULL)")
            other.execute("COMMIT")
        return await writing

    assert run(written()) == (4, "a", "b")


@pytest.mark.parametrize("busy", ["another-program", "its-own-trigger"])
def test_a_write_that_is_cancelled_ends_at_once(tmp_path: Path, busy: str) -> None:
    endless = (
        "CREATE TRIGGER t AFTER INSERT ON items BEGIN UPDATE items SET value = (WITH RECURSIVE "
        "n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n); END;"
    )
    path = make_database(tmp_path / "a.db", endless if busy == "its-own-trigger" else "")
    before = stored(path)

    async def cancelled(other: sqlite3.Connection) -> float:
        if busy == "another-program":
            other.execute("BEGIN IMMEDIATE")
        writing = asyncio.ensure_future(Items(path).add("a", "b"))
        await asyncio.wait((writing,), timeout=2 * WAIT_AT_ONCE)
        began = time.monotonic()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        return time.monotonic() - began

    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        # Once the wait that SQLite is in, and the time a busy machine may need.
        assert run(cancelled(other)) < WAIT_AT_ONCE + 0.9
    assert stored(path) == before
