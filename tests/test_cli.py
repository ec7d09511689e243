"""The command line as a user meets it: real processes, real signals, real pipes and terminals."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pty
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.conftest import MakeDatabase, StartServer, Write
from tests.served import ROOT, Lines, Served, environment
from watcher.cli.arguments import __version__
from watcher.cli.demo import ensure_demo_database
from watcher.sinks.stdout import ReadableLines, printable
from watcher.wire import Message

COMMAND = [sys.executable, "-m", "watcher"]
LONG_TOKEN = "correct-horse-battery"


def ran(
    *arguments: str | Path, cwd: Path = ROOT, before: Sequence[str] = (), **variables: str
) -> tuple[int, str]:
    """Runs the command to its end; gives its exit code and its standard error."""
    done = subprocess.run(
        [*before, *COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return done.returncode, done.stderr


def is_one_sentence(errors: str) -> bool:
    return errors.startswith("sqlite-watcher: ") and errors.count("\n") == 1


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield int(other.getsockname()[1])


@pytest.fixture
def unprivileged() -> Sequence[str]:
    """What to put before a command so that file permissions hold for it, also for root."""
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root may read every file, and there is no setpriv to take that from it")
    return (setpriv, "--bounding-set=-dac_override,-dac_read_search")


class Tail:
    """One `sqlite-watcher tail` and what it prints.

    Args:
        arguments: what follows the command's name.
        stdout: where it prints to; a pipe where nothing else is given.
    """

    def __init__(self, *arguments: str | Path, stdout: int = subprocess.PIPE) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "tail", *map(str, arguments)],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
        )
        if self.process.stdout is not None:
            self.lines = Lines(self.process.stdout.fileno())

    def first_line(self, provoke: Callable[[], None]) -> str:
        """Makes changes until the process, which may still be starting, prints one."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            provoke()
            if line := self.lines.next(0.5):
                return line
        raise AssertionError("nothing was printed")

    def ended(self, number: int | None = None) -> tuple[int, str]:
        """Sends a signal, if one is given, and awaits the end: exit code and standard error."""
        if number is not None:
            self.process.send_signal(number)
        code = self.process.wait(5)
        assert self.process.stderr is not None
        return code, self.process.stderr.read().decode()


StartTail = Callable[..., Tail]


@pytest.fixture
def tail(tmp_path: Path) -> Iterator[StartTail]:
    """Starts `tail` on a database; it is killed at the end if it still runs."""
    started: list[Tail] = []

    def start(database: Path, *options: str, stdout: int = subprocess.PIPE) -> Tail:
        started.append(Tail("--state", tmp_path / "state", *options, database, stdout=stdout))
        return started[-1]

    yield start
    for one in started:
        with one.process as process:
            process.kill()


# What is wrong with the call


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--port", "65536"),
        ("serve", "--port", "-1"),
        ("serve", "--port", "8o"),
        ("serve", "--poll", "0"),
        ("serve", "--poll", "nan"),
        ("serve", "--hold-seconds", "-1"),
        ("serve", "--hold-bytes", "256M"),
        ("serve", "--token", "short"),
        ("serve", "--max-clients", "0"),
        ("serve", "--max-clients", "many"),
        ("serve", "--nonsense"),
        ("tail",),
        ("tail", "--tables", '"a', "x.db"),
        (),
    ],
)
def test_bad_arguments_are_refused(arguments: tuple[str, ...]) -> None:
    code, errors = ran(*arguments)
    assert code == 2
    assert "usage: sqlite-watcher" in errors


def test_the_version_is_the_distributions() -> None:
    done = subprocess.run([*COMMAND, "--version"], cwd=ROOT, capture_output=True, text=True)  # noqa: PLW1510
    assert (done.returncode, done.stdout) == (0, f"sqlite-watcher {__version__}\n")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert "version" in project["dynamic"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104  # this is what is refused
def test_listening_beyond_loopback_needs_a_token(host: str, database: MakeDatabase) -> None:
    code, errors = ran("serve", "--port", "0", "--host", host, database())
    assert code == 2
    assert is_one_sentence(errors)
    assert "token" in errors


@pytest.mark.parametrize("origin", ["null", "*", "app.example.org", "https://app.example.org/"])
def test_what_is_no_origin_is_refused(origin: str, database: MakeDatabase) -> None:
    code, errors = ran("serve", "--port", "0", "--allow-origin", origin, database())
    assert (code, is_one_sentence(errors)) == (2, True)
    assert "--allow-origin" in errors


def test_a_weak_token_in_the_environment_is_refused(database: MakeDatabase) -> None:
    code, errors = ran("serve", "--port", "0", database(), WATCHER_TOKEN="short")
    assert (code, is_one_sentence(errors)) == (2, True)


@pytest.mark.parametrize("host", ["256.1.1.1", "", "a b"])
def test_an_unknown_host_is_refused(host: str, database: MakeDatabase) -> None:
    code, errors = ran("serve", "--port", "0", "--host", host, database())
    assert (code, is_one_sentence(errors)) == (2, True)


@pytest.mark.parametrize("name", ["missing.db", "nowhere/missing.db"])
@pytest.mark.parametrize("command", ["serve", "tail"])
def test_a_missing_file_is_refused_and_not_created(command: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    port = ("--port", "0") if command == "serve" else ()
    code, errors = ran(command, *port, "--state", tmp_path / "state", path)
    assert code == 2
    assert is_one_sentence(errors)
    assert "missing.db" in errors
    assert not path.exists()


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear Sir or Madam, " * 100)
    code, errors = ran("serve", "--port", "0", "--state", tmp_path / "state", path)
    assert (code, is_one_sentence(errors)) == (2, True)


def test_a_malformed_position_is_refused(database: MakeDatabase, tmp_path: Path) -> None:
    code, errors = ran("tail", "--since", "yesterday", "--state", tmp_path / "s", database())
    assert (code, is_one_sentence(errors)) == (2, True)


def test_an_unknown_table_is_refused(database: MakeDatabase, tmp_path: Path) -> None:
    code, errors = ran("tail", "--tables", "itmes", "--state", tmp_path / "s", database())
    assert (code, is_one_sentence(errors)) == (2, True)
    assert "itmes" in errors


# What stands in the way


def test_a_taken_port_is_said_before_anything_is_touched(taken_port: int, tmp_path: Path) -> None:
    code, errors = ran("serve", "--port", str(taken_port), "--state", "state", cwd=tmp_path)
    assert (code, is_one_sentence(errors)) == (3, True)
    assert str(taken_port) in errors
    assert list(tmp_path.iterdir()) == []


def test_a_state_that_another_daemon_holds_is_said(
    serve: StartServer, database: MakeDatabase
) -> None:
    served = serve(database())
    code, errors = ran("tail", "--state", served.state, served.database)
    assert (code, is_one_sentence(errors)) == (3, True)
    assert "--state" in errors


def test_tail_runs_beside_serve_with_a_state_of_its_own(
    serve: StartServer, tail: StartTail, database: MakeDatabase
) -> None:
    served = serve(database())
    printed = tail(served.database, "--snapshot")
    assert json.loads(printed.lines.next(20))["type"] == "reset"
    assert printed.ended(signal.SIGINT) == (0, "")


@pytest.mark.parametrize("command", ["serve", "tail"])
def test_a_state_directory_with_other_files_is_refused_and_left_alone(
    command: str, database: MakeDatabase, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "letter.txt").write_text("Dear Sir or Madam")
    port = ("--port", "0") if command == "serve" else ()
    code, errors = ran(command, *port, "--state", state, database())
    assert (code, is_one_sentence(errors)) == (3, True)
    assert [path.name for path in state.iterdir()] == ["letter.txt"]


def test_a_file_that_may_not_be_read_is_said(
    unprivileged: Sequence[str], database: MakeDatabase, tmp_path: Path
) -> None:
    path = database()
    path.chmod(0)
    state = tmp_path / "state"
    code, errors = ran("serve", "--port", "0", "--state", state, path, before=unprivileged)
    assert (code, is_one_sentence(errors)) == (3, True)


def test_a_state_directory_that_cannot_be_made_is_said(
    database: MakeDatabase, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    code, errors = ran("serve", "--port", "0", "--state", tmp_path / "file" / "state", database())
    assert (code, is_one_sentence(errors)) == (3, True)


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full to print to")
@pytest.mark.parametrize("options", [("tail", "--snapshot"), ("serve", "--port", "0")])
def test_an_output_that_cannot_be_written_is_said(
    options: tuple[str, ...], database: MakeDatabase, tmp_path: Path
) -> None:
    command = [*COMMAND, *options, "--state", str(tmp_path / "state"), str(database())]
    with FULL.open("wb") as full:
        done = subprocess.run(
            command,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=30,
        )
    assert done.returncode == 3
    assert is_one_sentence(done.stderr)
    assert os.strerror(errno.ENOSPC) in done.stderr


@pytest.mark.fault("D6")
@pytest.mark.parametrize("command", ["serve", "tail"])
def test_a_directory_that_may_not_be_read_is_said_in_one_sentence(
    command: str, unprivileged: Sequence[str], database: MakeDatabase, tmp_path: Path
) -> None:
    path = database()
    directory = tmp_path / "closed"
    directory.mkdir()
    path = path.rename(directory / path.name)
    directory.chmod(0)
    port = ("--port", "0") if command == "serve" else ()
    state = tmp_path / "state"
    code, errors = ran(command, *port, "--state", state, path, before=unprivileged)
    directory.chmod(0o700)
    assert (code, is_one_sentence(errors)) == (3, True)
    assert "PosixPath" not in errors


# File names


# Not every name of a file is text; where it must be shown as text, it is shown as far as it is.
NO_TEXT = os.fsdecode(b"\xff\xfe.db")


def test_a_database_whose_name_is_no_text_is_served(
    serve: StartServer, database: MakeDatabase
) -> None:
    served = serve(database(NO_TEXT), "--allow-writes")
    assert r"\xff\xfe.db" in served.start_line
    shown = "\ufffd\ufffd.db"
    with httpx.Client(base_url=served.url, trust_env=False) as http, opened(served) as client:
        assert json.loads(client.recv())[0]["database"] == shown
        assert http.get("/").status_code == 200
        assert http.get("/health").json()["database"] == shown
        assert http.get("/tables/items/rows").json()["rows"][0]["key"] == {"id": 1}
        assert http.get("/add/a/b").json() == {"id": 3, "name": "a", "value": "b"}
        messages = json.loads(client.recv())
        while messages[-1]["type"] != "changes":
            messages = json.loads(client.recv())
        assert messages[-1]["changes"][0]["key"] == {"id": 3}
    served.stop()
    assert served.errors.read_text() == ""


def test_a_database_whose_name_is_no_text_is_printed(
    tail: StartTail, database: MakeDatabase
) -> None:
    printed = tail(database(NO_TEXT), "--snapshot")
    assert json.loads(printed.lines.next(20))["type"] == "reset"
    assert printed.ended(signal.SIGINT) == (0, "")


@pytest.mark.parametrize("command", ["serve", "tail"])
def test_a_missing_file_whose_name_is_no_text_is_said(command: str, tmp_path: Path) -> None:
    port = ("--port", "0") if command == "serve" else ()
    code, errors = ran(command, *port, "--state", tmp_path / "state", tmp_path / NO_TEXT)
    assert (code, is_one_sentence(errors)) == (2, True)
    assert r"\xff\xfe.db" in errors


def test_a_state_directory_whose_name_is_no_text_is_refused(
    database: MakeDatabase, tmp_path: Path
) -> None:
    code, errors = ran("tail", "--state", tmp_path / NO_TEXT, database())
    assert code == 2
    assert "--state: the name of the directory is not UTF-8" in errors
    assert "Traceback" not in errors


# The demo database


def test_the_demo_database_is_made_beside_the_script(serve: StartServer) -> None:
    served = serve()
    assert served.database.parent == served.errors.parent
    with contextlib.closing(sqlite3.connect(served.database)) as connection:
        assert connection.execute("SELECT * FROM items WHERE id = 1").fetchone() == (
            1,
            "Test",
            "123",
        )
    assert not list(served.database.parent.glob("test.db-*"))


def test_the_demo_database_can_be_written_over_http(serve: StartServer) -> None:
    served = serve()
    assert httpx.get(f"{served.url}/update/1/456").status_code == 200
    served.stop()
    with contextlib.closing(sqlite3.connect(served.database)) as connection:
        (value,) = connection.execute("SELECT value FROM items WHERE id = 1").fetchone()
    assert value == "456"


@pytest.mark.fault("H10")
def test_other_databases_are_written_only_with_allow_writes(
    serve: StartServer, database: MakeDatabase
) -> None:
    path = database()
    closed, opened = serve(path), serve(path, "--allow-writes")
    assert httpx.get(f"{closed.url}/update/1/456").status_code == 403
    assert httpx.get(f"{opened.url}/update/1/456").status_code == 200
    row = {"row": {"name": "x"}}
    assert httpx.post(f"{closed.url}/tables/items/rows", json=row).status_code == 403
    assert httpx.post(f"{opened.url}/tables/items/rows", json=row).status_code == 201
    assert [httpx.get(f"{each.url}/health").json()["writes"] for each in (closed, opened)] == [
        False,
        True,
    ]


def test_an_existing_demo_database_is_kept(tmp_path: Path, write: Write) -> None:
    path = tmp_path / "test.db"
    write(path, "CREATE TABLE mine(x)")
    before = path.read_bytes()
    ensure_demo_database(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_demo_database_that_cannot_be_made_is_said(
    unprivileged: Sequence[str], tmp_path: Path
) -> None:
    tmp_path.chmod(0o500)
    code, errors = ran("serve", "--port", "0", cwd=tmp_path, before=unprivileged)
    tmp_path.chmod(0o700)
    assert (code, is_one_sentence(errors)) == (3, True)
    assert list(tmp_path.iterdir()) == []


# Serving and ending


def opened(served: Served) -> ClientConnection:
    return connect(f"{served.url.replace('http', 'ws')}/ws", proxy=None)


def test_one_line_says_what_is_watched_where_it_is_shown_and_how_it_stops(
    serve: StartServer, database: MakeDatabase
) -> None:
    served = serve(database())
    for part in (str(served.database.resolve()), served.url, "Ctrl-C"):
        assert part in served.start_line
    assert httpx.get(served.url).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_and_clients_get_a_close_code(
    number: int, serve: StartServer, database: MakeDatabase
) -> None:
    served = serve(database())
    with opened(served) as client:
        client.recv()
        served.stop(number)
        with contextlib.suppress(Exception):
            while True:
                client.recv(timeout=5)
        assert client.close_code == 1012
    assert served.errors.read_text() == ""


def test_a_client_that_never_answers_does_not_delay_the_end(
    serve: StartServer, database: MakeDatabase
) -> None:
    served = serve(database())
    with socket.create_connection(("127.0.0.1", served.port)) as client:
        client.sendall(
            b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" % served.port
        )
        assert client.recv(12) == b"HTTP/1.1 101"
        served.stop()


def test_it_comes_back_at_once_on_the_same_port(serve: StartServer, database: MakeDatabase) -> None:
    served = serve(database())
    port = served.port
    with opened(served) as client:
        client.recv()
        served.restart()
    assert served.port == port
    assert httpx.get(f"{served.url}/health").status_code == 200


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_every_loopback_name_is_served(
    host: str, serve: StartServer, database: MakeDatabase
) -> None:
    served = serve(database(), "--host", host)
    name = f"[{host}]" if ":" in host else host
    assert httpx.get(f"http://{name}:{served.port}/health").status_code == 200


def test_with_a_token_it_serves_other_addresses_and_asks_everyone(
    serve: StartServer, database: MakeDatabase
) -> None:
    anywhere = ("--host", "0.0.0.0")  # noqa: S104  # what the token is for
    served = serve(database(), *anywhere, variables={"WATCHER_TOKEN": LONG_TOKEN})
    bearer = {"Authorization": f"Bearer {LONG_TOKEN}"}
    assert httpx.get(f"{served.url}/health").status_code == 401
    assert httpx.get(f"{served.url}/health", headers=bearer).status_code == 200


def test_with_a_token_the_start_line_has_a_link_that_signs_in_once(
    serve: StartServer, database: MakeDatabase
) -> None:
    served = serve(database(), "--token", LONG_TOKEN)
    link = re.search(r"http://\S+/login/\S+", served.start_line)
    assert link is not None
    assert LONG_TOKEN not in served.start_line
    with httpx.Client(trust_env=False) as http:
        assert http.get(link[0]).status_code == 200
        assert http.post(link[0]).status_code == 303
        assert http.get(f"{served.url}/health").status_code == 200
        assert http.post(link[0]).status_code == 401


def test_without_a_token_there_is_no_link(serve: StartServer, database: MakeDatabase) -> None:
    assert "/login" not in serve(database()).start_line


def test_pages_elsewhere_and_the_number_of_clients_are_options(
    serve: StartServer, database: MakeDatabase
) -> None:
    origins = ("https://one.example.org", "https://two.example.org")
    served = serve(database(), *(f"--allow-origin={one}" for one in origins), "--max-clients=1")
    for origin in origins:
        answer = httpx.get(f"{served.url}/health", headers={"Origin": origin})
        assert answer.headers["access-control-allow-origin"] == origin
    with httpx.stream("GET", f"{served.url}/events") as events:
        assert events.status_code == 200
        assert httpx.get(f"{served.url}/events").status_code == 503
        assert httpx.get(f"{served.url}/livez").status_code == 200


def test_a_further_name_is_served_when_allowed(serve: StartServer, database: MakeDatabase) -> None:
    served = serve(database(), "--allow-host", "watch.example.org")
    asked = {"Host": "watch.example.org"}
    assert httpx.get(f"{served.url}/health", headers=asked).status_code == 200
    asked = {"Host": "other.example.org"}
    assert httpx.get(f"{served.url}/health", headers=asked).status_code >= 400


# tail


def test_a_pipe_gets_a_json_line_for_each_changeset(
    tail: StartTail, database: MakeDatabase, write: Write
) -> None:
    path = database()
    printed = tail(path)
    line = printed.first_line(lambda: write(path, "UPDATE items SET value = value || '!'"))
    message = json.loads(line)
    assert message["type"] == "changes"
    change = message["changes"][0]
    assert (change["op"], change["table"], change["key"]) == ("update", "items", {"id": 1})
    assert change["after"]["value"] == change["before"]["value"] + "!"
    assert printed.ended(signal.SIGINT) == (0, "")


def test_it_goes_on_from_a_position(tail: StartTail, database: MakeDatabase, write: Write) -> None:
    path = database()
    printed = tail(path)
    line = printed.first_line(lambda: write(path, "INSERT INTO items(name) VALUES ('seen')"))
    # Changes that were made to provoke the first line may still be coming.
    while left := printed.lines.next(1):
        line = left
    assert printed.ended(signal.SIGTERM) == (0, "")
    write(path, "DELETE FROM items WHERE id = 2")
    printed = tail(path, "--since", json.loads(line)["position"])
    message = json.loads(printed.lines.next(20))
    assert [(c["op"], c["key"]) for c in message["changes"]] == [("delete", {"id": 2})]


def test_a_snapshot_comes_as_inserts_between_reset_and_ready(
    tail: StartTail, database: MakeDatabase
) -> None:
    printed = tail(database(), "--snapshot", "--tables", "items")
    messages = [json.loads(printed.lines.next(20))]
    while messages[-1]["type"] != "ready":
        messages.append(json.loads(printed.lines.next(20)))
    assert messages[0]["type"] == "reset"
    changes = [change for message in messages[1:-1] for change in message["changes"]]
    rows = [change["after"] for change in changes if change["op"] == "insert"]
    assert rows == [
        {"id": 1, "name": "Test", "value": "123"},
        {"id": 2, "name": "Lamp", "value": "off"},
    ]
    assert messages[-1]["position"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports a hang-up as an event")
def test_an_idle_watcher_notices_that_nobody_reads_any_more(
    tail: StartTail, database: MakeDatabase
) -> None:
    printed = tail(database(), "--snapshot")
    assert printed.lines.next(20)
    assert printed.process.stdout is not None
    printed.process.stdout.close()
    assert printed.ended() == (0, "")


def test_a_change_that_nobody_reads_ends_it_quietly(database: MakeDatabase, write: Write) -> None:
    # A socket reports no hang-up, so that the write itself finds out.
    ours, theirs = socket.socketpair()
    path = database()
    state = path.with_name("state")
    printed = Tail("--snapshot", "--state", state, path, stdout=theirs.fileno())
    theirs.close()
    assert ours.recv(1) == b"{"
    ours.close()
    with printed.process as process:
        write(path, "INSERT INTO items(name) VALUES ('y')")
        assert printed.ended() == (0, "")
        process.kill()


def test_a_terminal_gets_readable_lines_that_cannot_drive_it(
    tail: StartTail, database: MakeDatabase, write: Write
) -> None:
    path = database()
    screen, theirs = pty.openpty()
    printed = tail(path, stdout=theirs)
    os.close(theirs)
    printed.lines = Lines(screen)
    attack = "UPDATE items SET value = char(27) || '[2J' || random() WHERE id = 1"
    line = printed.first_line(lambda: write(path, attack))
    assert "items  update  id=1  value: " in line
    assert "→" in line
    assert r"\x1b[2J" in line
    assert "\x1b" not in line
    assert printed.ended(signal.SIGINT) == (0, "")
    os.close(screen)


def test_a_signal_ends_it_though_nobody_empties_the_pipe(
    tail: StartTail, database: MakeDatabase, write: Write
) -> None:
    many = "WITH RECURSIVE n(i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) "
    path = database()
    write(path, f"{many} INSERT INTO items SELECT i, hex(zeroblob(50)), NULL FROM n")
    printed = tail(path, "--snapshot")
    assert printed.lines.next(20)
    assert printed.ended(signal.SIGTERM) == (0, "")


# Readable lines


def shown(**message: Any) -> str:
    data = json.dumps({"type": "changes", "time": None, **message}).encode()
    return ReadableLines()(Message("changes", None, data)).decode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "NULL"),
        (1, "1"),
        (1.0, "1.0"),
        ("it's", "'it''s'"),
        ("", "''"),
        ("a\nb\u202e\x9b", r"'a\nb\u202e\x9b'"),
        ({"$int": "9223372036854775807"}, "9223372036854775807"),
        ({"$blob": "AP8="}, "x'00ff'"),
        ({"$text": "/w=="}, "text x'ff'"),
        ({"$large": {"type": "blob", "bytes": 9, "sha256": "ab"}}, "<blob of 9 bytes>"),
        ("x" * 100, f"'{'x' * 80}'… (100 long)"),
    ],
)
def test_each_kind_of_value_is_told_apart(value: object, text: str) -> None:
    change = {"op": "insert", "table": "t", "key": {"$rowid": 1}, "before": None}
    assert shown(changes=[{**change, "after": {"v": value}}]).endswith(f"  $rowid=1  v: {text}\n")


def test_a_deleted_row_and_odd_names_are_shown() -> None:
    change = {"op": "delete", "table": 'a "b"', "key": {"": 1}, "after": None}
    line = shown(changes=[{**change, "before": {"x\x1b": 1}}])
    assert line.endswith('"a ""b"""  delete  ""=1  "x\\x1b": 1\n')


def test_a_schema_change_is_shown() -> None:
    sql = {"before": None, "after": "CREATE TABLE t(\n a)"}
    change = {"op": "schema", "table": "t", "object": "table", "sql": sql}
    assert shown(changes=[change]).endswith("t  schema  table: nothing → CREATE TABLE t(\\n a)\n")


def test_printable_text_stays_as_it_is() -> None:
    assert printable("Grüße, 世界 🙂") == "Grüße, 世界 🙂"


# What nobody gets

VAULTS = """
CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT, secret TEXT);
CREATE TABLE vault(x); CREATE TABLE "a,b"(x); CREATE TABLE other(x);
INSERT INTO items VALUES (1, 'Test', 'hidden');
"""


def watched_by(served: Served) -> dict[str, list[str]]:
    """Names of the tables a server shows, and of their columns."""
    tables = httpx.get(f"{served.url}/tables", trust_env=False).json()
    return {table["name"]: table["columns"] for table in tables}


def test_serve_leaves_out_what_it_is_told_to(serve: StartServer, database: MakeDatabase) -> None:
    """Options may be repeated; with several databases they hold for each."""
    path = database(sql=VAULTS)
    served = serve(path, "--exclude", 'items.secret,"a,b"', "--exclude", "vault")
    assert watched_by(served) == {"items": ["id", "name"], "other": ["x"]}
    served = serve(path, "--tables", 'ITEMS,"a,b"', "--exclude", "items.secret")
    assert watched_by(served) == {"items": ["id", "name"], "a,b": ["x"]}
    database("b.db", sql=VAULTS)
    served = serve(path.parent / "*.db", "--exclude", "vault,items.secret")
    for name in ("app.db", "b.db"):
        tables = httpx.get(f"{served.url}/db/{name}/tables", trust_env=False).json()
        assert [table["columns"] for table in tables] == [["id", "name"], ["x"], ["x"]]


def test_tail_leaves_out_what_it_is_told_to(
    tail: StartTail, database: MakeDatabase, write: Write
) -> None:
    """Its `--tables` is the filter of the stream."""
    path = database(sql=VAULTS)
    watching = tail(path, "--exclude", "items.secret", "--tables", "items")
    change = "UPDATE items SET name = name || '!', secret = 'hidden' || name"
    line = watching.first_line(lambda: write(path, change))
    assert "hidden" not in line
    assert json.loads(line)["changes"][0]["changed"] == ["name"]
    code, errors = watching.ended(signal.SIGINT)
    assert (code, errors) == (0, "")
    code, errors = tail(path, "--exclude", "items", "--tables", "items").ended()
    assert code == 2
    assert errors.endswith("no watched table is named 'items'\n")


def test_names_of_nothing_are_pointed_out(tail: StartTail, database: MakeDatabase) -> None:
    """A slip of the pen would exclude nothing, unseen."""
    path = database()
    watching = tail(path, "--exclude", "items.nmae", "--snapshot")
    watching.first_line(lambda: None)
    code, errors = watching.ended(signal.SIGINT)
    assert code == 0
    assert "no table or column is called items.nmae" in errors
    code, errors = ran("tail", "--exclude", "", path)
    assert code == 2
    assert "it names nothing" in errors
