"""Looking through a connection: it must not harm those who use the database either."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import MakeDatabase
from tests.faults.client import Client
from tests.faults.conftest import StartProgram, absent
from tests.faults.watched import PATIENCE
from tests.oracle.contents import contents_of_file
from tests.served import ROOT, Lines, environment

OWNER = 65534
OTHER = 65533


@pytest.fixture
def setpriv() -> str:
    """The command that gives a process another user, for which one has to be root."""
    found = shutil.which("setpriv")
    if os.geteuid() != 0:
        absent("only root may become another user")
    if found is None:
        absent("there is no setpriv to become another user with")
    return found


def as_user(
    setpriv: str, user: int, *, kept: str = "+dac_override,+dac_read_search"
) -> tuple[str, ...]:
    """What to put before a command that runs as another user, who may still read this checkout."""
    return (
        *(setpriv, f"--reuid={user}", "--clear-groups"),
        *(f"--inh-caps={kept}", f"--ambient-caps={kept}"),
    )


@contextmanager
def server(
    path: Path, state: Path, before: Sequence[str], *options: str
) -> Iterator[tuple[str, str]]:
    """Runs a server; its address and its first line."""
    command = [*before, sys.executable, "server.py", "--port=0", *options]
    command += [f"--state={state}", str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(), cwd=ROOT
    ) as process:
        assert process.stdout is not None
        try:
            line = Lines(process.stdout.fileno()).next(PATIENCE)
            found = re.search(r"http://\S+", line)
            yield found[0] if found else "", line
        finally:
            process.terminate()
            process.wait(PATIENCE)


def side_files(path: Path) -> dict[str, int]:
    """The files beside a database, and who owns them."""
    return {
        file.name.removeprefix(path.name): file.stat().st_uid
        for file in path.parent.glob(f"{path.name}-*")
    }


@pytest.mark.fault("D7")
@pytest.mark.parametrize("user", [OTHER, 0], ids=["another user", "root"])
def test_the_owner_of_a_closed_wal_database_is_not_locked_out(
    user: int,
    setpriv: str,
    database: MakeDatabase,
    state: Path,
    program: StartProgram,
) -> None:
    """Whoever cannot give the side files to their owner waits until he has made them."""
    path = database(mode="wal")
    os.chown(path, OWNER, OWNER)
    state.mkdir()
    os.chown(state, user, user)
    before = as_user(setpriv, user)
    with server(path, state, before, "--poll=0.02") as (url, _), Client() as client:
        client.connect(url)
        if user == OTHER:
            client.receive_until_state("closed")
            assert side_files(path) == {}
            owner = program(path, before=as_user(setpriv, OWNER))
            owner.run("UPDATE items SET value='by its owner' WHERE id=1")
        else:
            owner = program(path, before=as_user(setpriv, OWNER))
        client.receive_until_equal(contents_of_file(path))
        owner.run("UPDATE items SET value='again' WHERE id=1")
        client.receive_until_equal(contents_of_file(path))
        assert side_files(path) == {"-wal": OWNER, "-shm": OWNER}


@pytest.mark.fault("D7")
def test_a_database_that_becomes_wal_and_is_closed_is_let_go(
    setpriv: str, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """The same holds where the mode changes while it is watched."""
    path = database()
    os.chown(path, OWNER, OWNER)
    state.mkdir()
    os.chown(state, OTHER, OTHER)
    before = as_user(setpriv, OTHER)
    with server(path, state, before, "--poll=0.02") as (url, _), Client() as client:
        client.connect(url)
        client.receive_until_equal(contents_of_file(path))
        owner = program(path, before=as_user(setpriv, OWNER))
        owner.run("PRAGMA journal_mode=wal")
        owner.close()
        client.receive_until_state("closed")
        assert side_files(path) == {}
        owner = program(path, before=as_user(setpriv, OWNER))
        owner.run("UPDATE items SET value='goes on' WHERE id=1")
        client.receive_until_equal(contents_of_file(path))
        client.receive_until_state("ok")


@pytest.mark.fault("D6")
def test_a_directory_that_cannot_be_written_stops_only_who_needs_it(
    setpriv: str, database: MakeDatabase, state: Path
) -> None:
    """A closed WAL database is read raw; a connection needs side files, and it is said so."""
    (state.parent / "closed").mkdir()
    path = database("closed/app.db", mode="wal")
    os.chown(path, OTHER, OTHER)
    state.mkdir()
    os.chown(state, OTHER, OTHER)
    before = as_user(setpriv, OTHER, kept="+dac_read_search")
    with server(path, state, before, "--poll=0.02") as (_, line):
        assert "cannot be opened" in line
    with server(path, state, before) as (url, _), Client() as client:
        client.connect(url)
        client.receive_until_equal(contents_of_file(path))
    assert side_files(path) == {}
