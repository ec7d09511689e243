"""The daemon comes back: to its state, to a damaged one, to another one, to a full volume."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeDatabase, StartServer, Write
from tests.faults.client import Client
from tests.faults.visitor import Visitor, resets
from tests.oracle.contents import contents_of_file
from tests.served import Served, reader_of
from watcher import Change

# Several pages of rows, so that there is something to damage.
ROWS = """
CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT NOT NULL, value TEXT);
WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<300)
INSERT INTO items SELECT i, 'a row of the table', '123' FROM n;
"""

Damage = Callable[[Path], None]


def crash(served: Served) -> None:
    """Ends a server and its reader at once; neither tidies up."""
    reader = reader_of(served.process)
    # Lest it starts another reader.
    os.kill(served.process.pid, signal.SIGSTOP)
    os.kill(reader, signal.SIGKILL)
    served.kill()


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize("end", [Served.stop, crash], ids=["stopped", "killed"])
def test_a_client_goes_on_where_it_was_when_the_server_restarts(
    mode: str,
    end: Callable[[Served], None],
    serve: StartServer,
    database: MakeDatabase,
    write: Write,
) -> None:
    """What was written while no server ran is a changeset, the next one after the last."""
    path = database(mode=mode)
    served = serve(path)
    with Client() as client:
        client.connect(served.url)
        client.receive_until_equal(contents_of_file(path))
        write(path, "UPDATE items SET value='online' WHERE id=1")
        client.receive_until_equal(contents_of_file(path))
        end(served)
        client.receive_until_closed()
        write(path, "UPDATE items SET value='offline' WHERE id=1; DELETE FROM items WHERE id=2")
        served.restart()
        client.connect(served.url)
        client.receive_until_equal(contents_of_file(path))
        write(path, "INSERT INTO items VALUES (3, 'Door', NULL)")
        client.receive_until_equal(contents_of_file(path))
        assert client.resets == ["start"]
        told = [[change.op for change in changeset.changes] for changeset in client.received]
        assert told[-3:] == [["update"], ["update", "delete"], ["insert"]]


# Damage


def without(name: str) -> Damage:
    """Deletes a file of the state."""
    return lambda state: (state / name).unlink()


def cut_short(name: str) -> Damage:
    """Cuts a page off a file of the state."""
    return lambda state: os.truncate(state / name, (state / name).stat().st_size - 4096)


def overwritten(name: str, start: int, size: int) -> Damage:
    """Overwrites a part of a file of the state."""

    def damage(state: Path) -> None:
        with (state / name).open("r+b") as file:
            file.seek(start)
            file.write(b"\xa5" * size)

    return damage


def altered_row(state: Path) -> None:
    """Makes a row of the private copy another valid row."""
    content = (state / "shadow.db").read_bytes()
    assert b"a row of the table" in content
    (state / "shadow.db").write_bytes(
        content.replace(b"a row of the table", b"a row of the cable", 1)
    )


DAMAGES: dict[str, Damage] = {
    "no copy": without("shadow.db"),
    "copy cut short": cut_short("shadow.db"),
    "copy without header": overwritten("shadow.db", 0, 100),
    "copy with an altered row": altered_row,
    "no pending pages": without("pending"),
    "no history": without("state.db"),
    "history without header": overwritten("state.db", 0, 100),
    "history cut short": cut_short("state.db"),
    "history with broken pages": overwritten("state.db", 100, 20_000),
    "nothing": shutil.rmtree,
}


@pytest.mark.fault("P3", "P5")
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_state_is_a_reset_and_never_wrong_rows(
    damage: Damage, database: MakeDatabase, state: Path, write: Write
) -> None:
    """Where the files of the state are not as they were left, all content comes anew."""
    path = database(sql=ROWS)
    with Visitor(path, state) as client:
        client.visit()
        write(path, "UPDATE items SET value='online' WHERE id=1")
        client.visit()
        damage(state)
        write(path, "UPDATE items SET value='offline' WHERE id=1")
        assert resets(client.visit()) == ["unknown_epoch"]
        # And the new one is as good as any.
        write(path, "UPDATE items SET value='again' WHERE id=1")
        assert resets(client.visit()) == []


@pytest.mark.fault("P3")
def test_after_a_crash_too_the_private_copy_must_be_there(
    serve: StartServer, database: MakeDatabase, write: Write
) -> None:
    """A reader that was killed leaves no mark of its end; the loss of the copy is seen even so."""
    path = database(sql=ROWS)
    served = serve(path)
    with Client() as client:
        client.connect(served.url)
        client.receive_until_equal(contents_of_file(path))
        # So that not all pages of the copy are still pending.
        write(path, "UPDATE items SET value='online' WHERE id=300")
        client.receive_until_equal(contents_of_file(path))
        crash(served)
        client.receive_until_closed()
        (served.state / "shadow.db").unlink()
        write(path, "UPDATE items SET value='offline' WHERE id=1")
        served.restart()
        client.connect(served.url)
        client.receive_until_equal(contents_of_file(path))
        assert client.resets == ["start", "unknown_epoch"]


@pytest.mark.fault("P3")
@pytest.mark.parametrize("names", [["state.db"], ["shadow.db", "pending"], ["shadow.db"]])
def test_a_state_put_back_in_part_is_a_reset(
    names: list[str], database: MakeDatabase, state: Path, write: Write, tmp_path: Path
) -> None:
    """A history of one time beside a copy of another would hide what happened between them."""
    path = database(sql=ROWS)
    with Visitor(path, state) as of_then, Visitor(path, state) as of_later:
        of_then.visit()
        backup = shutil.copytree(state, tmp_path / "backup")
        write(path, "UPDATE items SET value='later' WHERE id=2")
        of_later.visit()
        for name in names:
            shutil.copy2(backup / name, state / name)
        write(path, "UPDATE items SET value='last' WHERE id=3")
        assert resets(of_then.visit()) == ["unknown_epoch"]
        assert resets(of_later.visit()) == ["unknown_epoch"]


@pytest.mark.fault("P3")
def test_a_whole_state_put_back_is_gone_on_from(
    database: MakeDatabase, state: Path, write: Write, tmp_path: Path
) -> None:
    """A client of then misses nothing; one of a time that now never was begins anew."""
    path = database(sql=ROWS)
    with Visitor(path, state) as of_then, Visitor(path, state) as of_later:
        of_then.visit()
        backup = shutil.copytree(state, tmp_path / "backup")
        write(path, "UPDATE items SET value='later' WHERE id=2")
        of_later.visit()
        shutil.rmtree(state)
        shutil.copytree(backup, state)
        write(path, "UPDATE items SET value='last' WHERE id=3")
        (changeset,) = of_then.visit()
        changed = [c.key for c in changeset.changes if isinstance(c, Change)]
        assert changed == [{"id": 2}, {"id": 3}]
        assert resets(of_later.visit()) == ["unknown_epoch"]
