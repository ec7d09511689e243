"""Reads the first values of a record, to find its row again by its key.

Document: sqlite.org/fileformat2.html 2.1. Rows themselves are decoded by SQLite.
"""

from __future__ import annotations

import struct

from watcher.changes import InvalidText, Value
from watcher.sqlite.btree import Layout, Malformed, ReadPage, cell_of, next_overflow, varint

# SQLite stores no longer row (SQLITE_MAX_LENGTH).
_MOST_BYTES = (1 << 31) - 1
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


def payload_of(data: bytes, kind: int, layout: Layout, read: ReadPage) -> bytes:
    """Puts the record of a cell together, overflow pages included.

    Args:
        data: the cell's slice.
        kind: of the page it comes from.
        layout: of the database.
        read: reads a page of the same state.

    Raises:
        Malformed: the chain of overflow pages ends too early.
    """
    cell = cell_of(data, kind, layout)
    if cell.payload > _MOST_BYTES:
        raise Malformed(0)
    local = layout.local_bytes(kind, cell.payload)
    parts, missing = [data[cell.start : cell.start + local]], cell.payload - local
    page, seen = cell.overflow, set[int]()
    while missing > 0:
        image = read(page) if page and page not in seen else b""
        seen.add(page)
        if len(image) < layout.usable:
            raise Malformed(page)
        parts.append(image[4 : min(layout.usable, 4 + missing)])
        missing -= layout.usable - 4
        page = next_overflow(image)
    return b"".join(parts)


def leading_values(record: bytes, count: int, encoding: str) -> list[Value]:
    """Decodes the first values of a record.

    Args:
        record: its bytes.
        count: how many values are wanted.
        encoding: how texts are stored, as Python names it.

    Raises:
        Malformed: it has fewer values, or is shorter than its header says.
    """
    try:
        end, place = varint(record, 0)
        if end > len(record):
            raise Malformed(0)
        body = end
        values: list[Value] = []
        while len(values) < count:
            if place >= end:
                raise Malformed(0)
            type_, place = varint(record, place)
            value, size = _value(record, body, type_, encoding)
            values.append(value)
            body += size
    except (IndexError, struct.error):
        raise Malformed(0) from None
    return values


def _value(record: bytes, place: int, type_: int, encoding: str) -> tuple[Value, int]:
    if type_ in _INTEGER_BYTES:
        size = _INTEGER_BYTES[type_]
        return int.from_bytes(_bytes(record, place, size), "big", signed=True), size
    if type_ == 7:
        return struct.unpack_from(">d", record, place)[0], 8
    if type_ in (8, 9):
        return type_ - 8, 0
    if type_ < 12:
        return None, 0
    size = (type_ - 12) // 2
    data = _bytes(record, place, size)
    return (_text(data, encoding) if type_ & 1 else data), size


def _bytes(record: bytes, place: int, size: int) -> bytes:
    data = record[place : place + size]
    if len(data) != size:
        raise Malformed(0)
    return data


def _text(data: bytes, encoding: str) -> Value:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        if encoding == "utf-8":
            return InvalidText(data)
        if len(data) % 2:
            raise Malformed(0) from None
        text = data.decode(encoding, "surrogatepass")
        return InvalidText(text.encode("utf-8", "surrogatepass"))
