"""Another file takes the name, or no file does."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import MakeDatabase, Write
from tests.faults.conftest import StartProgram
from tests.faults.following import POLLS, follow
from tests.faults.watched import Watched
from tests.oracle.contents import contents_of_file
from watcher import ResetReason
from watcher.changes import Op

OTHER = """
CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT NOT NULL, value TEXT);
INSERT INTO items VALUES (2, 'Lamp', 'on'), (3, 'Door', 'shut');
"""


def difference(watched: Watched) -> list[tuple[Op, object]]:
    """What happened to rows: operation and key."""
    return sorted((change.op, change.key["id"]) for change in watched.rows())


@pytest.mark.fault("D10")
@POLLS
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_file_renamed_over_it_gives_the_difference(
    mode: str, poll: float | None, database: MakeDatabase, state: Path
) -> None:
    """Another file of the same schema brings the rows that differ, in the same epoch."""
    path, other = database(mode=mode), database("other.db", mode=mode, sql=OTHER)

    async def steps(watched: Watched) -> None:
        other.replace(path)
        await watched.caught_up()
        (changeset,) = watched.live()
        assert (changeset.reset, changeset.commits) == (None, None)
        assert difference(watched) == [("delete", 1), ("insert", 3), ("update", 2)]

    follow(path, state, steps, poll)


@pytest.mark.fault("D10")
@POLLS
def test_a_file_of_another_schema_renamed_over_it_gives_schema_changes(
    poll: float | None, database: MakeDatabase, state: Path
) -> None:
    """Another schema comes as changes of the schema, before the rows."""
    path = database()
    other = database(
        "other.db", sql="CREATE TABLE people(name PRIMARY KEY); INSERT INTO people VALUES ('Eve')"
    )

    async def steps(watched: Watched) -> None:
        other.replace(path)
        await watched.caught_up()
        (changeset,) = watched.live()
        assert changeset.reset is None
        told = [(change.op, change.table) for change in changeset.changes]
        assert told == [("schema", "items"), ("schema", "people"), ("insert", "people")]

    follow(path, state, steps, poll)


@pytest.mark.fault("D16")
@POLLS
@pytest.mark.parametrize("page_size", [512, 65536])
def test_a_file_of_another_page_size_gives_the_difference_alone(
    page_size: int, poll: float | None, database: MakeDatabase, state: Path, write: Write
) -> None:
    """Rows that are the same in pages of another size are no changes."""
    path = database()
    other = path.with_name("other.db")
    write(other, f"PRAGMA page_size={page_size}; {OTHER}")

    async def steps(watched: Watched) -> None:
        other.replace(path)
        await watched.caught_up()
        assert difference(watched) == [("delete", 1), ("insert", 3), ("update", 2)]

    follow(path, state, steps, poll)


@pytest.mark.fault("D10")
@POLLS
def test_a_file_of_another_encoding_is_a_reset(
    poll: float | None, database: MakeDatabase, state: Path, write: Write
) -> None:
    """Text in another encoding cannot be compared: the content comes anew, for that reason."""
    path = database()
    other = path.with_name("other.db")
    write(other, f"PRAGMA encoding='UTF-16le'; {OTHER}")

    async def steps(watched: Watched) -> None:
        other.replace(path)
        await watched.caught_up()
        reasons = [changeset.reset for changeset in watched.received if changeset.reset]
        assert reasons == [ResetReason.START, ResetReason.REPLACED]

    follow(path, state, steps, poll)


@pytest.mark.fault("D11")
@POLLS
def test_a_file_overwritten_in_place_is_noticed(
    poll: float | None, database: MakeDatabase, state: Path
) -> None:
    """A copy over the file, with the same size and change counter, brings the rows that differ."""
    path = database()
    other = database("other.db", sql=OTHER)
    counter = slice(24, 28)
    assert other.read_bytes()[counter] == path.read_bytes()[counter]
    assert other.stat().st_size == path.stat().st_size

    async def steps(watched: Watched) -> None:
        inode = path.stat().st_ino
        shutil.copyfile(other, path)
        assert path.stat().st_ino == inode
        await watched.caught_up()
        assert difference(watched) == [("delete", 1), ("insert", 3), ("update", 2)]

    follow(path, state, steps, poll)


@pytest.mark.fault("D12")
@POLLS
def test_a_deleted_file_is_missing_and_comes_back(
    poll: float | None, database: MakeDatabase, state: Path, tmp_path: Path
) -> None:
    """A file that is gone is said to be missing and deletes no row; coming back it changes none."""
    path = database()

    async def steps(watched: Watched) -> None:
        path.rename(tmp_path / "away.db")
        await watched.until_status("missing")
        (tmp_path / "away.db").rename(path)
        await watched.caught_up()
        assert watched.live() == []

    follow(path, state, steps, poll)


@pytest.mark.fault("D12")
@POLLS
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_deleted_file_made_anew_gives_the_difference(
    mode: str, poll: float | None, database: MakeDatabase, state: Path
) -> None:
    """A database made anew under the name is compared with the old one, whatever its inode."""
    path = database(mode=mode)
    other = database("other.db", mode=mode, sql=f"{OTHER} {'VACUUM;' * 9}")

    async def steps(watched: Watched) -> None:
        path.unlink()
        await watched.until_status("missing")
        path.write_bytes(other.read_bytes())
        await watched.caught_up()
        # The counter of another file says nothing of this one, though the inode may be the same.
        assert [changeset.commits for changeset in watched.live()] == [None]
        assert difference(watched) == [("delete", 1), ("insert", 3), ("update", 2)]

    follow(path, state, steps, poll)


@pytest.mark.fault("D12")
def test_a_lone_log_of_a_deleted_file_changes_nothing(
    database: MakeDatabase, state: Path, program: StartProgram, tmp_path: Path
) -> None:
    """Where only the main file is deleted, its log is no database and no row is deleted."""
    path = database(mode="wal")
    writer = program(path)
    writer.run("UPDATE items SET value='in the log' WHERE id=1")

    async def steps(watched: Watched) -> None:
        path.rename(tmp_path / "away.db")
        await watched.until_status("missing")
        assert path.with_name("app.db-wal").exists()
        assert watched.live() == []
        (tmp_path / "away.db").rename(path)
        writer.run("UPDATE items SET value='goes on' WHERE id=2")
        await watched.caught_up()
        assert difference(watched) == [("update", 2)]

    follow(path, state, steps)


@pytest.mark.fault("D14")
@POLLS
def test_an_empty_file_is_a_database_without_tables(
    poll: float | None, state: Path, tmp_path: Path, write: Write
) -> None:
    """A file of 0 bytes is an empty database, and its first tables are changes."""
    path = tmp_path / "app.db"
    path.touch()

    async def steps(watched: Watched) -> None:
        assert watched.held == {}
        write(path, f"BEGIN; {OTHER} COMMIT")
        await watched.caught_up()
        assert watched.operations() == ["schema", "insert", "insert"]

    follow(path, state, steps, poll)


@pytest.mark.fault("D14")
@POLLS
def test_a_file_that_becomes_empty_is_missing(
    poll: float | None, database: MakeDatabase, state: Path
) -> None:
    """A file cut to 0 bytes has been destroyed, not emptied: no row is deleted."""
    path = database()
    content = path.read_bytes()

    async def steps(watched: Watched) -> None:
        os.truncate(path, 0)
        await watched.until_status("missing")
        path.write_bytes(content)
        await watched.caught_up()
        assert watched.live() == []

    follow(path, state, steps, poll)


@pytest.mark.fault("D13")
@POLLS
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_symlink_is_followed_to_its_database(
    mode: str, poll: float | None, database: MakeDatabase, state: Path, tmp_path: Path, write: Write
) -> None:
    """What is watched is the file a link leads to, with the side files beside that one."""
    (tmp_path / "deep").mkdir()
    path = database("deep/app.db", mode=mode)
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "deep" / "app.db")

    async def steps(watched: Watched) -> None:
        write(path, "UPDATE items SET value='by its own name' WHERE id=1")
        await watched.caught_up()
        write(link, "UPDATE items SET value='by the link' WHERE id=2")
        await watched.caught_up()
        assert difference(watched) == [("update", 1), ("update", 2)]
        assert contents_of_file(link) == watched.held

    follow(link, state, steps, poll)
    assert sorted(tmp_path.glob("link*")) == [link]
