"""Following the log beside whatever two writers, checkpoints and crashes do to it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults.program import Program, Refused
from tests.sqlite.logs import log_path
from tests.sqlite.test_log_follow import SPILL, Follower
from watcher.sqlite.captured import Discontinuity, NotQuiet

EXAMPLES = int(os.environ.get("WATCHER_EXAMPLES", "40"))
KINDS = ["PASSIVE", "FULL", "RESTART", "TRUNCATE"]

steps = st.one_of(
    st.just(("look", 0, 0)),
    st.tuples(st.just("commit"), st.integers(0, 1), st.integers(1, 6)),
    st.tuples(st.just("large"), st.integers(0, 1), st.just(0)),
    st.tuples(st.just("checkpoint"), st.integers(0, 1), st.integers(0, 3)),
    st.tuples(st.just("roll back"), st.integers(0, 1), st.just(0)),
    st.tuples(st.sampled_from(["kill", "crash", "resume"]), st.integers(0, 1), st.just(0)),
)


class Writers:
    """Two programs that count up the number in `c`.

    Args:
        database: what they write to.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self.number = 0
        self._programs = [self._start(), self._start()]
        self._programs[0].run("PRAGMA journal_mode=wal")
        self._programs[0].run("CREATE TABLE c(x)", "INSERT INTO c VALUES (0)", "CREATE TABLE t(x)")

    def _start(self) -> Program:
        program = Program(self._database)
        program.run("PRAGMA wal_autocheckpoint=0", "PRAGMA cache_size=10")
        return program

    def do(self, what: str, which: int, count: int) -> None:
        program = self._programs[which]
        if what == "commit":
            for _ in range(count):
                self.number += 1
                program.run(f"UPDATE c SET x={self.number}")
        elif what == "large":
            self.number += 1
            program.run("BEGIN", "DELETE FROM t", SPILL, f"UPDATE c SET x={self.number}", "COMMIT")
        elif what == "roll back":
            program.run("BEGIN", "UPDATE c SET x=-1", SPILL, "ROLLBACK")
        elif what == "checkpoint":
            program.run(f"PRAGMA wal_checkpoint({KINDS[count]})")
        else:
            # Of both, and the next one has to recover; or of one, and the other goes on.
            for index in (0, 1) if what == "crash" else (which,):
                self._programs[index].kill()
            for index in (0, 1) if what == "crash" else (which,):
                self._programs[index] = self._start()

    def close(self) -> None:
        for program in self._programs:
            with suppress(Refused):
                program.close()


def look(follower: Follower, seen: int) -> int:
    """Looks until there is nothing more; returns the number seen last."""
    while True:
        try:
            for _ in follower.commits():
                found = follower.ask("SELECT x FROM c")
                assert found == seen + 1
                seen += 1
        except NotQuiet:
            continue
        except Discontinuity:
            with suppress(NotQuiet):
                follower.begin()
                found = follower.ask("SELECT x FROM c")
                assert isinstance(found, int)
                assert found >= seen
                seen = found
        else:
            return seen


@pytest.mark.timeout(0 if EXAMPLES > 1000 else 120)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(steps, max_size=25))
def test_no_commit_is_lost_or_made_up(
    tmp_path_factory: pytest.TempPathFactory, todo: list[tuple[str, int, int]]
) -> None:
    """Each state given is the next one; after each look it is the last one."""
    directory = tmp_path_factory.mktemp("mixed")
    database = directory / "app.db"
    writers = Writers(database)
    follower = Follower(database, directory / "state")
    try:
        seen = look(follower, 0)
        for what, which, count in [*todo, ("look", 0, 0)]:
            if what == "look":
                seen = look(follower, seen)
                assert seen == writers.number
            elif what == "resume" and follower.place is not None:
                place = follower.place
                follower.__exit__(None, None, None)
                follower = Follower(database, directory / "state", place)
            elif what != "resume":
                writers.do(what, which, count)
        assert log_path(database).exists()
    finally:
        follower.__exit__(None, None, None)
        writers.close()
