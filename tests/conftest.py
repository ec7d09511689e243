"""What many tests need: system programs, databases written by another process, a real server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests import system
from tests.oracle.tally import report
from tests.served import Served

ITEMS = """
CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT NOT NULL, value TEXT);
INSERT INTO items VALUES (1, 'Test', '123'), (2, 'Lamp', 'off');
"""

_WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.executescript(sys.stdin.read())
connection.close()
"""

CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

expect.set_options(timeout=15_000)

Write = Callable[[Path, str], None]

# What the oracle's machine has gone through in the processes that share the tests, line by line.
_tallies: list[str] = []


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hands the tally over to the process that prints it; without others that is this one."""
    tally = list(report())
    output = getattr(session.config, "workeroutput", None)
    if output is None:
        _tallies.extend(tally)
    else:
        output["tally"] = tally


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes over the tally of another process."""
    _tallies.extend(getattr(node, "workeroutput", {}).get("tally", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the tally at the end of a run."""
    for line in _tallies:
        terminalreporter.write_line(f"oracle: {line}")


class MakeDatabase(Protocol):
    """Makes a database file."""

    def __call__(self, name: str = "app.db", *, mode: str = "delete", sql: str = ITEMS) -> Path: ...


class StartServer(Protocol):
    """Starts a server; without a database it makes and watches its demo database."""

    def __call__(
        self,
        database: Path | None = None,
        *options: str,
        variables: dict[str, str] | None = None,
        descriptors: int | None = None,
    ) -> Served: ...


def _required(program: system.Program) -> Path:
    try:
        return system.required(program)
    except system.Absent as reason:
        if system.strict():
            pytest.fail(str(reason))
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def sqlite3_shell() -> Path:
    """The `sqlite3` command."""
    return _required(system.SQLITE3)


@pytest.fixture(scope="session")
def chromium() -> Path:
    """A Chromium or Chrome that runs."""
    return _required(system.HEADLESS)


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Browser]:
    """One Chromium for the tests of a module; each page gets a context of its own.

    Not for the session: as long as it is open, the main thread has a running event loop.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def strace() -> Path:
    """The `strace` command."""
    return _required(system.STRACE)


@pytest.fixture(scope="session")
def write() -> Write:
    """Runs SQL on a database file in another process, which ends afterwards.

    Statements outside BEGIN and COMMIT are a commit each.
    """

    def write(path: Path, sql: str) -> None:
        subprocess.run([sys.executable, "-c", _WRITER, str(path)], input=sql, text=True, check=True)

    return write


@pytest.fixture
def database(tmp_path: Path, write: Write) -> MakeDatabase:
    """Makes small databases in any journal mode; another process writes them."""

    def make(name: str = "app.db", *, mode: str = "delete", sql: str = ITEMS) -> Path:
        path = tmp_path / name
        write(path, f"PRAGMA journal_mode={mode}; {sql}")
        return path

    return make


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers as processes of their own, and at the end sees each of them end cleanly."""
    started: list[Served] = []

    def start(
        database: Path | None = None,
        *options: str,
        variables: dict[str, str] | None = None,
        descriptors: int | None = None,
    ) -> Served:
        directory = tmp_path / f"server-{len(started)}"
        directory.mkdir()
        served = Served(
            directory,
            database,
            state=directory / "state",
            options=options,
            variables=variables,
            descriptors=descriptors,
        )
        started.append(served)
        return served

    yield start
    for served in started:
        if not served.closed:
            served.stop()
