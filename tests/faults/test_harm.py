"""The watched file is only read, and its writers do not notice."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import MakeDatabase
from tests.faults.client import Client
from tests.faults.conftest import StartProgram
from tests.faults.following import follow
from tests.faults.program import Program
from tests.faults.watched import PATIENCE, Watched
from tests.oracle.contents import contents_of_file, integrity
from tests.served import ROOT, Lines, environment
from watcher.sqlite.options import HoldLimits

COMMITS = 3000


@pytest.mark.fault("D2", "D3")
@pytest.mark.parametrize("mode", ["delete", "truncate", "persist", "wal"])
def test_a_writer_without_patience_meets_no_error(
    mode: str, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """All commits of a writer with busy_timeout=0 succeed, and all of them are seen."""
    path = database(mode=mode)
    writer = program(path, timeout=0)
    # Its connection is there before the watching begins, with the side files of a log.
    writer.run("SELECT * FROM items")
    assert asyncio.run(_follow_many(path, state, writer)) == []
    writer.close()
    assert integrity(path) == "ok"
    assert len(contents_of_file(path)["items"][1]) == COMMITS + 2


@pytest.mark.fault("D3", "D8")
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_an_exclusive_writer_without_patience_meets_no_error(
    mode: str, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """The same for a writer that never lets go of its lock."""
    path = database(mode=mode)

    async def steps(watched: Watched) -> None:
        writer = program(path, timeout=0)
        writer.run("PRAGMA locking_mode=EXCLUSIVE")
        assert await asyncio.to_thread(writer.commit_many, COMMITS) == []
        writer.close()
        await watched.caught_up()
        assert len(watched.rows()) == COMMITS

    follow(path, state, steps)


async def _follow_many(path: Path, state: Path, writer: Program) -> list[str]:
    # With a hold the log may grow: `test_hold.py`.
    async with Watched(path, state, hold=HoldLimits(seconds=0)) as watched:
        await watched.begun()
        errors = await asyncio.to_thread(writer.commit_many, COMMITS)
        log = path.with_name("app.db-wal")
        # SQLite begins it anew after 1,000 pages, unless a reader holds on to it.
        assert not log.exists() or log.stat().st_size < 1200 * 4096
        await watched.caught_up()
        assert len(watched.rows()) == COMMITS
        counted = [changeset.commits for changeset in watched.live()]
        assert None not in counted
        assert sum(filter(None, counted)) == COMMITS
    return errors


@pytest.mark.fault("D7")
def test_watching_leaves_no_files_beside_a_closed_wal_database(
    database: MakeDatabase, state: Path
) -> None:
    """A cleanly closed WAL database has no -wal and no -shm, and gets none by being watched."""
    path = database(mode="wal")
    before = (path.read_bytes(), path.stat().st_mtime_ns, sorted(path.parent.iterdir()))
    assert before[2] == [path]

    async def follow() -> None:
        async with Watched(path, state) as watched:
            await watched.until(lambda: watched.held.get("items"), "the content")

    asyncio.run(follow())
    after = (path.read_bytes(), path.stat().st_mtime_ns, sorted(path.parent.iterdir()))
    assert after == (*before[:2], [path, state])


# What a process may do that only looks whether a file is there.
LOOKS = {"newfstatat", "stat", "lstat", "fstat", "statx", "readlink", "readlinkat"}
# The first copy is made by the kernel, which is also told that it reads from end to end.
COPIES = {"copy_file_range", "lseek", "fadvise64", "ioctl"}
READS = {*LOOKS, *COPIES, "openat", "pread64", "preadv", "preadv2", "close", "fcntl"}
_CALL = re.compile(r"^(\d+) +(\w+)\((.*)$")


@pytest.mark.fault("D1")
def test_one_process_opens_the_files_and_only_to_read(
    strace: Path, database: MakeDatabase, state: Path, tmp_path: Path, program: StartProgram
) -> None:
    """One process of a server opens the watched files, to read; it locks only to hold the log."""
    path = database(mode="wal")
    log = tmp_path / "strace.log"
    with _traced_server(strace, log, path, state) as (server, url), Client() as client:
        client.connect(url)
        client.receive_until_equal(contents_of_file(path))
        _live_through_a_lot(path, program, client)
        client.receive_until_equal(contents_of_file(path))
    calls = [(int(c[1]), c[2], c[3]) for c in map(_CALL.match, log.read_text().splitlines()) if c]
    assert {name for pid, name, _ in calls if pid == server} <= LOOKS
    openers = {pid for pid, name, _ in calls if name not in LOOKS}
    assert len(openers) == 1
    assert {name for _, name, _ in calls} <= READS, calls
    opened = [rest for _, name, rest in calls if name == "openat"]
    for side in ("", "-wal", "-shm", "-journal"):
        assert any(f'"{path}{side}"' in rest for rest in opened), f"never looked into {side}"
    assert all(re.search(r", O_RDONLY\b", rest) and "O_CREAT" not in rest for rest in opened)
    asked = [rest.split(", ", 2) for _, name, rest in calls if name == "fcntl"]
    assert {command for _, command, _ in asked} <= {"F_OFD_GETLK", "F_DUPFD_CLOEXEC", "F_OFD_SETLK"}
    # The hold: shared, as any reader's, and on the log alone.
    taken = [(file, lock) for file, command, lock in asked if command == "F_OFD_SETLK"]
    assert all("-shm>" in file for file, _ in taken), taken
    assert all("F_RDLCK" in lock or "F_UNLCK" in lock for _, lock in taken), taken


def _live_through_a_lot(path: Path, program: StartProgram, client: Client) -> None:
    writer = program(path)
    writer.run("UPDATE items SET value='in the log'", "PRAGMA wal_checkpoint(RESTART)")
    writer.run("UPDATE items SET value='in the next log'")
    client.receive_until_equal(contents_of_file(path))
    writer.run("PRAGMA journal_mode=delete", "UPDATE items SET value='in the file'", "VACUUM")
    writer.run("PRAGMA cache_size=5", "BEGIN", "UPDATE items SET value='never'")
    writer.run(f"INSERT INTO items(name) {MANY_ROWS}")
    writer.kill()
    client.receive_until_state("needs_recovery")
    program(path).run("UPDATE items SET value='recovered'")


MANY_ROWS = """
WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<2000)
SELECT 'spilled' || i || hex(zeroblob(100)) FROM n
"""


@contextmanager
def _traced_server(strace: Path, log: Path, path: Path, state: Path) -> Iterator[tuple[int, str]]:
    """Runs a server under strace, which notes calls on the watched files; its pid and address."""
    command = [str(strace), "-f", "-qq", "-y", "-s", "400", "-o", str(log)]
    command += [f"-P{path}{side}" for side in ("", "-wal", "-shm", "-journal")]
    command += [sys.executable, "server.py", "--port=0", f"--state={state}", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), cwd=ROOT) as process:
        assert process.stdout is not None
        line = Lines(process.stdout.fileno()).next(PATIENCE)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        (server,) = map(int, children.split())
        try:
            found = re.search(r"http://\S+", line)
            assert found is not None, line
            yield server, found[0]
        finally:
            os.kill(server, signal.SIGTERM)
            process.wait(PATIENCE)
