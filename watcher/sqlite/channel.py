"""The channel between the reader process and the process that serves.

A pair of connected sockets. Each frame is a length of four bytes, big-endian, and a JSON object
with its type under `type`. What is said on it is small; changesets go through the history.

* Reader to server: `more` (the history has grown: read it again), `status`, `rows` and `made`
  (answers), `fatal` (the last word before an exit that a restart would not cure).
* Server to reader: `ask_rows`, `ask_made`.

Back-pressure: the reader never waits for the server to read. While anything unread is in the
channel, a further `more` says nothing new and is left out; a status replaces the one before it;
answers are bounded because the server has one question open at a time. End of file ends either
side: the reader stops when the server is gone, the server starts another reader.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from typing import TypeAlias

import msgspec

from watcher import wire
from watcher.changes import LargeValue, Value
from watcher.errors import MalformedPosition, ProtocolError

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


FromReader: TypeAlias = More | Status | Fatal | Rows | Made
ToReader: TypeAlias = AskRows | AskMade

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

    async def aclose(self) -> None:
        """Closes this end; idempotent."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            # The other end went first, which is what was to be reached.
            return


async def open_channel(end: socket.socket) -> Channel:
    """Makes a channel of one end of a socket pair."""
    return Channel(*await asyncio.open_unix_connection(sock=end, limit=1 << 20))


def encode_place(place: Sequence[Value]) -> str:
    """Makes the opaque token of a row's place from it."""
    body = wire.encode_json([wire.encode_value(value) for value in place])
    return base64.urlsafe_b64encode(body).decode().rstrip("=")


def decode_place(token: str) -> list[Value]:
    """Reads a token.

    Raises:
        MalformedPosition: it is none.
    """
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars="-_", validate=True)
        place = [wire.decode_value(value) for value in msgspec.json.decode(data, type=list)]
    except (binascii.Error, msgspec.DecodeError, ProtocolError, ValueError) as error:
        raise MalformedPosition(token) from error
    if not place or type(place[0]) is not int or any(isinstance(v, LargeValue) for v in place):
        raise MalformedPosition(token)
    return place
