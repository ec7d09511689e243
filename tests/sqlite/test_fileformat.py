"""The layout of SQLite's files, held against files that SQLite has written."""

from __future__ import annotations

import sqlite3
import struct
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ITEMS, MakeDatabase, Write
from tests.faults.program import Program
from tests.oracle.contents import contents_of_file
from tests.sqlite.logs import copied, frames, index_path, log_path, with_byte_order, writer
from watcher.sqlite.fileformat import (
    FRAME_HEADER_SIZE,
    HEADER_SIZE,
    WAL_HEADER_SIZE,
    NotADatabase,
    is_live_journal,
    normalise_first_page,
    parse_frame_header,
    parse_header,
    parse_wal_header,
    parse_wal_index,
    wal_checksum,
)
from watcher.sqlite.files import DatabaseFiles

PAGE_SIZES = [512, 1024, 4096, 32768, 65536]
ORDERS = pytest.mark.parametrize("big_endian", [False, True], ids=["little", "big"])


def pragma(path: Path, name: str) -> object:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(f"PRAGMA {name}").fetchone()[0]


# The database header


@pytest.mark.parametrize("page_size", PAGE_SIZES)
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_the_header_says_what_sqlite_says(
    database: MakeDatabase, page_size: int, mode: str
) -> None:
    """Page size, size in pages and mode are those SQLite itself reports."""
    # The mode comes first in the script, and in WAL mode the page size could no longer be set.
    path = database(
        mode="delete", sql=f"PRAGMA page_size={page_size}; {ITEMS} PRAGMA journal_mode={mode}"
    )
    header = parse_header(path.read_bytes())
    assert (header.page_size, header.wal) == (page_size, mode == "wal")
    assert header.page_count == pragma(path, "page_count")
    assert header.page_count * page_size == path.stat().st_size


@pytest.mark.parametrize(
    ("name", "number"), [("UTF-8", 1), ("UTF-16le", 2), ("UTF-16be", 3)], ids=str
)
def test_the_header_says_how_text_is_encoded(
    database: MakeDatabase, name: str, number: int
) -> None:
    """The encoding is one of three; a database without content has none yet."""
    path = database(sql=f"PRAGMA encoding='{name}'; {ITEMS}")
    assert parse_header(path.read_bytes()).encoding == number
    assert pragma(path, "encoding") == name


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist"])
def test_the_change_counter_counts_commits(database: MakeDatabase, write: Write, mode: str) -> None:
    """It grows by one for each transaction that wrote, and not for one that was rolled back."""
    path = database(mode=mode)
    before = parse_header(path.read_bytes()).change_counter
    write(
        path,
        f"PRAGMA journal_mode={mode}; DELETE FROM items WHERE id=1;"
        "BEGIN; DELETE FROM items; INSERT INTO items VALUES (1, 'n', NULL); COMMIT;"
        "BEGIN; DELETE FROM items; ROLLBACK; VACUUM; SELECT * FROM items",
    )
    assert parse_header(path.read_bytes()).change_counter == before + 3


def test_a_size_that_is_not_valid_is_not_believed(database: MakeDatabase) -> None:
    """Old versions of SQLite leave it out of date: then the file's length counts."""
    data = bytearray(database().read_bytes())
    assert parse_header(bytes(data)).page_count == 2
    struct.pack_into(">I", data, 92, 7)
    assert parse_header(bytes(data)).page_count == 0


@pytest.mark.parametrize(
    ("offset", "data"),
    [
        (0, b"\0"),
        (15, b" "),
        (16, b"\0\0"),
        (16, b"\0\x02"),
        (16, b"\x01\0"),
        (16, b"\x03\0"),
        (16, b"\xff\xff"),
        (21, b"\0"),
        (22, b"\0"),
        (23, b"\0"),
    ],
)
def test_what_is_not_a_database(database: MakeDatabase, offset: int, data: bytes) -> None:
    """A wrong magic, page size or payload fraction gives it away."""
    good = database().read_bytes()
    changed = good[:offset] + data + good[offset + len(data) :]
    with pytest.raises(NotADatabase):
        parse_header(changed)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_header_or_not(data: bytes) -> None:
    """Nothing but NotADatabase is raised, also for what begins like a database."""
    for candidate in (data, b"SQLite format 3\0" + data):
        try:
            header = parse_header(candidate)
        except NotADatabase:
            continue
        assert len(candidate) >= HEADER_SIZE
        assert 512 <= header.page_size <= 65536


def test_a_header_that_is_cut_off_is_none(database: MakeDatabase) -> None:
    """100 bytes it takes, one less will not do."""
    data = database().read_bytes()
    assert parse_header(data[:HEADER_SIZE]).page_size == 4096
    with pytest.raises(NotADatabase):
        parse_header(data[: HEADER_SIZE - 1])


# The first page of a private copy


def test_a_copy_with_a_normalised_first_page_is_read_without_its_log(
    database: MakeDatabase, tmp_path: Path
) -> None:
    """The file says WAL; the copy does not, and holds the same."""
    path = database(mode="wal", sql=ITEMS + "CREATE TABLE t(x); PRAGMA user_version=7;")
    data = path.read_bytes()
    copy = tmp_path / "copy" / "copy.db"
    copy.parent.mkdir()
    count = parse_header(data).page_count
    copy.write_bytes(normalise_first_page(data[:4096], count) + data[4096:])
    assert contents_of_file(copy) == contents_of_file(path)
    assert (pragma(copy, "journal_mode"), pragma(copy, "user_version")) == ("delete", 7)
    assert pragma(copy, "integrity_check") == "ok"
    assert [file.name for file in copy.parent.iterdir()] == ["copy.db"]


def test_bookkeeping_alone_makes_no_difference(database: MakeDatabase, write: Write) -> None:
    """Commits that leave the content as it was leave the normalised page as it was."""
    path = database()
    before = path.read_bytes()
    write(path, "BEGIN; DELETE FROM items WHERE id=2; INSERT INTO items VALUES(2,'Lamp','off')")
    write(path, "UPDATE items SET value='x' WHERE id=1; UPDATE items SET value='123' WHERE id=1")
    after = path.read_bytes()
    assert before[:4096] != after[:4096]
    assert normalise_first_page(before[:4096], 2) == normalise_first_page(after[:4096], 2)
    write(path, "PRAGMA user_version=5")
    assert normalise_first_page(path.read_bytes()[:4096], 2) != normalise_first_page(
        before[:4096], 2
    )


def test_normalising_twice_is_as_good_as_once(database: MakeDatabase) -> None:
    """The page keeps its length and its size in pages is what was said."""
    page = database(mode="wal").read_bytes()[:4096]
    once = normalise_first_page(page, 12)
    assert normalise_first_page(once, 12) == once
    assert len(once) == len(page)
    assert parse_header(once).page_count == 12


# The rollback journal


def test_a_journal_is_live_while_it_could_be_rolled_back(database: MakeDatabase) -> None:
    """In mid-commit it is; once the commit is through, what PERSIST and TRUNCATE leave is not."""
    for mode in ("persist", "truncate", "delete"):
        path = database(f"{mode}.db", mode=mode)
        journal = path.with_name(path.name + "-journal")
        with Program(path) as program:
            program.run(f"PRAGMA journal_mode={mode}", "PRAGMA cache_spill=1")
            # What does not fit into the cache is written before the commit, and the journal too.
            program.run("PRAGMA cache_size=5", "BEGIN")
            program.run(
                "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<500)"
                "INSERT INTO items(name) SELECT hex(zeroblob(200)) FROM n"
            )
            assert is_live_journal(journal.read_bytes())
            program.run("COMMIT")
            left = journal.read_bytes() if journal.exists() else b""
        assert not is_live_journal(left)
        assert (len(left) > 0) == (mode == "persist")
    assert not is_live_journal(b"")


# The log


def test_a_log_is_read_as_sqlite_wrote_it(tmp_path: Path) -> None:
    """Page size, salts and every checksum of the chain are those in the file."""
    path = tmp_path / "app.db"
    with writer(path, "PRAGMA page_size=1024") as program:
        program.run("CREATE TABLE t(x)", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)")
    data = log_path(path).read_bytes()
    header = parse_wal_header(data[:WAL_HEADER_SIZE])
    assert header is not None
    assert (header.page_size, header.big_endian) == (1024, sys.byteorder == "big")
    checksum, sizes = header.checksum, []
    for frame in frames(data):
        found = parse_frame_header(frame[:FRAME_HEADER_SIZE])
        checksum = wal_checksum(frame[:8], checksum, big_endian=header.big_endian)
        checksum = wal_checksum(frame[24:], checksum, big_endian=header.big_endian)
        assert (found.salts, found.checksum) == (header.salts, checksum)
        sizes.append(found.commit_size)
    assert len(data) == WAL_HEADER_SIZE + len(sizes) * (FRAME_HEADER_SIZE + 1024)
    # Switching to WAL wrote the first page to the file, the log has the three commits after it.
    assert [size for size in sizes if size] == [2, 2, 2]
    assert sizes[-1] == 2


@ORDERS
def test_sqlite_itself_believes_our_checksums(tmp_path: Path, big_endian: bool) -> None:
    """It recovers a log whose checksums were made here, in either byte order, and writes on."""
    path = tmp_path / "app.db"
    with writer(path) as program:
        program.run("CREATE TABLE t(x)", "INSERT INTO t VALUES ('kept')")
    crashed = copied(path, tmp_path / "crashed")
    data = log_path(crashed).read_bytes()
    log_path(crashed).write_bytes(with_byte_order(data, big_endian=big_endian))
    with writer(crashed) as program:
        assert program.run("SELECT x FROM t") == [["kept"]]
        program.run("INSERT INTO t VALUES ('new')")
    # SQLite keeps to the byte order it finds, so the frame it has added is in it too.
    grown = log_path(crashed).read_bytes()
    assert len(grown) > len(data)
    header = parse_wal_header(grown)
    assert header is not None
    assert header.big_endian == big_endian
    assert with_byte_order(grown, big_endian=big_endian) == grown


@pytest.mark.parametrize("at", [0, 3, 4, 8, 11, 12, 16, 20, 24, 31])
def test_a_log_header_with_a_wrong_bit_holds_nothing(tmp_path: Path, at: int) -> None:
    """Its checksum covers all of it; so does SQLite find that there is no log."""
    path = tmp_path / "app.db"
    with writer(path) as program:
        program.run("CREATE TABLE t(x)")
    crashed = copied(path, tmp_path / "crashed")
    data = bytearray(log_path(crashed).read_bytes())
    data[at] ^= 1
    assert parse_wal_header(bytes(data)) is None
    log_path(crashed).write_bytes(data)
    assert contents_of_file(crashed) == {}


@pytest.mark.parametrize("page_size", [0, 3, 12, 256, 1000, 131072])
def test_a_log_header_with_an_impossible_page_size_holds_nothing(page_size: int) -> None:
    """Its checksum may be right all the same."""
    head = struct.pack(">IIII", 0x377F0682, 3007000, page_size, 0) + b"saltsalt"
    assert parse_wal_header(head + struct.pack(">II", *_checksum(head))) is None


def _checksum(data: bytes) -> tuple[int, int]:
    return wal_checksum(data, (0, 0), big_endian=False)


def test_an_empty_or_short_log_holds_nothing(tmp_path: Path) -> None:
    """So does what is no log at all."""
    path = tmp_path / "app.db"
    with writer(path) as program:
        program.run("CREATE TABLE t(x)")
    data = log_path(path).read_bytes()
    assert parse_wal_header(data[:WAL_HEADER_SIZE]) is not None
    for wrong in (b"", data[: WAL_HEADER_SIZE - 1], bytes(WAL_HEADER_SIZE), b"\xff" * 32):
        assert parse_wal_header(wrong) is None


@given(
    st.binary(max_size=64).map(lambda data: data[: len(data) // 8 * 8]),
    st.binary(max_size=64).map(lambda data: data[: len(data) // 8 * 8]),
    st.booleans(),
)
def test_a_checksum_may_be_continued(first: bytes, second: bytes, big_endian: bool) -> None:
    """Over two pieces it is what it is over both at once."""
    half = wal_checksum(first, (0, 0), big_endian=big_endian)
    whole = wal_checksum(first + second, (0, 0), big_endian=big_endian)
    assert wal_checksum(second, half, big_endian=big_endian) == whole


# The wal-index


def test_the_wal_index_says_how_far_the_log_is_committed(tmp_path: Path) -> None:
    """Last frame, its checksum, salts and pages; its count of changes grows by one a commit."""
    path = tmp_path / "app.db"
    with writer(path, "PRAGMA page_size=65536") as program:
        program.run("CREATE TABLE t(x)")
        changes = []
        for number in range(3):
            program.run(f"INSERT INTO t VALUES ({number})")
            found = parse_wal_index(index_path(path).read_bytes())
            assert found is not None
            data = log_path(path).read_bytes()
            last = frames(data)[-1]
            frame = parse_frame_header(last[:FRAME_HEADER_SIZE])
            assert found.max_frame == len(frames(data))
            assert (found.salts, found.frame_checksum) == (frame.salts, frame.checksum)
            assert (found.page_size, found.page_count) == (65536, frame.commit_size)
            changes.append(found.change)
        program.run("BEGIN", "INSERT INTO t VALUES (9)", "ROLLBACK")
        found = parse_wal_index(index_path(path).read_bytes())
        assert found is not None
        assert [*changes, found.change] == [changes[0], changes[0] + 1, changes[0] + 2, changes[-1]]


def test_a_wal_index_that_is_being_written_says_nothing(tmp_path: Path) -> None:
    """Two copies that differ, a wrong checksum, zeros, too short: none of it is believed."""
    path = tmp_path / "app.db"
    with writer(path) as program:
        program.run("CREATE TABLE t(x)")
        data = index_path(path).read_bytes()[:136]
    assert parse_wal_index(data) is not None
    assert parse_wal_index(data[:95]) is None
    assert parse_wal_index(bytes(136)) is None
    for at in range(96):
        torn = bytearray(data)
        torn[at] ^= 1
        assert parse_wal_index(bytes(torn)) is None, "the copies differ"
        if at < 48:
            torn[at + 48] ^= 1
            # The copies are equal, and both have the wrong checksum.
            assert parse_wal_index(bytes(torn)) is None, "the checksum is wrong"


def test_locks_are_where_sqlite_takes_them(database: MakeDatabase) -> None:
    """A writer holds the byte at 1 GiB and the next one while it commits; nobody else does."""
    path = database()
    files = DatabaseFiles(path)
    files.main.refresh()
    try:
        with Program(path) as program:
            assert (files.writer_is_at_work(), files.writer_is_writing()) == (False, False)
            program.run("BEGIN IMMEDIATE")
            assert (files.writer_is_at_work(), files.writer_is_writing()) == (True, False)
            program.run("COMMIT", "BEGIN EXCLUSIVE")
            assert (files.writer_is_at_work(), files.writer_is_writing()) == (True, True)
            program.run("COMMIT", "BEGIN", "SELECT * FROM items")
            assert (files.writer_is_at_work(), files.writer_is_writing()) == (False, False)
    finally:
        files.close()
