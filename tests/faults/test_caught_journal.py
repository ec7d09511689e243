"""Commits that leave no log, followed by the journals they had: which pages have changed.

Each look is held against the whole file: a page that is missing fails.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import MakeDatabase
from tests.faults.caught import Follower, following
from tests.faults.combinations import combined
from tests.faults.conftest import StartProgram
from tests.faults.program import Program
from tests.oracle.contents import contents_of_file
from watcher.sqlite.captured import Discontinuity, NotQuiet
from watcher.sqlite.caught_journals import CaughtJournals

FILLED = """
CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT NOT NULL, value TEXT);
CREATE INDEX items_value ON items(value);
CREATE TABLE large(id INTEGER PRIMARY KEY, data BLOB);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<2000)
INSERT INTO items SELECT i, 'name ' || i, hex(randomblob(40)) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<40)
INSERT INTO large SELECT i, randomblob(20000) FROM n;
"""
UPDATE = "UPDATE items SET name='changed' WHERE id=1000"
SPILLING = "UPDATE items SET value=hex(randomblob(40))"

# Named transactions, each of statements that are one commit.
COMMITS: dict[str, list[str]] = {
    "update": [UPDATE],
    "spill": [SPILLING, "UPDATE large SET data=randomblob(20000)"],
    "grow": ["INSERT INTO large(data) VALUES (randomblob(200000))"],
    "schema": ["CREATE TABLE more(x)", "INSERT INTO more VALUES (1)", "ALTER TABLE more ADD y"],
    "drop": ["DROP TABLE large"],
    "free": ["DELETE FROM large WHERE id%2"],
    "free and use": ["DELETE FROM large WHERE id<5", "INSERT INTO large VALUES(3,zeroblob(60000))"],
    "page 1 only": ["PRAGMA user_version=7"],
    "savepoint": ["SAVEPOINT s", SPILLING, "ROLLBACK TO s", UPDATE],
}
# Before and after: what the free list holds is in no journal when it comes into use.
AFTER_FREEING = {
    "use": ["INSERT INTO large(data) VALUES (randomblob(100000))"],
    "use all": ["INSERT INTO large(data) SELECT randomblob(20000) FROM items LIMIT 60"],
    "use and free": [
        "INSERT INTO large VALUES (900, randomblob(300000))",
        "DELETE FROM large WHERE id=900",
        UPDATE,
    ],
}


def commit(program: Program, follower: Follower, statements: Sequence[str]) -> None:
    """Makes one commit whose journal is seen while it exists."""
    program.run("BEGIN", *statements)
    follower.catch()
    program.run("COMMIT")


def writer(program: StartProgram, path: Path, *pragmas: str) -> Program:
    started = program(path)
    started.run("PRAGMA cache_size=10", *(f"PRAGMA {pragma}" for pragma in pragmas))
    return started


@pytest.mark.parametrize(
    ("name", "synchronous"), combined([*COMMITS], ["off", "normal", "full", "extra"])
)
def test_a_deleted_journal_names_the_pages(
    name: str, synchronous: str, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """One commit is one state, however it was synced and whether its cache spilled."""
    path = database(sql=FILLED)
    app = writer(program, path, f"synchronous={synchronous}")

    def scenario(follower: Follower) -> None:
        commit(app, follower, COMMITS[name])
        captured = follower.follow()
        assert captured is not None
        assert captured.commits == 1
        assert follower.follow() is None

    following(path, state, scenario)
    assert contents_of_file(state / "shadow.db") == contents_of_file(path)


@pytest.mark.parametrize(
    ("name", "auto_vacuum"), combined([*AFTER_FREEING], ["none", "full", "incremental"])
)
@pytest.mark.parametrize("together", [True, False], ids=["in one look", "in two looks"])
def test_free_pages_that_come_into_use(
    *,
    together: bool,
    name: str,
    auto_vacuum: str,
    database: MakeDatabase,
    state: Path,
    program: StartProgram,
) -> None:
    """They are in no journal, nor is a page that one commit frees and the next one uses."""
    path = database(sql=f"PRAGMA auto_vacuum={auto_vacuum};" + FILLED)
    # Of several commits in one look, those that spill could be more than one.
    app = writer(program, path, "cache_size=10000")

    def scenario(follower: Follower) -> None:
        commit(app, follower, ["DELETE FROM large WHERE id BETWEEN 5 AND 25"])
        if not together:
            assert follower.follow() is not None
        commit(app, follower, AFTER_FREEING[name])
        captured = follower.follow()
        assert captured is not None
        assert captured.commits == 1 + together

    following(path, state, scenario)
    assert contents_of_file(state / "shadow.db") == contents_of_file(path)


@pytest.mark.parametrize(
    "statements",
    [["VACUUM"], ["PRAGMA incremental_vacuum(20)"], ["PRAGMA incremental_vacuum"]],
    ids=["vacuum", "some", "all"],
)
@pytest.mark.parametrize("synchronous", ["off", "full"])
def test_a_file_that_becomes_smaller(
    statements: list[str],
    synchronous: str,
    database: MakeDatabase,
    state: Path,
    program: StartProgram,
) -> None:
    """Its end is cut off when the journal is gone; that is no write without a journal."""
    path = database(sql="PRAGMA auto_vacuum=incremental;" + FILLED)
    app = writer(program, path, f"synchronous={synchronous}", "cache_size=10000")
    app.run("DELETE FROM large WHERE id BETWEEN 5 AND 25")

    def scenario(follower: Follower) -> None:
        before = path.stat().st_size
        if statements == ["VACUUM"]:
            # It cannot be kept open: whether its journal is caught is a matter of time.
            app.run(*statements)
            with pytest.raises(Discontinuity):
                follower.follow()
            follower.start()
        else:
            commit(app, follower, statements)
            captured = follower.follow()
            assert captured is not None
            assert captured.commits == 1
        assert path.stat().st_size < before
        commit(app, follower, [UPDATE])
        captured = follower.follow()
        assert captured is not None
        assert captured.commits == 1

    following(path, state, scenario)
    assert contents_of_file(state / "shadow.db") == contents_of_file(path)


def test_several_commits_between_two_looks(
    database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """With a journal for each of them, they are one state that says how many they were."""
    path = database(sql=FILLED)
    first, second = writer(program, path), writer(program, path)
    first.run("PRAGMA cache_size=10000")

    def scenario(follower: Follower) -> None:
        for number in range(10):
            app = (first, second)[number % 2]
            commit(
                app, follower, [f"UPDATE items SET name='n{number}' WHERE id={number * 150 + 1}"]
            )
        captured = follower.follow(settle=False)
        assert captured is not None
        assert captured.commits == 10
        # A look that comes to nothing loses nothing.
        again = follower.follow()
        assert again == captured

    following(path, state, scenario)


@pytest.mark.parametrize("spills", [False, True], ids=["in memory", "written"])
def test_what_is_rolled_back_is_nothing(
    *, spills: bool, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Also where it was written to the file; a commit after it is found all the same."""
    path = database(sql=FILLED)
    app = writer(program, path)

    def scenario(follower: Follower) -> None:
        app.run("BEGIN", *(COMMITS["spill"] if spills else [UPDATE]))
        follower.catch()
        app.run("ROLLBACK")
        assert follower.follow() is None
        commit(app, follower, [UPDATE])
        captured = follower.follow()
        assert captured is not None
        assert captured.commits == 1

    following(path, state, scenario)


def test_a_rollback_and_a_commit_in_one_look(
    database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Nothing tells which of two journals was committed, so it is not claimed to be known."""
    path = database(sql=FILLED)
    app = writer(program, path)

    def scenario(follower: Follower) -> None:
        app.run("BEGIN", *COMMITS["spill"])
        follower.catch()
        app.run("ROLLBACK")
        commit(app, follower, [UPDATE])
        with pytest.raises(Discontinuity):
            follower.follow()
        follower.start()
        assert follower.follow() is None

    following(path, state, scenario)


def test_the_next_transaction_does_not_disturb(
    database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Its journal is there already, but the file is as the last commit left it."""
    path = database(sql=FILLED)
    app, next_app = writer(program, path), writer(program, path)

    def scenario(follower: Follower) -> None:
        commit(app, follower, [UPDATE])
        next_app.run("BEGIN", "UPDATE items SET name='next' WHERE id=2")
        captured = follower.follow()
        assert captured is not None
        assert captured.commits == 1
        next_app.run("COMMIT")
        captured = follower.follow()
        assert captured is not None
        assert captured.commits == 1

    following(path, state, scenario)


@pytest.mark.parametrize("synchronous", ["off", "full"])
def test_a_look_beside_a_transaction_that_writes(
    synchronous: str, database: MakeDatabase, state: Path, program: StartProgram, tmp_path: Path
) -> None:
    """The state before it is the file with the images of its journal over it."""
    path = database(sql=FILLED)
    app, next_app = writer(program, path), program(path)
    next_app.run(f"PRAGMA synchronous={synchronous}", "PRAGMA cache_size=150")

    def scenario(follower: Follower) -> None:
        commit(app, follower, [UPDATE, "DELETE FROM large WHERE id=9"])
        shutil.copy(path, tmp_path / "between.db")
        # The cache is filled until it spills once.
        next_app.run("BEGIN", "UPDATE items SET value='next' WHERE id=1000")
        number = 0
        while follower.journals.writes < 2 or follower.journals.under_way() is None:
            number += 1
            next_app.run(f"UPDATE items SET name=name||'!' WHERE id={number * 12}")
            before = follower.journals.writes
            follower.catch()
            if follower.journals.writes > before:
                break
        captured = follower.follow_beside_a_writer()
        assert captured is not None
        assert captured.commits == 1
        assert contents_of_file(follower.copied) == contents_of_file(tmp_path / "between.db")
        next_app.run("COMMIT")
        captured = follower.follow()
        assert captured is not None
        assert captured.commits == 1

    following(path, state, scenario)


@pytest.mark.parametrize(("name", "synchronous"), combined([*COMMITS], ["off", "full"]))
def test_a_journal_that_persists(
    name: str, synchronous: str, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Its header is zeros after the commit, its records are still there to be read."""
    path = database(sql=FILLED)
    app = writer(program, path, "journal_mode=persist", f"synchronous={synchronous}")
    # A longer transaction leaves its records behind those of the next ones.
    app.run("BEGIN", SPILLING, "UPDATE large SET data=randomblob(20000)", "COMMIT")

    def scenario(follower: Follower) -> None:
        assert follower.follow() is None
        for number in range(2):
            app.run(f"UPDATE items SET name='name {number}' WHERE id=1500")
            captured = follower.follow()
            assert captured is not None
            assert captured.commits == 1
        app.run("BEGIN", *COMMITS[name], "COMMIT")
        try:
            captured = follower.follow()
        except Discontinuity:
            # The longest one ever, and it had to do with page 1: it may have been cut.
            assert name in {"spill", "savepoint"}
            follower.start()
        else:
            assert captured is not None
            assert captured.commits == 1
        app.run("BEGIN", SPILLING, "ROLLBACK")
        assert follower.follow() is None

    following(path, state, scenario)
    assert contents_of_file(state / "shadow.db") == contents_of_file(path)


UNPROVEN: dict[str, list[str]] = {
    "missed": [UPDATE],
    "truncated": ["PRAGMA journal_mode=truncate", "BEGIN", UPDATE, "COMMIT"],
    "in memory": ["PRAGMA journal_mode=memory", UPDATE],
    "off": ["PRAGMA journal_mode=off", UPDATE],
    "persistent, twice": ["PRAGMA journal_mode=persist", UPDATE, "DELETE FROM items WHERE id=5"],
    "persistent, cut": [
        "PRAGMA journal_mode=persist",
        "PRAGMA journal_size_limit=9000",
        "BEGIN",
        "PRAGMA user_version=3",
        SPILLING,
        "COMMIT",
    ],
    "exclusive": [
        "PRAGMA locking_mode=exclusive",
        UPDATE,
        "DELETE FROM items WHERE id=5",
        "PRAGMA locking_mode=normal",
        "SELECT 1 FROM items",
    ],
    "exclusive, then deleted": [
        "PRAGMA locking_mode=exclusive",
        UPDATE,
        "DELETE FROM items WHERE id=5",
        "PRAGMA locking_mode=normal",
        "UPDATE items SET name='last' WHERE id=7",
    ],
    "exclusive, then in memory": [
        "PRAGMA journal_mode=persist",
        "PRAGMA locking_mode=exclusive",
        UPDATE,
        "PRAGMA journal_mode=memory",
        "DELETE FROM items WHERE id=5",
        "PRAGMA locking_mode=normal",
        "SELECT 1 FROM items",
    ],
    "a log": ["PRAGMA journal_mode=wal", UPDATE],
    "a log that was": ["PRAGMA journal_mode=wal", UPDATE, "PRAGMA journal_mode=delete"],
    "page size": ["PRAGMA page_size=1024", "VACUUM"],
}


@pytest.mark.parametrize("catches", [True, False], ids=["caught", "not caught"])
@pytest.mark.parametrize("name", UNPROVEN)
def test_what_cannot_be_proven_is_compared(
    *, name: str, catches: bool, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Where a commit may have left no journal that was read, none is claimed to be known."""
    path = database(sql=FILLED)
    app = program(path)

    def scenario(follower: Follower) -> None:
        for statement in UNPROVEN[name]:
            app.run(statement)
            if catches:
                follower.catch()
        with pytest.raises(Discontinuity):
            follower.follow()
        follower.start()
        assert follower.follow_beside_a_writer() is None

    following(path, state, scenario)
    assert contents_of_file(state / "shadow.db") == contents_of_file(path)


def test_a_commit_unseen_after_one_that_was_seen(
    database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """A step of the counter without a journal breaks the chain, wherever it stands."""
    path = database(sql=FILLED)
    app = writer(program, path)

    def scenario(follower: Follower) -> None:
        for unseen in range(3):
            for number in range(3):
                statements = [f"UPDATE items SET name='x' WHERE id={unseen * 3 + number + 1}"]
                if number == unseen:
                    app.run("BEGIN", *statements, "COMMIT")
                else:
                    commit(app, follower, statements)
            with pytest.raises(Discontinuity):
                follower.follow()
            follower.start()

    following(path, state, scenario)


def test_two_commits_in_one_journal_file(
    database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """As many journals as steps prove nothing, where a file may have been that of two of them."""
    path = database(sql=FILLED)
    app, other = writer(program, path), program(path)

    def scenario(follower: Follower) -> None:
        # A journal without a commit, and a commit whose journal is overwritten by the next one's.
        app.run("BEGIN", *COMMITS["spill"])
        follower.catch()
        app.run("ROLLBACK")
        other.run("PRAGMA journal_mode=persist", "UPDATE items SET name='e' WHERE id=500")
        follower.catch()
        assert path.with_name("app.db-journal").exists()
        app.run("BEGIN", "UPDATE items SET name='last' WHERE id=1900")
        follower.catch()
        app.run("COMMIT")
        with pytest.raises(Discontinuity, match="in parts"):
            follower.follow()
        follower.start()

    following(path, state, scenario)


def test_a_write_beside_a_journal_that_is_of_the_past(
    database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """A journal that persists and was not written before the database was is that of nobody."""
    path = database(sql=FILLED)
    app = writer(program, path, "journal_mode=persist")
    app.run(UPDATE)
    other = writer(program, path, "journal_mode=memory")

    def scenario(follower: Follower) -> None:
        assert path.with_name("app.db-journal").exists()
        other.run("UPDATE items SET name='unseen' WHERE id=3")
        with pytest.raises(Discontinuity, match="without a journal"):
            follower.follow()
        follower.start()

    following(path, state, scenario)


def test_a_journal_that_grows_during_a_look(
    database: MakeDatabase, state: Path, program: StartProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before it was complete is not used."""
    path = database(sql=FILLED)
    app, next_app = writer(program, path), program(path)
    amid = ["UPDATE items SET name='n' WHERE id BETWEEN 900 AND 1100", "COMMIT"]

    def scenario(follower: Follower) -> None:
        begin = follower._pending.begin

        def interrupted(page_size: int) -> None:
            begin(page_size)
            next_app.run(*amid)
            amid.clear()

        commit(app, follower, [UPDATE])
        next_app.run("BEGIN EXCLUSIVE", "UPDATE items SET name='n' WHERE id=1")
        follower.catch()
        monkeypatch.setattr(follower._pending, "begin", interrupted)
        captured = follower.follow()
        assert captured is not None
        assert captured.commits == 2
        assert not amid

    following(path, state, scenario)


@pytest.mark.parametrize("commits", [1, 2])
def test_a_file_copied_over_it(
    commits: int, database: MakeDatabase, state: Path, program: StartProgram, tmp_path: Path
) -> None:
    """Even one with the very count a commit would have made: it was written without a journal."""
    path = database(sql=FILLED)
    other = Path(shutil.copy(path, tmp_path / "other.db"))
    with program(other) as app:
        for number in range(commits):
            app.run(f"UPDATE items SET value='elsewhere {number}'")
    app = writer(program, path)

    def scenario(follower: Follower) -> None:
        commit(app, follower, [UPDATE])
        path.write_bytes(other.read_bytes())
        with pytest.raises(Discontinuity):
            follower.follow()
        follower.start()
        assert follower.follow() is None

    following(path, state, scenario)


def test_a_file_put_in_its_place(
    database: MakeDatabase, state: Path, program: StartProgram, tmp_path: Path
) -> None:
    """Another file is another count."""
    path = database(sql=FILLED)
    app = writer(program, path)

    def scenario(follower: Follower) -> None:
        commit(app, follower, [UPDATE])
        other = Path(shutil.copy(path, tmp_path / "other.db"))
        other.rename(path)
        with pytest.raises(Discontinuity, match="replaced"):
            follower.follow()
        follower.start()
        assert follower.follow() is None

    following(path, state, scenario)


def test_a_journal_left_by_a_crash_is_no_commit(
    database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Until it is rolled back nothing can be read; then nothing has happened."""
    path = database(sql=FILLED)
    app = writer(program, path)

    def scenario(follower: Follower) -> None:
        app.run("BEGIN", *COMMITS["spill"])
        follower.catch()
        app.kill()
        with pytest.raises(NotQuiet, match="journal"):
            follower.follow()
        program(path).run("SELECT count(*) FROM items")
        assert follower.follow() is None

    following(path, state, scenario)


def test_a_commit_over_two_files(
    database: MakeDatabase, state: Path, program: StartProgram, tmp_path: Path
) -> None:
    """The name of the super-journal stands behind the records and is none."""
    path = database(sql=FILLED)
    app = writer(program, path)
    app.run(f"ATTACH '{tmp_path / 'second.db'}' AS second", "CREATE TABLE second.t(x)")

    def scenario(follower: Follower) -> None:
        commit(app, follower, [UPDATE, "INSERT INTO second.t VALUES (1)"])
        captured = follower.follow()
        assert captured is not None
        assert captured.commits == 1

    following(path, state, scenario)


def test_what_happens_before_a_state_is_settled_is_not_forgotten(
    database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """A journal that was used meanwhile, and is used again, is not taken for that of one commit."""
    path = database(sql=f"{FILLED}CREATE TABLE other(v); INSERT INTO other VALUES('before');")
    deletes, persists = writer(program, path), writer(program, path, "journal_mode=persist")

    def scenario(follower: Follower) -> None:
        commit(deletes, follower, ["UPDATE items SET name='first' WHERE id=1"])
        captured = follower.follow(settle=False)
        assert captured is not None
        # Its journal is deleted like that of a commit, but the counter is as it was.
        deletes.run("PRAGMA cache_size=10", "BEGIN", "UPDATE items SET name=zeroblob(3000)")
        follower.catch()
        deletes.run("ROLLBACK")
        commit(persists, follower, ["UPDATE other SET v='meanwhile'"])
        follower.settle(captured)
        commit(deletes, follower, ["UPDATE items SET name='last' WHERE id=2"])
        with pytest.raises(Discontinuity):
            follower.follow()
        follower.start()
        assert contents_of_file(follower.copied) == contents_of_file(path)

    following(path, state, scenario)


def descriptors() -> int:
    """How many files are open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def wait_until_open(count: int, look: Callable[[], None] = lambda: None) -> None:
    """Waits until just so many files are open; takes a look again and again."""
    deadline = time.monotonic() + 10
    while descriptors() != count:
        assert time.monotonic() < deadline
        time.sleep(0.01)
        look()


def test_replaced_journals_are_closed(tmp_path: Path) -> None:
    """A file that takes the name of another one does not leave that open."""
    journal = tmp_path / "app.db-journal"
    journals = CaughtJournals(tmp_path / "app.db")
    before = descriptors()
    for _ in range(10):
        (tmp_path / "other").write_text("x")
        (tmp_path / "other").rename(journal)
        journals.on_event(journal.name, "made")
    journals.close()
    wait_until_open(before)


def test_the_cost_of_a_journal_does_not_follow_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is asked for its size and inode once, however many have ended before it."""
    journal = tmp_path / "app.db-journal"
    journals = CaughtJournals(tmp_path / "app.db")
    journals.start(0, exists=False)
    asked = 0

    def fstat(descriptor: int) -> os.stat_result:
        nonlocal asked
        asked += 1
        return stat_of(descriptor)

    stat_of = os.fstat
    monkeypatch.setattr(os, "fstat", fstat)
    for _ in range(100):
        journal.write_bytes(b"x")
        journals.on_event(journal.name, "made")
        journals.on_event("app.db", "written")
        journal.unlink()
        journals.on_event(journal.name, "removed")
    assert journals.ended == 100
    assert asked <= 300
    journals.close()


def test_a_journal_is_not_opened_twice(
    database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """To close one that is deleted holds up the writer: a look beside a writer opens none."""
    path = database(sql=FILLED)
    app = writer(program, path)

    def scenario(follower: Follower) -> None:
        app.run("BEGIN", UPDATE)
        follower.catch()
        before = open_journals()
        assert len(before) == 1
        assert follower.follow() is None
        assert open_journals() == before
        app.run("COMMIT")
        assert follower.follow() is not None

    def open_journals() -> list[str]:
        return [
            name
            for entry in Path("/proc/self/fd").iterdir()
            if entry.is_symlink() and (name := str(entry.readlink())).endswith("-journal")
        ]

    following(path, state, scenario)


def test_no_journal_stays_open(database: MakeDatabase, state: Path, program: StartProgram) -> None:
    """A deleted file that is kept open takes up the disk; none is kept that is of no use."""
    path = database(sql=FILLED)
    app = writer(program, path)

    def wait_until_closed(follower: Follower, count: int) -> None:
        def look() -> None:
            assert not follower.capture.changed()

        wait_until_open(count, look)

    def scenario(follower: Follower) -> None:
        before = descriptors()
        for number in range(5):
            commit(app, follower, [f"UPDATE items SET name='a{number}'"])
            assert follower.follow() is not None
        app.run("BEGIN", UPDATE)
        follower.catch()
        app.run("ROLLBACK")
        assert follower.follow() is None
        wait_until_closed(follower, before)
        # An ext4 without a journal searches behind all that are deleted and open.
        most = 0
        for number in range(60):
            commit(app, follower, [f"UPDATE items SET name='c{number}'"])
            assert follower.follow() is not None
            most = max(most, descriptors())
        assert before < most <= before + 20
        # Nobody looks for a long time.
        app.run("PRAGMA cache_size=10000")
        for number in range(300):
            commit(app, follower, [f"UPDATE items SET name='b{number}' WHERE id=1"])
        assert descriptors() < before + 270
        with pytest.raises(Discontinuity, match="too many"):
            follower.follow()
        follower.start()
        wait_until_closed(follower, before)

    following(path, state, scenario)


@pytest.mark.parametrize("writers", [1, 2])
def test_steady_writes_are_kept_up_with(
    writers: int, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """A file that is never quiet can be compared as a whole, and followed from there on."""
    path = database(sql=FILLED)
    apps = [writer(program, path, "synchronous=full", "cache_size=2000") for _ in range(writers)]
    followed = compared = 0

    def look(follower: Follower) -> bool:
        nonlocal followed, compared
        try:
            captured = follower.follow_beside_a_writer()
        except NotQuiet:
            return True
        except Discontinuity:
            with suppress(NotQuiet):
                follower.start()
                compared += 1
            return True
        followed += (captured.commits or 0) if captured is not None else 0
        return captured is not None

    def scenario(follower: Follower) -> None:
        nonlocal followed
        for app in apps:
            app.insert_until_stopped()
        # It begins in the middle of them.
        follower.capture.settle(None)
        while not compared or followed < 50:
            look(follower)
        errors = [app.stop_inserting() for app in apps]
        # Two of them can starve each other, watched or not.
        assert errors == [[]] or writers > 1
        while look(follower):
            pass
        assert follower.follow() is None

    following(path, state, scenario)
    assert contents_of_file(state / "shadow.db") == contents_of_file(path)


SEEDS = [pytest.param(seed, marks=() if seed < 5 else pytest.mark.soak) for seed in range(12)]


def random_statement(chance: random.Random) -> str:
    low = chance.randrange(2000)
    return chance.choice(
        [
            f"UPDATE items SET name=hex(randomblob({chance.randrange(60)})) WHERE id={low}",
            f"UPDATE items SET value='v{low}' WHERE id BETWEEN {low} AND {low + 30}",
            f"DELETE FROM items WHERE id BETWEEN {low} AND {low + chance.randrange(200)}",
            f"INSERT OR REPLACE INTO items SELECT id+{low}, name, value FROM items LIMIT 60",
            f"INSERT INTO large(data) VALUES (randomblob({chance.randrange(90000)}))",
            f"DELETE FROM large WHERE id%7={low % 7}",
            "UPDATE large SET data=randomblob(length(data)) WHERE id%5=1",
            f"CREATE TABLE IF NOT EXISTS t{low % 3}(x)",
            f"INSERT INTO t{low % 3} SELECT randomblob(900) FROM items LIMIT 40",
            f"DROP TABLE IF EXISTS t{low % 3}",
            "PRAGMA incremental_vacuum(5)",
            f"PRAGMA user_version={low}",
        ]
    )


def run_what_can_be(app: Program, statement: str) -> None:
    if "INTO t" in statement:
        table = statement.split()[2]
        app.run(f"CREATE TABLE IF NOT EXISTS {table}(x)")
    app.run(statement)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_commits(
    seed: int, database: MakeDatabase, state: Path, program: StartProgram
) -> None:
    """Whatever is committed or rolled back, and whenever it is looked at, no page is missing."""
    chance = random.Random(seed)
    print(f"seed {seed}")
    page_size = chance.choice([512, 1024, 4096, 65536])
    vacuum = chance.choice(["none", "full", "incremental"])
    path = database(sql=f"PRAGMA page_size={page_size}; PRAGMA auto_vacuum={vacuum};" + FILLED)
    mode = chance.choice(["delete", "delete", "delete", "persist"])
    apps = [writer(program, path, f"journal_mode={mode}") for _ in range(2)]
    claimed = compared = 0

    def look(follower: Follower) -> None:
        nonlocal claimed, compared
        try:
            captured = follower.follow()
        except Discontinuity:
            follower.start()
            compared += 1
        else:
            claimed += captured is not None

    def scenario(follower: Follower) -> None:
        for _ in range(60):
            app = chance.choice(apps)
            app.run(f"PRAGMA cache_size={chance.choice([10, 10000])}")
            app.run(f"PRAGMA synchronous={chance.choice(['off', 'full'])}", "BEGIN")
            for _ in range(chance.randrange(1, 4)):
                run_what_can_be(app, random_statement(chance))
            if chance.random() < 0.9:
                follower.catch()
            app.run("ROLLBACK" if chance.random() < 0.15 else "COMMIT")
            if chance.random() < 0.7:
                look(follower)
        look(follower)

    following(path, state, scenario)
    assert contents_of_file(state / "shadow.db") == contents_of_file(path)
    assert claimed > 10


def test_the_cost_does_not_follow_the_size(
    tmp_path: Path, state: Path, program: StartProgram
) -> None:
    """A one-row commit in a large file, with a long list of free pages, costs what it changes."""
    path = tmp_path / "app.db"
    app = program(path)
    app.run(
        "CREATE TABLE items(id INTEGER PRIMARY KEY, data BLOB)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<30000)"
        " INSERT INTO items SELECT i, zeroblob(4000) FROM n",
        "DELETE FROM items WHERE id>10000",
    )

    def scenario(follower: Follower) -> None:
        took = []
        for number in range(30):
            commit(app, follower, [f"UPDATE items SET data='x' WHERE id={number * 300 + 1}"])
            begin = time.perf_counter()
            assert follower.follow_beside_a_writer() is not None
            took.append(time.perf_counter() - begin)
        print(f"{statistics.median(took) * 1e3:.3f} ms")
        assert statistics.median(took) < 0.01

    following(path, state, scenario)
