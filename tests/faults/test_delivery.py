"""From the history to its clients: crashes as they see them, slow ones, many at once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.conftest import ITEMS, MakeDatabase, StartServer, Write
from tests.faults.client import Client
from tests.faults.conftest import StartProgram
from tests.faults.memory import MIB, PeakMemory
from tests.faults.watched import PATIENCE
from tests.oracle.contents import contents_of_file
from tests.served import ROOT, Served, environment, reader_of
from tests.web.service import Service, receive_until, run_service
from tests.web.test_socket import execute, health, wait_for
from watcher import Change
from watcher.history import HistoryReader
from watcher.web.protocol import GuardedHttp, GuardedWebSocket

# Crashes, seen by those who come back with their position


class Told:
    """What was told at each position, by whatever transport: never two things."""

    def __init__(self) -> None:
        self._changes: dict[str, Any] = {}

    def check(self, messages: list[dict[str, Any]]) -> None:
        """Compares messages with what was told before."""
        for message in messages:
            if message["type"] == "changes" and "position" in message:
                said = message["changes"], message["part"], message["last"]
                assert self._changes.setdefault(message["position"], said) == said


class Puller:
    """A client of `/events` and `/changes` that comes back with the position it has.

    Args:
        told: what was told to anybody.
    """

    def __init__(self, told: Told) -> None:
        self.position: str | None = None
        self.inserted: list[int] = []
        self._told = told

    def take(self, messages: list[dict[str, Any]]) -> None:
        """Deals with messages in their order."""
        self._told.check(messages)
        for message in messages:
            assert message["type"] != "reset"
            if message["type"] in {"changes", "ready"}:
                self.position = message["position"]
            for change in message.get("changes", ()):
                self.inserted.append(change["key"]["id"])

    def poll(self, url: str) -> None:
        """Asks until there is nothing new."""
        while True:
            since = "" if self.position is None else f"since={quote(self.position)}&"
            answer = httpx.get(f"{url}/changes?{since}wait=0", trust_env=False, timeout=PATIENCE)
            assert answer.status_code == 200, answer.text
            body = answer.json()
            if body["position"] == self.position:
                return
            self.take(body["messages"])
            self.position = body["position"]

    def listen(self, url: str, until: str) -> None:
        """Reads events until it has a position, or the server is gone."""
        headers = {} if self.position is None else {"Last-Event-ID": self.position}
        try:
            with (
                httpx.Client(trust_env=False, timeout=PATIENCE, headers=headers) as client,
                client.stream("GET", f"{url}/events") as response,
            ):
                for line in response.iter_lines():
                    if line.startswith("data: "):
                        self.take([json.loads(line.removeprefix("data: "))])
                    if self.position == until:
                        return
        except httpx.TransportError:
            # What it has not read by now comes when it is back.
            return


def kill(served: Served, victims: str) -> None:
    """Kills processes at once, without a word."""
    if "reader" in victims:
        os.kill(reader_of(served.process), signal.SIGKILL)
    if "server" in victims:
        served.kill()


def inserted(path: Path) -> list[int]:
    """The keys of the rows that were not there at first, in the order in which they came."""
    return sorted(row[2] for row in contents_of_file(path)["items"][1] if row[2] > 2)


@pytest.mark.fault("P1", "P2", "N1")
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("mode", "rounds"), [("wal", 6), pytest.param("delete", 60, marks=pytest.mark.soak)]
)
def test_whoever_is_killed_clients_lose_and_repeat_nothing(
    mode: str, rounds: int, serve: StartServer, database: MakeDatabase, program: StartProgram
) -> None:
    """Killed after the first message, after the second and so on, while another program writes.

    A WebSocket, events and polls: each insert comes once and in order, and no position is ever told
    with other content.
    """
    path = database(mode=mode)
    served = serve(path)
    writer, told = program(path), Told()
    polling, listening = Puller(told), Puller(told)
    polling.poll(served.url)
    listening.position = polling.position
    with Client() as client, ThreadPoolExecutor(1) as pool:
        client.connect(served.url)
        client.receive_until_equal(contents_of_file(path))
        for number in range(rounds):
            commits = pool.submit(writer.commit_many, 150)
            until = len(client.received) + number + 1
            while len(client.received) < until:
                assert client.receive()
            assert client.position is not None
            listening.listen(served.url, client.position)
            victims = ("reader", "server", "reader and server")[number % 3]
            kill(served, victims)
            if "server" in victims:
                client.receive_until_closed()
                served.restart()
                client.connect(served.url)
            polling.poll(served.url)
            assert commits.result() == []
        client.receive_until_equal(contents_of_file(path))
        assert client.position is not None
        listening.listen(served.url, client.position)
        while polling.position != client.position:
            polling.poll(served.url)
        assert client.resets == ["start"]
    assert polling.inserted == listening.inserted == inserted(path)


@pytest.mark.fault("P2")
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_what_was_recorded_but_not_sent_is_told_on_return(
    mode: str, serve: StartServer, database: MakeDatabase, write: Write
) -> None:
    """The server stands still while the reader records a commit, and then both are killed."""
    path = database(mode=mode)
    served = serve(path)
    with Client() as client:
        client.connect(served.url)
        client.receive_until_equal(contents_of_file(path))
        before = client.position
        history = HistoryReader(served.state)
        served.process.send_signal(signal.SIGSTOP)
        write(path, "UPDATE items SET value='not sent' WHERE id=1")
        wait_for(lambda: history.head().offset == 1)
        history.close()
        kill(served, "reader and server")
        client.receive_until_closed()
        assert client.position == before
        served.restart()
        client.connect(served.url)
        client.receive_until_equal(contents_of_file(path))
        assert client.resets == ["start"]
        told = [change for change in client.received[-1].changes if isinstance(change, Change)]
        assert [(change.after or {})["value"] for change in told] == ["not sent"]


# Clients that never read


@contextmanager
def unread(service: Service, target: str) -> Iterator[socket.socket]:
    """A client that asks and never reads what it gets."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", service.port))
        upgrade = (
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        )
        lines = upgrade if target.startswith("/ws") else ""
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: {service.host}\r\n{lines}\r\n".encode())
        yield client


@pytest.mark.fault("N3")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("target", ["/ws", "/events", "/ws?snapshot=true", "/snapshot"])
@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.soak)])
def test_clients_that_never_read_are_dropped_and_cost_little(
    count: int, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After their limit they are gone and counted; nobody else waits, and memory is bounded."""
    monkeypatch.setattr(GuardedWebSocket, "stall_limit", 1.0)
    monkeypatch.setattr(GuardedHttp, "stall_limit", 1.0)
    rows = "WITH RECURSIVE i(x) AS (VALUES(9) UNION ALL SELECT x+1 FROM i WHERE x<20000)"
    script = f"{rows} INSERT INTO items SELECT x, hex(zeroblob(300)), 'n' FROM i;"
    with run_service(tmp_path, script=script, send_timeout=0.5) as service, ExitStack() as stack:
        client = stack.enter_context(service.websocket(max_size=None))
        receive_until(client, "ready")
        memory = stack.enter_context(PeakMemory(os.getpid()))
        for _ in range(count):
            stack.enter_context(unread(service, target))
        wait_for(lambda: health(service)["clients"] > count // 2)
        waits: list[float] = []
        for number in range(400):
            began = time.monotonic()
            value = f"'{number}:' || hex(zeroblob(60000))"
            execute(service.database, f"UPDATE items SET value = {value} WHERE id = 1")
            receive_until(client, "changes")
            waits.append(time.monotonic() - began)
            if health(service)["clients"] == 1:
                break
        wait_for(lambda: health(service)["clients"] == 1)
        wait_for(lambda: service.open_connections() <= 2)
        assert sorted(waits)[len(waits) // 2] < 0.5
        figures = httpx.get(f"{service.url}/metrics", trust_env=False).text
        assert f'watcher_slow_disconnects_total{{database="test.db"}} {count}.0' in figures
    assert memory.grown < 100 * MIB + count * MIB


# Many clients at once


@pytest.mark.fault("N6")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.soak)])
def test_all_clients_come_back_at_once_after_a_restart(
    count: int, serve: StartServer, database: MakeDatabase, write: Write
) -> None:
    """Each gets what it missed, by its position, and none has to begin anew."""
    path = database(mode="wal")
    served = serve(path)

    async def visit(query: str) -> list[dict[str, Any]]:
        url = served.url.replace("http", "ws", 1)
        messages: list[dict[str, Any]] = []
        async with connect(f"{url}/ws{query}", compression=None, proxy=None) as client:
            while not messages or messages[-1]["type"] != "ready":
                messages += json.loads(await asyncio.wait_for(client.recv(), PATIENCE))
        return messages

    async def visit_all(queries: list[str]) -> list[list[dict[str, Any]]]:
        return await asyncio.gather(*(visit(query) for query in queries))

    first = asyncio.run(visit_all([""] * count))
    served.kill()
    write(path, "UPDATE items SET value='away' WHERE id=1")
    served.restart()
    back = asyncio.run(visit_all([f"?since={quote(m[-1]['position'])}" for m in first]))
    # One that comes before the first look gets the change after its `ready`.
    assert {message["type"] for messages in back for message in messages} <= {
        "hello", "changes", "ready", "status",
    }  # fmt: skip
    (again,) = {m[-1]["position"] for m in asyncio.run(visit_all(["?snapshot=true"] * 1))}
    late = asyncio.run(visit_all([f"?since={quote(m[-1]['position'])}" for m in first]))
    for messages in late:
        told = [c for m in messages for c in m.get("changes", ())]
        assert [change["after"]["value"] for change in told] == ["away"]
        assert messages[-1]["position"] == again


# A sink that is not read


@pytest.mark.fault("N8")
def test_a_pipe_that_nobody_reads_holds_up_nobody(
    database: MakeDatabase, serve: StartServer, program: StartProgram, tmp_path: Path
) -> None:
    """The writer and other clients go on; whoever reads it at last finds everything, once."""
    path = database(mode="wal")
    command = [sys.executable, "-m", "watcher", "tail", "--state", str(tmp_path / "tail")]
    tail = subprocess.Popen(
        [*command, "--snapshot", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
        cwd=ROOT,
        text=True,
    )
    assert tail.stdout is not None
    position = ""
    while not position:
        message = json.loads(tail.stdout.readline())
        position = message["position"] if message["type"] == "ready" else ""
    served = serve(path)
    writer = program(path, timeout=0)
    with Client() as client:
        client.connect(served.url)
        client.receive_until_equal(contents_of_file(path))
        for _ in range(4):
            # More than a pipe holds.
            assert writer.commit_many(300) == []
        client.receive_until_equal(contents_of_file(path))
    wanted = inserted(path)
    found: list[int] = []
    while len(found) < len(wanted):
        message = json.loads(tail.stdout.readline())
        found += [change["key"]["id"] for change in message["changes"]]
        if len(found) >= len(wanted) // 2:
            break
    # It goes on from where it was left, too.
    tail.kill()
    tail.communicate()
    rest = subprocess.Popen(
        [*command, "--since", message["position"], str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
        cwd=ROOT,
        text=True,
    )
    assert rest.stdout is not None
    while len(found) < len(wanted):
        found += [change["key"]["id"] for change in json.loads(rest.stdout.readline())["changes"]]
    rest.kill()
    rest.communicate()
    assert found == wanted


# Snapshots under load


@pytest.mark.fault("N5")
def test_content_sent_under_full_load_is_exact(
    serve: StartServer, database: MakeDatabase, program: StartProgram
) -> None:
    """Clients that begin with the content while another program writes as fast as it can."""
    many = "WITH RECURSIVE i(x) AS (VALUES(3) UNION ALL SELECT x+1 FROM i WHERE x<5000)"
    path = database(mode="wal", sql=f"{ITEMS} {many} INSERT INTO items SELECT x,'n','v' FROM i")
    served = serve(path)
    writer = program(path)
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(1))
        clients = [stack.enter_context(Client()) for _ in range(4)]
        for client in clients:
            commits = pool.submit(writer.commit_many, 200)
            client.connect(served.url)
            while client.position is None:
                assert client.receive()
            assert commits.result() == []
        commits = pool.submit(writer.commit_many, 200)
        snapshot = httpx.get(f"{served.url}/snapshot", trust_env=False, timeout=PATIENCE)
        assert commits.result() == []
        wanted = contents_of_file(path)
        for client in clients:
            client.receive_until_equal(wanted)
            assert client.resets == ["start"]
    messages = [json.loads(line) for line in snapshot.text.splitlines()]
    keys = {row[2] for row in wanted["items"][1]}
    held: set[int] = set()
    while True:
        changes = [change for message in messages for change in message.get("changes", ())]
        held |= {change["key"]["id"] for change in changes if change["op"] != "schema"}
        if held == keys:
            break
        since = quote(messages[-1]["position"])
        url = f"{served.url}/changes?limit=1000&wait=5&since={since}"
        messages = httpx.get(url, trust_env=False, timeout=PATIENCE).json()["messages"]
        assert messages, "the content and what came after it lack rows"
