"""Answers of the reader process: rows, definitions and counts of the current state."""

from __future__ import annotations

import time
from typing import assert_never

import msgspec

from watcher import wire
from watcher.errors import DatabaseUnavailable, MalformedPosition, StateUnavailable, UnknownTable
from watcher.history import PART_BYTES, HistoryWriter
from watcher.sqlite.channel import (
    Answer,
    AskColumns,
    AskKeyed,
    AskMade,
    AskRows,
    AskStretch,
    AskTable,
    Columns,
    Declared,
    Keyed,
    Made,
    Question,
    Rows,
    Stretch,
)
from watcher.sqlite.content import read_rows
from watcher.sqlite.places import decode_place, encode_place, pack, pack_rows, unpack
from watcher.sqlite.reader import Reader
from watcher.sqlite.schema import Schema, SchemaObject
from watcher.sqlite.slices import count_stretch, read_at, read_slice

_NOTHING = msgspec.Raw(b"[]")
# What one answer may take. Commits wait for it, and others have their turn behind it.
_SECONDS = 0.003
_COUNT_SECONDS = 0.002
_SLICE_BYTES = 1024 * 1024


class Answers:
    """Answers questions from the state the history stands at.

    Args:
        reader: keeps the state.
        history: says where it stands.
    """

    def __init__(self, reader: Reader, history: HistoryWriter) -> None:
        self._reader = reader
        self._history = history

    def answer(self, question: Question) -> Answer:
        """Answers one question; what cannot be answered says why."""
        position = str(self._history.position)
        if not self._reader.has_begun:
            return _failed(question, position, "the first copy is not complete")
        try:
            return self._answer(question, position)
        except UnknownTable:
            return _failed(question, position, "unknown_table")
        except MalformedPosition:
            return _failed(question, position, "malformed")
        except (DatabaseUnavailable, StateUnavailable) as error:
            return _failed(question, position, error.detail)

    def _answer(self, question: Question, position: str) -> Answer:
        match question:
            case AskRows():
                return self._rows(question, position)
            case AskMade():
                return self._made(question, position)
            case AskTable():
                return self._declared(question, position)
            case AskColumns():
                return self._columns(question, position)
            case AskKeyed():
                return self._keyed(question, position)
            case AskStretch():
                return self._stretch(question, position)
        assert_never(question)

    def _rows(self, question: AskRows, position: str) -> Rows:
        after = None if question.after is None else decode_place(question.after)
        with self._reader.table(question.table) as (table, rows, _):
            page = read_rows(rows, table, after, question.limit, PART_BYTES)
        self._keep(page.large)
        token = None if page.next is None else encode_place(page.next)
        return Rows(question.id, position, _array(page.inserts), token)

    def _made(self, question: AskMade, position: str) -> Made:
        changes = self._reader.made(question.tables)
        return Made(question.id, position, _array([wire.encode_change(c) for c in changes]))

    def _declared(self, question: AskTable, position: str) -> Declared:
        with self._reader.table(question.table) as (table, rows, schema):
            reduced = table.told is not None
            objects = () if reduced else _objects_of(schema, table.name)
            return Declared(
                question.id,
                position,
                sql=table.statement,
                without_rowid=table.without_rowid,
                strict=table.strict,
                columns=table.columns,
                key=table.key,
                identities=table.identities,
                objects=objects,
                encoding=rows.encoding,
            )

    def _columns(self, question: AskColumns, position: str) -> Columns:
        after = None if question.after is None else unpack(question.after)
        with self._reader.table(question.table) as (table, rows, _):
            found = read_slice(
                rows,
                table,
                question.columns,
                after,
                limit=question.limit,
                max_bytes=_SLICE_BYTES,
                seconds=_SECONDS,
            )
        return Columns(
            question.id,
            position,
            number=found.number,
            rows=pack_rows(found.rows),
            next=None if found.next is None else pack(found.next),
            too_large=found.too_large,
        )

    def _keyed(self, question: AskKeyed, position: str) -> Keyed:
        large: dict[str, tuple[str, bytes]] = {}
        inserts: list[bytes] = []
        size = 0
        until = time.monotonic() + _SECONDS

        def keep(sha256: str, kind: str, data: bytes) -> None:
            nonlocal size
            large[sha256] = (kind, data)
            size += len(data)

        with self._reader.table(question.table) as (table, rows, _):
            for place in unpack(question.places):
                row = read_at(rows, table, place)
                inserts.append(b"null" if row is None else wire.encode_change(row, keep))
                size += len(inserts[-1])
                if size > _SLICE_BYTES or time.monotonic() > until:
                    break
        self._keep(large)
        return Keyed(question.id, position, _array(inserts))

    def _stretch(self, question: AskStretch, position: str) -> Stretch:
        after = None if question.after is None else unpack(question.after)
        with self._reader.table(question.table) as (table, rows, _):
            found = count_stretch(rows, table, after, _COUNT_SECONDS)
        place = None if found.next is None else pack(found.next)
        return Stretch(question.id, position, count=found.rows, next=place)

    def _keep(self, large: dict[str, tuple[str, bytes]]) -> None:
        if large:
            self._reader.keep_large(large)


def _objects_of(schema: Schema, table: str) -> tuple[SchemaObject, ...]:
    """The indexes and triggers of a table."""
    return tuple(
        found
        for found in schema.objects.values()
        if found.table.lower() == table.lower() and found.type != "view"
    )


def _array(elements: list[bytes]) -> msgspec.Raw:
    return msgspec.Raw(b"[" + b",".join(elements) + b"]")


def _failed(question: Question, position: str, error: str) -> Answer:
    match question:
        case AskRows():
            return Rows(question.id, position, _NOTHING, None, error)
        case AskMade():
            return Made(question.id, position, _NOTHING, error)
        case AskTable():
            return Declared(question.id, position, error)
        case AskColumns():
            return Columns(question.id, position, error)
        case AskKeyed():
            return Keyed(question.id, position, _NOTHING, error)
        case AskStretch():
            return Stretch(question.id, position, error)
    assert_never(question)
