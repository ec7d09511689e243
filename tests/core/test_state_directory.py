"""Whose files a state directory may hold, and who may read them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.conftest import MakeDatabase
from tests.core.listener import opened
from watcher.errors import StateUnavailable
from watcher.hub import Hub
from watcher.sqlite.state_directory import StateDirectory


def watch_briefly(path: Path, state: Path) -> None:
    """Watches until it is live."""

    async def run() -> None:
        async with opened(path, state=state):
            pass

    asyncio.run(run())


def refused(path: Path, state: Path) -> str:
    """Why a directory is refused."""

    async def run() -> None:
        async with Hub(path, state=state):
            pass

    with pytest.raises(StateUnavailable) as caught:
        asyncio.run(run())
    return caught.value.detail


@pytest.mark.parametrize("name", ["shadow.db", "state.db", "pending", "lock", "notes.txt"])
def test_files_of_others_are_never_touched(
    name: str, database: MakeDatabase, tmp_path: Path
) -> None:
    """A directory with anything in it that is not ours is refused as it is."""
    path = database()
    state = tmp_path / "documents"
    state.mkdir()
    (state / name).write_bytes(b"precious")
    assert "files" in refused(path, state)
    assert {entry.name: entry.read_bytes() for entry in state.iterdir()} == {name: b"precious"}


@pytest.mark.parametrize("name", ["shadow.db", "state.db", "pending", "app.db"])
def test_the_directory_of_the_database_is_refused(
    name: str, database: MakeDatabase, tmp_path: Path
) -> None:
    """Also where it would be taken for one of ours."""
    path = database(name)
    content = path.read_bytes()
    assert "the database itself" in refused(path, tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    assert path.read_bytes() == content


def test_a_new_an_empty_and_a_used_directory_will_do(
    database: MakeDatabase, tmp_path: Path
) -> None:
    path = database()
    empty = tmp_path / "empty"
    empty.mkdir()
    for state in (tmp_path / "new" / "below", empty, empty):
        watch_briefly(path, state)
    # Its maker was killed before it came to the mark.
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "lock").touch()
    watch_briefly(path, begun)


def test_what_is_kept_is_for_its_owner_alone(database: MakeDatabase, tmp_path: Path) -> None:
    """The state is as secret as the database, also in a directory that others can enter."""
    path = database()
    state = tmp_path / "open to all"
    state.mkdir(mode=0o755)
    modes: dict[str, int] = {}

    async def run() -> None:
        async with opened(path, state=state):
            modes.update({entry.name: entry.stat().st_mode & 0o777 for entry in state.iterdir()})

    asyncio.run(run())
    assert {"shadow.db", "state.db", "state.db-wal", "pending", "lock"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_one_reader_holds_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watcher.sqlite.state_directory._LOCK_SECONDS", 0.05)
    database = tmp_path / "app.db"
    first = StateDirectory(tmp_path / "state", database)
    with pytest.raises(StateUnavailable, match="another daemon"):
        StateDirectory(tmp_path / "state", database)
    first.close()
    StateDirectory(tmp_path / "state", database).close()
    assert os.listdir(tmp_path / "state") == ["lock"]  # noqa: PTH208  # names are what matters
