"""A database whose first copy takes a while: all are told how far it is, nobody is in the way."""

from __future__ import annotations

import asyncio
import fcntl
import http.client
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.conftest import StartServer, Write
from tests.core.listener import Listener, body, types, until
from tests.faults.conftest import StartProgram
from tests.faults.standstill import stopped
from tests.faults.watched import PATIENCE
from tests.served import Lines, Served, environment, reader_of
from watcher.changes import Change
from watcher.errors import ReaderStopped, UnknownTable
from watcher.hub import Hub
from watcher.sqlite.fileformat import parse_header
from watcher.sqlite.files import RawFile
from watcher.sqlite.shadow import Pending, Shadow
from watcher.sqlite.whole_file import compare_file, nothing_newer
from watcher.stream import watch

# 300 MB in rows of 100 kB, so that there is little to decode.
LARGE = """
PRAGMA journal_mode=wal;
CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT, value);
WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<3000)
INSERT INTO items SELECT i, 'n' || i, zeroblob(100000) FROM n;
"""
_FICLONE = 0x40049409


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, write: Write) -> Iterator[Path]:
    """A database of 300 MB with a log."""
    path = tmp_path_factory.mktemp("large") / "large.db"
    if _can_reflink(path.parent):
        pytest.skip("on this file system a first copy takes no time")
    write(path, LARGE)
    yield path
    path.unlink()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state directory; the copy in it is too large to be left behind."""
    path = tmp_path / "state"
    yield path
    for copy in tmp_path.rglob("shadow.db"):
        copy.unlink()


def _can_reflink(directory: Path) -> bool:
    with (directory / "one").open("w+b") as one, (directory / "two").open("w+b") as two:
        one.write(b"x" * 4096)
        one.flush()
        try:
            fcntl.ioctl(two.fileno(), _FICLONE, one.fileno())
        except OSError:
            return False
    return True


def differing(path: Path, state: Path, scratch: Path) -> int:
    """How many pages of the copy are not as in the file, which nobody has open."""
    scratch.mkdir(exist_ok=True)
    with (
        closing(RawFile(path)) as main,
        closing(Shadow(state)) as shadow,
        closing(Pending(scratch, shadow)) as pending,
    ):
        found = main.refresh()
        assert found is not None
        pending.begin(parse_header(main.read(100, 0)).page_size)
        pending.page_count = found.size // pending.page_size
        compare_file(main, pending.page_count, shadow, pending, nothing_newer)
        return len(pending) + abs(pending.page_count - shadow.page_count)


# The hub and the library


def test_a_client_sees_how_far_it_is_while_another_process_writes(
    large: Path, state: Path, tmp_path: Path, program: StartProgram
) -> None:
    """Progress comes before `hello`, nobody meets a lock, and in the end the copy is the file."""
    writer = program(large, timeout=0)

    async def write(errors: list[str], enough: asyncio.Event) -> None:
        while not enough.is_set():
            errors += await asyncio.to_thread(writer.commit_many, 10)
            # At full speed the log would begin anew before anybody has looked at 300 MB once.
            await asyncio.sleep(0.01)

    async def live() -> None:
        errors: list[str] = []
        enough = asyncio.Event()
        async with Hub(large, state=state) as hub, asyncio.timeout(PATIENCE):
            writing = asyncio.create_task(write(errors, enough))
            listener = Listener(hub.subscribe())
            messages = await listener.until("hello")
            told = [body(message) for message in messages[:-1]]
            assert [message["state"] for message in told] == ["starting"] * len(told)
            parts = [message["progress"] for message in told]
            assert parts
            assert sorted(set(parts)) == parts
            assert 0 < parts[0] <= parts[-1] <= 1
            assert (await listener.changes())["changes"][0]["op"] == "insert"
            enough.set()
            await writing
            await asyncio.to_thread(writer.close)
            assert errors == []
            while differing(large, state, tmp_path / "scratch"):
                await asyncio.wait((hub.wake,), timeout=0.1)
            await until(hub, lambda: hub.status.state == "ok")

    asyncio.run(live())


def test_watching_begins_when_the_copy_is_complete(large: Path, state: Path, write: Write) -> None:
    """`watch` waits for it, and tells how far it is to who asks meanwhile."""

    async def live() -> None:
        stream = watch(large, state=state, tables={"items"})
        async with asyncio.timeout(PATIENCE):
            entering = asyncio.create_task(stream.__aenter__())
            parts = set()
            while not entering.done():
                parts.add(stream.status.progress)
                await asyncio.sleep(0.001)
            async with await entering:
                assert stream.status.state == "ok"
                assert [table.name for table in stream.watched_tables] == ["items"]
                write(large, "UPDATE items SET name='seen' WHERE id=7")
                changeset = await anext(stream)
        assert [c.key for c in changeset.changes if isinstance(c, Change)] == [{"id": 7}]
        assert parts - {None}

    asyncio.run(live())


def test_a_table_that_is_none_is_an_error_also_then(large: Path, state: Path) -> None:
    """Which tables there are is looked at when they are known."""

    async def live() -> None:
        async with asyncio.timeout(PATIENCE), watch(large, state=state, tables={"nothing"}):
            raise AssertionError

    with pytest.raises(UnknownTable):
        asyncio.run(live())


def test_a_restart_makes_no_second_copy(large: Path, state: Path) -> None:
    """With an intact copy it is ready at once."""

    async def live() -> set[float | None]:
        parts: set[float | None] = set()
        async with Hub(large, state=state) as hub, asyncio.timeout(PATIENCE):
            while hub.status.state != "ok":
                parts.add(hub.status.progress)
                await asyncio.wait((hub.wake,))
        return parts

    assert asyncio.run(live())
    assert not asyncio.run(live())


def test_questions_are_answered_meanwhile(large: Path, state: Path) -> None:
    """There are no rows yet, and nobody waits for that answer until the copy is complete."""

    async def is_refused(hub: Hub) -> bool:
        with stopped(hub.reader_pid):
            asked = asyncio.create_task(hub.rows("items"))
            # It is on its way before the copy goes on.
            await asyncio.sleep(0)
        (reason,) = await asyncio.gather(asked, return_exceptions=True)
        return isinstance(reason, ReaderStopped) and "first copy" in str(reason)

    async def live(number: int) -> bool:
        async with Hub(large, state=state.with_name(f"{number}")) as hub, asyncio.timeout(PATIENCE):
            refused = await is_refused(hub)
            await hub.started()
            page = await hub.rows("items", limit=2)
            assert json.loads(b"[" + page.inserts + b"]")[1]["key"] == {"id": 2}
        return refused

    # The copy may be complete before the question comes, on a machine that does other things.
    assert any(asyncio.run(live(number)) for number in range(5))


def test_a_reader_killed_meanwhile_is_replaced_and_begins_anew(
    large: Path, state: Path, tmp_path: Path
) -> None:
    """Half a copy is taken for nothing."""

    async def live() -> None:
        async with Hub(large, state=state) as hub, asyncio.timeout(PATIENCE):
            killed = hub.reader_pid
            assert killed is not None
            assert hub.status.progress is not None
            os.kill(killed, signal.SIGKILL)
            await until(hub, lambda: hub.reader_pid not in (None, killed))
            listener = Listener(hub.subscribe())
            told = await listener.until("ready")
            assert any("progress" in body(m) for m in told if m.type == "status")
            assert [type_ for type_ in types(told) if type_ != "status"] == ["hello", "ready"]
            assert hub.head.offset == 0
        assert differing(large, state, tmp_path / "scratch") == 0

    asyncio.run(live())


# The command line


def test_a_served_page_is_there_during_the_copy(large: Path, serve: StartServer) -> None:
    """`/health` and a WebSocket say how it stands; `hello` and `ready` follow."""
    served = serve(large)
    reader = reader_of(served.process)
    os.kill(reader, signal.SIGSTOP)
    try:
        with connect(f"ws://127.0.0.1:{served.port}/ws") as client:
            (status,) = json.loads(client.recv(PATIENCE))
            assert status["type"] == "status"
            assert status["state"] == "starting"
            assert 0 < status["progress"] < 1
            assert _health(served) == ("starting", None)
            os.kill(reader, signal.SIGCONT)
            told = [status]
            # Which of the two comes last depends on which process is faster.
            while not {"ok", "ready"} <= {m.get("state", m["type"]) for m in told}:
                told += json.loads(client.recv(PATIENCE))
        assert [m["type"] for m in told if m["type"] != "status"] == ["hello", "ready"]
        assert _health(served)[0] == "ok"
    finally:
        os.kill(reader, signal.SIGCONT)
        served.stop()
        (served.state / "shadow.db").unlink()
    assert served.errors.read_text() == "The first copy of the database is being made.\n"


def _health(served: Served) -> tuple[str, str | None]:
    with closing(http.client.HTTPConnection("127.0.0.1", served.port)) as connection:
        connection.request("GET", "/health")
        found = json.load(connection.getresponse())
    return found["state"], found["position"]


def test_tail_draws_a_bar_on_a_terminal_and_takes_it_away(large: Path, state: Path) -> None:
    """One line, drawn anew each time; nothing else is printed."""
    screen, theirs = pty.openpty()
    process = _tail(large, state, theirs)
    os.close(theirs)
    shown = ""
    while "\x1b[K" not in shown:
        shown += os.read(screen, 4096).decode()
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    os.close(screen)
    drawn, rest = shown.split("\r\x1b[K")
    assert rest == ""
    bars = re.findall(r"\rfirst copy \[(#*)(\.*)\] +(\d+)%", drawn)
    assert "".join(f"\rfirst copy [{a}{b}] {int(part):3}%" for a, b, part in bars) == drawn
    assert {len(a + b) for a, b, _ in bars} == {30}
    assert sorted(int(part) for *_, part in bars) == [int(part) for *_, part in bars]


def test_tail_says_one_sentence_to_anything_else(large: Path, state: Path, write: Write) -> None:
    """A log gets no bar."""
    process = _tail(large, state, subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stderr is not None
    assert process.stdout is not None
    line = process.stderr.readline()
    assert line == b"The first copy of the database is being made.\n"
    lines = Lines(process.stdout.fileno())
    # What is committed during the copy may be part of it; only what comes later is told.
    while not lines.next(1):
        assert process.poll() is None
        write(large, "UPDATE items SET name = name || '.' WHERE id=9")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=PATIENCE)[1] == b""
    assert process.returncode == 0


def _tail(
    path: Path, state: Path, stderr: int, *, stdout: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "watcher", "tail", "--state", str(state), str(path)],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
    )
