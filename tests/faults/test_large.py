"""Large values, large transactions, wide tables: the reader's memory does not follow them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ITEMS, MakeDatabase
from tests.faults.conftest import StartProgram
from tests.faults.following import follow
from tests.faults.memory import MIB, PeakMemory
from tests.faults.running import Running
from tests.faults.watched import Watched
from watcher.changes import Value
from watcher.history import PART_BYTES, HistoryReader, sequence
from watcher.history.writer import PART_CHANGES

SOAK = (pytest.mark.soak, pytest.mark.timeout(600))


def sized(value: int, *, soak: bool) -> Any:
    """A size as a parameter, with its name; large ones are left to soaking."""
    return pytest.param(value, id=f"{value:,}", marks=SOAK if soak else ())


@pytest.mark.fault("D24")
@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize("size", [sized(10_000_000, soak=False), sized(100_000_000, soak=True)])
def test_a_large_blob_arrives_exactly(
    size: int, mode: str, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """It is told once, and the reader holds it a few times at most, never once for each reader."""
    path = database(mode=mode)

    async def steps(watched: Watched) -> None:
        assert watched.reader_pid is not None
        with PeakMemory(watched.reader_pid) as memory:
            writer = program(path)
            writer.run(f"UPDATE items SET value=randomblob({size}) WHERE id=1")
            await watched.until_rows(1)
            # Its neighbour on the page changes; the blob does not come again.
            writer.run("UPDATE items SET value='small' WHERE id=2")
            await watched.until_rows(2)
        first, second = watched.rows()
        assert first.after is not None
        assert len(first.after["value"]) == size  # type: ignore[arg-type]  # a blob
        assert second.key == {"id": 2}
        assert memory.grown <= 6 * size + 64 * MIB, f"{memory.grown / MIB:.0f} MiB"

    follow(path, state, steps)


def parts(state: Path, offset: int) -> Iterator[tuple[list[dict[str, Any]], int, bool]]:
    """The parts of the changeset after an offset: changes, bytes, and whether it is the last."""
    history = HistoryReader(state)
    try:
        epoch, place = history.head().epoch, sequence(offset, None)
        while entries := history.read(epoch, place, 1):
            (entry,) = entries
            place = entry.seq
            body = json.loads(b'{"' + entry.tail.partition(b'"')[2])
            yield body["changes"], len(entry.tail), entry.last
    finally:
        history.close()


@pytest.mark.fault("D24")
@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize("count", [sized(50_000, soak=False), sized(1_000_000, soak=True)])
def test_a_large_transaction_travels_in_parts(
    count: int, mode: str, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """However many rows a commit has, the reader holds a part of them, and each row comes once."""
    path = database(mode=mode)
    many = f"WITH RECURSIVE n(i) AS (VALUES(10) UNION ALL SELECT i+1 FROM n WHERE i<{count + 9})"
    statements = {
        "insert": f"{many} INSERT INTO items SELECT i, 'many', hex(i) FROM n",
        "update": "UPDATE items SET value=value || 'x' WHERE id>=10",
        "delete": "DELETE FROM items WHERE id>=10",
    }

    async def run() -> None:
        async with Running(path, state) as reader:
            await reader.until("ok")
            assert reader.process is not None
            writer = program(path)
            for offset, (operation, sql) in enumerate(statements.items()):
                with PeakMemory(reader.process.pid) as memory:
                    writer.run(sql)
                    await reader.until_changesets(offset + 1, seconds=120)
                check_parts(state, offset, operation, count)
                assert memory.peak <= 300 * MIB, f"{operation}: {memory.peak / MIB:.0f} MiB"

    asyncio.run(run())


def check_parts(state: Path, offset: int, operation: str, count: int) -> None:
    """Sees that a changeset has so many changes of one kind, each of another row, in parts."""
    seen = bytearray(count)
    ended = False
    for changes, size, last in parts(state, offset):
        assert not ended
        assert len(changes) <= PART_CHANGES
        assert size <= PART_BYTES + 1000
        for change in changes:
            assert change["op"] == operation
            seen[change["key"]["id"] - 10] += 1
        ended = last
    assert ended
    assert seen == b"\1" * count


@pytest.mark.fault("D24")
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_two_thousand_columns_are_followed(
    mode: str, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """A table as wide as SQLite allows; the update of its last column is one change."""
    names = [f"c{number}" for number in range(2000)]
    path = database(mode=mode, sql=f"{ITEMS} CREATE TABLE wide({','.join(names)})")
    row: dict[str, Value] = {name: f"value of {name}" for name in names}

    async def run() -> None:
        async with Watched(path, state) as watched:
            await watched.begun()
            writer = program(path)
            writer.run(f"INSERT INTO wide VALUES ({','.join(map(repr, row.values()))})")
            await watched.until_rows(1)
            writer.run("UPDATE wide SET c1999=NULL")
            await watched.until_rows(2)
            writer.run("DELETE FROM wide")
            await watched.until_rows(3)
            shortened = {**row, "c1999": None}
            wanted = [
                ("insert", None, row),
                ("update", row, shortened),
                ("delete", shortened, None),
            ]
            told = [(change.op, change.before, change.after) for change in watched.rows()]
            # Not compared as a whole: to show where they differ would take minutes.
            assert [operation for operation, _, _ in told] == ["insert", "update", "delete"]
            assert [n for n in range(3) if told[n] != wanted[n]] == []

    asyncio.run(run())
