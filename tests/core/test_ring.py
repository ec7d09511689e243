"""The history's newest part in memory: bounded, the same bytes for all, disk behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from watcher.changes import Change, Op, ResetReason
from watcher.history import HistoryWriter, Limits, sequence
from watcher.hub import ring as ring_module
from watcher.hub.ring import Ring


@pytest.fixture
def history(tmp_path: Path) -> Iterator[HistoryWriter]:
    with closing(HistoryWriter(tmp_path, Limits(changesets=300))) as history:
        with history.transaction():
            history.start_epoch(ResetReason.START, [])
        yield history


@pytest.fixture
def ring(history: HistoryWriter, tmp_path: Path) -> Iterator[Ring]:
    assert history.epoch
    with closing(Ring(tmp_path)) as ring:
        yield ring


def commit(history: HistoryWriter, *, rows: int = 1, size: int = 1) -> None:
    with history.transaction():
        value = "x" * size
        history.append(
            1, (Change(Op.INSERT, "t", {"id": n}, None, {"id": n, "x": value}) for n in range(rows))
        )


def offsets(ring: Ring, place: int, *, max_bytes: int = 1 << 60) -> list[int]:
    found = ring.after(ring.head.epoch, place, max_bytes=max_bytes)
    assert isinstance(found, list)
    return [entry.position.offset for entry, _ in found]


def test_what_the_history_gains_is_taken_in_once(history: HistoryWriter, ring: Ring) -> None:
    """A refresh says whether there was news; from any place the rest follows."""
    assert not ring.refresh()
    for _ in range(3):
        commit(history)
    assert ring.refresh()
    assert not ring.refresh()
    assert offsets(ring, sequence(0, None)) == [1, 2, 3]
    assert offsets(ring, sequence(2, None)) == [3]
    assert offsets(ring, sequence(3, None)) == []


def test_a_part_is_encoded_once_for_all_who_read_it(history: HistoryWriter, ring: Ring) -> None:
    """Two readers get the same message, not two equal ones."""
    commit(history)
    ring.refresh()
    place = sequence(0, None)
    first, second = (ring.after(history.epoch, place) for _ in range(2))
    assert isinstance(first, list)
    assert isinstance(second, list)
    assert first[0][1].data is second[0][1].data


def test_what_is_read_from_disk_is_shared_too(history: HistoryWriter, tmp_path: Path) -> None:
    """After a restart many come back to one place; news since then come all the same."""
    for _ in range(3):
        commit(history)
    with closing(Ring(tmp_path)) as ring:
        place = sequence(0, None)
        first, second = (ring.after(history.epoch, place) for _ in range(2))
        assert isinstance(first, list)
        assert isinstance(second, list)
        assert first[0][1].data is second[0][1].data
        commit(history)
        ring.refresh()
        read: list[int] = []
        while batch := offsets(ring, place):
            read += batch
            place = sequence(batch[-1], None)
        assert read == [1, 2, 3, 4]


@pytest.mark.parametrize("limit", ["_RING_ENTRIES", "_RING_BYTES"])
def test_the_ring_is_bounded_and_the_rest_comes_from_disk(
    history: HistoryWriter, ring: Ring, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """It forgets the oldest parts by count and by size; who fell out of it still gets them all."""
    monkeypatch.setattr(ring_module, limit, 10 if limit == "_RING_ENTRIES" else 5000)
    for _ in range(100):
        commit(history, size=300)
        ring.refresh()
    assert 1 <= len(ring._entries) <= 10
    assert ring._bytes == sum(len(entry.tail) for _, entry, _ in ring._entries)
    assert ring._bytes <= 5000 or limit == "_RING_ENTRIES"
    for place in range(101):
        assert offsets(ring, sequence(place, None)) == list(range(place + 1, 101))


def test_sixteen_megabytes_are_kept_at_most(history: HistoryWriter, ring: Ring) -> None:
    """Unread changesets of 20 MB leave 16 MiB at most, and nothing is lost."""
    for _ in range(80):
        commit(history, size=250_000)
    ring.refresh()
    assert 15 * 2**20 < sum(len(entry.tail) for _, entry, _ in ring._entries) <= 2**24
    assert len(ring._entries) < 80
    place = sequence(0, None)
    read: list[int] = []
    while batch := offsets(ring, place, max_bytes=2**20):
        read += batch
        place = sequence(batch[-1], None)
    assert read == list(range(1, 81))


def test_a_part_larger_than_the_ring_is_read_from_disk(
    history: HistoryWriter, ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ring that cannot even hold the newest part is empty, and its readers miss nothing."""
    monkeypatch.setattr(ring_module, "_RING_BYTES", 100)
    for _ in range(3):
        commit(history, size=200)
        ring.refresh()
    assert len(ring._entries) == 0
    assert offsets(ring, sequence(0, None)) == [1, 2, 3]


@pytest.mark.parametrize("kept", [20_000, 1], ids=["memory", "disk"])
def test_a_batch_ends_at_a_size_and_at_a_place(
    history: HistoryWriter, ring: Ring, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    """One part at least, then no more than asked for, wherever the parts come from."""
    monkeypatch.setattr(ring_module, "_RING_ENTRIES", kept)
    for _ in range(6):
        commit(history, size=1000)
    ring.refresh()
    assert offsets(ring, sequence(0, None), max_bytes=1) == [1]
    assert offsets(ring, sequence(0, None), max_bytes=2500) == [1, 2, 3]
    found = ring.after(history.epoch, sequence(1, None), until=sequence(4, None))
    assert isinstance(found, list)
    assert [entry.position.offset for entry, _ in found] == [2, 3, 4]


def test_a_reader_may_stand_within_a_changeset(history: HistoryWriter, ring: Ring) -> None:
    """After part 0 of three come parts 1 and 2."""
    commit(history, rows=2500)
    ring.refresh()
    found = ring.after(history.epoch, sequence(1, 0))
    assert isinstance(found, list)
    assert [entry.position.part for entry, _ in found] == [1, None]


def test_who_fell_off_the_history_is_told_so(
    history: HistoryWriter, ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the end of what is kept there is no way on, only a reset."""
    monkeypatch.setattr(ring_module, "_RING_ENTRIES", 5)
    for _ in range(400):
        commit(history)
        ring.refresh()
    assert offsets(ring, sequence(100, None)) == list(range(101, 401))
    assert ring.after(history.epoch, sequence(99, None)) is ResetReason.POSITION_EXPIRED
    assert ring.locate(history.position) == sequence(400, None)


def test_what_is_in_memory_outlasts_what_is_kept_on_disk(
    history: HistoryWriter, ring: Ring
) -> None:
    """A reader that is a little behind goes on although the history has been cut behind it."""
    for _ in range(400):
        commit(history)
        ring.refresh()
    assert ring.head.floor == 100
    assert offsets(ring, sequence(50, None)) == list(range(51, 401))


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (ResetReason.REPLACED, ResetReason.REPLACED),
        (ResetReason.START, ResetReason.UNKNOWN_EPOCH),
    ],
)
def test_a_new_epoch_voids_every_place(
    history: HistoryWriter, ring: Ring, reason: ResetReason, told: ResetReason
) -> None:
    """Whoever reads on in the old epoch is told why there is no way on; the new one begins."""
    commit(history)
    ring.refresh()
    old = history.epoch
    with history.transaction():
        history.start_epoch(reason, [])
    commit(history)
    assert ring.refresh()
    assert ring.after(old, sequence(1, None)) is told
    assert ring.after("another", sequence(1, None)) is ResetReason.UNKNOWN_EPOCH
    # What was written before the ring looked is on disk.
    assert offsets(ring, sequence(0, None)) == [1]


def test_more_at_once_than_the_history_keeps(history: HistoryWriter, ring: Ring) -> None:
    """Between two looks more was written than is kept: the ring goes on with what is there."""
    for _ in range(700):
        commit(history)
    assert ring.refresh()
    assert ring.after(history.epoch, sequence(0, None)) is ResetReason.POSITION_EXPIRED
    assert offsets(ring, sequence(650, None)) == list(range(651, 701))
    commit(history)
    assert ring.refresh()
    assert offsets(ring, sequence(700, None)) == [701]


def test_the_disk_is_not_read_beyond_the_head(history: HistoryWriter, tmp_path: Path) -> None:
    """Who reads from disk would else stand ahead of those who are written to together."""
    for _ in range(2):
        commit(history)
    with closing(Ring(tmp_path)) as ring:
        commit(history)
        assert ring.head.offset == 2
        assert offsets(ring, sequence(0, None)) == [1, 2]
        ring.refresh()
        assert offsets(ring, sequence(0, None)) == [1, 2, 3]
