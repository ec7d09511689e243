"""What one question may take of the reader, and one request of the service."""

from __future__ import annotations

import asyncio
import sqlite3
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import msgspec
import pytest

from tests.conftest import Write
from tests.view.served import reached, watching
from tests.web.service import make_database
from watcher.hub import Hub
from watcher.sqlite.channel import AskKeyed, Keyed
from watcher.sqlite.places import pack_rows
from watcher.view import Orderings, TooLarge, Wanted, Window

_ROWS = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {})"


@asynccontextmanager
async def hub_of(tmp_path: Path, script: str) -> AsyncIterator[Hub]:
    database = make_database(tmp_path / "test.db", script)
    async with Hub(database, state=tmp_path / "state") as hub:
        await hub.started()
        yield hub


def test_large_values_come_a_few_at_a_time(tmp_path: Path) -> None:
    """They count where they are read, though what is sent of them is small."""
    script = (
        "CREATE TABLE t(id INTEGER PRIMARY KEY, b);"
        f"{_ROWS.format(20)} INSERT INTO t SELECT i, randomblob(600000) FROM c;"
    )

    async def run() -> None:
        async with hub_of(tmp_path, script) as hub:
            page = await hub.rows("t", limit=20)
            assert 1 <= len(msgspec.json.decode(b"[" + page.inserts + b"]")) <= 2
            assert page.next is not None
            places = pack_rows([(0, number) for number in range(1, 21)])
            answer = await hub.ask(AskKeyed(0, "t", places), Keyed)
            assert 1 <= len(msgspec.json.decode(answer.inserts)) <= 2

    asyncio.run(run())


def test_rows_by_key_come_as_long_as_there_is_time(tmp_path: Path) -> None:
    script = (
        "CREATE TABLE t(id INTEGER PRIMARY KEY);"
        f"{_ROWS.format(20_000)} INSERT INTO t SELECT i FROM c;"
    )

    async def run() -> None:
        async with hub_of(tmp_path, script) as hub:
            places = [(0, number) for number in range(1, 20_001)]
            answer = await hub.ask(AskKeyed(0, "t", pack_rows(places)), Keyed)
            # All of them take some hundred milliseconds, for which commits would wait.
            assert 1 <= len(msgspec.json.decode(answer.inserts)) < 10_000

    asyncio.run(run())


@pytest.mark.parametrize(("order", "where"), [("b", None), (None, "length(b) > 0")])
def test_a_huge_value_is_not_read_for_an_order(
    order: str | None, where: str | None, tmp_path: Path
) -> None:
    script = (
        "CREATE TABLE t(id INTEGER PRIMARY KEY, b);"
        "INSERT INTO t VALUES (1, x'00'), (2, zeroblob(50000000)), (3, x'01');"
    )

    async def run() -> None:
        async with hub_of(tmp_path, script) as hub:
            before = _peak(hub.reader_pid)
            with pytest.raises(TooLarge):
                await _window(Orderings(hub), Wanted("t", order, where))
            # By number alone they can be had, with what stands for the value.
            page = await _window(Orderings(hub), Wanted("t"), limit=1)
            assert page.total == 3
            assert _peak(hub.reader_pid) < before + 20

    asyncio.run(run())


def test_an_order_ends_where_a_huge_value_comes(tmp_path: Path, write: Write) -> None:
    script = "CREATE TABLE t(id INTEGER PRIMARY KEY, b); INSERT INTO t VALUES (1, 1);"
    with watching(tmp_path, script) as (service, http):
        while http.get("/tables/t/rows?offset=0&order=b").status_code == 202:
            pass
        sql = "INSERT INTO t VALUES (2, zeroblob(2000000))"
        position = reached(http, service.database, write, sql)
        asked: dict[str, str | int] = {"offset": 0, "order": "b", "at_least": position}
        assert http.get("/tables/t/rows", params=asked).status_code == 422


async def _window(orderings: Orderings, wanted: Wanted, limit: int = 100) -> Window:
    while True:
        found = await orderings.get(wanted).window(limit=limit)
        if isinstance(found, Window):
            return found


def _peak(pid: int | None) -> int:
    """The most memory a process has had, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def test_a_column_that_goes_while_an_order_is_built_is_named(tmp_path: Path, write: Write) -> None:
    script = (
        "CREATE TABLE t(id INTEGER PRIMARY KEY, x);"
        f"{_ROWS.format(150_000)} INSERT INTO t SELECT i, i FROM c;"
    )
    with watching(tmp_path, script) as (service, http):
        while http.get("/health").json()["position"] is None:
            pass
        assert http.get("/tables/t/rows?offset=0&order=x").status_code == 202
        write(service.database, "ALTER TABLE t RENAME COLUMN x TO y")
        while (answer := http.get("/tables/t/rows?offset=0&order=x")).status_code in {200, 202}:
            pass
        assert (answer.status_code, answer.json()["detail"][:6]) == (422, "order:")


@pytest.mark.parametrize("order", ["", "&order=a"])
def test_a_text_that_utf_16_has_no_form_for_is_no_key(order: str, tmp_path: Path) -> None:
    database = tmp_path / "test.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript("PRAGMA encoding='UTF-16le'; CREATE TABLE first(x);")
    with watching(tmp_path, "CREATE TABLE t(a TEXT PRIMARY KEY);") as (_, http):
        key = '{"a":{"$text":"gICA"}}'
        while (found := http.get(f"/tables/t/rows?around={key}{order}")).status_code == 202:
            pass
        position = http.get("/health").json()["position"]
        past = http.get("/tables/t/past", params={"at": position, "from": key})
        token = urlsafe_b64encode(b'[0,{"$text":"gICA"}]').decode().rstrip("=")
        page = http.get("/tables/t/rows", params={"after": token})
        assert [found.status_code, past.status_code, page.status_code] == [422, 422, 422]


def test_a_table_that_was_away_is_ordered_by_a_condition_again(
    tmp_path: Path, write: Write
) -> None:
    script = "CREATE TABLE t(id INTEGER PRIMARY KEY, x); INSERT INTO t VALUES (1, 1), (2, 2);"
    with watching(tmp_path, script) as (service, http):
        asked: dict[str, str | int] = {"offset": 0, "where": "x > 1"}
        while (found := http.get("/tables/t/rows", params=asked)).status_code == 202:
            pass
        assert found.json()["total"] == 1
        reached(http, service.database, write, "ALTER TABLE t RENAME TO u")
        sql = "ALTER TABLE u RENAME TO t; INSERT INTO t VALUES (3, 3)"
        asked["at_least"] = reached(http, service.database, write, sql)
        while (found := http.get("/tables/t/rows", params=asked)).status_code == 202:
            pass
        assert (found.status_code, found.json().get("total")) == (200, 2), found.text
