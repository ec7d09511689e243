"""Databases that come to match a pattern: each file once, and none that is watched is opened."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeDatabase
from watcher.cli.fleet import Fleet, named
from watcher.hub import Hub


def run(home: Path, scenario: Callable[[Fleet], Awaitable[None]]) -> None:
    async def live() -> None:
        async with AsyncExitStack() as stack, asyncio.timeout(40):
            await scenario(Fleet(lambda name, path: Hub(path, state=home / "state" / name), stack))

    asyncio.run(live())


def test_a_watched_file_is_not_opened_again(
    database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To close it would drop the locks of the connections that this process writes through."""
    path = database("one.db", mode="wal")
    (tmp_path / "link.db").symlink_to(path)
    (tmp_path / "hard.db").hardlink_to(path)
    opened: list[str] = []
    open_ = os.open

    def noting(name: Any, *rest: Any, **named: Any) -> int:
        opened.append(os.fspath(name))
        return open_(name, *rest, **named)

    async def scenario(fleet: Fleet) -> None:
        await fleet.add({"one.db": path})
        monkeypatch.setattr(os, "open", noting)
        database("two.db")
        for _ in range(3):
            await fleet.look([f"{tmp_path}/**/*"])
        assert list(fleet.hubs) == ["one.db", "two.db"]
        own = {"one.db", "one.db-wal", "one.db-shm", "link.db", "hard.db"}
        assert not own & {Path(name).name for name in opened}

    run(tmp_path, scenario)


def test_what_else_matches_is_passed_by(database: MakeDatabase, tmp_path: Path) -> None:
    """A pipe is not waited for; the state of the service is not a database to be served."""
    os.mkfifo(tmp_path / "pipe.db")
    (tmp_path / "text.db").write_text("no database")
    (tmp_path / "folder.db").mkdir()
    database("real.db")

    async def scenario(fleet: Fleet) -> None:
        for _ in range(2):
            await fleet.look([f"{tmp_path}/**/*.db"])
        assert list(fleet.hubs) == ["real.db"]

    run(tmp_path, scenario)


def test_a_second_file_of_the_same_name_is_said_once(
    database: MakeDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not served, and not passed over in silence."""
    for tenant in ("a", "b"):
        (tmp_path / tenant).mkdir()
        database(f"{tenant}/app.db")

    async def scenario(fleet: Fleet) -> None:
        for _ in range(3):
            await fleet.look([f"{tmp_path}/*/app.db"])
        assert fleet.hubs["app.db"].path == tmp_path / "a" / "app.db"

    run(tmp_path, scenario)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"not watched: {tmp_path}/b/app.db: another database is called app.db")


def test_names_are_those_of_the_files_or_given() -> None:
    assert named(["x=a/b.db", "c/d.db", "..=e.db"]) == {
        "x": Path("a/b.db"),
        "d.db": Path("c/d.db"),
        "..=e.db": Path("..=e.db"),
    }
