"""The durable log: positions without gaps, parts, pruning, and nothing half after a crash."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.served import environment
from watcher import wire
from watcher.changes import Change, Op, Position, ResetReason, SchemaChange, Table, Value
from watcher.history import (
    PART_BYTES,
    Entry,
    HistoryReader,
    HistoryWriter,
    Limits,
    sequence,
)

ITEMS = Table("items", ("id",), ("id", "value"))
EVERYTHING = 1 << 60
LARGE = 300 * 1024


def insert(number: int, value: Value = "v") -> Change:
    return Change(Op.INSERT, "items", {"id": number}, None, {"id": number, "value": value})


@contextmanager
def opened(directory: Path, limits: Limits | None = None) -> Iterator[HistoryWriter]:
    """A writer with a history begun."""
    with closing(HistoryWriter(directory, limits or Limits())) as history:
        if not history.epoch:
            with history.transaction():
                history.start_epoch(ResetReason.START, [ITEMS])
        yield history


def append(history: HistoryWriter, changes: Sequence[Change | SchemaChange]) -> Position:
    with history.transaction():
        history.append(1, iter(changes))
    return history.position


def entries(
    directory: Path, *, after: int | None = None, max_bytes: int = EVERYTHING
) -> list[Entry]:
    """The parts after a place, by default after the oldest that can be asked for."""
    with closing(HistoryReader(directory)) as reader:
        head = reader.head()
        place = sequence(head.floor, None) if after is None else after
        found = reader.read(head.epoch, place, max_bytes)
    assert found is not None
    return found


def body(entry: Entry) -> dict[str, Any]:
    return wire.decode_object(wire.changes_message(entry.tail, entry.position).data)


def locate(directory: Path, position: Position) -> int | ResetReason:
    with closing(HistoryReader(directory)) as reader:
        return reader.locate(position)


def test_a_history_begins_at_offset_zero(tmp_path: Path) -> None:
    """A new epoch stands at offset 0, announces its tables and says why it began."""
    with opened(tmp_path) as history, closing(HistoryReader(tmp_path)) as reader:
        head = reader.head()
        assert history.position == head.position
        assert (head.offset, head.floor, head.tables) == (0, 0, (ITEMS,))
        assert (head.reason, head.previous) == (ResetReason.START, "")
        assert reader.read(head.epoch, sequence(0, None), EVERYTHING) == []


def test_before_the_first_epoch_there_is_no_position(tmp_path: Path) -> None:
    """A state directory without a copy of the database has an empty epoch."""
    with (
        closing(HistoryWriter(tmp_path, Limits())) as history,
        closing(HistoryReader(tmp_path)) as reader,
    ):
        assert history.epoch == reader.head().epoch == ""
        assert reader.read("", 0, EVERYTHING) is None


def test_offsets_have_no_gaps_also_across_writers(tmp_path: Path) -> None:
    """Each changeset has the offset after the one before, whoever appends it."""
    positions = []
    for _ in range(3):
        with opened(tmp_path) as history:
            positions += [append(history, [insert(n)]) for n in range(3)]
    assert [position.offset for position in positions] == list(range(1, 10))
    assert {position.epoch for position in positions} == {positions[0].epoch}
    assert [entry.position for entry in entries(tmp_path)] == positions


def test_a_changeset_without_changes_is_none(tmp_path: Path) -> None:
    """Nothing is added where nothing changed, so no offset is used up."""
    with opened(tmp_path) as history:
        before = history.position
        assert append(history, []) == before
    assert entries(tmp_path) == []


def test_a_changeset_says_when_and_how_many_commits(tmp_path: Path) -> None:
    """Time is UTC with microseconds, the number of commits is kept, unknown included."""
    with opened(tmp_path) as history:
        for commits in (1, 7, None):
            with history.transaction():
                history.append(commits, iter([insert(1)]))
    found = [body(entry) for entry in entries(tmp_path)]
    assert [message["commits"] for message in found] == [1, 7, None]
    seen = datetime.fromisoformat(found[0]["time"])
    assert found[0]["time"].endswith("Z")
    assert abs(datetime.now(UTC) - seen) < timedelta(minutes=1)


def test_parts_hold_at_most_a_thousand_changes(tmp_path: Path) -> None:
    """A commit of 2,500 rows travels in three parts; only the last says so and ends the offset."""
    with opened(tmp_path) as history:
        whole = append(history, [insert(n) for n in range(2500)])
    parts = entries(tmp_path)
    messages = [body(part) for part in parts]
    assert [len(message["changes"]) for message in messages] == [1000, 1000, 500]
    assert [message["part"] for message in messages] == [0, 1, 2]
    assert [message["last"] for message in messages] == [False, False, True]
    assert [part.position.part for part in parts] == [0, 1, None]
    assert {part.position.offset for part in parts} == {1}
    assert parts[-1].position == whole
    assert len({message["time"] for message in messages}) == 1


def test_a_thousand_changes_are_one_part(tmp_path: Path) -> None:
    """A part that is just full is the last one, not followed by an empty one."""
    with opened(tmp_path) as history:
        append(history, [insert(n) for n in range(1000)])
    (part,) = entries(tmp_path)
    assert part.last


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([10, 1000, 90_000, 200_000, PART_BYTES - 90]), max_size=12))
def test_parts_hold_at_most_256_kib(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    """No part is larger but one change that is; all changes come, in order, once."""
    directory = tmp_path_factory.mktemp("history")
    changes = [insert(number, "x" * size) for number, size in enumerate(sizes)]
    with opened(directory) as history:
        append(history, changes)
    found = [body(entry)["changes"] for entry in entries(directory)]
    assert [change for part in found for change in part] == [
        wire.decode_json(wire.encode_change(change)) for change in changes
    ]
    for part in found:
        size = sum(len(wire.encode_json(change)) + 1 for change in part)
        assert size <= PART_BYTES + 1 or len(part) == 1


def test_reading_stops_at_a_size_and_goes_on_from_any_part(tmp_path: Path) -> None:
    """Whatever the batch, going on from the last part read gives every part once, in order."""
    with opened(tmp_path) as history:
        for count in (1, 2100, 3):
            append(history, [insert(n) for n in range(count)])
    whole = entries(tmp_path)
    assert len(whole) == 5
    for max_bytes in (1, len(whole[1].tail), len(whole[1].tail) + 1, EVERYTHING):
        read: list[Entry] = []
        place = sequence(0, None)
        while batch := entries(tmp_path, after=place, max_bytes=max_bytes):
            read += batch
            place = batch[-1].seq
        assert read == whole


def test_the_hash_is_a_chain_over_all_parts(tmp_path: Path) -> None:
    """Each position shows four digits of a chain in which every earlier part has its share."""
    with opened(tmp_path) as history:
        chain = history.recall("floor_chain")
        for count in (1, 1500, 1):
            append(history, [insert(n) for n in range(count)])
    assert isinstance(chain, bytes)
    for entry in entries(tmp_path):
        chain = hashlib.blake2b(chain + entry.tail, digest_size=16).digest()
        assert entry.position.hash == chain.hex()[:4]


def test_other_content_gives_another_hash(tmp_path: Path) -> None:
    """A state restored from a backup and written on is noticed: same offset, another hash."""
    with opened(tmp_path) as history:
        append(history, [insert(1)])
        name = history.recall("epoch")
    backup = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with opened(tmp_path) as history:
        lost = append(history, [insert(2)])
    for file in tmp_path.iterdir():
        file.unlink()
    for file_name, data in backup.items():
        (tmp_path / file_name).write_bytes(data)
    with opened(tmp_path) as history:
        now = append(history, [insert(3)])
    assert (now.epoch, now.offset) == (lost.epoch, lost.offset) == (name, 2)
    assert locate(tmp_path, lost) is ResetReason.UNKNOWN_EPOCH
    assert locate(tmp_path, now) == sequence(2, None)


def _age(directory: Path) -> None:
    with closing(sqlite3.connect(directory / "state.db")) as db, db:
        db.execute("UPDATE history SET time = time - 1000")


@pytest.mark.parametrize(
    ("limits", "between"),
    [
        (Limits(changesets=3), None),
        (Limits(bytes=4000), None),
        (Limits(seconds=500), _age),
    ],
    ids=["count", "bytes", "age"],
)
def test_history_is_bounded(
    tmp_path: Path, limits: Limits, between: Callable[[Path], None] | None
) -> None:
    """The oldest changesets go, the newest stay, and what remains has no gap."""
    for number in range(10):
        if between is not None and number:
            between(tmp_path)
        with opened(tmp_path, limits) as history:
            newest = append(history, [insert(number, "x" * 1000)])
    kept = [entry.position.offset for entry in entries(tmp_path)]
    assert kept == list(range(kept[0], newest.offset + 1))
    assert 1 <= len(kept) <= 3
    with closing(HistoryReader(tmp_path)) as reader:
        assert reader.head().floor == kept[0] - 1
        assert reader.head().position == newest


def test_large_values_count_as_history(tmp_path: Path) -> None:
    """They lie beside the stream, and are bounded with it; a new writer counts the same."""
    for number in range(12):
        with opened(tmp_path, Limits(bytes=3 * LARGE)) as history:
            append(history, [insert(number, bytes([number]) * LARGE)])
    kept = [entry.position.offset for entry in entries(tmp_path)]
    assert kept == list(range(kept[0], 13))
    assert 1 <= len(kept) <= 3
    with closing(sqlite3.connect(tmp_path / "state.db")) as db:
        assert db.execute("SELECT count(*) FROM large").fetchone() == (len(kept),)


def test_values_that_were_only_read_go_before_changesets(tmp_path: Path) -> None:
    """Whoever looks at large rows takes nothing from those who follow the stream."""
    values = [bytes([number]) * LARGE for number in range(12)]
    digests = [hashlib.sha256(value).hexdigest() for value in values]
    with opened(tmp_path, Limits(bytes=6 * LARGE)) as history:
        append(history, [insert(0, values[0])])
        with history.transaction():
            for digest, value in zip(digests, values, strict=True):
                history.keep_large(digest, "blob", value)
        # One becomes a changeset's, another is read again after that.
        append(history, [insert(1, values[1])])
        with history.transaction():
            history.keep_large(digests[1], "blob", values[1])
        for number in range(2, 12):
            append(history, [insert(number)])
    assert [entry.position.offset for entry in entries(tmp_path)] == [*range(1, 13)]
    with closing(HistoryReader(tmp_path)) as reader:
        kept = [number for number, digest in enumerate(digests) if reader.large(digest)]
        assert reader.size().bytes < 6 * LARGE
    assert kept[:2] == [0, 1]
    assert kept[2:] == [*range(9, 12)]


@pytest.mark.parametrize("limits", [Limits(changesets=0), Limits(bytes=0), Limits(seconds=-1)])
def test_the_newest_changeset_is_kept_whatever_its_size(tmp_path: Path, limits: Limits) -> None:
    """A changeset beyond every limit is kept whole until the next one."""
    with opened(tmp_path, limits) as history:
        append(history, [insert(1)])
    # Ages are looked at by a new writer at once, and then once a minute.
    with opened(tmp_path, limits) as history:
        append(history, [insert(n) for n in range(2500)])
        assert [len(body(entry)["changes"]) for entry in entries(tmp_path)] == [1000, 1000, 500]
        append(history, [insert(2)])
    assert [entry.position.offset for entry in entries(tmp_path)][-1] == 3


def test_a_pruned_history_opens_again_with_the_same_position(tmp_path: Path) -> None:
    """Chain, floor and offset are those of before, and reading goes on from the floor."""
    with opened(tmp_path, Limits(changesets=2)) as history:
        for number in range(6):
            newest = append(history, [insert(number)])
    with opened(tmp_path, Limits(changesets=2)) as history:
        assert history.position == newest
        assert append(history, [insert(7)]).offset == 7


def _positions(history: HistoryWriter) -> list[Position]:
    start = history.position
    return [start, *(append(history, [insert(number)]) for number in range(5))]


def test_a_position_that_is_kept_is_found(tmp_path: Path) -> None:
    """From every position, the beginning included, all later changesets can be had."""
    with opened(tmp_path) as history:
        positions = _positions(history)
    for index, position in enumerate(positions):
        place = locate(tmp_path, position)
        assert isinstance(place, int)
        later = [entry.position for entry in entries(tmp_path, after=place)]
        assert later == positions[index + 1 :]


def test_a_position_within_a_changeset_is_found(tmp_path: Path) -> None:
    """A client that got part 0 of three goes on with part 1."""
    with opened(tmp_path) as history:
        append(history, [insert(1)])
        append(history, [insert(n) for n in range(2500)])
    parts = entries(tmp_path)
    for index, part in enumerate(parts):
        place = locate(tmp_path, part.position)
        assert isinstance(place, int)
        assert entries(tmp_path, after=place) == parts[index + 1 :]


def test_a_position_off_the_end_has_expired(tmp_path: Path) -> None:
    """Below the floor: expired. At the floor nothing has been missed yet."""
    with opened(tmp_path, Limits(changesets=2)) as history:
        positions = _positions(history)
    for position in positions[:3]:
        assert locate(tmp_path, position) is ResetReason.POSITION_EXPIRED
    place = locate(tmp_path, positions[3])
    assert isinstance(place, int)
    assert [entry.position for entry in entries(tmp_path, after=place)] == positions[4:]
    with closing(HistoryReader(tmp_path)) as reader:
        assert reader.read(positions[0].epoch, sequence(2, None), EVERYTHING) is None


def test_a_position_in_the_middle_of_what_was_pruned_has_expired(tmp_path: Path) -> None:
    """Part 0 of a changeset whose other parts are gone cannot be gone on from."""
    with opened(tmp_path, Limits(changesets=1)) as history:
        append(history, [insert(n) for n in range(1500)])
        middle = entries(tmp_path)[0].position
        append(history, [insert(1)])
    assert middle.part == 0
    assert locate(tmp_path, middle) is ResetReason.POSITION_EXPIRED


def test_a_position_that_never_was_is_unknown(tmp_path: Path) -> None:
    """Another epoch, the future, another hash, a part that does not exist: `unknown_epoch`."""
    with opened(tmp_path) as history:
        append(history, [insert(n) for n in range(1500)])
        here = append(history, [insert(1)])
    wrong = f"{int(here.hash, 16) ^ 1:04x}"
    for position in (
        Position("zzzz", here.offset, here.hash),
        Position(here.epoch, here.offset + 1, here.hash),
        Position(here.epoch, 10**18 - 1, here.hash),
        Position(here.epoch, here.offset, wrong),
        Position(here.epoch, 0, "0000"),
        Position(here.epoch, 1, here.hash, part=5),
        Position(here.epoch, 1, entries(tmp_path)[0].position.hash, part=1),
        Position(here.epoch, 1, entries(tmp_path)[0].position.hash),
        Position(here.epoch, 1, here.hash, part=2**20),
        Position(here.epoch, 1, here.hash, part=10**9 - 1),
    ):
        assert locate(tmp_path, position) is ResetReason.UNKNOWN_EPOCH, position


@pytest.mark.parametrize(
    ("began", "told"),
    [
        (ResetReason.REPLACED, ResetReason.REPLACED),
        (ResetReason.START, ResetReason.UNKNOWN_EPOCH),
    ],
)
def test_a_new_epoch_ends_the_old_one(
    tmp_path: Path, began: ResetReason, told: ResetReason
) -> None:
    """Positions of the epoch before are told why they ended, those of others are unknown."""
    with opened(tmp_path) as history:
        old = _positions(history)[-1]
        with history.transaction():
            history.start_epoch(began, [ITEMS])
        new = history.position
        assert (new.offset, new.epoch == old.epoch) == (0, False)
        assert append(history, [insert(1)]).offset == 1
    assert locate(tmp_path, old) is told
    assert locate(tmp_path, Position("0", 1, "0000")) is ResetReason.UNKNOWN_EPOCH
    assert [entry.position.offset for entry in entries(tmp_path)] == [1]


def test_what_a_transaction_gave_up_never_was(tmp_path: Path) -> None:
    """After a failure inside a transaction neither changes nor notes nor large values are left."""

    def failing() -> Iterator[Change]:
        yield insert(1, b"\0" * LARGE)
        raise LookupError

    with opened(tmp_path) as history:
        before = append(history, [insert(0)])
        for changes in (failing(), iter([insert(n) for n in range(1500)])):
            with suppress(LookupError), history.transaction():
                history.remember("note", "half")
                history.append(1, changes)
                raise LookupError
            history.reload()
        assert history.position == before
        assert history.recall("note") is None
        assert append(history, [insert(2)]).offset == before.offset + 1
    assert _large_values(tmp_path) == set()


def test_a_note_belongs_to_the_transaction_of_its_changeset(tmp_path: Path) -> None:
    """What is remembered inside is there with the changeset and survives the writer."""
    with opened(tmp_path) as history, history.transaction():
        history.append(1, iter([insert(1)]))
        history.remember("note", b"\0pages")
        with closing(HistoryReader(tmp_path)) as reader:
            assert reader.head().offset == 0
    with opened(tmp_path) as history:
        assert (history.position.offset, history.recall("note")) == (1, b"\0pages")
        assert history.recall("never stored") is None


def test_definitions_follow_the_schema(tmp_path: Path) -> None:
    """Tables that are remembered are those a reader announces from then on."""
    other = Table("other", (), ("x",))
    with opened(tmp_path) as history, closing(HistoryReader(tmp_path)) as reader:
        with history.transaction():
            history.remember_tables([ITEMS, other])
        assert reader.head().tables == (ITEMS, other)


def _large_values(directory: Path) -> set[str]:
    with closing(sqlite3.connect(directory / "state.db")) as db:
        return {digest for (digest,) in db.execute("SELECT sha256 FROM large")}


def test_a_large_value_is_kept_as_long_as_its_changeset(tmp_path: Path) -> None:
    """It can be fetched by digest while a changeset that names it is kept, and no longer."""
    first, second = b"\1" * LARGE, "é" * LARGE
    digests = [hashlib.sha256(data).hexdigest() for data in (first, second.encode())]
    with (
        opened(tmp_path, Limits(changesets=2)) as history,
        closing(HistoryReader(tmp_path)) as reader,
    ):
        append(history, [insert(1, first)])
        append(history, [insert(2, second), insert(3, second)])
        assert reader.large(digests[0]) == ("blob", first)
        assert reader.large(digests[1]) == ("text", second.encode())
        assert len(entries(tmp_path)[0].tail) < 1000
        append(history, [insert(4)])
        assert reader.large(digests[0]) is None
        append(history, [insert(5, second)])
        append(history, [insert(6)])
        # Its first changeset is gone, but a later one names it too.
        assert reader.large(digests[1]) == ("text", second.encode())
        append(history, [insert(7)])
        assert reader.large(digests[1]) is None
    assert _large_values(tmp_path) == set()


def test_a_large_value_of_a_row_sent_as_content_is_kept_for_a_while(tmp_path: Path) -> None:
    """One that no changeset names lives as long as the newest changeset of that moment."""
    digest = hashlib.sha256(b"\2" * LARGE).hexdigest()
    with (
        opened(tmp_path, Limits(changesets=1)) as history,
        closing(HistoryReader(tmp_path)) as reader,
    ):
        append(history, [insert(1)])
        with history.transaction():
            history.keep_large(digest, "blob", b"\2" * LARGE)
        assert reader.large(digest) == ("blob", b"\2" * LARGE)
        append(history, [insert(2)])
        assert reader.large(digest) is None


_KILLED = """
import sys
from pathlib import Path
from watcher.changes import Change, Op, ResetReason
from watcher.history import HistoryWriter, Limits

def change(number, value="v"):
    return Change(Op.INSERT, "items", {"id": number}, None, {"id": number, "value": value})

history = HistoryWriter(Path(sys.argv[1]), Limits())
with history.transaction():
    history.start_epoch(ResetReason.START, [])
number = 0
while True:
    number += 1
    with history.transaction():
        history.append(1, (change(n) for n in range(1500)))
        history.append(1, iter([change(number, b"L" * 300_000)]))
        history.remember("note", history.position.offset)
        if number == int(sys.argv[2]):
            print("inside", flush=True)
            sys.stdin.readline()
    print(history.position, flush=True)
"""


def _history_of_killed(directory: Path, hold: int, kill_after: int) -> list[str]:
    """Kills a writing process after so many lines of its output; returns those lines."""
    command = [sys.executable, "-c", _KILLED, str(directory), str(hold)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(kill_after)]
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    return lines


def test_a_writer_killed_inside_a_transaction_leaves_nothing_half(tmp_path: Path) -> None:
    """After SIGKILL in mid-transaction the history stands where the last one ended."""
    *committed, inside = _history_of_killed(tmp_path, hold=3, kill_after=3)
    assert inside == "inside"
    with opened(tmp_path) as history:
        assert str(history.position) == committed[-1]
        assert history.recall("note") == history.position.offset == 4
        assert append(history, [insert(1)]).offset == 5
    assert len(entries(tmp_path)) == 2 * 3 + 1


@pytest.mark.parametrize("kill_after", [1, 2, 5])
def test_a_writer_killed_at_any_time_keeps_what_it_committed(
    tmp_path: Path, kill_after: int
) -> None:
    """What it said was committed is there, whole and without gaps, and perhaps one more."""
    acknowledged = _history_of_killed(tmp_path, hold=0, kill_after=kill_after)[-1]
    with opened(tmp_path) as history:
        said, found = Position.parse(acknowledged), history.position
        assert found.offset >= said.offset
        assert found.offset % 2 == 0
        assert history.recall("note") == found.offset
    assert isinstance(locate(tmp_path, said), int)
    whole = [entry.position.offset for entry in entries(tmp_path) if entry.last]
    assert whole == list(range(1, found.offset + 1))
