"""`subscribe()`: a service's changesets in another program, through whatever the network does."""

from __future__ import annotations

import asyncio
import random
import socket
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ITEMS, MakeDatabase, StartServer, Write
from tests.core.listener import PATIENCE
from tests.oracle.contents import contents, contents_of_file
from tests.served import ROOT, Lines, Served, environment
from tests.web.proxy import proxied
from watcher import (
    Change,
    ChangeSet,
    Op,
    Position,
    ProtocolError,
    Refused,
    ResetReason,
    apply,
    client,
)
from watcher.changes import Row
from watcher.client import RemoteWatch, backoff, remote
from watcher.client.address import Address, query

INSERT = "INSERT INTO items VALUES ({0}, 'n{0}', NULL);"


TOKEN = "correct-horse-battery"
TABLES = f"""
DROP TABLE IF EXISTS items; DROP TABLE IF EXISTS t; CREATE TABLE t(x); {ITEMS}
-- Something changes even where these were as they are made here.
CREATE TABLE IF NOT EXISTS runs(n INTEGER PRIMARY KEY); INSERT INTO runs VALUES (NULL);
"""


@pytest.fixture(scope="module")
def gate() -> Iterator[socket.socket]:
    """Where proxies listen; the server answers to this name."""
    with socket.create_server(("127.0.0.1", 0)) as gate:
        yield gate


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, gate: socket.socket, write: Write
) -> Iterator[Served]:
    """A server of its own process, shared by the tests of this module."""
    directory = tmp_path_factory.mktemp("server")
    path = directory / "app.db"
    write(path, f"PRAGMA journal_mode=wal; {TABLES}")
    options = ("--token", TOKEN, "--allow-host", f"127.0.0.1:{gate.getsockname()[1]}")
    served = Served(directory, path, state=directory / "state", options=options)
    yield served
    if not served.closed:
        served.stop()


@pytest.fixture
def served(server: Served, write: Write) -> Served:
    """The server with fresh tables, which it has told."""
    if server.closed:
        server.restart()
    before = where(server)
    write(server.database, f"BEGIN; {TABLES} COMMIT")
    end = time.monotonic() + PATIENCE
    while where(server) == before:
        assert time.monotonic() < end, "the tables are not told"
        time.sleep(0.01)
    return server


def where(served: Served) -> str | None:
    """The position of a server."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = httpx.get(f"{served.url}/health", headers=headers, trust_env=False)
    position: str | None = answer.raise_for_status().json()["position"]
    return position


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries again at once: a test that breaks a hundred connections has not half an hour."""
    monkeypatch.setattr(backoff, "LONGEST_SECONDS", 0.01)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(PATIENCE):
            await scenario()

    asyncio.run(limited())


def subscribe(url: str, **options: Any) -> RemoteWatch:
    """With the token of the server."""
    return client.subscribe(url, **{"token": TOKEN, **options})


def ops(changeset: ChangeSet) -> list[Op]:
    return [change.op for change in changeset.changes]


def names(changeset: ChangeSet) -> list[Any]:
    """The names of the rows a changeset inserted."""
    rows = [c.after for c in changeset.changes if isinstance(c, Change)]
    return [row["name"] for row in rows if row is not None]


@asynccontextmanager
async def replica_of(stream: RemoteWatch) -> Any:
    """A replica, and a function that follows the stream until it equals a file."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as replica:
        offsets: list[int] = []

        async def until_equal(path: Path) -> list[int]:
            wanted = contents_of_file(path)["items"]
            while contents(replica).get("items") != wanted:
                changeset = await anext(stream)
                apply(replica, changeset)
                if changeset.reset is not None:
                    offsets.clear()
                if changeset.position is not None:
                    offsets.append(changeset.position.offset)
            return offsets

        yield until_equal


def test_changes_come_as_they_do_beside_the_file(served: Served, write: Write) -> None:
    """The same objects as from `watch()`, with positions to come back with."""

    async def scenario() -> None:
        async with subscribe(served.url) as stream:
            assert stream.status == remote.Status("ok", "")
            write(
                served.database, f"BEGIN; {INSERT.format(7)} DELETE FROM items WHERE id=1; COMMIT"
            )
            changeset = await anext(stream)
            assert ops(changeset) == [Op.DELETE, Op.INSERT]
            assert changeset.changes[1] == Change(
                Op.INSERT, "items", {"id": 7}, None, {"id": 7, "name": "n7", "value": None}
            )
            assert changeset.reset is None
            assert changeset.position == stream.position
        write(served.database, INSERT.format(8))
        # All forms of the address are the same service.
        for url in (f"{served.url}/", f"{served.url}/ws", f"ws{served.url[4:]}/ws"):
            async with subscribe(url, since=stream.position) as later:
                assert names(await anext(later)) == ["n8"]
        async for changeset in subscribe(served.url, since=str(stream.position)):
            assert names(changeset) == ["n8"]
            break

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run(scenario)
    assert ["was not closed" in str(warning.message) for warning in told] == [True]


_WRITER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
print("begun", flush=True)
for n in range(int(sys.argv[2])):
    db.execute("INSERT OR REPLACE INTO items VALUES(?, ?, random())", (n * 7 % 150, f"w{n}"))
    if n % 50 == 49:
        db.execute("DELETE FROM items WHERE id % 9 = ?", (n // 50 % 9,))
"""


async def writer(path: Path, commits: int) -> asyncio.subprocess.Process:
    """A program at work, which has begun."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _WRITER, str(path), str(commits), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    return process


def test_content_is_handed_over_exactly_while_others_write(served: Served) -> None:
    """Content and changes fit together: a replica equals the file, offsets have no gap."""

    async def scenario() -> None:
        writing = await writer(served.database, 600)
        async with (
            subscribe(served.url, snapshot=True) as stream,
            replica_of(stream) as until_equal,
        ):
            await writing.wait()
            offsets = await until_equal(served.database)
            assert offsets == list(range(offsets[0], offsets[-1] + 1))
            assert stream.position is not None

    run(scenario)


@pytest.mark.fault("N1")
@pytest.mark.usefixtures("_hasty")
def test_a_connection_cut_at_any_byte_loses_and_repeats_nothing(
    served: Served, gate: socket.socket
) -> None:
    """Hundreds of connections, each cut a few bytes later than the one before or at random."""
    rng = random.Random(1)

    def allowances() -> Iterator[int]:
        # From within the handshake over the greeting to within the first changes, then anywhere.
        yield from range(1, 1600, 29)
        while True:
            yield rng.randrange(900, 6000)

    async def scenario() -> None:
        async with (
            proxied(gate, served.port, allowances) as proxy,
            subscribe(proxy.url, tables=["items"], snapshot=True) as stream,
            replica_of(stream) as until_equal,
        ):
            offsets: list[int] = []
            for _ in range(40):
                await (await writer(served.database, 5)).wait()
                offsets = await until_equal(served.database)
            assert offsets == list(range(offsets[0], offsets[-1] + 1))
            assert proxy.cuts > 60

    run(scenario)


@pytest.mark.fault("N1")
@pytest.mark.usefixtures("_hasty")
def test_a_large_commit_is_put_together_from_many_connections(
    served: Served, gate: socket.socket, write: Write
) -> None:
    """Cut within its parts, it is gone on from the last part, and comes as one changeset."""
    rng = random.Random(2)

    def allowances() -> Iterator[int]:
        while True:
            # A frame has up to 512 KiB, and comes whole or not at all.
            yield rng.randrange(560_000, 800_000)

    async def scenario() -> None:
        async with proxied(gate, served.port, allowances) as proxy, subscribe(proxy.url) as stream:
            write(
                served.database,
                "WITH RECURSIVE n(i) AS (VALUES(10) UNION ALL SELECT i+1 FROM n WHERE i<30009)"
                "INSERT INTO items SELECT i, 'n' || i, NULL FROM n",
            )
            before = stream.position
            changeset = await anext(stream)
            assert before is not None
            assert changeset.position is not None
            assert changeset.position.offset == before.offset + 1
            assert names(changeset) == [f"n{i}" for i in range(10, 30010)]
            assert proxy.cuts > 2

    run(scenario)


@pytest.mark.fault("N4")
def test_a_connection_of_single_bytes_is_as_good(
    served: Served, gate: socket.socket, write: Write
) -> None:
    """What arrives byte by byte is the same."""

    async def scenario() -> None:
        async with (
            proxied(gate, served.port, piece=1) as proxy,
            subscribe(proxy.url, snapshot=True) as stream,
            replica_of(stream) as until_equal,
        ):
            write(served.database, "".join(map(INSERT.format, range(10, 30))))
            await until_equal(served.database)
            assert proxy.connections == 1

    run(scenario)


@pytest.mark.fault("N4")
@pytest.mark.usefixtures("_hasty")
def test_a_half_open_connection_is_given_up(
    served: Served, gate: socket.socket, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One from which nothing comes any more, not even its end, is replaced after a silence."""
    monkeypatch.setattr(remote, "SILENCE_SECONDS", 0.3)

    def allowances() -> Iterator[int]:
        yield 1500
        while True:
            yield 1 << 60

    async def scenario() -> None:
        async with (
            proxied(gate, served.port, allowances, stall=True) as proxy,
            subscribe(proxy.url) as stream,
        ):
            write(served.database, "".join(map(INSERT.format, range(10, 30))))
            found = [names(await anext(stream)) for _ in range(20)]
            assert found == [[f"n{i}"] for i in range(10, 30)]
            assert proxy.cuts == 1

    run(scenario)


@pytest.mark.fault("N1")
def test_a_killed_server_is_gone_on_from(served: Served, write: Write) -> None:
    """What was committed before, meanwhile and afterwards comes once, in order."""

    async def scenario() -> None:
        async with subscribe(served.url) as stream:
            write(served.database, INSERT.format(10))
            assert names(await anext(stream)) == ["n10"]
            write(served.database, INSERT.format(11))
            served.kill()
            write(served.database, INSERT.format(12))
            coming = asyncio.ensure_future(anext(stream))
            await asyncio.to_thread(served.restart)
            found = names(await coming)
            while len(found) < 2:
                found += names(await anext(stream))
            write(served.database, INSERT.format(13))
            found += names(await anext(stream))
            assert found == ["n11", "n12", "n13"]

    run(scenario)


def test_a_filtered_view_is_exact(served: Served, write: Write) -> None:
    """Rows that come to fulfil the condition are inserts, those that no longer do deletes."""
    wanted: dict[str, Any] = {"tables": ["items"], "columns": ["name"], "where": "value = 'on'"}

    async def scenario() -> None:
        async with subscribe(served.url, **wanted) as stream:
            write(served.database, "UPDATE items SET value='on' WHERE id=2")
            write(served.database, "UPDATE items SET value='off' WHERE id=2")
            entered, left = await anext(stream), await anext(stream)
            row: Row = {"id": 2, "name": "Lamp"}
            assert entered.changes == (Change(Op.INSERT, "items", {"id": 2}, None, row),)
            assert left.changes == (Change(Op.DELETE, "items", {"id": 2}, row, None),)
        async with subscribe(served.url, ops=[Op.DELETE], since=entered.position) as stream:
            assert (await anext(stream)).changes == ()

    run(scenario)


def test_large_values_are_whole(served: Served, write: Write) -> None:
    """In content and in changes: fetched and checked, with the token."""
    write(served.database, "INSERT INTO t VALUES (zeroblob(300000))")

    async def scenario() -> None:
        async with subscribe(served.url, tables=["t"], snapshot=True) as stream:
            rows: list[Any] = []
            while stream.position is None or not rows:
                rows += [c.after for c in (await anext(stream)).changes if isinstance(c, Change)]
            assert rows == [{"x": bytes(300_000)}]
            while stream._due:
                await anext(stream)
            write(served.database, "UPDATE t SET x=hex(x)")
            (change,) = (await anext(stream)).changes
            assert isinstance(change, Change)
            assert (change.before, change.after) == ({"x": bytes(300_000)}, {"x": "0" * 600_000})

    run(scenario)


def test_a_large_value_that_is_gone_is_said(served: Served, write: Write) -> None:
    """After one more try from the last position, in case the history has been lost."""

    async def scenario() -> None:
        async with subscribe(served.url) as stream:
            write(served.database, "INSERT INTO t VALUES (zeroblob(400000))")
            while not stream._due:
                await stream._receive()
            with closing(sqlite3.connect(served.state / "state.db")) as state:
                (table,) = state.execute(
                    "SELECT name FROM sqlite_schema WHERE name LIKE '%large%' AND type='table'"
                ).fetchone()
                state.execute(f"DELETE FROM {table}")
                state.commit()
            with pytest.raises(ProtocolError, match="no longer kept"):
                await anext(stream)
            with pytest.raises(StopAsyncIteration):
                await anext(stream)

    run(scenario)


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "no token": ({"token": None}, 4501, "a token is needed"),
    "wrong token": ({"token": "wrong"}, 4501, "a token is needed"),
    "bad filter": ({"where": "nothing > 1"}, 4502, "where"),
    "unknown operation": ({"ops": ["upsert"]}, 4502, "'upsert'"),
    "unknown table": ({"tables": ["items", "no, such"]}, 4502, "no watched table is named"),
    "no table at all": ({"tables": []}, 4502, "no watched table is named ''"),
}


def test_what_is_refused_is_an_error_with_its_code(served: Served) -> None:
    """At the beginning of the iteration, once: it is not tried again."""

    async def scenario() -> None:
        for options, code, detail in REFUSED.values():
            stream = subscribe(served.url, **options)
            with pytest.raises(Refused, match=detail) as caught:
                await anext(stream)
            assert caught.value.code == code
            with pytest.raises(Refused):
                await subscribe(served.url, **options).__aenter__()
            with pytest.raises(StopAsyncIteration):
                await anext(stream)
        with pytest.raises(Refused) as other:
            await anext(subscribe(f"{served.url}/db/nothing.db"))
        assert other.value.code == 404
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(scenario)


def test_a_filter_that_no_longer_fits_ends_the_stream(served: Served, write: Write) -> None:
    """What comes too late to be refused at the beginning is said all the same."""

    async def scenario() -> None:
        async with subscribe(served.url, tables=["items"], where="value > 5") as stream:
            write(served.database, "ALTER TABLE items DROP COLUMN value")
            with pytest.raises(Refused) as caught:
                await anext(stream)
            assert caught.value.code == 4502

    run(scenario)


def test_a_server_that_is_gone_for_good_is_waited_for_until_it_is_closed(served: Served) -> None:
    """`aclose()` ends the waiting at once, for whoever iterates as well."""

    async def scenario() -> None:
        stream = subscribe(served.url)
        async with stream:
            served.kill()
            waiting = asyncio.ensure_future(anext(stream))
            while stream.status.state != "connecting":
                await asyncio.wait((waiting,), timeout=0.01)
            position = stream.position
            await stream.aclose()
            with pytest.raises(StopAsyncIteration):
                await waiting
            await stream.aclose()
            assert stream.position == position
        async for _ in stream:
            raise AssertionError("it has ended")
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(scenario)


def test_a_cancelled_wait_loses_nothing(served: Served, write: Write) -> None:
    """Waiting with a time limit of one's own, again and again, still brings every changeset."""

    async def scenario() -> None:
        async with subscribe(served.url, snapshot=True) as stream:
            limits, seen = iter([0, 0.001, 0.003, 0.01] * 1000), list[int]()
            write(served.database, "".join(map(INSERT.format, range(10, 15))))
            last = Position.parse(where(served) or "").offset
            while not seen or seen[-1] < last:
                try:
                    async with asyncio.timeout(next(limits)):
                        changeset = await anext(stream)
                except TimeoutError:
                    last = Position.parse(where(served) or "").offset
                    continue
                if changeset.position is not None:
                    seen.append(changeset.position.offset)
            assert seen == list(range(seen[0], last + 1))

    run(scenario)


def test_another_history_is_a_reset(served: Served, write: Write) -> None:
    """With content or without it, the reason comes first and the new position with it."""

    async def scenario() -> None:
        for snapshot in (False, True):
            unknown = "zzzzzz:5~0000"
            async with subscribe(served.url, since=unknown, snapshot=snapshot) as stream:
                first = await anext(stream)
                assert first.reset is ResetReason.UNKNOWN_EPOCH
                while first.position is None:
                    first = await anext(stream)
                write(served.database, INSERT.format(20 + snapshot))
                assert ops(await anext(stream)) == [Op.INSERT]

    run(scenario)


def test_each_of_several_databases_has_its_own_address(
    database: MakeDatabase, serve: StartServer, write: Write
) -> None:
    """One that is called `ws` is not taken for the end of an address."""
    first = database("a b.db")
    other = database("ws", sql=ITEMS)
    served = serve(first, str(other))

    async def scenario() -> None:
        for path, name in ((first, "a b.db"), (other, "ws")):
            async with subscribe(f"{served.url}/db/{name}") as stream:
                write(path, INSERT.format(5))
                assert names(await anext(stream)) == ["n5"]

    run(scenario)


def test_addresses_are_read() -> None:
    """Host, root and scheme; parameters do not belong there."""
    assert Address.parse("https://h:1/live/ws/") == Address("h:1", "/live", True)
    assert Address.parse("http://[::1]:8/db/ws/ws").stream("a=1") == "ws://[::1]:8/db/ws/ws?a=1"
    assert Address.parse("http://h/db/ä 1.db").value("ff") == "/db/%C3%A4%201.db/values/ff"
    for wrong in ("localhost:8000", "ftp://h/", "http://u:p@h/", "http://h/ws?since=1", "ws:///a"):
        with pytest.raises(ValueError, match="address"):
            Address.parse(wrong)
    asked = query(
        tables=["a,b", "ü"],
        columns=None,
        ops=[Op.INSERT],
        where="x+1 > 2",
        since=None,
        snapshot=True,
    )
    assert asked == "tables=a%2Cb&tables=%C3%BC&ops=insert&where=x%2B1%20%3E%202&snapshot=true"


def test_waits_grow_and_are_forgotten_in_health() -> None:
    """Half a second at most, then twice as long each time up to 30; healthy means 10 s."""
    waits = backoff.Backoff()
    for ceiling in (0.5, 1, 2, 4, 8, 16, 30, 30):
        assert 0 <= waits.failed(100.0) <= ceiling
    drawn = [waits.failed(100.0) for _ in range(2000)]
    assert 14 < sum(drawn) / len(drawn) < 16
    waits.well(200.0)
    assert [waits.failed(205.0) for _ in range(50)] != sorted(
        waits.failed(205.0) for _ in range(50)
    )
    waits.well(300.0)
    assert waits.failed(310.0) <= 0.5


EXAMPLE = ROOT / "examples" / "follow.py"


def test_the_example_prints_what_comes(
    database: MakeDatabase, serve: StartServer, write: Write
) -> None:
    """The one that the documentation shows."""
    path = database(mode="wal")
    assert f"```python\n{EXAMPLE.read_text()}```" in (ROOT / "docs" / "clients.md").read_text()
    command = [sys.executable, str(EXAMPLE), serve(path).url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        lines = Lines(process.stdout.fileno())
        content = [lines.next(PATIENCE) for _ in range(3)]
        assert content == [
            "schema items \n",
            "insert items {'id': 1}\n",
            "insert items {'id': 2}\n",
        ]
        write(path, INSERT.format(5))
        assert lines.next(PATIENCE) == "insert items {'id': 5}\n"
        process.terminate()
