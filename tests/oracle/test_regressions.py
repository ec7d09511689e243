"""What the oracle test has found once, each in its smallest form."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeDatabase, Write
from tests.oracle.contents import contents_of_file
from tests.oracle.events import Hearing
from tests.oracle.follower import Follower
from tests.oracle.machine import Machine
from tests.oracle.statements import Beginning
from tests.oracle.test_oracle import follow_steps, write, writing_process
from watcher.hub import Hub
from watcher.sqlite.channel import Made


def sql(*statements: str) -> list[Any]:
    """One step of a writing program."""
    return [("sql", statement) for statement in statements]


def follow(path: Path, *steps: list[Any], poll: float | None = None) -> None:
    """Follows a database through some steps; the replica must equal the file after each."""
    asyncio.run(follow_steps(path, path.parent / "state", list(steps), poll=poll))


def test_empty_tables_do_not_hold_up_the_content(database: MakeDatabase) -> None:
    path = database(sql="CREATE TABLE a(x); CREATE TABLE b(y); CREATE TABLE c(z PRIMARY KEY)")
    follow(path, [], sql("INSERT INTO b VALUES (1)"))


def test_a_table_made_while_the_content_is_asked_for_is_part_of_it(
    database: MakeDatabase, write: Write, tmp_path: Path
) -> None:
    path = database()

    async def run() -> set[str]:
        async with Hub(path, state=tmp_path / "state") as hub:
            ask = hub.made

            async def made(tables: Collection[str]) -> Made:
                if len(hub.tables()) == 1:
                    write(path, "CREATE TABLE late(x); INSERT INTO late VALUES (1)")
                    while len(hub.tables()) == 1:
                        await asyncio.wait((hub.wake,))
                return await ask(tables)

            hub.made = made  # type: ignore[method-assign]  # the moment that must be hit
            with hub.subscribe(snapshot=True) as subscription:
                inserted: set[str] = set()
                while True:
                    for message in await subscription.next():
                        if message.type == "ready":
                            return inserted
                        if message.type == "reset":
                            inserted = set()
                        changes = json.loads(message.data).get("changes", [])
                        inserted |= {c["table"] for c in changes if c["op"] == "insert"}

    assert asyncio.run(run()) == {"items", "late"}


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist", "wal"])
def test_commits_within_one_tick_of_the_file_times_are_told_apart(
    mode: str, database: MakeDatabase, tmp_path: Path
) -> None:
    path = database(mode=mode)

    async def run() -> None:
        with writing_process(path) as process:
            async with Follower(path, tmp_path / "state") as follower:
                # As soon as one has come the next is made: many fall into the same tick.
                for number in range(150):
                    await write(process, sql(f"UPDATE items SET value={number} WHERE id=1"))
                    await follower.until_equal(contents_of_file(path))

    asyncio.run(run())


def test_rows_with_and_without_a_key_are_not_taken_for_each_other(database: MakeDatabase) -> None:
    path = database(sql="CREATE TABLE t(k TEXT PRIMARY KEY, v); INSERT INTO t VALUES ('a', 1)")
    follow(
        path,
        sql("INSERT INTO t VALUES (NULL, 2)"),
        sql("UPDATE t SET k = CASE WHEN k IS NULL THEN 'a2' END"),
        sql("DELETE FROM t WHERE k IS NULL"),
    )


@pytest.mark.parametrize("poll", [None, 0.02], ids=["raw", "poll"])
def test_a_table_that_cannot_be_read_comes_back_whole(
    poll: float | None, database: MakeDatabase
) -> None:
    path = database(sql="CREATE TABLE h(rowid TEXT, _rowid_ INT, oid PRIMARY KEY)")
    follow(
        path,
        sql("INSERT INTO h VALUES ('x', 1, NULL)"),
        sql("ALTER TABLE h RENAME COLUMN _rowid_ TO free"),
        sql("UPDATE h SET free=2"),
        sql("ALTER TABLE h RENAME COLUMN free TO _rowid_", "INSERT INTO h VALUES ('y', 1, 2)"),
        poll=poll,
    )


def play(*rules: tuple[str, dict[str, Any]], **otherwise: Any) -> None:
    """Plays some rules of the machine, which looks and compares after each."""
    machine = Machine()
    try:
        machine.begin(PLAIN._replace(**otherwise))
        for name, arguments in rules:
            getattr(machine, name)(**arguments)
    finally:
        machine.teardown()


def on_one(*operations: tuple[Any, ...]) -> list[tuple[int, Any]]:
    """Operations that commit one after the other, all on the first connection."""
    return [(0, operation) for operation in operations]


INSERT = ("insert", 0, [None], "IGNORE")
PLAIN = Beginning(
    mode="wal",
    page_size=512,
    encoding="UTF-8",
    auto_vacuum=0,
    reserve=0,
    operations=[
        ("sql", "CREATE TABLE a(id INTEGER PRIMARY KEY, x, y TEXT)"),
        ("fill", 0, 0, 3, 0),
    ],
    keep=False,
    hearing=Hearing.LATE,
)


@pytest.mark.usefixtures("bench")
@pytest.mark.parametrize("hearing", list(Hearing))
def test_the_first_commits_to_a_log_that_was_not_there_are_seen(hearing: Hearing) -> None:
    play(("commit_rows_several_times", {"operations": on_one(INSERT, INSERT)}), hearing=hearing)


@pytest.mark.usefixtures("bench")
def test_a_row_of_a_table_that_was_just_made_again_is_seen() -> None:
    play(
        ("commit_rows_several_times", {"operations": on_one(INSERT, INSERT)}),
        ("commit_several_times", {"operations": on_one(("again", 0, 0), INSERT)}),
    )


@pytest.mark.usefixtures("bench")
def test_a_table_that_grows_and_shrinks_is_not_compared_as_a_whole() -> None:
    operations = on_one(INSERT, ("fill", 0, 0, 30, 9), ("move_keys", 0, 0, 40, 1, "IGNORE"))
    play(
        ("commit_rows_several_times", {"operations": on_one(INSERT, INSERT)}),
        ("commit_rows_several_times", {"operations": operations}),
    )


@pytest.mark.usefixtures("bench")
def test_rows_after_a_vacuum_that_brings_a_pointer_map_are_seen() -> None:
    one = {"connection": 0}
    play(
        ("change_rows_at_once", one | {"operations": [INSERT]}),
        ("leave_a_transaction_open", one | {"begin": "BEGIN", "operations": [INSERT],
                                            "small": False}),
        ("change_rows_at_once", one | {"operations": [("empty", 0)]}),
        ("change_file", one | {"operation": ("auto_vacuum", 1)}),
        ("commit_rows_several_times", {"operations": on_one(INSERT, INSERT)}),
    )  # fmt: skip


@pytest.mark.usefixtures("bench")
def test_a_journal_left_by_a_rollback_does_not_hide_commits_made_without_one() -> None:
    begun = {"begin": "BEGIN", "operations": [INSERT]}
    play(
        ("run_transaction", {"connection": 0, "end": "ROLLBACK"} | begun),
        ("change_file", {"connection": 3, "operation": ("journal", "memory")}),
        ("leave_a_transaction_open", {"connection": 3, "small": False} | begun),
        ("end_transactions", {"end": "COMMIT"}),
        mode="persist",
    )


@pytest.mark.usefixtures("bench")
def test_rows_of_a_utf16_table_with_an_index_keep_their_rowids() -> None:
    made = ("sql", "CREATE TABLE u(x UNIQUE, y)")
    filled = ("sql", "INSERT INTO u VALUES (x'00', 1), ('a', 2)")
    play(
        ("run_transaction", {"connection": 0, "begin": "BEGIN", "operations": [made, filled],
                             "end": "COMMIT"}),
        ("change_schema", {"connection": 0, "operation": ("sql", "DELETE FROM u")}),
        ("change_schema", {"connection": 0, "operation": filled}),
        encoding="UTF-16le",
    )  # fmt: skip


def test_a_key_that_is_the_rowid_of_a_row_without_one_is_another_row(
    database: MakeDatabase,
) -> None:
    path = database(sql="CREATE TABLE t(k PRIMARY KEY DESC, v); INSERT INTO t VALUES (1, 'a')")
    follow(
        path,
        sql("BEGIN", "DELETE FROM t", "INSERT INTO t VALUES (NULL, NULL)", "COMMIT"),
        sql("UPDATE t SET k = 1"),
    )
