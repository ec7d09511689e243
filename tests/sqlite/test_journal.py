"""Rollback journals that SQLite has written, read while they exist and after."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from watcher.sqlite.fileformat import JOURNAL_MAGIC
from watcher.sqlite.journal import Journal, Read, parse_journal, parse_zeroed_journal

MakeDatabase = Callable[..., apsw.Connection]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[MakeDatabase]:
    """Makes a database of 200 rows of about 400 bytes and gives a connection with pragmas set."""
    opened: list[apsw.Connection] = []

    def make(*pragmas: str, page_size: int = 1024) -> apsw.Connection:
        db = apsw.Connection(str(tmp_path / "app.db"))
        opened.append(db)
        db.execute(f"PRAGMA page_size={page_size}; CREATE TABLE t(id INTEGER PRIMARY KEY, x)")
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<200)"
            " INSERT INTO t SELECT i, randomblob(400) FROM n"
        )
        for pragma in pragmas:
            db.execute(f"PRAGMA {pragma}").fetchall()
        return db

    yield make
    for db in opened:
        db.close()


def reader(data: bytes) -> Read:
    return lambda size, offset: data[offset : offset + size]


def images(data: bytes, journal: Journal) -> dict[int, bytes]:
    size = journal.page_size
    return {page: data[at : at + size] for page, at in journal.images.items()}


def pages(database: bytes, size: int) -> dict[int, bytes]:
    return {n // size + 1: database[n : n + size] for n in range(0, len(database), size)}


def changed(before: bytes, after: bytes, size: int) -> set[int]:
    old, new = pages(before, size), pages(after, size)
    return {page for page in old.keys() & new.keys() if old[page] != new[page]}


class Caught:
    """The journal of the next transaction of a connection, kept open over its deletion."""

    def __init__(self, db: apsw.Connection, statement: str, *, commit: str = "COMMIT") -> None:
        path = Path(db.filename)
        self.before = path.read_bytes()
        db.execute("BEGIN")
        db.execute(statement)
        journal = os.open(path.with_name("app.db-journal"), os.O_RDONLY)
        try:
            self.amid = os.pread(journal, 1 << 26, 0)
            db.execute(commit)
            self.data = os.pread(journal, 1 << 26, 0)
            self.is_deleted = os.fstat(journal).st_nlink == 0
        finally:
            os.close(journal)
        self.after = path.read_bytes()


@pytest.mark.parametrize("page_size", [512, 1024, 4096, 65536])
@pytest.mark.parametrize("synchronous", ["off", "normal", "full"])
def test_a_deleted_journal(page_size: int, synchronous: str, made: MakeDatabase) -> None:
    """It holds the original image of every page that was changed, page 1 with the old count."""
    db = made(f"synchronous={synchronous}", page_size=page_size)
    caught = Caught(db, "UPDATE t SET x=randomblob(400) WHERE id%50=7")
    journal = parse_journal(reader(caught.data))
    assert caught.is_deleted
    assert journal is not None
    assert (journal.page_size, journal.page_count) == (page_size, len(caught.before) // page_size)
    original = pages(caught.before, page_size)
    assert all(original[page] == image for page, image in images(caught.data, journal).items())
    assert changed(caught.before, caught.after, page_size) == journal.images.keys()
    assert 1 in journal.images


@pytest.mark.parametrize("synchronous", ["off", "full"])
def test_a_journal_in_segments(synchronous: str, made: MakeDatabase) -> None:
    """Each time the cache spills another header follows; with `synchronous=OFF` there is one."""
    db = made(f"synchronous={synchronous}", "cache_size=5")
    caught = Caught(db, "UPDATE t SET x=randomblob(400)")
    journal = parse_journal(reader(caught.data))
    assert (caught.data.count(JOURNAL_MAGIC) > 3) == (synchronous == "full")
    assert journal is not None
    assert changed(caught.before, caught.after, 1024) <= journal.images.keys()
    original = pages(caught.before, 1024)
    assert all(original[page] == image for page, image in images(caught.data, journal).items())


@pytest.mark.parametrize("cache", [5, 2000])
@pytest.mark.parametrize("synchronous", ["off", "full"])
def test_a_transaction_under_way(cache: int, synchronous: str, made: MakeDatabase) -> None:
    """What has been written of its journal can be read before any of it was synced."""
    db = made(f"synchronous={synchronous}", f"cache_size={cache}")
    caught = Caught(db, "UPDATE t SET x=randomblob(400) WHERE id<100", commit="ROLLBACK")
    journal = parse_journal(reader(caught.amid))
    assert journal is not None
    original = pages(caught.before, 1024)
    assert len(journal.images) > 40
    assert all(original[page] == image for page, image in images(caught.amid, journal).items())
    assert caught.before == caught.after


@pytest.mark.parametrize("synchronous", ["normal", "full"])
def test_a_super_journal_is_no_record(synchronous: str, made: MakeDatabase, tmp_path: Path) -> None:
    """Its name stands behind the records of a commit over several files."""
    db = made(f"synchronous={synchronous}")
    db.execute(f"ATTACH '{tmp_path / 'second.db'}' AS second")
    db.execute(f"CREATE TABLE second.t(x); PRAGMA second.synchronous={synchronous}")
    caught = Caught(db, "UPDATE t SET x='y' WHERE id=3; INSERT INTO second.t VALUES (1)")
    assert b"app.db-mj" in caught.data
    journal = parse_journal(reader(caught.data))
    assert journal is not None
    assert changed(caught.before, caught.after, 1024) == journal.images.keys()


@pytest.mark.parametrize("cache", [5, 2000])
@pytest.mark.parametrize("synchronous", ["off", "full"])
def test_a_journal_that_persists(cache: int, synchronous: str, made: MakeDatabase) -> None:
    """Its header is zeros, older records follow: the new ones are told from them."""
    db = made(f"synchronous={synchronous}", f"cache_size={cache}", "journal_mode=persist")
    db.execute("UPDATE t SET x=randomblob(400)")
    for update in ("id=3", "id%9=0", "id<150", "id=5"):
        caught = Caught(db, f"UPDATE t SET x=randomblob(400) WHERE {update}")
        assert not caught.is_deleted
        assert parse_journal(reader(caught.data)) is None
        journal = parse_zeroed_journal(reader(caught.data), len(caught.data), 1024)
        assert journal is not None
        assert journal.page_count == len(caught.before) // 1024
        assert changed(caught.before, caught.after, 1024) <= journal.images.keys()
        if synchronous == "full":
            original = pages(caught.before, 1024)
            found = images(caught.data, journal)
            assert all(original[page] == image for page, image in found.items())


@pytest.mark.parametrize("sector", [512, 4096])
def test_the_sector_of_a_zeroed_header(sector: int) -> None:
    """It is found out by where the records make sense."""
    page = bytearray(1024)
    page[:16] = b"SQLite format 3\0"
    page[24:32] = page[92:96] + bytes(3) + b"\x07"
    data = bytes(sector) + record(7, bytes(1024), 5) + record(1, bytes(page), 5)
    journal = parse_zeroed_journal(reader(data), len(data), 1024)
    assert journal is not None
    assert journal.page_count == 7
    assert journal.images.keys() == {7, 1}


def record(page: int, image: bytes, nonce: int) -> bytes:
    checksum = nonce + sum(image[len(image) - 200 :: -200])
    return struct.pack(">I", page) + image + struct.pack(">I", checksum & 0xFFFFFFFF)


def test_a_journal_that_may_have_been_cut(made: MakeDatabase) -> None:
    """`journal_size_limit` cuts records off after the commit: then it is not complete."""
    db = made("journal_mode=persist", "journal_size_limit=20000")
    caught = Caught(db, "PRAGMA user_version=3; UPDATE t SET x=randomblob(400)")
    assert len(caught.data) == 20000
    assert parse_zeroed_journal(reader(caught.data), len(caught.data), 1024) is None
    # Cut right behind a record, it could be complete only if page 1 came last.
    end = 512 + 10 * 1032
    assert parse_zeroed_journal(reader(caught.data[:end]), end, 1024) is None
    caught = Caught(db, "UPDATE t SET x=randomblob(400) WHERE id=8")
    assert parse_zeroed_journal(reader(caught.data), len(caught.data), 1024) is not None


@pytest.mark.parametrize(
    "data",
    [b"", bytes(28), bytes(5000), b"\xff" * 5000, JOURNAL_MAGIC, JOURNAL_MAGIC + bytes(600)],
)
def test_what_is_no_journal(data: bytes) -> None:
    """A file that is empty, zeros or anything else holds nothing."""
    assert parse_journal(reader(data)) is None
    assert parse_zeroed_journal(reader(data), len(data), 1024) is None


def test_less_than_it_says(made: MakeDatabase) -> None:
    """A synced journal that ends before its last record is none; its nonce protects each one."""
    db = made("synchronous=full")
    data = Caught(db, "UPDATE t SET x=randomblob(400) WHERE id<9").data
    assert parse_journal(reader(data)) is not None
    assert parse_journal(reader(data[:-1])) is None
    damaged = bytearray(data)
    damaged[-100] ^= 1 << 4
    damaged[512 + 4 + 1024 % 200] ^= 1
    assert parse_journal(reader(bytes(damaged))) is None


def test_random_damage(made: MakeDatabase) -> None:
    """Whatever is in the file, reading it comes to an end and tells of pages there can be."""
    db = made("synchronous=full", "cache_size=5")
    data = Caught(db, "UPDATE t SET x=randomblob(400)").data
    chance = random.Random(5)
    for _ in range(300):
        damaged = bytearray(data[: chance.choice([len(data), chance.randrange(1, len(data))])])
        for _ in range(chance.randrange(6)):
            # Headers and records alike.
            near = chance.choice([28, 1200, len(damaged)])
            damaged[chance.randrange(min(near, len(damaged)))] = chance.randrange(256)
        journal = parse_journal(reader(bytes(damaged)))
        if journal is not None:
            size = journal.page_size
            assert all(0 < page <= journal.page_count for page in journal.images)
            assert all(at + size + 4 <= len(damaged) for at in journal.images.values())


def test_reading_ends_where_the_descriptor_does(tmp_path: Path) -> None:
    """A journal of many records is read in blocks."""
    count = 3000
    head = JOURNAL_MAGIC + struct.pack(">IIIII", count, 9, count, 512, 512)
    body = b"".join(record(page, bytes([page % 251]) * 512, 9) for page in range(1, count + 1))
    path = tmp_path / "journal"
    path.write_bytes(head.ljust(512, b"\0") + body)
    with closing(path.open("rb", buffering=0)) as file:
        journal = parse_journal(lambda size, at: os.pread(file.fileno(), size, at))
        assert journal is not None
        assert len(journal.images) == count
        assert os.pread(file.fileno(), 512, journal.images[777]) == bytes([777 % 251]) * 512
