"""The list of free pages, held against what SQLite counts, and lists that are none."""

from __future__ import annotations

import struct
import time
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from watcher.sqlite.freelist import CorruptFreeList, leaves_of, walk_free_list


def head(trunk: int, free: int, *, auto_vacuum: bool = False) -> bytes:
    page = bytearray(512)
    struct.pack_into(">II", page, 32, trunk, free)
    page[55] = auto_vacuum
    return bytes(page)


def trunk_page(following: int, *leaves: int) -> bytes:
    return struct.pack(f">{2 + len(leaves)}I", following, len(leaves), *leaves).ljust(512, b"\0")


@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_as_sqlite_counts_them(page_size: int, tmp_path: Path) -> None:
    """All pages that no tree uses are free, and as many as the header says."""
    path = tmp_path / "app.db"
    with closing(apsw.Connection(str(path))) as db:
        db.execute(f"PRAGMA page_size={page_size}; CREATE TABLE t(x); CREATE TABLE u(x)")
        db.execute("BEGIN")
        for _ in range(400):
            db.execute("INSERT INTO t VALUES (zeroblob(3000)); INSERT INTO u VALUES (zeroblob(9))")
        db.execute("DELETE FROM t WHERE rowid%3; COMMIT")
        [(count,)] = db.execute("PRAGMA freelist_count")
        used = {page for (page,) in db.execute("SELECT pageno FROM dbstat")}
    data = path.read_bytes()
    pages = len(data) // page_size

    def read(page: int) -> bytes:
        return data[(page - 1) * page_size : page * page_size]

    listed = walk_free_list(read, read(1), pages)
    found = {page for trunk, leaves in listed for page in (trunk, *leaves)}
    assert len(found) == count
    assert found == set(range(1, pages + 1)) - used
    assert found


@pytest.mark.parametrize(
    ("first", "pages"),
    [
        (head(2, 3), {2: trunk_page(2, 5)}),
        (head(2, 9), {2: trunk_page(3, 5), 3: trunk_page(2, 5)}),
        (head(2, 1), {2: trunk_page(0, 5)}),
        (head(99, 1), {}),
        (head(1, 1), {1: trunk_page(0)}),
        (head(2, 2), {2: trunk_page(0, 99)}),
        (head(2, 2), {2: trunk_page(0, 1)}),
        (head(2, 2), {2: struct.pack(">II", 0, 2000).ljust(512, b"\0")}),
        (head(2, 2), {2: b""}),
    ],
)
def test_what_is_no_list(first: bytes, pages: dict[int, bytes]) -> None:
    """Circles, pages that cannot be and wrong counts are found, and the walk comes to an end."""
    with pytest.raises(CorruptFreeList):
        list(walk_free_list(pages.__getitem__, first, 10))


@pytest.mark.parametrize("auto_vacuum", [False, True])
def test_only_what_changed(*, auto_vacuum: bool) -> None:
    """With auto-vacuum any trunk can give pages away; else the list is changed at its beginning."""
    pages = {2: trunk_page(3, 4), 3: trunk_page(5, 6), 5: trunk_page(0, 7)}
    first = head(2, 6, auto_vacuum=auto_vacuum)
    assert [trunk for trunk, _ in walk_free_list(pages.__getitem__, first, 10)] == [2, 3, 5]
    assert leaves_of({2, 3}.__contains__, pages.__getitem__, first, 10) == {4, 6}
    assert leaves_of({5}.__contains__, pages.__getitem__, first, 10) == (
        {7} if auto_vacuum else set()
    )


def test_a_long_list_is_walked_fast() -> None:
    """A million free pages of 4096 bytes cost no second."""
    trunks = {n: struct.pack(">II", n + 1022, 1021) + bytes(4088) for n in range(2, 10**6, 1022)}
    last = max(trunks)
    trunks = {
        n: struct.pack(">II", 0 if n == last else n + 1022, 1021)
        + struct.pack(">1021I", *range(n + 1, n + 1022)).ljust(4088, b"\0")
        for n in trunks
    }
    first = head(2, len(trunks) * 1022, auto_vacuum=True)
    begin = time.perf_counter()
    assert leaves_of({last}.__contains__, trunks.__getitem__, first, 2 * 10**6) == set(
        range(last + 1, last + 1022)
    )
    assert time.perf_counter() - begin < 1
