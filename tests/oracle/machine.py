"""The machine of the oracle: several programs do what they like to a file, and readers follow.

Three ways to read the file must agree: the reader, a reader that always compares whole tables, and
a fresh read by SQLite in another process. A replica made of the changesets of each reader must
equal the fresh read after every commit, or after several of them, and must on the way have been in
no state that was never committed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import currently_in_test_context, note
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
)

from tests.oracle.events import Events
from tests.oracle.statements import (
    BEGIN,
    BEGINNINGS,
    CHECKPOINT,
    CONNECTION,
    END,
    FILE,
    IN_TRANSACTION,
    ROWS,
    SCHEMA,
    SETTINGS,
    Beginning,
)
from tests.oracle.tally import TALLY, count_example
from tests.oracle.watching import Watch, what_changed
from tests.oracle.writers import CONNECTIONS, Digests, Writers
from watcher import ChangeSet

_NAME = "watched.db"
_NAMES = [_NAME + suffix for suffix in ("", "-wal", "-shm", "-journal")]
# Memory, where there is some for files: nothing here is about disks.
_SCRATCH = next((place for place in ("/dev/shm",) if os.access(place, os.W_OK)), None)  # noqa: S108  # a directory of its own is made in it


class Bench:
    """What all examples share: a directory, its events, and the writing processes."""

    def __init__(self, stack: ExitStack) -> None:
        self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_SCRATCH)))
        self.path = self.directory / _NAME
        self.state = self.directory / "state"
        self.events = Events(self.directory, _NAMES)
        stack.callback(self.events.close)
        self.writers = stack.enter_context(Writers(self.events))


class Machine(RuleBasedStateMachine):
    """One database from its making on; each rule ends with a look."""

    bench: ClassVar[Bench]

    def __init__(self) -> None:
        super().__init__()
        self.path, self.writers = self.bench.path, self.bench.writers
        self.watches: list[Watch] = []
        # The states committed since the last time the readers had caught up.
        self.states: list[Digests] = []
        self.mode = ""
        self.keep = True
        # Whether nothing but rows has been written in WAL mode since then.
        self.is_plain = False
        # Whether the readers have seen commits of the present log, and nothing has disturbed it.
        self.is_followed = False
        # Something has been done of which SQLite says that the file may not survive it.
        self.spoiled = False
        self.open: set[int] = set()
        # Whether the last look found nothing wrong.
        self.agreed = False

    # What is done.

    @initialize(beginning=BEGINNINGS)
    def begin(self, beginning: Beginning) -> None:
        self.keep = beginning.keep
        self.bench.events.begin(beginning.hearing)
        ran = self.writers.make(
            self.path, 0, beginning.pragmas, beginning.reserve, beginning.operations
        )
        self._take(0, ran)
        self._run(0, [("journal", beginning.mode)])
        self.watches = [
            Watch(self.path, self.bench.state, self.bench.events, whole=whole)
            for whole in (False, True)
        ]
        self._look()

    @rule(connection=CONNECTION, operation=ROWS)
    def change_rows(self, connection: int, operation: Sequence[Any]) -> None:
        self._run(connection, [operation])
        self._look()

    @rule(connection=CONNECTION, operations=st.lists(ROWS, min_size=1, max_size=3))
    def change_rows_at_once(self, connection: int, operations: list[Any]) -> None:
        self._run(connection, [("sql", "BEGIN"), *operations, ("sql", "COMMIT")])
        self._look()

    @rule(connection=CONNECTION, operation=SCHEMA)
    def change_schema(self, connection: int, operation: Sequence[Any]) -> None:
        self.is_plain = False
        self._run(connection, [operation])
        self._look()

    @rule(connection=CONNECTION, begin=BEGIN, operations=IN_TRANSACTION, end=END)
    def run_transaction(self, connection: int, begin: str, operations: list[Any], end: str) -> None:
        self.is_plain = False
        for operation in [("sql", begin), *operations, ("sql", end)]:
            self._run(connection, [operation])
            if connection not in self.open:
                # Where it could not begin, or was ended by one of them, each is a commit.
                self._remember_state()
        self._look()

    @rule(operations=st.lists(st.tuples(CONNECTION, ROWS), min_size=2, max_size=5))
    def commit_rows_several_times(self, operations: list[tuple[int, Any]]) -> None:
        self._commit_each(operations)
        self._look()

    @rule(
        operations=st.lists(
            st.tuples(CONNECTION, st.one_of(ROWS, ROWS, SCHEMA, CHECKPOINT)), min_size=2, max_size=5
        )
    )
    def commit_several_times(self, operations: list[tuple[int, Any]]) -> None:
        self.is_plain = self.is_followed = False
        self._commit_each(operations)
        self._look()

    @rule(connection=CONNECTION, operation=FILE)
    def change_file(self, connection: int, operation: Sequence[Any]) -> None:
        self.is_plain = self.is_followed = False
        self._run(connection, [operation])
        self._look()

    @rule(connection=CONNECTION, operation=SETTINGS)
    def change_settings(self, connection: int, operation: Sequence[Any]) -> None:
        self.is_plain = self.is_followed = False
        self._run(connection, [operation])
        self._look()

    @rule(connection=CONNECTION, begin=BEGIN, operations=IN_TRANSACTION, small=st.booleans())
    def leave_a_transaction_open(
        self, connection: int, begin: str, operations: list[Any], small: bool
    ) -> None:
        self.is_plain = False
        cache = [("sql", "PRAGMA cache_size=1")] if small else []
        self._run(connection, [*cache, ("sql", begin), *operations])
        self._look()

    @rule(end=END)
    def end_transactions(self, end: str) -> None:
        self.is_plain = False
        for connection in sorted(self.open):
            self._run(connection, [("sql", end)])
        self._look()

    @rule(connection=CONNECTION, operations=IN_TRANSACTION)
    def spill_and_roll_back(self, connection: int, operations: list[Any]) -> None:
        self.is_plain = False
        spilling = [("sql", "PRAGMA cache_size=1"), ("sql", "BEGIN"), *operations]
        self._run(connection, [*spilling, ("fill", 0, 5, 1500, 1), ("sql", "ROLLBACK")])
        self._look()

    @rule(
        connection=CONNECTION, operations=IN_TRANSACTION, spilled=st.booleans(), peek=st.booleans()
    )
    def kill_a_writer(
        self, connection: int, operations: list[Any], spilled: bool, peek: bool
    ) -> None:
        self.is_plain = self.is_followed = False
        process = connection // CONNECTIONS
        if self.spoiled or self._cannot_survive(process, connection):
            return
        cache = [("sql", f"PRAGMA cache_size={1 if spilled else -2000}")]
        self._run(connection, [*cache, ("sql", "BEGIN"), *operations])
        self.writers.kill(process)
        self.open -= {process * CONNECTIONS + number for number in range(CONNECTIONS)}
        TALLY["writers killed"] += 1
        if peek:
            # Before anybody has recovered the file.
            self._peek()
        self._look()

    @rule(
        operations=st.lists(st.tuples(CONNECTION, ROWS), max_size=3),
        writes=st.integers(0, 30),
        whole=st.booleans(),
    )
    def kill_a_reader(self, operations: list[tuple[int, Any]], writes: int, whole: bool) -> None:
        self.is_plain = False
        self._commit_each(operations)
        TALLY["readers killed in a step"] += self.watches[whole].kill(writes)
        self._look()

    @rule(operations=st.lists(st.tuples(CONNECTION, ROWS), max_size=3), whole=st.booleans())
    def restart_a_reader(self, operations: list[tuple[int, Any]], whole: bool) -> None:
        self.is_plain = False
        self._commit_each(operations)
        self.watches[whole].restart()
        self._look()

    # How it is done.

    def _run(self, connection: int, operations: Sequence[Any]) -> None:
        if not self.spoiled:
            self._take(connection, self.writers.run(self.path, connection, list(operations)))

    def _take(self, connection: int, ran: Any) -> None:
        TALLY["statements"] += len(ran.log)
        if currently_in_test_context():
            note("\n".join(ran.log))
        self.spoiled |= ran.spoiled
        (self.open.add if ran.in_transaction else self.open.discard)(connection)

    def _commit_each(self, operations: list[tuple[int, Any]]) -> None:
        for connection, operation in operations:
            self._run(connection, [operation])
            self._remember_state()

    def _remember_state(self) -> None:
        if not self.spoiled:
            found = self.writers.fresh(self.path, keep=self.keep)
            if found is not None and found[0] != self.states[-1]:
                self.states.append(found[0])
            else:
                # A commit that writes a page as it was is not to be told from padding.
                self.is_plain = False

    def _cannot_survive(self, process: int, connection: int) -> bool:
        """Tells whether a writer keeps its journal where it goes with it."""
        numbers = {process * CONNECTIONS + number for number in range(CONNECTIONS)} & self.open
        for number in numbers | {connection}:
            ran = self.writers.run(self.path, number, [("mode",)])
            if not {"memory", "off"}.isdisjoint(ran.log):
                return True
        return False

    # What must be so.

    def _peek(self) -> bool:
        """Has each reader take a look; tells whether all of them were valid."""
        looks = [] if self.spoiled else [watch.step() for watch in self.watches]
        return all(looks)

    def _look_at_locked(self) -> None:
        # A spilled transaction has the file for itself; what a reader sees of it is found later.
        self._peek()
        TALLY["looks at a locked file"] += 1
        self.agreed = True

    def _look(self) -> None:
        self.agreed = self.spoiled
        if self.spoiled:
            return
        found = self.writers.fresh(self.path, keep=self.keep)
        if found is None:
            self._look_at_locked()
            return
        fresh, mode = found
        was_plain, self.is_plain = self.is_plain and self.mode == mode == "wal", True
        self.mode = mode
        # How the first commits of a log are told apart is the reader's own affair.
        follows, was_plain = was_plain, was_plain and self.is_followed
        if not self.states or fresh != self.states[-1]:
            self.states.append(fresh)
        if self.open and mode != "wal" and not self._peek():
            # A commit that waits for a reader keeps new ones out, but not those of its process.
            self._look_at_locked()
            return
        received = [self._caught_up(watch, fresh, plain=was_plain) for watch in self.watches]
        self.is_followed = self.is_followed or (follows and bool(received[0]))
        TALLY["looks"] += 1
        if all(len(changesets) <= 1 for changesets in received):
            assert what_changed(received[0]) == what_changed(received[1]), "the readers differ"
            TALLY["changesets compared"] += bool(received[0])
        self.states, self.agreed = [fresh], True

    def _caught_up(self, watch: Watch, fresh: Digests, *, plain: bool) -> list[ChangeSet]:
        fallbacks = watch.fallbacks.total()
        watch.catch_up()
        changesets = watch.received()
        passed = watch.follow(changesets, each=changesets[0].reset is None if changesets else False)
        if passed[-1] != fresh:
            raise AssertionError(watch.difference(self.writers))
        TALLY["changesets"] += len(changesets)
        if changesets and changesets[0].reset is None:
            _require_committed(passed, self.states, all_of_them=plain)
        if plain:
            assert all(changeset.commits == 1 for changeset in changesets), "commits were merged"
        if plain and watch is self.watches[0]:
            assert watch.fallbacks.total() == fallbacks, f"fell back: {watch.fallbacks}"
        return changesets

    def teardown(self) -> None:
        with ExitStack() as stack:
            for watch in self.watches:
                stack.callback(watch.close)
            stack.callback(self._clear)
            said = self.writers.end(self.path)
            if self.watches:
                count_example(self.watches[0].fallbacks)
            if self.agreed and not self.spoiled:
                assert said == "ok", said
                for watch in self.watches:
                    watch.check_replica()

    def _clear(self) -> None:
        for name in _NAMES:
            (self.bench.directory / name).unlink(missing_ok=True)


def _require_committed(passed: list[Digests], states: list[Digests], *, all_of_them: bool) -> None:
    """Each state a replica was in must have been committed, in this order.

    Args:
        passed: the states of the replica after each changeset.
        states: those of the file, beginning with the one from which the replica started.
        all_of_them: whether it must have been in each of them.
    """
    # A changeset of an index, say, changes no row.
    found = [state for state, _ in groupby([states[0], *passed])]
    rest = iter(states)
    assert all(state in rest for state in found), "a state that was never committed"
    if all_of_them:
        assert found == states, f"{len(found) - 1} of {len(states) - 1} commits arrived"
