"""The channel between the reader process and the process that serves.

A pair of connected sockets. Each frame is a length of four bytes, big-endian, and a JSON object
with its type under `type`. What is said on it is small; changesets go through the history.

* Reader to server: `more` (the history has grown: read it again), `status`, `fatal` (the last word
  before an exit that a restart would not cure); as answers `rows`, `made`, `table`, `columns`,
  `keyed` and `stretch`.
* Server to reader: `ask_rows`, `ask_made`, `ask_table`, `ask_columns`, `ask_keyed`, `ask_stretch`.

Back-pressure: the reader never waits for the server to read. While anything unread is in the
channel, a further `more` says nothing new and is left out; a status replaces the one before it;
answers are bounded because the server has one question open at a time. End of file ends either
side: the reader stops when the server is gone, the server starts another reader.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from typing import TypeAlias

import msgspec

from watcher.errors import ProtocolError
from watcher.sqlite.schema import Column, Identity, SchemaObject

_LENGTH = struct.Struct(">I")
# Far above any answer; what exceeds it is not a frame.
_MAX_FRAME = 1 << 30


class More(msgspec.Struct, tag="more", frozen=True):
    """The history has grown, or a new epoch has begun."""


class Status(msgspec.Struct, tag="status", frozen=True):
    """What state the watched file is in.

    Args:
        state: `ok`, `partial`, `starting`, or what is in the way.
        detail: one sentence for a person.
        behind: whether the file is known to have changes that are not in the history yet.
        progress: the part of the first copy that is done, 0 to 1; None while none is being made.
    """

    state: str
    detail: str
    behind: bool = False
    progress: float | None = None


class Fatal(msgspec.Struct, tag="fatal", frozen=True):
    """The reader cannot work, and would not after a restart either.

    Args:
        directory: the state directory that is the cause, as its bytes.
        detail: one sentence for a person.
    """

    directory: bytes
    detail: str


class AskRows(msgspec.Struct, tag="ask_rows", frozen=True):
    """Asks for rows of the current state.

    Args:
        id: repeated in the answer.
        table: the table's name.
        after: token of the row before them, None for the first.
        limit: at most so many rows.
    """

    id: int
    table: str
    after: str | None
    limit: int


class AskMade(msgspec.Struct, tag="ask_made", frozen=True):
    """Asks for the definitions of tables, as schema changes that make them.

    Args:
        id: repeated in the answer.
        tables: names of the tables.
    """

    id: int
    tables: list[str]


class AskTable(msgspec.Struct, tag="ask_table", frozen=True):
    """Asks what is declared of a table.

    Args:
        id: repeated in the answer.
        table: the table's name.
    """

    id: int
    table: str


class AskColumns(msgspec.Struct, tag="ask_columns", frozen=True):
    """Asks for some columns of rows, in the order of their places.

    Args:
        id: repeated in the answer.
        table: the table's name.
        columns: names of the columns, beside what the rows are known by.
        after: place of the row before them, packed; None for the first.
        limit: at most so many rows.
    """

    id: int
    table: str
    columns: list[str]
    after: bytes | None
    limit: int


class AskKeyed(msgspec.Struct, tag="ask_keyed", frozen=True):
    """Asks for the rows at some places.

    Args:
        id: repeated in the answer.
        table: the table's name.
        places: the list of them, packed.
    """

    id: int
    table: str
    places: bytes


class AskStretch(msgspec.Struct, tag="ask_stretch", frozen=True):
    """Asks how many rows there are in a stretch of a table, as long as can be counted at once.

    Args:
        id: repeated in the answer.
        table: the table's name.
        after: place of the row before them, packed; None for the first.
    """

    id: int
    table: str
    after: bytes | None


class Rows(msgspec.Struct, tag="rows", frozen=True):
    """Answers `AskRows`.

    Args:
        id: of the question.
        position: of the state the rows belong to.
        inserts: JSON array of the rows as inserts.
        next: token to go on with, None at the end of the table.
        error: `unknown_table`, `malformed` or a sentence; None where it went well.
    """

    id: int
    position: str
    inserts: msgspec.Raw
    next: str | None
    error: str | None = None


class Made(msgspec.Struct, tag="made", frozen=True):
    """Answers `AskMade`.

    Args:
        id: of the question.
        position: of the state the definitions belong to.
        changes: JSON array of schema changes.
        error: a sentence, None where it went well.
    """

    id: int
    position: str
    changes: msgspec.Raw
    error: str | None = None


class Declared(msgspec.Struct, tag="table", frozen=True):
    """Answers `AskTable`.

    Args:
        id: of the question.
        position: of the state it was read of.
        error: as in `Rows`.
        sql: the statement that made it, as clients may know it.
        without_rowid: whether it is a WITHOUT ROWID table.
        strict: whether it is a STRICT table.
        columns: the columns that clients get.
        key: columns of the declared primary key.
        identities: how its rows are known.
        objects: its indexes and triggers.
        encoding: how the database stores text, as PRAGMA encoding names it.
    """

    id: int
    position: str
    error: str | None = None
    sql: str = ""
    without_rowid: bool = False
    strict: bool = False
    columns: tuple[Column, ...] = ()
    key: tuple[str, ...] = ()
    identities: tuple[Identity, ...] = ()
    objects: tuple[SchemaObject, ...] = ()
    encoding: str = ""


class Columns(msgspec.Struct, tag="columns", frozen=True):
    """Answers `AskColumns`.

    Args:
        id: of the question.
        position: of the state the rows belong to.
        error: as in `Rows`.
        number: of the identity all these rows are known by.
        rows: a packed list of rows, each what it is known by and then the columns asked for.
        next: packed place to go on from, None at the end of the table.
        too_large: whether a value behind them is too large for such an answer.
    """

    id: int
    position: str
    error: str | None = None
    number: int = 0
    rows: bytes = b""
    next: bytes | None = None
    too_large: bool = False


class Keyed(msgspec.Struct, tag="keyed", frozen=True):
    """Answers `AskKeyed`.

    Args:
        id: of the question.
        position: of the state the rows belong to.
        inserts: JSON array of the rows as inserts, null where there is none at a place; it may be
            shorter than the list of places, but has one at least.
        error: as in `Rows`.
    """

    id: int
    position: str
    inserts: msgspec.Raw
    error: str | None = None


class Stretch(msgspec.Struct, tag="stretch", frozen=True):
    """Answers `AskStretch`.

    Args:
        id: of the question.
        position: of the state that was counted.
        error: as in `Rows`.
        count: rows in the stretch.
        next: packed place to go on from, None at the end of the table.
    """

    id: int
    position: str
    error: str | None = None
    count: int = 0
    next: bytes | None = None


Question: TypeAlias = AskRows | AskMade | AskTable | AskColumns | AskKeyed | AskStretch
Answer: TypeAlias = Rows | Made | Declared | Columns | Keyed | Stretch
FromReader: TypeAlias = More | Status | Fatal | Answer
ToReader: TypeAlias = Question

_decode_from_reader = msgspec.json.Decoder(FromReader).decode
_decode_to_reader = msgspec.json.Decoder(ToReader).decode


class Channel:
    """One end of the channel. Opened with `open_channel`.

    Args:
        reader: the receiving half.
        writer: the sending half.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, message: FromReader | ToReader) -> None:
        """Sends without waiting; what is said to an end that is gone is lost."""
        if not self._writer.is_closing():
            data = msgspec.json.encode(message)
            self._writer.write(_LENGTH.pack(len(data)) + data)

    @property
    def is_idle(self) -> bool:
        """Whether everything sent has at least reached the other end's socket."""
        return self._writer.transport.get_write_buffer_size() == 0

    async def drained(self) -> None:
        """Waits until what was sent has been taken, as far as the buffer asks for it."""
        try:
            await self._writer.drain()
        except ConnectionError:
            # The other end is gone; the end of its frames tells the one who reads them.
            return

    async def _frames(self) -> AsyncIterator[bytes]:
        while True:
            try:
                (size,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
                if size > _MAX_FRAME:
                    raise ProtocolError(f"a frame of {size} bytes")
                data = await self._reader.readexactly(size)
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            yield data

    async def from_reader(self) -> AsyncIterator[FromReader]:
        """Yields what the reader says, until its end is closed."""
        async for data in self._frames():
            yield _decode_from_reader(data)

    async def to_reader(self) -> AsyncIterator[ToReader]:
        """Yields what the server asks, until its end is closed."""
        async for data in self._frames():
            yield _decode_to_reader(data)

    def close(self) -> None:
        """Begins to close this end, without waiting; idempotent."""
        self._writer.close()

    async def aclose(self) -> None:
        """Closes this end; idempotent."""
        self.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            # The other end went first, which is what was to be reached.
            return


async def open_channel(end: socket.socket) -> Channel:
    """Makes a channel of one end of a socket pair."""
    return Channel(*await asyncio.open_unix_connection(sock=end, limit=1 << 20))
