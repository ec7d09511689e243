"""Content that is being sent while the tables it comes from go away, change or cannot be read."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.conftest import ITEMS, MakeDatabase, Write
from tests.core.listener import PATIENCE, Listener, body, opened, types, until
from watcher.errors import MalformedPosition
from watcher.hub import Hub
from watcher.wire import encode_json

MANY = """
CREATE TABLE many(id INTEGER PRIMARY KEY, x);
WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<5000)
INSERT INTO many SELECT i, hex(zeroblob(100)) || i FROM n;
"""


def run(path: Path, scenario: Callable[[Hub], Awaitable[None]]) -> None:
    """Runs a scenario with a hub that is live."""

    async def live() -> None:
        async with opened(path) as hub, asyncio.timeout(PATIENCE):
            await scenario(hub)

    asyncio.run(live())


def test_a_table_that_gets_another_key_in_mid_content_begins_it_anew(
    database: MakeDatabase, write: Write
) -> None:
    """The place reached in the old table is none in the new one."""
    path = database(sql=MANY)

    async def scenario(hub: Hub) -> None:
        with hub.subscribe(snapshot=True) as subscription:
            listener = Listener(subscription)
            # The definition, then rows: it is in the middle of the table now.
            await listener.until("changes")
            await listener.until("changes")
            write(
                path,
                "BEGIN; DROP TABLE many; CREATE TABLE many(a, b, PRIMARY KEY(a, b)) WITHOUT ROWID;"
                "INSERT INTO many VALUES (1, 2); COMMIT",
            )
            await until(hub, lambda: hub.head.offset)
            messages = await listener.until("ready")
            again = [m.type for m in messages].index("reset")
            content = [c for m in messages[again:] for c in body(m).get("changes", [])]
            assert [c["after"] for c in content if c["op"] == "insert"] == [{"a": 1, "b": 2}]

    run(path, scenario)


def test_a_table_with_a_corrupt_page_does_not_hold_up_the_others(
    database: MakeDatabase,
) -> None:
    """A page deep in a table shows only when it is read: the table is named and left out."""
    path = database(sql=MANY + ITEMS)
    content = bytearray(path.read_bytes())
    page = content.index(b"04000") // 4096
    content[page * 4096 : page * 4096 + 16] = b"\xff" * 16
    path.write_bytes(content)

    async def scenario(hub: Hub) -> None:
        with hub.subscribe(snapshot=True) as subscription:
            listener = Listener(subscription)
            messages = await listener.until("ready")
            last_hello = max(n for n, m in enumerate(messages) if m.type == "hello")
            assert [t["name"] for t in body(messages[last_hello])["tables"]] == ["items"]
            changes = [c for m in messages[last_hello:] for c in body(m).get("changes", [])]
            assert {c["table"] for c in changes} == {"items"}
        await until(hub, lambda: hub.status.state == "partial")
        assert '"many"' in hub.status.detail

    run(path, scenario)


def test_a_table_that_becomes_unreadable_is_not_greeted_with(
    database: MakeDatabase, write: Write
) -> None:
    """Whoever comes later gets the content of the others, and is told."""
    path = database(sql=f"{ITEMS} CREATE TABLE broken(x); INSERT INTO broken VALUES (1)")

    async def scenario(hub: Hub) -> None:
        content = bytearray(path.read_bytes())
        content[-4096:-4080] = b"\xff" * 16
        path.write_bytes(content)
        await until(hub, lambda: hub.status.state == "partial")
        write(path, "UPDATE items SET value='later' WHERE id=1")
        await until(hub, lambda: hub.head.offset)
        with hub.subscribe(snapshot=True) as subscription:
            messages = await Listener(subscription).until("ready")
            assert types(messages).count("reset") == 1
            assert [t["name"] for t in body(messages[0])["tables"]] == ["items"]

    run(path, scenario)


def test_a_backlog_comes_in_bounded_pieces(database: MakeDatabase, write: Write) -> None:
    """What happened since the rows were read is not gathered in memory before it is sent."""
    path = database(sql=MANY)

    async def scenario(hub: Hub) -> None:
        with hub.subscribe(snapshot=True) as subscription:
            await subscription.next()
            await subscription.next()
            for offset in range(6):
                write(path, "UPDATE many SET x = x || 'y'")
                await until(hub, lambda before=offset: hub.head.offset > before)  # type: ignore[misc]  # mypy infers no lambda with a default
            sizes = []
            ready = False
            while not ready:
                messages = await subscription.next()
                sizes.append(sum(len(m.data) for m in messages))
                ready = any(m.type == "ready" for m in messages)
            # A batch of the ring, or a page of rows, and the part that crosses the limit.
            assert max(sizes) < 3 * 1024 * 1024, sizes

    run(path, scenario)


def test_a_commit_behind_a_large_answer_is_told_though_nobody_waits_for_it(
    database: MakeDatabase, write: Write
) -> None:
    """While an answer is on its way no `more` is sent; the answer itself is the hint."""
    path = database(sql=ITEMS + MANY.replace("100", "20000"))

    async def scenario(hub: Hub) -> None:
        with hub.subscribe() as subscription:
            listener = Listener(subscription)
            await listener.ready()
            asking = asyncio.create_task(hub.rows("many", limit=1000))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            # It blocks the event loop, so that the answer fills the socket meanwhile.
            write(path, "UPDATE items SET value='seen' WHERE id=1")
            asking.cancel()
            changes = await listener.changes()
            assert changes["changes"][0]["after"]["value"] == "seen"

    run(path, scenario)


@pytest.mark.parametrize(
    "place",
    [
        [0, {"$large": {"type": "blob", "bytes": 1, "sha256": "x"}}],
        [0, True],
        [0, {"x": 1}],
        [0, [1]],
        ["0", 1],
        [7, 1],
        [0],
        [0, 1, 2],
        [],
    ],
)
def test_no_token_harms_the_reader(database: MakeDatabase, place: list[object]) -> None:
    """A token that was never given out is refused, and the reader goes on."""
    token = base64.urlsafe_b64encode(encode_json(place)).decode().rstrip("=")

    async def scenario(hub: Hub) -> None:
        pid = hub.reader_pid
        assert pid is not None
        with pytest.raises(MalformedPosition):
            await hub.rows("items", after=token)
        assert len((await hub.rows("items")).inserts) > 0
        assert hub.reader_pid == pid
        os.kill(pid, 0)

    run(database(), scenario)
