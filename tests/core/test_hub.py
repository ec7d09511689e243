"""Fan-out over a real reader process: greeting, content, resuming, filters, status, the end."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ITEMS, MakeDatabase, Write
from tests.core.listener import PATIENCE, Listener, body, opened, types, until
from watcher import wire
from watcher.changes import Position, Table
from watcher.errors import (
    DatabaseUnavailable,
    HubClosed,
    MalformedPosition,
    ReaderStopped,
    StateUnavailable,
    UnknownTable,
)
from watcher.history import Limits
from watcher.hub import Filter, Hub, Message
from watcher.hub import ring as ring_module

OTHER = "CREATE TABLE other(k TEXT PRIMARY KEY, x);"
MANY = """
CREATE TABLE many(id INTEGER PRIMARY KEY, x);
WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<2500)
INSERT INTO many SELECT i, 'x' || i FROM n;
"""

Scenario = Callable[[Hub], Awaitable[None]]


def run(path: Path, scenario: Scenario, **options: Any) -> None:
    """Runs a scenario with a hub that is live; no reader process may be left after it."""

    async def live() -> int | None:
        async with opened(path, **options) as hub:
            pid = hub.reader_pid
            async with asyncio.timeout(PATIENCE):
                await scenario(hub)
        return pid

    pid = asyncio.run(live())
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def rows(messages: list[Message]) -> list[tuple[str, str, Any]]:
    """Operation, table and row of each row change in some messages."""
    return [
        (change["op"], change["table"], change["after"])
        for message in messages
        if message.type == "changes"
        for change in body(message)["changes"]
        if change["op"] != "schema"
    ]


# The beginning


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_hello_ready_changes(database: MakeDatabase, write: Write, mode: str) -> None:
    """Without parameters: who is there, that it is live, and from then on what is committed."""
    path = database(mode=mode)

    async def scenario(hub: Hub) -> None:
        listener = Listener(hub.subscribe())
        hello, ready = await listener.until("ready")
        assert body(hello) == {
            "type": "hello",
            "protocol": wire.PROTOCOL,
            "database": "app.db",
            "position": ready.position,
            "tables": [{"name": "items", "key": ["id"], "columns": ["id", "name", "value"]}],
        }
        write(path, "UPDATE items SET value='456' WHERE id=1")
        message = await listener.next()
        assert message.type == "changes"
        (change,) = body(message)["changes"]
        assert change["before"] == {"id": 1, "name": "Test", "value": "123"}
        assert change["after"] == {"id": 1, "name": "Test", "value": "456"}
        assert change["changed"] == ["value"]
        assert ready.position is not None
        assert message.position is not None
        before, after = Position.parse(ready.position), Position.parse(message.position)
        assert (after.epoch, after.offset) == (before.epoch, before.offset + 1)
        assert hub.health().position == message.position

    run(path, scenario)


def test_the_present_is_when_one_subscribes(database: MakeDatabase, write: Write) -> None:
    """What is committed before the first message is asked for is news already."""
    path = database()

    async def scenario(hub: Hub) -> None:
        with hub.subscribe() as subscription:
            write(path, "UPDATE items SET value='early' WHERE id=1")
            await until(hub, lambda: hub.head.offset)
            changes = await Listener(subscription).changes()
            assert changes["changes"][0]["after"]["value"] == "early"

    run(path, scenario)


@pytest.mark.parametrize("snapshot", [False, True])
def test_a_client_gets_ready_under_steady_writes(
    snapshot: bool, database: MakeDatabase, write: Write
) -> None:
    """Live is who has all there was at one moment, though something has come since."""
    path = database(mode="wal")

    async def scenario(hub: Hub) -> None:
        before = str(hub.head.position)
        writing = asyncio.create_task(_keep_writing(path, write))
        try:
            since = None if snapshot else before
            with hub.subscribe(since=since, snapshot=snapshot) as subscription:
                while True:
                    messages = await subscription.next()
                    if any(message.type == "ready" for message in messages):
                        break
                    # Whatever was sent, there is something new before the next look.
                    await _something_new(hub, hub.head.offset)
        finally:
            writing.cancel()

    run(path, scenario)


async def _something_new(hub: Hub, offset: int) -> None:
    await until(hub, lambda: hub.head.offset > offset)


async def _keep_writing(path: Path, write: Write) -> None:
    number = 0
    while True:
        number += 1
        await asyncio.to_thread(write, path, f"UPDATE items SET value={number} WHERE id=1")


def test_content_comes_between_reset_and_ready(database: MakeDatabase) -> None:
    """Definitions first, then every row once, in parts without position; `ready` carries one."""
    path = database(sql=ITEMS + MANY + "CREATE TABLE empty(x);")

    async def scenario(hub: Hub) -> None:
        hello, reset, *content, ready = await Listener(hub.subscribe(snapshot=True)).until("ready")
        assert types([hello, reset]) == ["hello", "reset"]
        assert body(reset) == {"type": "reset", "reason": "start", "snapshot": True}
        assert set(types(content)) == {"changes"}
        assert all(message.position is None for message in content)
        assert ready.position == body(hello)["position"]
        for number, message in enumerate(map(body, content)):
            assert "position" not in message
            assert (message["time"], message["commits"]) == (None, None)
            assert (message["part"], message["last"]) == (number, False)
            assert len(message["changes"]) <= 1000
        made = [change for change in body(content[0])["changes"] if change["op"] == "schema"]
        assert {change["table"] for change in made} == {"items", "many", "empty"}
        found = rows(content)
        assert {op for op, _, _ in found} == {"insert"}
        assert [row["id"] for _, table, row in found if table == "many"] == list(range(1, 2501))
        assert [row["id"] for _, table, row in found if table == "items"] == [1, 2]

    run(path, scenario)


@pytest.mark.fault("N5")
def test_what_is_committed_while_the_content_is_sent_is_not_lost(
    database: MakeDatabase, write: Write
) -> None:
    """Rows change, come and go between two chunks: the content ends as the file does."""
    path = database(sql=MANY)

    async def scenario(hub: Hub) -> None:
        subscription = hub.subscribe(snapshot=True)
        messages: list[Message] = []
        while not rows(messages):
            messages += await subscription.next()
        before = hub.head.offset
        write(
            path,
            "BEGIN; DELETE FROM many WHERE id IN (3, 2400);"
            "UPDATE many SET x='new' WHERE id IN (4, 2401);"
            "INSERT INTO many VALUES (-1, 'early'), (5000, 'late'); DELETE FROM many WHERE id=2402;"
            "COMMIT",
        )
        await until(hub, lambda: hub.head.offset > before)
        while messages[-1].type != "ready":
            messages += await subscription.next()
        meanwhile = [m for m in messages if m.type == "changes" and body(m)["time"] is not None]
        # Until the content is complete there is no position to come back with.
        assert [message.position for message in meanwhile] == [None]
        held: dict[int, str] = {}
        for message in messages:
            for change in body(message).get("changes", []):
                if change["op"] == "delete":
                    held.pop(change["key"]["id"], None)
                elif change["op"] != "schema":
                    held[change["after"]["id"]] = change["after"]["x"]
        wanted = {i: f"x{i}" for i in range(1, 2501) if i not in (3, 2400, 2402)}
        assert held == wanted | {4: "new", 2401: "new", -1: "early", 5000: "late"}
        assert messages[-1].position == str(hub.head.position)

    run(path, scenario)


def test_a_schema_change_in_mid_content_begins_it_anew(
    database: MakeDatabase, write: Write
) -> None:
    """The tables being sent are others now: a greeting with the new ones, a reset, all rows."""
    path = database(sql=MANY)

    async def scenario(hub: Hub) -> None:
        subscription = hub.subscribe(snapshot=True)
        messages: list[Message] = []
        while not rows(messages):
            messages += await subscription.next()
        before = hub.head.offset
        write(path, "ALTER TABLE many ADD COLUMN y DEFAULT 7")
        await until(hub, lambda: hub.head.offset > before)
        while messages[-1].type != "ready":
            messages += await subscription.next()
        order = types(messages)
        again = len(order) - 1 - order[::-1].index("reset")
        assert order[again - 1] == "hello"
        assert body(messages[again - 1])["tables"][0]["columns"] == ["id", "x", "y"]
        assert body(messages[again]) == {"type": "reset", "reason": "start", "snapshot": True}
        assert [row["y"] for _, _, row in rows(messages[again:])] == [7] * 2500

    run(path, scenario)


# Coming back


def test_a_client_that_returns_gets_all_that_it_missed(
    database: MakeDatabase, write: Write
) -> None:
    """From any position it has seen: each later changeset once, in order, then `ready`."""
    path = database()

    async def scenario(hub: Hub) -> None:
        listener = Listener(hub.subscribe())
        seen = [await listener.ready()]
        for number in range(4):
            write(path, f"INSERT INTO items VALUES ({number + 10}, 'n', NULL)")
            seen += await listener.until("changes")
        for index, message in enumerate(seen):
            # A position counts, whether content was asked for as well or not.
            for snapshot in (False, True):
                returned = hub.subscribe(since=message.position, snapshot=snapshot)
                hello, *missed, ready = await Listener(returned).until("ready")
                assert hello.type == "hello"
                assert missed == seen[index + 1 :]
                assert ready.position == seen[-1].position

    run(path, scenario)


def test_who_has_much_to_catch_up_with_lets_others_have_their_turn(
    database: MakeDatabase, write: Write
) -> None:
    """Each time it takes what is there already, and may never have to wait for room itself."""
    path = database(sql=MANY)

    async def scenario(hub: Hub) -> None:
        since, turns = str(hub.head.position), 0
        write(path, "UPDATE many SET x = printf('%.400c', 'x')")
        await until(hub, lambda: str(hub.head.position) != since)
        returned, types_seen = hub.subscribe(since=since), set[str]()

        async def another() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(another())
        batches = 0
        while "ready" not in types_seen:
            before = turns
            types_seen.update(types(await returned.next()))
            batches += 1
            assert turns > before
        assert batches > 2
        task.cancel()

    run(path, scenario)


def test_positions_outlast_the_hub(database: MakeDatabase, write: Write) -> None:
    """What was committed while nobody watched comes on return, as one changeset."""
    path, positions = database(), list[str]()

    async def first(hub: Hub) -> None:
        positions.append(str(hub.head.position))

    async def second(hub: Hub) -> None:
        listener = Listener(hub.subscribe(since=positions[0]))
        hello, missed, ready = await listener.until("ready")
        assert hello.type == "hello"
        assert rows([missed]) == [("insert", "items", {"id": 3, "name": "away", "value": None})]
        assert ready.position == missed.position

    run(path, first)
    write(path, "INSERT INTO items VALUES (3, 'away', NULL)")
    run(path, second)


@pytest.mark.parametrize("snapshot", [False, True])
@pytest.mark.parametrize(
    ("since", "reason"),
    [
        ("{epoch}:0~{hash}", "position_expired"),
        ("{epoch}:9~0000", "unknown_epoch"),
        ("zzzzzz:1~0000", "unknown_epoch"),
    ],
    ids=["expired", "future", "other epoch"],
)
@pytest.mark.fault("N2")
def test_a_position_there_is_no_way_on_from_is_a_reset(
    database: MakeDatabase, write: Write, since: str, reason: str, snapshot: bool
) -> None:
    """The reason is named, the content follows if it was asked for, and then it is live."""
    path = database()

    async def scenario(hub: Hub) -> None:
        start = hub.head.position
        listener = Listener(hub.subscribe())
        await listener.ready()
        for number in range(4):
            write(path, f"INSERT INTO items VALUES ({number + 10}, 'n', NULL)")
            await listener.until("changes")
        asked = since.format(epoch=start.epoch, hash=start.hash)
        returned = Listener(hub.subscribe(since=asked, snapshot=snapshot))
        hello, reset, *content, ready = await returned.until("ready")
        assert hello.type == "hello"
        assert body(reset) == {"type": "reset", "reason": reason, "snapshot": snapshot}
        assert ready.position == str(hub.head.position)
        assert len(rows(content)) == (6 if snapshot else 0)
        write(path, "DELETE FROM items WHERE id=1")
        assert (await returned.changes())["changes"][0]["op"] == "delete"

    run(path, scenario, limits=Limits(changesets=2))


@pytest.mark.fault("N2")
def test_what_cannot_be_understood_is_refused_at_once(database: MakeDatabase) -> None:
    """A malformed position, a table there is not: an error, and no subscription is left behind."""

    async def scenario(hub: Hub) -> None:
        for since in ("", "x", f"{hub.head.position} "):
            with pytest.raises(MalformedPosition):
                hub.subscribe(since=since)
        with pytest.raises(UnknownTable) as caught:
            hub.subscribe(wanted=Filter.of(tables=["items", "nothing"]))
        assert caught.value.table == "nothing"
        assert hub.health().clients == 0

    run(database(), scenario)


# Filters


def test_a_filter_lets_through_what_concerns_its_tables(
    database: MakeDatabase, write: Write
) -> None:
    """Others see nothing of other tables, but their position moves with every changeset."""
    path = database(sql=ITEMS + OTHER + "INSERT INTO other VALUES ('a', 1);")

    async def scenario(hub: Hub) -> None:
        filtered = Listener(hub.subscribe(snapshot=True, wanted=Filter.of(tables={"other"})))
        everything = Listener(hub.subscribe())
        await everything.ready()
        hello, *content, _ = await filtered.until("ready")
        assert [table["name"] for table in body(hello)["tables"]] == ["other"]
        assert rows(content) == [("insert", "other", {"k": "a", "x": 1})]
        write(path, "INSERT INTO items VALUES (3, 'n', NULL)")
        write(path, "BEGIN; DELETE FROM items; DELETE FROM other; COMMIT")
        for expected in ([], ["other"]):
            (one,), (all_,) = await filtered.until("changes"), await everything.until("changes")
            assert one.position == all_.position
            assert [change["table"] for change in body(one)["changes"]] == expected
        assert body(one)["time"] == body(all_)["time"]

    run(path, scenario)


def test_no_tables_at_all_is_a_filter_too(database: MakeDatabase, write: Write) -> None:
    """An empty choice lets nothing through; it is not the same as no choice."""
    path = database()

    async def scenario(hub: Hub) -> None:
        listener = Listener(hub.subscribe(snapshot=True, wanted=Filter.of(tables=[])))
        hello, reset, ready = await listener.until("ready")
        assert (body(hello)["tables"], reset.type, ready.type) == ([], "reset", "ready")
        write(path, "DELETE FROM items")
        assert (await listener.changes())["changes"] == []

    run(path, scenario)


def test_a_filtered_reader_of_a_new_epoch_gets_its_changes_and_no_older_ones(
    database: MakeDatabase, write: Write, tmp_path: Path
) -> None:
    """A file that cannot be compared begins a new epoch, whose offsets begin anew as well."""
    path = database()
    other = tmp_path / "other.db"
    write(other, f"PRAGMA encoding='UTF-16le'; {ITEMS}")

    async def scenario(hub: Hub) -> None:
        listener = Listener(hub.subscribe(wanted=Filter.of(tables=["items"])))
        await listener.ready()
        write(path, "UPDATE items SET value='old epoch' WHERE id=1")
        assert (await listener.changes())["changes"][0]["after"]["value"] == "old epoch"
        other.rename(path)
        hello, reset, ready = await listener.until("ready")
        assert body(reset) == {"type": "reset", "reason": "replaced", "snapshot": False}
        assert (hello.type, ready.position) == ("hello", str(hub.head.position))
        write(path, "UPDATE items SET value='new epoch' WHERE id=1")
        assert (await listener.changes())["changes"][0]["after"]["value"] == "new epoch"

    run(path, scenario)


# Many clients


def test_a_message_is_encoded_once_for_all(database: MakeDatabase, write: Write) -> None:
    """Every subscriber without a filter gets the very same bytes."""
    path = database()

    async def scenario(hub: Hub) -> None:
        listeners = [Listener(hub.subscribe()) for _ in range(3)]
        for listener in listeners:
            await listener.ready()
        write(path, "DELETE FROM items")
        first, *others = [await listener.next() for listener in listeners]
        assert first.type == "changes"
        assert all(other.data is first.data for other in others)

    run(path, scenario)


@pytest.mark.fault("N3")
def test_a_stuck_subscriber_holds_nobody_up_and_costs_nothing(
    database: MakeDatabase, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that never asks is a number; what it missed it gets from disk, whole and in order."""
    monkeypatch.setattr(ring_module, "_RING_ENTRIES", 8)
    path = database()

    async def scenario(hub: Hub) -> None:
        stuck, quick = Listener(hub.subscribe()), Listener(hub.subscribe())
        await stuck.ready()
        await quick.ready()
        received: list[dict[str, Any]] = []
        for number in range(5):
            values = "".join(
                f"INSERT INTO items VALUES({100 * number + n + 10}, 'n', hex(zeroblob(500)));"
                for n in range(20)
            )
            write(path, values)
            last = 100 * number + 29
            while not received or received[-1]["changes"][-1]["key"] != {"id": last}:
                received.append(await quick.changes())
            assert hub._ring is not None
            assert len(hub._ring._entries) <= 8
        assert hub.health().clients == 2
        behind: list[dict[str, Any]] = []
        while len(behind) < len(received):
            behind.append(await stuck.changes())
        assert behind == received

    run(path, scenario)


def test_a_subscriber_that_fell_off_the_history_is_reset(
    database: MakeDatabase, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too slow for what is kept: `position_expired`, the content if it was wanted, live again."""
    monkeypatch.setattr(ring_module, "_RING_ENTRIES", 2)
    path = database()

    async def scenario(hub: Hub) -> None:
        slow = Listener(hub.subscribe(snapshot=True))
        await slow.ready()
        quick = Listener(hub.subscribe())
        await quick.ready()
        for number in range(8):
            write(path, f"INSERT INTO items VALUES ({number + 10}, 'n', NULL)")
            await quick.until("changes")
        hello, reset, *content, ready = await slow.until("ready")
        assert hello.type == "hello"
        assert body(reset)["reason"] == "position_expired"
        assert len(rows(content)) == 10
        assert ready.position == str(hub.head.position)

    run(path, scenario, limits=Limits(changesets=3))


def test_closed_subscriptions_are_not_counted(database: MakeDatabase) -> None:
    """Closing is idempotent, and `with` closes."""

    async def scenario(hub: Hub) -> None:
        with hub.subscribe() as first, hub.subscribe():
            assert hub.health().clients == 2
            first.close()
            first.close()
            assert hub.health().clients == 1
        assert hub.health().clients == 0

    run(database(), scenario)


# How the file is


def test_silence_is_broken_by_heartbeats(database: MakeDatabase, write: Write) -> None:
    """Where nothing happens the position is repeated; it is the one to come back with."""
    path = database()

    async def scenario(hub: Hub) -> None:
        listener = Listener(hub.subscribe())
        ready = await listener.ready()
        clock = asyncio.get_running_loop().time
        began = clock()
        for _ in range(3):
            heartbeat = await listener.next()
            assert body(heartbeat) == {"type": "heartbeat", "position": ready.position}
        assert clock() - began >= 3 * 0.05
        write(path, "DELETE FROM items WHERE id=1")
        changes = (await listener.until("changes"))[-1]
        assert body(await listener.next()) == {"type": "heartbeat", "position": changes.position}

    run(path, scenario, heartbeat=0.05)


def test_a_file_that_goes_and_comes_is_told(database: MakeDatabase, write: Write) -> None:
    """`missing`, then `ok` and what changed meanwhile; never a delete for a missing file."""
    path = database()

    async def scenario(hub: Hub) -> None:
        listener = Listener(hub.subscribe())
        await listener.ready()
        away = path.with_name("away.db")
        path.rename(away)
        (missing,) = await listener.until("status")
        assert body(missing)["state"] == hub.health().status.state == "missing"
        assert body(missing)["detail"]
        # Who comes now is greeted, told how it is, and gets the content all the same.
        hello, status, *content, _ = await Listener(hub.subscribe(snapshot=True)).until("ready")
        assert (hello.type, body(status)["state"]) == ("hello", "missing")
        assert len(rows(content)) == 2
        write(away, "UPDATE items SET value='away' WHERE id=2")
        away.rename(path)
        told: list[dict[str, Any]] = []
        while {message["type"] for message in told} != {"status", "changes"}:
            told.append(body(await listener.next()))
        assert [m["state"] for m in told if m["type"] == "status"] == ["ok"]
        assert [c["op"] for m in told if m["type"] == "changes" for c in m["changes"]] == ["update"]

    run(path, scenario)


def test_a_subscriber_before_the_first_copy_hears_why_it_waits(database: MakeDatabase) -> None:
    """There is nothing to greet with yet, so `status` comes first; `hello` when there is."""
    path = database()

    async def live() -> None:
        state = path.parent / "state"
        writer = await asyncio.create_subprocess_exec(
            "sqlite3", "-batch", str(path), stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdin.write(b"PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; SELECT 'held';\n")
        await writer.stdout.readuntil(b"held")
        async with Hub(path, state=state) as hub, asyncio.timeout(PATIENCE):
            listener = Listener(hub.subscribe(snapshot=True))
            status = await listener.next()
            assert body(status)["state"] == "locked"
            assert (hub.health().position, hub.tables()) == (None, [])
            await writer.communicate(b"COMMIT;\n")
            messages = await listener.until("ready")
            # That all is well again is said somewhere in between.
            told = [type_ for type_ in types(messages) if type_ != "status"]
            assert told == ["hello", "reset", "changes", "changes", "ready"]

    asyncio.run(live())


def test_a_reader_process_that_dies_is_replaced(database: MakeDatabase, write: Write) -> None:
    """Its clients hear of it and miss nothing."""
    path = database()

    async def scenario(hub: Hub) -> None:
        listener = Listener(hub.subscribe())
        await listener.ready()
        first = hub.reader_pid
        assert first is not None
        os.kill(first, 9)
        assert [body(m)["state"] for m in await listener.until("status")] == ["starting"]
        write(path, "DELETE FROM items WHERE id=1")
        messages = await listener.until("changes")
        assert rows(messages) == [("delete", "items", None)]
        await until(hub, lambda: hub.status.state == "ok")
        assert hub.reader_pid not in (None, first)

    run(path, scenario)


def test_health_tells_how_things_stand(database: MakeDatabase) -> None:
    """State, position, lag and clients."""

    async def scenario(hub: Hub) -> None:
        await until(hub, lambda: hub.status.state == "ok")
        with hub.subscribe():
            health = hub.health()
        assert (health.status.state, health.status.detail) == ("ok", "")
        assert health.position == str(hub.head.position)
        assert (health.lag, health.clients) == (0.0, 1)

    run(database(), scenario)


# Reading


def test_rows_come_page_by_page(database: MakeDatabase) -> None:
    """In the order of their keys, all as of a position, until there is no further page."""
    path = database(sql=MANY)

    async def scenario(hub: Hub) -> None:
        after: str | None = None
        found: list[int] = []
        while True:
            page = await hub.rows("many", after=after, limit=999)
            assert page.position == str(hub.head.position)
            inserts = wire.decode_messages(b"[" + page.inserts + b"]")
            assert len(inserts) <= 999
            found += [insert["key"]["id"] for insert in inserts]
            after = page.next
            if after is None:
                break
        assert found == list(range(1, 2501))
        with pytest.raises(UnknownTable):
            await hub.rows("nothing")
        for token in ("", "x", "W10", "e30", "many"):
            with pytest.raises(MalformedPosition):
                await hub.rows("many", after=token)

    run(path, scenario)


def test_definitions_can_be_had(database: MakeDatabase) -> None:
    """What clients must know of the tables, and what makes them."""
    path = database(sql=ITEMS + OTHER)

    async def scenario(hub: Hub) -> None:
        assert hub.tables() == [
            Table("items", ("id",), ("id", "name", "value")),
            Table("other", ("k",), ("k", "x")),
        ]
        made = await hub.made(["other", "nothing"])
        assert made.position == str(hub.head.position)
        (change,) = wire.decode_messages(bytes(made.changes))
        assert change["sql"] == {"before": None, "after": OTHER.rstrip(";")}

    run(path, scenario)


def test_a_large_value_travels_beside_the_stream(database: MakeDatabase, write: Write) -> None:
    """Over 256 KiB: its digest in the message, its bytes on request, also those of the content."""
    path = database(sql="CREATE TABLE t(x); INSERT INTO t VALUES (zeroblob(300000));")

    async def scenario(hub: Hub) -> None:
        zeros = hashlib.sha256(bytes(300_000)).hexdigest()
        listener = Listener(hub.subscribe(snapshot=True))
        found = rows(await listener.until("ready"))
        tag = {"$large": {"type": "blob", "bytes": 300_000, "sha256": zeros}}
        assert found == [("insert", "t", {"x": tag})]
        assert hub.value(zeros) == ("blob", bytes(300_000))
        write(path, "UPDATE t SET x=hex(x)")
        (change,) = (await listener.changes())["changes"]
        text = b"0" * 600_000
        assert change["after"]["x"]["$large"]["sha256"] == hashlib.sha256(text).hexdigest()
        assert hub.value(hashlib.sha256(text).hexdigest()) == ("text", text)
        assert hub.value("0" * 64) is None

    run(path, scenario)


# The end


def test_the_end_of_the_hub_is_told_to_all_who_wait(database: MakeDatabase) -> None:
    """`HubClosed` for who waits, who asks later and who is new; closing again does nothing."""
    path = database()

    async def live() -> None:
        async with opened(path) as hub:
            waiting, greeted, fresh = hub.subscribe(), hub.subscribe(), hub.subscribe()
            await Listener(waiting).ready()
            await Listener(greeted).ready()
            task = asyncio.create_task(waiting.next())
            asking = asyncio.create_task(hub.rows("items"))
            pid = hub.reader_pid
            assert pid is not None
            await hub.aclose()
            for ended in (task, greeted.next(), fresh.next(), greeted.next()):
                with pytest.raises(HubClosed):
                    await ended
            with pytest.raises(ReaderStopped):
                await asking
            with pytest.raises(ReaderStopped):
                await hub.rows("items")
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
            await hub.aclose()
            assert hub.reader_pid is None
            assert hub.value("0" * 64) is None

    asyncio.run(live())


async def _open_and_close(path: Path, state: Path) -> None:
    async with Hub(path, state=state):
        raise AssertionError("it opened")


def test_where_there_is_no_database_the_hub_says_so(tmp_path: Path) -> None:
    """Missing, not a database, not a file: an error with the state, and nothing is made there."""
    text = tmp_path / "text.db"
    text.write_text("this is not a database, but long enough to have a header" * 10)
    folder = tmp_path / "folder.db"
    folder.mkdir()
    cases = {
        tmp_path / "missing.db": "missing",
        tmp_path / "no" / "such" / "place.db": "missing",
        text: "not_a_database",
        folder: "not_a_database",
    }
    for path, state in cases.items():
        with pytest.raises(DatabaseUnavailable) as caught:
            asyncio.run(_open_and_close(path, tmp_path / "state"))
        assert caught.value.state == state
        assert caught.value.path == str(path)
        assert str(path) in str(caught.value)
    assert {child.name for child in tmp_path.iterdir()} == {"text.db", "folder.db", "state"}


def test_a_state_directory_that_cannot_be_had_is_said(database: MakeDatabase) -> None:
    """A file in its place is an error before anything is watched."""
    path = database()
    taken = path.with_name("taken")
    taken.write_text("")
    with pytest.raises(StateUnavailable) as caught:
        asyncio.run(_open_and_close(path, taken))
    assert caught.value.directory == str(taken)
