"""Records: values come out as SQLite put them in, and broken ones are refused."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.values import VALUES
from tests.sqlite.attached import insert, made
from tests.sqlite.test_compare import exact
from tests.sqlite.trees import Shape, opened, trees_of
from watcher.changes import InvalidText, Value
from watcher.sqlite.btree import INDEX_INTERIOR, INDEX_LEAF, Layout, Malformed, kind_of, slices
from watcher.sqlite.fileformat import ENCODINGS, UTF8, UTF16BE, UTF16LE
from watcher.sqlite.record import leading_values, payload_of

NAMES = {UTF8: "utf-8", UTF16LE: "utf-16-le", UTF16BE: "utf-16-be"}


def records(data: bytes) -> list[bytes]:
    """The records of a WITHOUT ROWID table whose root is page 2, all on it."""
    size = int.from_bytes(data[16:18], "big")

    def read(page: int) -> bytes:
        return data[(page - 1) * size : page * size]

    return [payload_of(cell, INDEX_LEAF, Layout(size), read) for cell in slices(read(2), 2, size)]


@settings(deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=5), st.sampled_from(list(ENCODINGS)))
def test_values_are_those_that_were_stored(values: list[Value], encoding: int) -> None:
    """Type, sign of zero and all; as many as are wanted."""
    if encoding != UTF8:
        # Cast from bytes, these are other texts in another encoding.
        values = [None if isinstance(value, InvalidText) else value for value in values]
    columns = ",".join(f"c{n}" for n in range(len(values)))
    data = made(
        f"CREATE TABLE t(k, {columns}, PRIMARY KEY(k)) WITHOUT ROWID",
        insert("t", (1, *values)),
        encoding=encoding,
    )
    (record,) = records(data)
    for count in range(len(values) + 2):
        found = leading_values(record, count, NAMES[encoding])
        assert [exact(value) for value in found] == [exact(v) for v in (1, *values)[:count]]


@pytest.mark.parametrize(("encoding", "name"), [(UTF16LE, "utf-16-le"), (UTF16BE, "utf-16-be")])
def test_half_a_surrogate_is_kept(encoding: int, name: str) -> None:
    """UTF-16 that is none comes as the bytes SQLite gives for it in UTF-8."""
    lone = "a\ud800".encode(name, "surrogatepass")
    sql = f"INSERT INTO t VALUES (CAST(x'{lone.hex()}' AS TEXT))"
    (record,) = records(made("CREATE TABLE t(k PRIMARY KEY) WITHOUT ROWID", sql, encoding=encoding))
    assert leading_values(record, 1, name) == [InvalidText(b"a\xed\xa0\x80")]


@pytest.mark.parametrize("shape", [Shape(512), Shape(512, reserved=20), Shape(65536)], ids=str)
def test_records_that_overflow_are_put_together(tmp_path: Path, shape: Shape) -> None:
    """From leaves and interior pages, whatever the length; reserved bytes are left out."""
    sizes = [1, *range(80, 140), *range(500, 620, 7), 5000, 70000]
    with opened(tmp_path / "a.db", shape) as db:
        db.execute("CREATE TABLE t(k PRIMARY KEY, v) WITHOUT ROWID").fetchall()
        rows = {number: bytes([number % 251]) * size for number, size in enumerate(sizes)}
        db.executemany("INSERT INTO t VALUES (?, ?)", rows.items())
        trees = trees_of(db)
    found: dict[Value, Value] = {}
    for node in trees.nodes:
        image = trees.read(node.page)
        if node.tree == "t" and node.kind != "overflow":
            kind = kind_of(image, node.page)
            assert kind in {INDEX_LEAF, INDEX_INTERIOR}
            for cell in slices(image, node.page, trees.layout.usable):
                record = payload_of(cell, kind, trees.layout, trees.read)
                key, value = leading_values(record, 2, "utf-8")
                assert isinstance(key, int)
                found[key] = value
    assert found == rows


def test_a_chain_that_ends_too_early_is_malformed() -> None:
    """No page behind the last one, or one that is not there."""
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(
            "PRAGMA page_size=512; CREATE TABLE t(k PRIMARY KEY) WITHOUT ROWID;"
            "INSERT INTO t VALUES (zeroblob(2000))"
        )
        data = db.serialize()
    (cell,) = slices(data[512:1024], 2, 512)
    first = int.from_bytes(cell[-4:], "big")

    def read(page: int) -> bytes:
        return data[(page - 1) * 512 : page * 512]

    assert len(payload_of(cell, INDEX_LEAF, Layout(512), read)) > 2000
    for found in (b"", bytes(512), bytes(100)):

        def broken(page: int, found: bytes = found) -> bytes:
            return found if page == first else read(page)

        with pytest.raises(Malformed):
            payload_of(cell, INDEX_LEAF, Layout(512), broken)


@given(st.binary(max_size=30), st.integers(1, 6), st.sampled_from(list(NAMES.values())))
def test_no_record_does_anything_but_be_malformed(data: bytes, count: int, encoding: str) -> None:
    """Whatever its bytes: as many values as were wanted, or `Malformed`."""
    with suppress(Malformed):
        assert len(leading_values(data, count, encoding)) == count


@pytest.mark.parametrize("type_", [1, 2, 3, 4, 5, 6, 7, 14, 15, 120])
def test_a_value_that_is_cut_short_is_malformed(type_: int) -> None:
    """Of any type, also by one byte."""
    sizes = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 8}
    size = sizes.get(type_, (type_ - 12) // 2)
    record = bytes([2, type_]) + b"a" * size
    assert len(leading_values(record, 1, "utf-8")) == 1
    with pytest.raises(Malformed):
        leading_values(record[:-1], 1, "utf-8")
