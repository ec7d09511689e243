"""Subscribers that have everything: written to together, and each free to fall behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from tests.conftest import ITEMS, MakeDatabase, Write
from tests.core.listener import PATIENCE, until
from tests.core.test_hub import OTHER, run
from watcher import wire
from watcher.changes import ColumnSource, ResetReason, SchemaChange, Table
from watcher.errors import HubClosed
from watcher.history import Head
from watcher.hub import ALL, Filter, Hub, Message, Subscription
from watcher.hub.audience import Outlet
from watcher.hub.filters import Sieve, ViewVoid


def encode(messages: Sequence[Message]) -> bytes:
    return b"[" + b",".join(message.data for message in messages) + b"]"


class Client(Outlet):
    """Takes what is written to it, as long as it has room, and what its subscription gives."""

    encode = staticmethod(encode)

    def __init__(self, hub: Hub, wanted: Filter = ALL, **options: Any) -> None:
        self.subscription: Subscription = hub.subscribe(wanted=wanted, **options)
        self.frames: list[bytes] = []
        self.room = 1_000_000
        # How often its own task had something to send.
        self.turns = 0
        self.task = asyncio.create_task(self._run())

    def write(self, data: bytes) -> bool:
        if len(self.frames) >= self.room:
            return False
        self.frames.append(data)
        return True

    async def _run(self) -> None:
        with suppress(HubClosed):
            while True:
                messages = await self.subscription.next(self)
                await until_so(lambda: len(self.frames) < self.room)
                self.turns += 1
                self.frames.append(encode(messages))

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [message for frame in self.frames for message in json.loads(frame)]

    @property
    def values(self) -> list[Any]:
        """What the rows were changed to, in order."""
        return [
            (change["after"] or {}).get("value")
            for message in self.messages
            if message["type"] == "changes"
            for change in message["changes"]
            if change["op"] != "schema"
        ]

    async def has(self, condition: Callable[[Client], object]) -> None:
        await until_so(lambda: condition(self))

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.wait((self.task,))
        self.subscription.close()


async def until_so(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is looked at sets no event
            await asyncio.sleep(0.001)


def is_live(client: Client) -> bool:
    return any(message["type"] == "ready" for message in client.messages)


def update(number: int) -> str:
    return f"UPDATE items SET value='{number}' WHERE id=1;"


def test_a_frame_is_made_once_for_all(database: MakeDatabase, write: Write) -> None:
    """All get the same bytes, in order, without a turn of their own tasks."""
    path = database(mode="wal")

    async def scenario(hub: Hub) -> None:
        clients = [Client(hub) for _ in range(20)]
        for client in clients:
            await client.has(is_live)
        await until_staying(hub, 20)
        turns = [client.turns for client in clients]
        await asyncio.to_thread(write, path, "".join(map(update, range(50))))
        for client in clients:
            await client.has(lambda c: c.values[-1:] == ["49"])
            assert client.values == [str(number) for number in range(50)]
        assert [client.turns for client in clients] == turns
        first = clients[0].frames[-1]
        assert all(client.frames[-1] is first for client in clients)
        assert sum(hub.meter.latencies) >= 20
        for client in clients:
            await client.end()
        assert len(hub.audience) == 0

    run(path, scenario)


async def until_staying(hub: Hub, count: int) -> None:
    await until_so(lambda: len(hub.audience) == count)


def test_who_has_no_room_holds_up_nobody(database: MakeDatabase, write: Write) -> None:
    """It goes on by itself when it has room, misses nothing, and joins the others again."""
    path = database(mode="wal")

    async def scenario(hub: Hub) -> None:
        quick, slow = Client(hub), Client(hub)
        await until_staying(hub, 2)
        slow.room = len(slow.frames) + 3
        await asyncio.to_thread(write, path, "".join(map(update, range(2000))))
        await quick.has(lambda c: c.values[-1:] == ["1999"])
        assert len(slow.values) < 2000
        slow.room = 1_000_000
        await slow.has(lambda c: c.values[-1:] == ["1999"])
        numbers = [str(number) for number in range(2000)]
        assert quick.values == slow.values == numbers
        await until_staying(hub, 2)
        await asyncio.to_thread(write, path, update(2000))
        await slow.has(lambda c: c.values[-1:] == ["2000"])
        assert slow.values == [*numbers, "2000"]
        for client in (quick, slow):
            await client.end()

    run(path, scenario)


def has_changes(count: int, client: Client) -> bool:
    """Whether a client has this many messages with changes."""
    return [message["type"] for message in client.messages].count("changes") == count


def test_each_filter_has_a_group_of_its_own(database: MakeDatabase, write: Write) -> None:
    """Who filters alike shares a frame; who asks SQLite has a turn of its own."""
    path = database(mode="wal", sql=ITEMS + OTHER)
    filters = [
        ALL,
        Filter.of(tables=["items"]),
        Filter.of(tables=["other"]),
        Filter.of(columns=["name"], tables=["items"]),
        Filter.of(ops=["delete"]),
        Filter.of(tables=["items"], where="value > '1'"),
    ]

    async def scenario(hub: Hub) -> None:
        clients = [Client(hub, wanted) for wanted in filters for _ in range(2)]
        await until_staying(hub, 10)
        edits = (update(2), "INSERT INTO other VALUES ('a', 1)", "DELETE FROM items WHERE id=1")
        for count, sql in enumerate(edits, 1):
            # One by one: with its last connection a log goes, and what was not read is merged.
            await asyncio.to_thread(write, path, sql)
            for client in clients:
                await client.has(partial(has_changes, count))
        end = {"position": ""}
        for client in clients:
            end = end if end["position"] else client.messages[-1]
            assert client.messages[-1]["position"] == end["position"]
        seen = [[c["op"] for m in client.messages[2:] for c in m["changes"]] for client in clients]
        assert seen[::2] == seen[1::2]
        assert seen[::2] == [
            ["update", "insert", "delete"],
            ["update", "delete"],
            ["insert"],
            ["delete"],
            ["delete"],
            ["update", "delete"],
        ]
        for client in clients:
            await client.end()

    run(path, scenario)


def test_news_of_another_kind_reach_them(database: MakeDatabase, write: Write) -> None:
    """The file goes and comes back; nobody misses the status, or what came with it."""
    path = database()

    async def scenario(hub: Hub) -> None:
        clients = [Client(hub) for _ in range(3)]
        await until_staying(hub, 3)
        held = path.rename(path.with_name("away"))
        for client in clients:
            await client.has(lambda c: c.messages[-1].get("state") == "missing")
        write(held, update(7))
        held.rename(path)
        for client in clients:
            await client.has(lambda c: c.values == ["7"])
            assert [m["type"] for m in client.messages].count("reset") == 0
        await until(hub, lambda: hub.status.state == "ok")
        await until_staying(hub, 3)
        for client in clients:
            await client.end()

    run(path, scenario)


def test_silence_is_filled_with_signs_of_life(database: MakeDatabase) -> None:
    """One heartbeat for the group, with the position that all of them have."""

    async def scenario(hub: Hub) -> None:
        clients = [Client(hub), Client(hub)]
        for client in clients:
            await client.has(lambda c: c.messages and c.messages[-1]["type"] == "heartbeat")
            assert client.messages[-1]["position"] == str(hub.head.position)
            await client.end()

    run(database(), scenario, heartbeat=0.05)


def test_a_view_is_right_after_a_column_took_the_name_of_another(
    database: MakeDatabase, write: Write
) -> None:
    """The rows come again, and those are in the view of which the condition is true now."""
    path = database(mode="wal")

    async def scenario(hub: Hub) -> None:
        plain = Client(hub, Filter.of(columns=["value"]))
        view = Client(hub, Filter.of(where="value = 'Test'"), snapshot=True)
        await plain.has(is_live)
        await view.has(is_live)
        assert view.values == []
        await asyncio.to_thread(
            write,
            path,
            "BEGIN; ALTER TABLE items DROP COLUMN value;"
            " ALTER TABLE items RENAME COLUMN name TO value; COMMIT;",
        )
        await view.has(lambda c: c.values == ["Test"])
        assert [m["type"] for m in view.messages].count("reset") == 1
        await plain.has(lambda c: c.values == ["Test", "Lamp"])
        for client in (plain, view):
            await client.end()

    run(path, scenario)


def test_a_view_is_void_where_held_rows_take_other_values() -> None:
    """A column the condition reads is filled from another one, and no row change says so."""
    table = Table("items", ("id",), ("id", "value"))
    head = Head("e", 0, b"", 0, (table,), ResetReason.START, "", {})
    sieve = Sieve(Filter.of(where="value = 'Test'"), lambda: head, lambda _: None)
    before, after = "CREATE TABLE items(id, name, value)", "CREATE TABLE items(id, value)"
    for source, is_void in (("value", False), ("name", True)):
        columns = (ColumnSource("id", "id"), ColumnSource("value", source))
        change = SchemaChange(
            "items", "table", "items", before, after, definition=table, columns=columns
        )
        data = wire.encode_change(change)
        if is_void:
            with pytest.raises(ViewVoid):
                sieve.sift_changes(data)
        else:
            assert json.loads(sieve.sift_changes(data)) == json.loads(data)
