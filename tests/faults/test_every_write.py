"""A reader that is killed at its first write, and at later ones: at every one when soaking."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import MakeDatabase
from tests.faults.conftest import StartProgram
from tests.faults.running import Running
from tests.faults.system_calls import killing
from tests.faults.visitor import Visitor, resets
from watcher import Change, ChangeSet, SchemaChange


@pytest.mark.fault("P1", "P11")
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("start", "call", "apart"),
    [
        ("first copy", "pwrite64", 3),
        ("later", "pwrite64", 2),
        ("later", "ftruncate", 1),
        pytest.param("first copy", "pwrite64", 1, marks=pytest.mark.soak),
        pytest.param("later", "pwrite64", 1, marks=pytest.mark.soak),
    ],
)
def test_a_reader_killed_at_any_write_loses_and_repeats_nothing(
    start: str,
    call: str,
    apart: int,
    strace: Path,
    database: MakeDatabase,
    state: Path,
    program: StartProgram,
) -> None:
    """Killed at its first write, at a later one and so on, until one gets through all of them.

    Each of these readers first has to recover from the death of the one before, and finds the
    database changed.
    """
    path = database()
    writer = program(path)
    with Visitor(path, state) as client:
        if start == "later":
            client.visit()
        deaths = 0
        while not asyncio.run(run_reader(path, state, killing(strace, call, deaths * apart + 1))):
            deaths += 1
            writer.run(f"UPDATE items SET value='{deaths}' WHERE id=1")
        assert deaths * apart >= (2 if call == "ftruncate" else 8)
        writer.run("UPDATE items SET value='last' WHERE id=1")
        received = client.visit()
        if start == "later":
            assert resets(received) == []
            check_chain(received, "123", "last")


async def run_reader(path: Path, state: Path, before: Sequence[str]) -> bool:
    """Runs a reader process until all is well or it dies; True if it ended as it should."""
    async with Running(path, state, before) as reader:
        await reader.until_ok_or_dead()
    assert reader.code in {0, -signal.SIGKILL}
    return reader.code == 0


def check_chain(received: Sequence[ChangeSet], first: str, last: str) -> None:
    """Sees that each update goes on from where the one before it ended, and offsets have no gap."""
    positions = [changeset.position for changeset in received]
    offsets = [position.offset for position in positions if position is not None]
    assert offsets == list(range(offsets[0], offsets[0] + len(received)))
    values = [updated(change) for changeset in received for change in changeset.changes]
    assert (values[0][0], values[-1][1]) == (first, last)
    assert all(left[1] == right[0] for left, right in pairwise(values))


def updated(change: Change | SchemaChange) -> tuple[object, object]:
    """What an update has made of the value."""
    assert isinstance(change, Change)
    assert change.before is not None
    assert change.after is not None
    return change.before["value"], change.after["value"]
