"""A transaction of the history that was given up leaves nothing behind, and loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from tests.conftest import MakeDatabase
from tests.faults.conftest import StartProgram
from watcher import wire
from watcher.errors import StateUnavailable
from watcher.history import HistoryReader, HistoryWriter, Limits, sequence
from watcher.sqlite.capture import RawCapture
from watcher.sqlite.captured import Captured
from watcher.sqlite.files import DatabaseFiles
from watcher.sqlite.reader import Reader


class _Told:
    """A reader with its history.

    Args:
        path: the database.
        state: the state directory.
    """

    def __init__(self, path: Path, state: Path) -> None:
        state.mkdir()
        self.history = HistoryWriter(state, Limits())
        self.reader = Reader(path, state, RawCapture(DatabaseFiles(path), frozenset), self.history)
        self._state = state

    def settle(self) -> None:
        """Steps until there is nothing more to tell."""
        self.reader.step()
        while not self.reader.is_settled or not self.reader.has_begun:
            self.reader.step()

    def changes(self) -> list[tuple[str, str, object]]:
        """What was told of tables and rows: operation, table, row after."""
        history = HistoryReader(self._state)
        entries = history.read(history.head().epoch, sequence(0, None), 1 << 30)
        history.close()
        assert entries is not None
        found = []
        for entry in entries:
            body = wire.decode_object(wire.changes_message(entry.tail, entry.position).data)
            for change in body["changes"]:
                after = change["sql"]["after"] if change["op"] == "schema" else change["after"]
                found.append((change["op"], change["table"], after))
        return found

    @contextmanager
    def failing(self, error: Exception) -> Iterator[None]:
        """Lets the next transaction fail at its end."""

        def fail(_captured: Captured) -> None:
            raise error

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.reader, "_remember_state", fail)
            yield


@pytest.fixture
def told(database: MakeDatabase, tmp_path: Path) -> Iterator[_Told]:
    found = _Told(database(mode="wal", sql="CREATE TABLE u(x)"), tmp_path / "given-up")
    found.settle()
    yield found
    found.reader.close()
    found.history.close()


@pytest.fixture
def path(told: _Told) -> Path:
    return told.reader._path


def test_a_table_that_became_another_one_is_told_at_the_second_attempt(
    told: _Told, path: Path, program: StartProgram
) -> None:
    """Also where the new one cannot be read, so that it is told as dropped and nothing else."""
    writer = program(path)
    writer.run("CREATE TABLE t(k, o)", "INSERT INTO t VALUES ('a', 1)")
    told.settle()
    # Nothing tells its rows apart.
    hidden = "CREATE TABLE t(rowid, _rowid_, oid)"
    writer.run("BEGIN", "DROP TABLE t", hidden, "COMMIT")
    with told.failing(apsw.FullError("disk full")), pytest.raises(StateUnavailable):
        told.reader.step()
    told.settle()
    assert told.changes()[-1] == ("schema", "t", None)
    assert set(told.reader.unreadable) == {"t"}


def test_a_history_that_cannot_be_read_again_loses_no_commit(
    told: _Told, path: Path, program: StartProgram
) -> None:
    """Two failures at once: of the transaction, and of the look where the history stands."""
    writer = program(path)
    writer.run("INSERT INTO u VALUES (1)")
    told.settle()
    writer.run("INSERT INTO u VALUES (2)")

    def failing() -> None:
        raise apsw.IOError("disk I/O error")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(told.history, "reload", failing)
        with told.failing(apsw.FullError("disk full")), pytest.raises(apsw.IOError):
            told.reader.step()
    told.history.reload()
    told.settle()
    writer.run("INSERT INTO u VALUES (3)")
    told.settle()
    assert [after for _, _, after in told.changes()] == [{"x": 1}, {"x": 2}, {"x": 3}]
