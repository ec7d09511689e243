"""`watch()`: changesets as an asynchronous iterator, and nothing left behind at its end."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import sys
import tempfile
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ITEMS, MakeDatabase, Write
from tests.core.listener import PATIENCE
from tests.oracle.contents import contents, contents_of_file
from watcher import (
    Change,
    ChangeSet,
    DatabaseUnavailable,
    MalformedPosition,
    Op,
    Position,
    ResetReason,
    SchemaChange,
    UnknownTable,
    Watch,
    apply,
    watch,
)
from watcher.changes import Row
from watcher.history import Limits

INSERT = "INSERT INTO items VALUES ({0}, 'n{0}', NULL)"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary directories are made; none may be left at the end of a test."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    yield directory
    gc.collect()
    assert list(directory.iterdir()) == []


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(PATIENCE):
            await scenario()

    asyncio.run(limited())


def reader_of(stream: Watch) -> int:
    """The process id of a stream's reader."""
    assert stream._hub is not None
    pid = stream._hub.reader_pid
    assert pid is not None
    return pid


def has_ended(pid: int) -> bool:
    """Whether a process is there no more, not even as one that waits to be asked for its end."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def live(stream: Watch) -> asyncio.Task[ChangeSet]:
    """Begins to iterate: what is committed from now on is what the task waits for."""
    task = asyncio.ensure_future(anext(stream))
    while not (stream._subscription is not None and stream._subscription._ready):
        await asyncio.wait((task,), timeout=0.005)
        if task.done():
            task.result()
    return task


def ops(changeset: ChangeSet) -> list[Op]:
    return [change.op for change in changeset.changes]


@pytest.mark.parametrize("options", [{}, {"poll": 0.02}], ids=["events", "poll"])
def test_what_is_committed_comes_as_a_changeset(
    database: MakeDatabase, write: Write, options: dict[str, Any]
) -> None:
    """One transaction, one changeset: rows before and after, a time, a position."""
    path = database()

    async def scenario() -> None:
        async with watch(path, **options) as stream:
            task = await live(stream)
            write(path, f"BEGIN; {INSERT.format(7)}; UPDATE items SET value='x' WHERE id=1; COMMIT")
            changeset = await task
        update, insert = changeset.changes
        old: Row = {"id": 1, "name": "Test", "value": "123"}
        new: Row = {"id": 1, "name": "Test", "value": "x"}
        added: Row = {"id": 7, "name": "n7", "value": None}
        assert update == Change(Op.UPDATE, "items", {"id": 1}, old, new)
        assert insert == Change(Op.INSERT, "items", {"id": 7}, None, added)
        assert changeset.position is not None
        assert (changeset.position.offset, changeset.position.part) == (1, None)
        assert changeset.commits == (None if options else 1)
        assert changeset.reset is None
        assert changeset.time is not None
        assert changeset.time.tzinfo is not None

    run(scenario)


def test_plain_iteration_starts_by_itself(database: MakeDatabase, write: Write) -> None:
    """`async for` without `async with`; closing ends it, for whoever waits as well."""
    path = database()

    async def scenario() -> None:
        stream = watch(str(path), snapshot=True)
        assert (stream.status.state, stream.watched_tables) == ("starting", [])
        async for changeset in stream:
            if changeset.position is None:
                continue
            assert [table.name for table in stream.watched_tables] == ["items"]
            pid = reader_of(stream)
            if changeset.position.offset == 1:
                assert ops(changeset) == [Op.DELETE]
                break
            write(path, "DELETE FROM items WHERE id=2")
        waiting = asyncio.create_task(anext(stream))
        await asyncio.wait((waiting,), timeout=0)
        await stream.aclose()
        with pytest.raises(StopAsyncIteration):
            await waiting
        assert has_ended(pid)
        await stream.aclose()
        assert [changeset async for changeset in stream] == []

    run(scenario)


def test_who_gives_up_waiting_finds_all_when_it_asks_again(
    database: MakeDatabase, write: Write
) -> None:
    """A filter that asks SQLite takes its time, in which a time-out may come."""
    path = database(mode="wal")

    async def scenario() -> None:
        values: list[Any] = []
        async with watch(path, where="id > 0") as stream:
            updates = (f"UPDATE items SET value='{n}' WHERE id=1;" for n in range(40))
            await asyncio.to_thread(write, path, "".join(updates))
            while len(values) < 40:
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.0005):
                        changeset = await anext(stream)
                    rows = [c.after for c in changeset.changes if isinstance(c, Change)]
                    values += [row["value"] for row in rows if row is not None]
        assert values == [str(n) for n in range(40)]

    run(scenario)


def test_content_then_its_position_then_live(database: MakeDatabase, write: Write) -> None:
    """The first changeset has the reset, the last of the content is empty and has the position."""
    path = database()

    async def scenario() -> None:
        async with watch(path, snapshot=True) as stream:
            content = [await anext(stream)]
            while content[-1].position is None:
                content.append(await anext(stream))
            assert [changeset.reset for changeset in content[:2]] == [ResetReason.START, None]
            assert all(changeset.time is None for changeset in content)
            assert content[-1].changes == ()
            assert [op for changeset in content for op in ops(changeset)] == [
                Op.SCHEMA,
                Op.INSERT,
                Op.INSERT,
            ]
            write(path, INSERT.format(5))
            changeset = await anext(stream)
            assert (ops(changeset), changeset.reset) == ([Op.INSERT], None)
            first, second = content[-1].position, changeset.position
            assert first is not None
            assert second is not None
            assert second.offset == first.offset + 1

    run(scenario)


def test_a_transaction_in_parts_is_one_changeset(database: MakeDatabase, write: Write) -> None:
    """However many rows: whoever iterates never sees half a transaction."""
    path = database()

    async def scenario() -> None:
        async with watch(path) as stream:
            task = await live(stream)
            write(
                path,
                "WITH RECURSIVE n(i) AS (VALUES(10) UNION ALL SELECT i+1 FROM n WHERE i<2509)"
                "INSERT INTO items SELECT i, 'n', NULL FROM n",
            )
            changeset = await task
            assert ops(changeset) == [Op.INSERT] * 2500
            assert changeset.position is not None
            assert changeset.position.part is None

    run(scenario)


def test_going_on_where_one_left_off(database: MakeDatabase, write: Write, tmp_path: Path) -> None:
    """With the same state directory every later changeset comes once, also what came meanwhile."""
    path, state = database(), tmp_path / "state"

    async def scenario() -> None:
        positions: list[Position] = []
        async with watch(path, state=state) as stream:
            task = await live(stream)
            for number in range(10, 13):
                write(path, INSERT.format(number))
                changeset = await task
                assert changeset.position is not None
                positions.append(changeset.position)
                task = asyncio.ensure_future(anext(stream))
        write(path, INSERT.format(13))
        for since in (positions[0], str(positions[0])):
            async with watch(path, state=state, since=since) as stream:
                later = [await anext(stream) for _ in range(3)]
            assert [changeset.position for changeset in later[:2]] == positions[1:]
            keys = [
                change.key for cs in later for change in cs.changes if isinstance(change, Change)
            ]
            assert keys == [{"id": 11}, {"id": 12}, {"id": 13}]

    run(scenario)


@pytest.mark.parametrize("snapshot", [False, True])
def test_a_position_of_another_state_is_a_reset(
    database: MakeDatabase, write: Write, snapshot: bool
) -> None:
    """The reason comes with the content, or with the first thing after it was lost."""
    path = database()

    async def scenario() -> None:
        async with watch(path, since="zzzzzz:5~0000", snapshot=snapshot) as stream:
            first = await anext(stream)
            assert first.reset is ResetReason.UNKNOWN_EPOCH
            while first.position is None:
                first = await anext(stream)
            write(path, INSERT.format(5))
            changeset = await anext(stream)
            assert (ops(changeset), changeset.reset) == ([Op.INSERT], None)

    run(scenario)


def test_only_the_tables_wanted(database: MakeDatabase, write: Write) -> None:
    """Changesets of other tables come empty, so that the position moves."""
    path = database(sql=ITEMS + "CREATE TABLE other(x);")

    async def scenario() -> None:
        async with watch(path, tables=["other"]) as stream:
            task = await live(stream)
            write(path, INSERT.format(5))
            write(path, "INSERT INTO other VALUES (1)")
            changesets = [await task, await anext(stream)]
            assert [ops(changeset) for changeset in changesets] == [[], [Op.INSERT]]

    run(scenario)


def test_large_values_are_fetched_by_themselves(database: MakeDatabase, write: Write) -> None:
    """In content, changes and defaults of new columns: the value, not a note that stands for it."""
    path = database(sql="CREATE TABLE t(x); INSERT INTO t VALUES (zeroblob(300000));")
    added = f"ALTER TABLE t ADD COLUMN y DEFAULT '{'d' * 300_000}'"

    async def scenario() -> None:
        async with watch(path, snapshot=True) as stream:
            seen: list[ChangeSet] = []
            while not seen or seen[-1].position is None:
                seen.append(await anext(stream))
            rows = [c for cs in seen for c in cs.changes if isinstance(c, Change)]
            assert [change.after for change in rows] == [{"x": bytes(300_000)}]
            write(path, "UPDATE t SET x=hex(x)")
            (change,) = (await anext(stream)).changes
            assert isinstance(change, Change)
            assert (change.before, change.after) == ({"x": bytes(300_000)}, {"x": "0" * 600_000})
            write(path, added)
            (schema,) = (await anext(stream)).changes
            assert isinstance(schema, SchemaChange)
            assert schema.columns is not None
            assert [column.default for column in schema.columns] == [None, "d" * 300_000]

    run(scenario)


_WRITER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
print("begun", flush=True)
for n in range(400):
    db.execute("INSERT OR REPLACE INTO items VALUES(?, ?, NULL)", (n * 7 % 150, f"w{n}"))
    if n % 50 == 49:
        db.execute("DELETE FROM items WHERE id % 9 = ?", (n // 50 % 9,))
"""


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_content_is_handed_over_exactly_while_others_write(
    database: MakeDatabase, mode: str
) -> None:
    """Watching begins in the middle of 400 commits: no gap, nothing twice, the same in the end."""
    path = database(mode=mode)

    async def scenario() -> None:
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _WRITER, str(path), stdout=asyncio.subprocess.PIPE
        )
        assert writer.stdout is not None
        await writer.stdout.readline()
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as replica:
            async with watch(path, snapshot=True) as stream:
                await writer.wait()
                wanted = contents_of_file(path)
                while contents(replica) != wanted:
                    apply(replica, await anext(stream))

    run(scenario)


# The end, and errors


def test_cancelling_the_iteration_ends_everything(database: MakeDatabase) -> None:
    """A task that is cancelled while it waits is cancelled, and its reader is gone."""
    path = database()

    async def scenario() -> None:
        pids: list[int] = []
        waiting = asyncio.Event()

        async def iterate() -> None:
            async with watch(path) as stream:
                pids.append(reader_of(stream))
                waiting.set()
                async for _ in stream:
                    raise AssertionError("nothing was written")

        task = asyncio.create_task(iterate())
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert has_ended(pids[0])
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others

    run(scenario)


def test_a_cancelled_wait_loses_nothing(database: MakeDatabase, write: Write) -> None:
    """Waiting with a time limit of one's own, again and again, still brings every changeset."""
    path = database()

    async def scenario() -> None:
        async with watch(path) as stream:
            first = await live(stream)
            first.cancel()
            await asyncio.wait((first,))
            seen: list[int] = []
            limits = iter([0, 0.001, 0.003, 0.01] * 1000)
            for number in range(5):
                write(path, INSERT.format(number + 10))
                while len(seen) <= number:
                    try:
                        async with asyncio.timeout(next(limits)):
                            changeset = await anext(stream)
                    except TimeoutError:
                        continue
                    assert changeset.position is not None
                    seen.append(changeset.position.offset)
            assert seen == [1, 2, 3, 4, 5]

    run(scenario)


def test_two_streams_share_nothing(database: MakeDatabase, write: Write) -> None:
    """Each has a reader and a state of its own; the end of one is nothing to the other."""
    path = database()

    async def scenario() -> None:
        async with watch(path) as first:
            async with watch(path) as second:
                tasks = await live(first), await live(second)
                pids = reader_of(first), reader_of(second)
                assert pids[0] != pids[1]
                write(path, INSERT.format(5))
                one, two = await tasks[0], await tasks[1]
                assert one.changes == two.changes
                assert one.position is not None
                assert two.position is not None
                assert one.position.epoch != two.position.epoch
            assert has_ended(pids[1])
            write(path, INSERT.format(6))
            assert ops(await anext(first)) == [Op.INSERT]

    run(scenario)


def test_a_stream_that_never_began_needs_no_closing(database: MakeDatabase) -> None:
    """`watch()` alone does nothing: no process, no directory, no warning."""
    path = database()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream = watch(path)
        assert stream.status.state == "starting"
        del stream
        gc.collect()
    assert {child.name for child in path.parent.iterdir()} == {"app.db", "temporary"}


def _text(path: Path) -> None:
    path.write_text("no database, though it is long enough to have the header of one " * 9)


UNAVAILABLE: dict[str, Callable[[Path], object]] = {
    "missing": lambda _path: None,
    "not_a_database": _text,
}


@pytest.mark.parametrize("state", UNAVAILABLE)
def test_a_file_that_cannot_be_watched_is_an_error(tmp_path: Path, state: str) -> None:
    """It comes when the iteration begins, says which file and why, and leaves nothing behind."""
    path = tmp_path / "some.db"
    UNAVAILABLE[state](path)

    async def scenario() -> None:
        for stream in (watch(path), watch(path, snapshot=True, poll=0.1)):
            with pytest.raises(DatabaseUnavailable) as caught:
                await anext(stream)
            assert (caught.value.state, caught.value.path) == (state, str(path))
            with pytest.raises(DatabaseUnavailable):
                await stream.__aenter__()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(scenario)
    assert path.exists() == (state != "missing")


def test_an_order_that_makes_no_sense_is_an_error(database: MakeDatabase) -> None:
    """A malformed position, an unknown table: raised at the beginning, the reader is gone."""
    path = database()

    async def scenario() -> None:
        state = path.parent / "state"
        async with watch(path, state=state, snapshot=True) as stream:
            await anext(stream)
        for error, refused in (
            (MalformedPosition, watch(path, since="yesterday")),
            # The tables are known at once only where there is a state.
            (UnknownTable, watch(path, tables=["items", "nothing"], state=state)),
        ):
            with pytest.raises(error):
                await anext(refused)
            assert refused._hub is None
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(scenario)


@pytest.mark.parametrize("name", ["a b?c=d.db", "50%41.db", "a#b.db", "ä😀.db", "'\";--.db"])
def test_any_file_name_names_just_that_file(
    database: MakeDatabase, write: Write, name: str, tmp_path: Path
) -> None:
    """Characters that mean something in a URI or in SQL mean nothing here."""
    path = database(name)
    before = {child.name for child in tmp_path.iterdir()}

    async def scenario() -> None:
        async with watch(path, snapshot=True) as stream:
            changeset = await anext(stream)
            while not (changeset.position and changeset.position.offset):
                if changeset.position:
                    write(path, "DELETE FROM items")
                changeset = await anext(stream)
            assert ops(changeset) == [Op.DELETE] * 2

    run(scenario)
    assert {child.name for child in tmp_path.iterdir()} == before


def test_a_link_is_followed_to_its_file(
    database: MakeDatabase, write: Write, tmp_path: Path
) -> None:
    """What is written through the real name comes through the link."""
    path = database(mode="wal")
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)

    async def scenario() -> None:
        async with watch(link) as stream:
            task = await live(stream)
            write(path, INSERT.format(5))
            assert ops(await task) == [Op.INSERT]

    run(scenario)
    assert [child.name for child in link.parent.iterdir()] == ["link.db"]


def test_limits_bound_what_can_be_gone_back_to(
    database: MakeDatabase, write: Write, tmp_path: Path
) -> None:
    """A position older than what is kept is a reset, with its reason."""
    path, state, limits = database(), tmp_path / "state", Limits(changesets=2)

    async def scenario() -> None:
        async with watch(path, state=state, limits=limits) as stream:
            task = await live(stream)
            positions: list[Position | None] = []
            for number in range(10, 14):
                write(path, INSERT.format(number))
                positions.append((await task).position)
                task = asyncio.ensure_future(anext(stream))
        async with watch(path, state=state, limits=limits, since=positions[1]) as stream:
            assert (await anext(stream)).position == positions[2]
        async with watch(path, state=state, limits=limits, since=positions[0]) as stream:
            first = await anext(stream)
            assert (first.reset, first.position) == (ResetReason.POSITION_EXPIRED, positions[3])

    run(scenario)
