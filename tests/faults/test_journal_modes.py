"""What SQLite does to its files besides commits: journals, logs, checkpoints, VACUUM."""

from __future__ import annotations

import random
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import MakeDatabase
from tests.faults.conftest import StartProgram
from tests.faults.following import POLLS, follow
from tests.faults.watched import Watched
from tests.oracle.contents import contents_of_file

MODES = ("delete", "truncate", "persist", "wal", "memory", "off")
# No key of its own: its rows are known by a rowid that SQLite may choose anew.
LOOSE = "CREATE TABLE loose(x); INSERT INTO loose VALUES ('a'), ('b'), ('c'), ('d')"
ITEMS_AND_LOOSE = f"""
CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT NOT NULL, value TEXT);
INSERT INTO items VALUES (1, 'Test', '123'), (2, 'Lamp', 'off');
{LOOSE};
"""


def values(watched: Watched) -> list[object]:
    """What the updates since the beginning set the value to."""
    assert set(watched.operations()) <= {"update"}
    return [change.after["value"] for change in watched.rows() if change.after is not None]


def has_told(watched: Watched, count: int) -> bool:
    """Whether so many changes of rows have come."""
    return len(watched.rows()) == count


@POLLS
@pytest.mark.parametrize("mode", MODES)
def test_every_operation_is_seen_in_every_journal_mode(
    mode: str, poll: float | None, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """An insert, an update and a delete arrive with the rows before and after."""
    path = database(mode=mode)
    test = {"id": 1, "name": "Test", "value": "123"}

    async def steps(watched: Watched) -> None:
        writer = program(path)
        writer.run(f"PRAGMA journal_mode={mode}", "INSERT INTO items VALUES (3, 'Door', NULL)")
        await watched.until(lambda: len(watched.rows()) == 1, "the insert")
        writer.run("UPDATE items SET value='456' WHERE id=1")
        await watched.until(lambda: len(watched.rows()) == 2, "the update")
        writer.run("DELETE FROM items WHERE id=1")
        await watched.caught_up()
        assert [(c.op, c.key, c.before, c.after) for c in watched.rows()] == [
            ("insert", {"id": 3}, None, {"id": 3, "name": "Door", "value": None}),
            ("update", {"id": 1}, test, {**test, "value": "456"}),
            ("delete", {"id": 1}, {**test, "value": "456"}, None),
        ]

    follow(path, state, steps, poll)


@pytest.mark.fault("D17")
@pytest.mark.parametrize("before", MODES)
def test_the_journal_mode_may_be_switched_at_any_time(
    before: str, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """A switch to any other mode and back is not refused, is no change and hides none."""
    path = database(mode=before)
    others = [mode for mode in MODES if mode != before]

    async def steps(watched: Watched) -> None:
        writer = program(path, timeout=0)
        for mode in others:
            for step in (mode, before):
                ((now,),) = writer.run(f"PRAGMA journal_mode={step}")
                assert now == step
                writer.run(f"UPDATE items SET value='{mode} {step}' WHERE id=1")
                await watched.until(lambda: len(watched.rows()) % 2, "the change")
                writer.run(f"UPDATE items SET value='{step} again' WHERE id=1")
                await watched.caught_up()
        told = [[f"{mode} {step}", f"{step} again"] for mode in others for step in (mode, before)]
        assert values(watched) == [value for pair in told for value in pair]

    follow(path, state, steps)


@pytest.mark.fault("D17")
@pytest.mark.parametrize("seed", range(3))
def test_the_journal_mode_is_switched_under_load(
    seed: int, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Nothing is lost and nothing refused where commits and switches follow each other closely."""
    path = database()
    chance = random.Random(seed)
    modes = [chance.choice(MODES) for _ in range(60)]

    async def steps(watched: Watched) -> None:
        writer = program(path, timeout=0)
        for mode in modes:
            assert writer.run(f"PRAGMA journal_mode={mode}") == [[mode]]
            assert writer.commit_many(chance.randint(0, 8)) == []
        await watched.caught_up()
        keys = [change.key["id"] for change in watched.rows()]
        assert set(watched.operations()) == {"insert"}
        assert len(keys) == len(set(keys))

    follow(path, state, steps)


@pytest.mark.fault("D18")
@POLLS
@pytest.mark.parametrize("kind", ["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
def test_a_checkpoint_is_no_change_and_hides_none(
    kind: str, poll: float | None, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Around checkpoints of every kind each commit is seen; no checkpoint is kept from its end."""
    path = database(mode="wal")

    async def steps(watched: Watched) -> None:
        writer = program(path, timeout=0)
        for number in range(0, 9, 3):
            writer.run(f"UPDATE items SET value='{number}' WHERE id=1")
            await watched.caught_up()
            (result,) = writer.run(f"PRAGMA wal_checkpoint({kind})")
            busy, frames, copied = result
            assert (busy, frames) == (0, copied)
            writer.run(f"UPDATE items SET value='{number + 1}' WHERE id=1")
            await watched.caught_up()
            # Between these two there is no look, or one at any point.
            writer.run(f"PRAGMA wal_checkpoint({kind})")
            writer.run(f"UPDATE items SET value='{number + 2}' WHERE id=1")
            await watched.caught_up()
        assert values(watched) == [str(number) for number in range(9)]

    follow(path, state, steps, poll)


@pytest.mark.fault("D18")
@POLLS
def test_the_last_to_close_folds_the_log(
    poll: float | None, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """The log that goes with the last connection, and the one that comes with the next."""
    path = database(mode="wal")

    async def steps(watched: Watched) -> None:
        for number in range(0, 6, 2):
            writer = program(path)
            writer.run(f"UPDATE items SET value='{number}' WHERE id=1")
            await watched.caught_up()
            writer.run(f"UPDATE items SET value='{number + 1}' WHERE id=1")
            writer.close()
            # A connection of ours, in the lower grade, keeps the log; else nothing does.
            assert path.with_name("app.db-wal").exists() == (poll is not None)
            await watched.caught_up()
        assert values(watched) == [str(number) for number in range(6)]

    follow(path, state, steps, poll)


@pytest.mark.fault("D18")
@pytest.mark.parametrize("kind", ["RESTART", "TRUNCATE"])
def test_a_log_begun_anew_by_another_writer_is_followed(
    kind: str, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """A writer that is killed leaves its log to the next, who begins it again from the start."""
    path = database(mode="wal")

    async def steps(watched: Watched) -> None:
        for number in range(0, 9, 3):
            writer = program(path)
            writer.run(f"UPDATE items SET value='{number}' WHERE id=1")
            await watched.caught_up()
            writer.run(f"UPDATE items SET value='{number + 1}' WHERE id=1")
            writer.kill()
            # Not with a connection of the test's own, which would fold the log.
            await watched.until(partial(has_told, watched, number + 2), "the change")
            assert path.with_name("app.db-wal").stat().st_size > 0
            writer = program(path)
            writer.run(f"PRAGMA wal_checkpoint({kind})")
            writer.run(f"UPDATE items SET value='{number + 2}' WHERE id=1")
            await watched.caught_up()
            writer.kill()
        assert values(watched) == [str(number) for number in range(9)]

    follow(path, state, steps)


@pytest.mark.fault("D15", "D16")
@POLLS
@pytest.mark.parametrize(
    "statements",
    [
        ("VACUUM",),
        ("PRAGMA page_size=512", "VACUUM"),
        ("PRAGMA page_size=65536", "VACUUM"),
        ("PRAGMA auto_vacuum=FULL", "VACUUM"),
        ("PRAGMA auto_vacuum=INCREMENTAL", "VACUUM", "PRAGMA incremental_vacuum"),
    ],
    ids=["plain", "small pages", "large pages", "auto", "incremental"],
)
def test_a_vacuum_changes_no_row_with_a_key(
    statements: tuple[str, ...],
    poll: float | None,
    database: MakeDatabase,
    state: Path,
    program: StartProgram,
) -> None:
    """Rows in other pages of another size are the same rows; rowids that moved are told."""
    path = database(sql=ITEMS_AND_LOOSE)

    async def steps(watched: Watched) -> None:
        writer = program(path)
        writer.run("DELETE FROM loose WHERE x='a'", *statements)
        await watched.caught_up()
        assert {change.table for change in watched.rows()} == {"loose"}
        # SQLite numbers these rows anew in the order in which they lie.
        held = sorted(row[0] for row in watched.held["loose"][1])
        assert held == [row[0] for row in program(path).run("SELECT rowid FROM loose ORDER BY 1")]
        before = len(watched.rows())
        writer.run("UPDATE items SET value='after' WHERE id=1")
        await watched.until(lambda: len(watched.rows()) > before, "the change")
        assert [(c.op, c.key) for c in watched.rows()[before:]] == [("update", {"id": 1})]

    follow(path, state, steps, poll)


@pytest.mark.fault("D15")
@POLLS
def test_a_vacuum_in_wal_mode_is_no_change(
    poll: float | None, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """All pages go through the log, and no row with a key has changed."""
    path = database(mode="wal")

    async def steps(watched: Watched) -> None:
        writer = program(path)
        for number in range(4):
            writer.run("VACUUM", f"UPDATE items SET value='{number}' WHERE id=1")
            await watched.caught_up()
        assert values(watched) == ["0", "1", "2", "3"]

    follow(path, state, steps, poll)


@POLLS
def test_a_database_becomes_smaller_and_larger(
    poll: float | None, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Pages that go to the free list, off the end of the file, and come back hold no old rows."""
    path = database(sql=f"PRAGMA auto_vacuum=FULL; {ITEMS_AND_LOOSE}")
    many = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<300)"

    async def steps(watched: Watched) -> None:
        writer = program(path)
        sizes = []
        for turn in range(3):
            sizes.append(path.stat().st_size)
            writer.run(f"{many} INSERT INTO items(name) SELECT hex(zeroblob(200)) || i FROM n")
            await watched.caught_up()
            sizes.append(path.stat().st_size)
            writer.run(f"DELETE FROM items WHERE id > {2 + turn}")
            await watched.caught_up()
        grown = [left < right for left, right in pairwise(sizes)]
        assert grown == [True, False, True, False, True]
        assert watched.held == contents_of_file(path)

    follow(path, state, steps, poll)
