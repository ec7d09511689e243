"""What is excluded is in nothing that is kept or sent, however it changes."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeDatabase, Write
from tests.core.listener import PATIENCE, Listener, body, until
from tests.oracle.contents import Contents, contents, contents_of_file
from tests.oracle.follower import difference
from watcher import Position, UnknownTable, apply, watch, wire
from watcher.changes import Change
from watcher.errors import BadFilter
from watcher.hub import Filter, Hub, Message
from watcher.sqlite.exclusion import Exclusion
from watcher.stream import _whole

# In every value, default and expression that is excluded.
MARK = b"S3CRET"
EXCLUDED = ("vault", "items.secret")
BASE = """
CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT, secret TEXT DEFAULT 'S3CRET-0', note TEXT);
CREATE TABLE vault(code TEXT PRIMARY KEY, owner REFERENCES items) WITHOUT ROWID;
CREATE TABLE other(k TEXT PRIMARY KEY, x);
INSERT INTO items VALUES (1, 'Test', 'S3CRET-1', 'a'), (2, 'Lamp', 'S3CRET-2', 'b');
INSERT INTO vault VALUES ('S3CRET-code', 1);
INSERT INTO other VALUES ('k', 1);
"""
MANY = "WITH RECURSIVE n(i) AS (VALUES(10) UNION ALL SELECT i+1 FROM n WHERE i<1200)"
# In this order; each is a way in which a change can come.
STEPS = (
    "INSERT INTO items VALUES (3, 'Fan', 'S3CRET-3', NULL); INSERT INTO vault VALUES ('S3CRET', 2)",
    "UPDATE items SET secret = 'S3CRET-new', note = 'c' WHERE id = 1",
    "UPDATE items SET secret = 'S3CRET-alone'; UPDATE vault SET owner = 1",
    f"{MANY} INSERT INTO items SELECT i, 'n' || i, 'S3CRET-' || i, i FROM n",
    "UPDATE items SET secret = 'S3CRET' || id, note = id / 2 WHERE id > 20",
    "UPDATE items SET secret = hex(zeroblob(300000)) || 'S3CRET' WHERE id = 2",
    "DELETE FROM items WHERE id > 1000; DELETE FROM vault WHERE owner = 2",
    "VACUUM",
    "ALTER TABLE items ADD COLUMN extra DEFAULT 'x'; UPDATE items SET secret = 'S3CRET' WHERE id=5",
    "ALTER TABLE items DROP COLUMN secret",
    "ALTER TABLE items ADD COLUMN SECRET TEXT DEFAULT 'S3CRET-later'",
    "UPDATE items SET secret = 'S3CRET-9', note = 'd' WHERE id < 50",
    "ALTER TABLE items RENAME COLUMN note TO remark",
    "CREATE INDEX by_it ON items(secret) WHERE secret > 'S3CRET'; CREATE INDEX by_n ON items(name)",
    "CREATE TRIGGER log AFTER UPDATE ON items WHEN new.secret = 'S3CRET' BEGIN SELECT 1; END",
    "CREATE VIEW v AS SELECT code || 'S3CRET' FROM vault; CREATE VIEW w AS SELECT k FROM other",
    "BEGIN; CREATE TABLE n(id INTEGER PRIMARY KEY, secret DEFAULT 'S3CRET', name,"
    " UNIQUE(secret, id)); INSERT INTO n SELECT id, secret, name FROM items WHERE id < 9;"
    " DROP TABLE items; ALTER TABLE n RENAME TO items; COMMIT",
    "DROP TABLE vault; CREATE TABLE vault(a, b DEFAULT 'S3CRET'); INSERT INTO vault(a) VALUES (1)",
    "CREATE TABLE child(r REFERENCES vault, i REFERENCES items(secret) DEFAULT 1)",
    "DROP TABLE items; CREATE TABLE items(secret PRIMARY KEY, name); INSERT INTO items"
    " VALUES ('S3CRET-key', 'seen by nobody'); DROP TABLE other; CREATE TABLE other(k, x)",
    "DROP TABLE items; CREATE TABLE items(id INTEGER PRIMARY KEY, name, secret AS ('S3CRET'), z);"
    "INSERT INTO items(name, z) VALUES ('last', 2.5)",
)


def only(exclusion: Exclusion, path: Path) -> Contents:
    """What a file holds without the excluded things; `items` without a key of its own is left out.

    Args:
        exclusion: what is left out.
        path: the database.
    """
    with closing(sqlite3.connect(path)) as db:
        keys = {
            name: {row[1] for row in db.execute(f"PRAGMA table_info({name})") if row[5]}
            for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type='table'")
        }
    found = {}
    for name, (columns, rows) in contents_of_file(path).items():
        hidden = {c for c in columns if exclusion.hides_column(name, c)}
        if exclusion.hides_table(name) or hidden & keys[name]:
            continue
        places = [i for i, column in enumerate(columns) if column not in hidden]
        kept = [(row[0], *(row[1 + 2 * i + j] for i in places for j in (0, 1))) for row in rows]
        found[name] = ([columns[i] for i in places], sorted(kept, key=repr))
    return found


class Client:
    """Builds a replica of all that is sent.

    Args:
        hub: what to follow.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._listener = Listener(hub.subscribe(snapshot=True))
        self._assembler = wire.Assembler()
        self.replica = sqlite3.connect(":memory:", isolation_level=None)
        self.sent: list[Message] = []

    async def until_equal(self, wanted: Contents) -> None:
        """Takes messages until the replica holds what it should."""
        try:
            async with asyncio.timeout(8):
                while contents(self.replica) != wanted:
                    message = await self._listener.next()
                    self.sent.append(message)
                    changeset = self._assembler.take(wire.decode_object(message.data))
                    if changeset is not None:
                        apply(self.replica, _whole(changeset, self._hub))
        except TimeoutError:
            held = contents(self.replica)
            raise AssertionError(f"{difference(held, wanted)}; {self._hub.status}") from None

    def text(self) -> bytes:
        """All that was sent."""
        return b"\n".join(message.data for message in self.sent)


def kept(state: Path) -> bytes:
    """All bytes of the history."""
    return b"".join(path.read_bytes() for path in state.glob("state.db*"))


@asynccontextmanager
async def watched(path: Path, exclusion: Exclusion, **options: Any) -> AsyncIterator[Hub]:
    """A hub that has something to tell."""
    async with (
        asyncio.timeout(PATIENCE),
        Hub(path, state=path.parent / "state", exclusion=exclusion, **options) as hub,
    ):
        await until(hub, lambda: hub.head.epoch and hub.status.state in {"ok", "partial"})
        yield hub


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]  # a coroutine function


# However it changes


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_nothing_excluded_is_kept_or_sent(database: MakeDatabase, write: Write, mode: str) -> None:
    """Values, defaults, statements and names; the rest stays exact, live and by content."""
    path, exclusion = database(mode=mode, sql=BASE), Exclusion.of(exclude=EXCLUDED)
    state = path.parent / "state"

    async def scenario() -> None:
        async with watched(path, exclusion) as hub:
            client = Client(hub)
            for number, step in enumerate(STEPS):
                write(path, f"{step}; INSERT OR REPLACE INTO other VALUES ('step', {number})")
                await client.until_equal(only(exclusion, path))
                assert MARK not in kept(state), step
                late = Client(hub)
                await late.until_equal(only(exclusion, path))
                client.sent += late.sent
            text = client.text()
            assert MARK not in text
            assert b"by_n" in text
            assert b'"w"' in text
            for name in (b"secret", b"SECRET", b"vault", b"by_it", b'"log"', b'"v"'):
                assert name not in text, name
        assert MARK not in kept(state)

    run(scenario)


def test_a_change_of_excluded_things_alone_is_none(database: MakeDatabase, write: Write) -> None:
    """No changeset, no number in `changed`, no position."""
    path = database(mode="wal", sql=BASE)

    # As long as one connection is open the log stays, and with it the number of commits.
    keeper = sqlite3.connect(path)
    keeper.execute("SELECT * FROM items").fetchall()

    async def scenario() -> None:
        async with watched(path, Exclusion.of(exclude=EXCLUDED)) as hub:
            listener = Listener(hub.subscribe())
            await listener.ready()
            before = hub.head.offset
            write(path, "UPDATE items SET secret = 'S3CRET'; DELETE FROM vault;")
            write(path, "ALTER TABLE items DROP COLUMN secret; DROP TABLE vault")
            write(path, "ALTER TABLE items ADD COLUMN secret; UPDATE items SET secret=id, note='z'")
            message = await listener.changes()
            assert [change["changed"] for change in message["changes"]] == [["note"], ["note"]]
            assert message["commits"] == 1
            assert Position.parse(message["position"]).offset == before + 1

    with closing(keeper):
        run(scenario)


def test_names_decide(database: MakeDatabase, write: Write) -> None:
    """What gets an excluded name goes, what gets another name comes: whole, and as it is."""
    path, exclusion = database(sql=BASE), Exclusion.of(exclude=["vault", "items.note"])

    async def scenario() -> None:
        async with watched(path, exclusion) as hub:
            client = Client(hub)
            for step in (
                "ALTER TABLE items RENAME COLUMN note TO seen",
                "ALTER TABLE items RENAME COLUMN name TO NOTE",
                "ALTER TABLE vault RENAME TO open_vault",
                "ALTER TABLE items RENAME TO Vault",
                "ALTER TABLE vault RENAME TO items",
                # Equal cells, but another column of them is seen.
                "BEGIN; ALTER TABLE items RENAME COLUMN secret TO tmp; ALTER TABLE items RENAME "
                "COLUMN note TO secret; ALTER TABLE items RENAME COLUMN tmp TO note; COMMIT",
            ):
                write(path, step)
                await client.until_equal(only(exclusion, path))

    run(scenario)


def test_a_table_whose_key_is_excluded_is_left_out(database: MakeDatabase, write: Write) -> None:
    """The status says so, without the name, and nothing is tried again and again."""
    path = database(sql=BASE)

    async def scenario() -> None:
        exclusion = Exclusion.of(exclude=["items.ID", "other.k", "other.x"])
        async with watched(path, exclusion) as hub:
            assert [table.name for table in hub.tables()] == ["vault"]
            assert hub.status.state == "partial"
            reason = "a column of its key is excluded, and nothing else tells its rows apart"
            assert hub.status.detail.split("; ") == [
                f'table "{name}" cannot be read: {reason}' for name in ("items", "other")
            ]
            with pytest.raises(UnknownTable):
                await hub.rows("items")
            write(path, "DROP TABLE other; CREATE TABLE other(k, x, y)")
            await until(hub, lambda: len(hub.tables()) == 2)
            assert hub.tables()[1].columns == ("y",)
            write(path, "DROP TABLE other; CREATE TABLE other(k, x)")
            await until(hub, lambda: "all its columns" in hub.status.detail)
            assert [table.name for table in hub.tables()] == ["vault"]

    run(scenario)


def test_only_the_named_tables_are_watched(database: MakeDatabase, write: Write) -> None:
    """Also where one refers to another, and no view tells of the others."""
    path, exclusion = database(sql=BASE), Exclusion.of(tables=["VAULT", "later"])

    async def scenario() -> None:
        async with watched(path, exclusion) as hub:
            client = Client(hub)
            await client.until_equal(only(exclusion, path))
            write(path, "UPDATE items SET note = 'unseen'; CREATE VIEW v AS SELECT * FROM items")
            write(path, "CREATE TABLE later(a); INSERT INTO later VALUES (1)")
            await client.until_equal(only(exclusion, path))
            assert [table.name for table in hub.tables()] == ["vault", "later"]
            assert b"items" not in client.text()

    run(scenario)


def test_a_damaged_schema_is_not_quoted(database: MakeDatabase, write: Write) -> None:
    """SQLite's words would name what is in it."""
    path = database(sql=f"{BASE} CREATE INDEX by_it ON items(secret);")

    async def scenario() -> None:
        async with watched(path, Exclusion.of(exclude=EXCLUDED)) as hub:
            sql = "UPDATE sqlite_schema SET sql = replace(sql, 'secret', 'S3CRET')"
            write(path, f"PRAGMA writable_schema=1; {sql} WHERE name = 'by_it'")
            await until(hub, lambda: hub.status.state == "corrupt")
            assert hub.status.detail == "cannot be read by SQLite"

    run(scenario)


# By whatever way one asks


def test_it_cannot_be_asked_for(database: MakeDatabase) -> None:
    """Neither by rows nor by a filter."""
    path = database(sql=BASE)

    async def scenario() -> None:
        async with watched(path, Exclusion.of(exclude=EXCLUDED)) as hub:
            rows = await hub.rows("items")
            assert rows.inserts.startswith(
                b'{"op":"insert","table":"items","key":{"id":1},'
                b'"before":null,"after":{"id":1,"name":"Test","note":"a"}}'
            )
            with pytest.raises(UnknownTable):
                await hub.rows("vault")
            with pytest.raises(UnknownTable):
                hub.subscribe(wanted=Filter.of(tables=["vault"]))
            for filter_ in (
                Filter.of(columns=["secret"]),
                Filter.of(tables=["items"], where="secret = 'S3CRET-1'"),
                Filter.of(tables=["items"], where="(SELECT code FROM vault) = 'S3CRET-code'"),
            ):
                with pytest.raises(BadFilter):
                    hub.subscribe(wanted=filter_)
            made = bytes((await hub.made(["items", "vault"])).changes)
            assert b"secret" not in made
            assert b"vault" not in made

    run(scenario)


def test_the_library_takes_it(database: MakeDatabase, write: Write) -> None:
    """A single text is a mistake that would exclude nothing."""
    path = database(sql=BASE)
    with pytest.raises(TypeError):
        watch(path, exclude="items")

    async def scenario() -> None:
        async with asyncio.timeout(PATIENCE), watch(path, exclude=EXCLUDED) as stream:
            write(path, "UPDATE items SET secret = 'S3CRET', note = 'c' WHERE id = 1")
            (change,) = (await anext(stream)).changes
            assert isinstance(change, Change)
            assert change.after == {"id": 1, "name": "Test", "note": "c"}

    run(scenario)


# When it starts again


async def _reset_of(hub: Hub, since: str) -> str | None:
    listener = Listener(hub.subscribe(since=since))
    messages = await listener.until("ready")
    reasons = [body(message)["reason"] for message in messages if message.type == "reset"]
    return reasons[0] if reasons else None


@pytest.mark.parametrize("end", ["stopped", "killed", "killed while it was deleted"])
def test_another_exclusion_begins_anew(database: MakeDatabase, write: Write, end: str) -> None:
    """What was kept by another rule is not in the file any more, not even in a free page."""
    path = database(mode="wal", sql=BASE)
    state = path.parent / "state"
    position = ""

    async def told_all() -> None:
        nonlocal position
        async with watched(path, Exclusion()) as hub:
            write(path, "UPDATE items SET secret = 'S3CRET-told' || id")
            await until(hub, lambda: hub.head.offset)
            position = str(hub.head.position)
            saved = {file.name: file.read_bytes() for file in state.glob("state.db*")}
        if end == "stopped":
            (state / "state.db.damaged").write_bytes(kept(state))
            return
        # As it lies after a crash, with a log beside it.
        for name, data in saved.items():
            (state / name).write_bytes(data)
        assert MARK in saved["state.db-wal"]
        if end != "killed":
            (state / "state.db").unlink()

    async def told_less(exclusion: Exclusion, expected: str | None) -> None:
        async with watched(path, exclusion) as hub:
            assert await _reset_of(hub, position) == expected
            assert (MARK in kept(state)) == (exclusion.is_empty and expected is None)

    run(told_all)
    assert b"S3CRET-told" in kept(state)
    if end == "stopped":
        run(partial(told_less, Exclusion(), None))
    exclusion = Exclusion.of(exclude=EXCLUDED)
    run(partial(told_less, exclusion, "unknown_epoch"))
    assert MARK not in kept(state)

    async def resumed() -> None:
        async with watched(path, Exclusion.of(exclude=map_upper(EXCLUDED))) as hub:
            write(path, "UPDATE items SET note = 'after'")
            await until(hub, lambda: hub.head.offset)
            return_to = str(hub.head.position)
        async with watched(path, exclusion) as hub:
            assert await _reset_of(hub, return_to) is None
        async with watched(path, Exclusion.of(tables=["items"])) as hub:
            assert await _reset_of(hub, return_to) == "unknown_epoch"

    run(resumed)


def map_upper(names: Collection[str]) -> list[str]:
    return [name.upper() for name in names]


# At random

_NAMES = ("items", "vault", "other", "t1")
_COLUMNS = ("name", "secret", "note", "x")


def _statements(seed: int) -> Iterator[str]:
    chance = random.Random(seed)  # nobody has to be kept from guessing it
    for number in range(60):
        table, (column, more) = chance.choice(_NAMES), chance.choices(_COLUMNS, k=2)
        value = chance.choice(["1", "1.0", "NULL", "'a'", "x'00ff'", f"{number}", "-0.0"])
        yield chance.choice([
            f"INSERT OR REPLACE INTO {table} DEFAULT VALUES",
            f"INSERT OR REPLACE INTO {table}({column}) VALUES ({value})",
            f"INSERT INTO {table}({column}) SELECT 1 UNION SELECT 2 UNION SELECT {value}",
            f"UPDATE {table} SET {column} = {value}",
            f"UPDATE {table} SET {column} = {more}, {more} = {value} WHERE rowid % 2",
            f"DELETE FROM {table} WHERE rowid % 3 = 0",
            f"CREATE TABLE {table}(id INTEGER PRIMARY KEY, {column} DEFAULT {value}, note)",
            f"CREATE TABLE {table}({column} TEXT PRIMARY KEY, secret, name)",
            f"CREATE TABLE {table}(secret, x, {column} COLLATE NOCASE, UNIQUE(secret, x))",
            f"CREATE TABLE {table}(name, x, secret, PRIMARY KEY(name, x)) WITHOUT ROWID",
            # No real number: what the rows there are hold then differs from SQLite to SQLite.
            f"ALTER TABLE {table} ADD COLUMN {column} DEFAULT {number}",
            f"ALTER TABLE {table} DROP COLUMN {column}",
            f"ALTER TABLE {table} RENAME COLUMN {column} TO {more}",
            f"ALTER TABLE {table} RENAME TO {chance.choice(_NAMES)}",
            f"DROP TABLE {table}",
            f"CREATE INDEX i{number} ON {table}({column})",
            "VACUUM",
        ])  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_the_replica_is_the_file_without_what_is_excluded(
    database: MakeDatabase, seed: int
) -> None:
    """Whatever statements come in whatever order."""
    path = database(mode=("wal", "delete")[seed % 2], sql=BASE)
    exclusion = Exclusion.of(exclude=["vault", "items.secret", "t1.x", "other.note"])

    async def scenario() -> None:
        async with watched(path, exclusion) as hub:
            client = Client(hub)
            # The reader is another process.
            with closing(sqlite3.connect(path, isolation_level=None)) as writer:
                for number, statement in enumerate(_statements(seed)):
                    with suppress(sqlite3.DatabaseError):  # it may be nonsense by chance
                        writer.execute(statement)
                    if number % 3 == 0:
                        await client.until_equal(only(exclusion, path))
            await client.until_equal(only(exclusion, path))
            late = Client(hub)
            await late.until_equal(only(exclusion, path))

    run(scenario)
