"""What the machine does to a watcher: no descriptors, a busy neighbour, power that goes off."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import MakeDatabase, Write
from tests.core.listener import Listener, opened, until
from tests.served import environment


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Lets this process open no file any more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The lowest number that is free: every lower one is taken.
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_reader_that_cannot_be_replaced_at_once_is_replaced_later(
    database: MakeDatabase, write: Write
) -> None:
    """No descriptors are left when the reader dies; once there are some, it goes on."""
    path = database()

    async def run() -> None:
        async with opened(path) as hub:
            with hub.subscribe() as subscription:
                listener = Listener(subscription)
                await listener.ready()
                assert hub.reader_pid is not None
                with no_descriptors():
                    os.kill(hub.reader_pid, signal.SIGKILL)
                    await until(hub, lambda: "cannot be used" in hub.status.detail)
                await until(hub, lambda: hub.status.state == "ok")
                write(path, "UPDATE items SET value='seen' WHERE id=1")
                changes = await listener.changes()
                assert changes["changes"][0]["after"]["value"] == "seen"

    asyncio.run(run())


FLOOD = """
import os, select, sys
files = [os.open(os.path.join(sys.argv[1], name), os.O_WRONLY | os.O_CREAT) for name in "pq"]
print("started", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(1000):
        for file in files:
            os.pwrite(file, b"x", 0)
"""


@contextmanager
def flooding(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a process that writes two other files of a directory without pause."""
    with subprocess.Popen(
        [sys.executable, "-c", FLOOD, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"started\n"
            yield process
        finally:
            process.stdin.close()


def test_a_busy_neighbour_in_the_directory_holds_nothing_up(
    database: MakeDatabase, write: Write
) -> None:
    """Events of other files come without end; the change arrives while they do."""
    path = database()

    async def run() -> None:
        async with opened(path) as hub:
            with hub.subscribe() as subscription, flooding(path.parent) as neighbour:
                listener = Listener(subscription)
                await listener.ready()
                write(path, "UPDATE items SET value='seen' WHERE id=1")
                changes = await listener.changes()
                assert changes["changes"][0]["after"]["value"] == "seen"
                assert neighbour.poll() is None

    asyncio.run(run())


def test_the_mark_of_a_clean_end_is_taken_back_on_disk_before_the_copy_moves(
    strace: Path, database: MakeDatabase, write: Write, tmp_path: Path
) -> None:
    """After a power cut the mark must not speak for a copy that is newer than the history."""
    path = database()
    state = tmp_path / "state"

    async def run() -> None:
        async with opened(path, state=state):
            pass

    asyncio.run(run())
    write(path, "UPDATE items SET value='offline' WHERE id=1")
    log = tmp_path / "strace.log"
    calls = "fsync,fdatasync,pwrite64,ftruncate"
    command = [str(strace), "-f", "-qq", "-y", "-e", f"trace={calls}", "-o", str(log)]
    command += [
        sys.executable,
        "-m",
        "watcher",
        "tail",
        "--snapshot",
        f"--state={state}",
        str(path),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        while b'"ready"' not in process.stdout.readline():
            pass
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        os.kill(int(children), signal.SIGTERM)
        process.wait(30)
    done = [
        ("sync" in call, Path(file).name)
        for call, file in re.findall(r"(\w+)\(\d+<([^>]*)>", log.read_text())
    ]
    marked = [n for n, (sync, name) in enumerate(done) if sync and name.startswith("state.db")]
    moved = [n for n, (sync, name) in enumerate(done) if not sync and name == "shadow.db"]
    copied = [n for n, (sync, name) in enumerate(done) if sync and name == "shadow.db"]
    assert marked[0] < moved[0]
    # And at the end the other way round: first the copy, then the mark.
    assert moved[-1] < copied[-1] < marked[-1]
