"""A reader that is killed at its first write, at its second, and at every other one."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from tests.conftest import MakeDatabase
from tests.faults.conftest import StartProgram
from tests.faults.visitor import Visitor, resets
from tests.faults.watched import PATIENCE
from tests.served import environment
from watcher import Change, ChangeSet, SchemaChange
from watcher.sqlite.channel import Status, open_channel
from watcher.sqlite.options import Options


@pytest.mark.fault("P1", "P11")
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("start", "call"), [("first copy", "pwrite64"), ("later", "pwrite64"), ("later", "ftruncate")]
)
def test_a_reader_killed_at_any_write_loses_and_repeats_nothing(
    start: str,
    call: str,
    strace: Path,
    database: MakeDatabase,
    state: Path,
    program: StartProgram,
) -> None:
    """Killed at its first write, at its second and so on, until one gets through all of them.

    Each of these readers first has to recover from the death of the one before, and finds the
    database changed.
    """
    path = database()
    writer = program(path)
    with Visitor(path, state) as client:
        if start == "later":
            client.visit()
        deaths = 0
        while not asyncio.run(run_reader(path, state, killed_at(strace, call, deaths + 1))):
            deaths += 1
            writer.run(f"UPDATE items SET value='{deaths}' WHERE id=1")
        assert deaths >= (2 if call == "ftruncate" else 8)
        writer.run("UPDATE items SET value='last' WHERE id=1")
        received = client.visit()
        if start == "later":
            assert resets(received) == []
            check_chain(received, "123", "last")


def killed_at(strace: Path, call: str, number: int) -> tuple[str, ...]:
    """What to put before a command to have it killed at a certain call."""
    inject = f"inject={call}:signal=KILL:when={number}"
    return (str(strace), "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", inject)


async def run_reader(path: Path, state: Path, prefix: Sequence[str]) -> bool:
    """Runs a reader process until all is well or it dies; True if it ended as it should."""
    ours, theirs = socket.socketpair()
    options = Options(os.fsencode(path), os.fsencode(state), None, 1e6, 100_000, 1 << 30)
    command = [*prefix, sys.executable, "-P", "-m", "watcher.sqlite.process"]
    command += [str(theirs.fileno()), msgspec.json.encode(options).decode()]
    with theirs:
        process = await asyncio.create_subprocess_exec(
            *command, pass_fds=(theirs.fileno(),), env=environment()
        )
    channel = await open_channel(ours)
    async with asyncio.timeout(PATIENCE):
        async for message in channel.from_reader():
            if isinstance(message, Status) and message.state == "ok":
                break
        await channel.aclose()
        code = await process.wait()
    assert code in {0, -signal.SIGKILL}
    return code == 0


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
