"""The channel between reader and server: frames, back-pressure, the end of either side."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.values import VALUES
from watcher.changes import Value, same
from watcher.errors import MalformedPosition, ProtocolError
from watcher.sqlite.channel import (
    AskColumns,
    AskKeyed,
    AskMade,
    AskRows,
    AskStretch,
    AskTable,
    Channel,
    Columns,
    Declared,
    Fatal,
    FromReader,
    Keyed,
    Made,
    More,
    Rows,
    Status,
    Stretch,
    ToReader,
    open_channel,
)
from watcher.sqlite.places import decode_place, encode_place
from watcher.sqlite.schema import Column, Identity, SchemaObject

PATIENCE = 20.0

FROM_READER: list[FromReader] = [
    More(),
    Status("ok", ""),
    Status("locked", 'another program, "é\0"', behind=True),
    Fatal(b"/some \xff where", "held"),
    Rows(7, "e:1~abcd", msgspec.Raw(b'[{"op":"insert"}]'), "token"),
    Rows(8, "e:1~abcd", msgspec.Raw(b"[]"), None, "unknown_table"),
    Made(9, "e:0~0000", msgspec.Raw(b"[]")),
    Made(9, "e:0~0000", msgspec.Raw(b"[]"), "no"),
    Declared(
        10,
        "e:0~0000",
        sql="CREATE TABLE t(a COLLATE NOCASE)",
        columns=(Column("a", "", False, None, 0, False, "NOCASE"),),
        identities=(Identity(("rowid",), ("BINARY",)),),
        objects=(SchemaObject("index", "i", "t", "CREATE INDEX i ON t(a)"),),
        encoding="utf-8",
    ),
    Columns(11, "e:0~0000", None, 1, b"\xff\0", b""),
    Columns(11, "e:0~0000", "unknown_table"),
    Keyed(12, "e:0~0000", msgspec.Raw(b"[null]")),
    Stretch(13, "e:0~0000", None, 5, b"\x92"),
]
TO_READER: list[ToReader] = [
    AskRows(1, "items", None, 100),
    AskRows(2, 'a"b\0', "WzAsMV0", 1),
    AskMade(3, ["items", ""]),
    AskTable(4, "t"),
    AskColumns(5, "t", ["a"], b"\xff", 9),
    AskColumns(5, "t", [], None, 9),
    AskKeyed(6, "t", b"\x90"),
    AskStretch(7, "t", None),
]


def run(scenario: Callable[[Channel, Channel], Awaitable[None]]) -> None:
    """Runs a scenario with both ends of a channel: the reader's, then the server's."""

    async def opened() -> None:
        async with both_ends() as (reader, server), asyncio.timeout(PATIENCE):
            await scenario(reader, server)

    asyncio.run(opened())


@asynccontextmanager
async def both_ends() -> AsyncIterator[tuple[Channel, Channel]]:
    one, other = socket.socketpair()
    reader, server = await open_channel(one), await open_channel(other)
    try:
        yield reader, server
    finally:
        await reader.aclose()
        await server.aclose()


async def raw_end() -> tuple[socket.socket, Channel]:
    """A bare socket, and the server's end that it is connected to."""
    one, other = socket.socketpair()
    one.setblocking(False)
    return one, await open_channel(other)


def test_everything_that_is_said_arrives() -> None:
    """In order, in both directions, with every field."""

    async def scenario(reader: Channel, server: Channel) -> None:
        for said in FROM_READER:
            reader.send(said)
        for asked in TO_READER:
            server.send(asked)
        await reader.aclose()
        assert [heard async for heard in server.from_reader()] == FROM_READER

    run(scenario)

    async def other_way(reader: Channel, server: Channel) -> None:
        for asked in TO_READER:
            server.send(asked)
        await server.aclose()
        assert [heard async for heard in reader.to_reader()] == TO_READER

    run(other_way)


def test_a_frame_is_a_length_and_a_json_object() -> None:
    """Four bytes, big-endian, then as many bytes with the type under `type`."""

    async def scenario() -> None:
        end, channel = await raw_end()
        with end:
            channel.send(Status("ok", "é"))
            await channel.aclose()
            data = end.recv(1 << 16)
        (size,) = struct.unpack(">I", data[:4])
        assert size == len(data) - 4
        assert json.loads(data[4:]) == {
            "type": "status",
            "state": "ok",
            "detail": "é",
            "behind": False,
            "progress": None,
        }

    asyncio.run(scenario())


@pytest.mark.parametrize("step", [1, 3, 5, 1000])
def test_frames_may_come_in_pieces(step: int) -> None:
    """Wherever the bytes are cut, each frame is heard once it is complete."""
    frames = []
    for said in FROM_READER:
        data = msgspec.json.encode(said)
        frames.append(struct.pack(">I", len(data)) + data)
    whole = b"".join(frames)

    async def scenario() -> None:
        end, channel = await raw_end()
        loop = asyncio.get_running_loop()

        async def drip() -> None:
            with end:
                for start in range(0, len(whole), step):
                    await loop.sock_sendall(end, whole[start : start + step])

        task = asyncio.create_task(drip())
        assert [heard async for heard in channel.from_reader()] == FROM_READER
        await task
        await channel.aclose()

    asyncio.run(scenario())


@pytest.mark.parametrize("sent", [b"", b"\0\0", b"\0\0\0\x10", b'\0\0\0\x10{"type":'])
def test_the_end_may_come_anywhere(sent: bytes) -> None:
    """An end in mid-frame is the end: what was begun is not heard, and nothing is raised."""

    async def scenario() -> None:
        end, channel = await raw_end()
        with end:
            end.send(sent)
        assert [heard async for heard in channel.from_reader()] == []
        await channel.aclose()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"\xff\xff\xff\xff", ProtocolError),
        (b"\x40\0\0\x01", ProtocolError),
        (b"\0\0\0\x02[]", msgspec.DecodeError),
        (b"\0\0\0\0", msgspec.DecodeError),
        (b'\0\0\0\x0f{"type":"other"}'[:19], msgspec.DecodeError),
        (b'\0\0\0\x11{"type":"status"}', msgspec.DecodeError),
    ],
)
def test_what_is_no_frame_is_an_error(sent: bytes, error: type[Exception]) -> None:
    """A length beyond all reason, another type, a field that is missing."""

    async def scenario() -> None:
        end, channel = await raw_end()
        with end:
            end.send(sent)
            with pytest.raises(error):
                await anext(channel.from_reader())
        await channel.aclose()

    asyncio.run(scenario())


def test_a_large_answer_passes() -> None:
    """Larger than any buffer on its way."""
    rows = b"[" + b",".join([b'"' + b"x" * 1000 + b'"'] * 5000) + b"]"
    answer = Rows(1, "e:1~abcd", msgspec.Raw(rows), None)

    async def scenario(reader: Channel, server: Channel) -> None:
        hearing = asyncio.ensure_future(anext(server.from_reader()))
        reader.send(answer)
        await reader.drained()
        assert await hearing == answer

    run(scenario)


def test_who_does_not_listen_can_be_seen() -> None:
    """Sending never waits; once the socket is full the channel is not idle until it is read."""

    async def scenario(reader: Channel, server: Channel) -> None:
        assert reader.is_idle
        sent = 0
        while reader.is_idle:
            reader.send(Status("ok", "x" * 10_000))
            sent += 1
            # Whatever the other end's buffers take, they are bounded.
            assert sent < 10_000
        waiting = asyncio.ensure_future(reader.drained())
        heard = 0
        async for _ in server.from_reader():
            heard += 1
            if heard == sent:
                break
        await waiting
        assert reader.is_idle

    run(scenario)


def test_drained_waits_for_the_other_end() -> None:
    """An answer beyond the buffer's limit is waited for; a small one is not."""

    async def scenario(reader: Channel, server: Channel) -> None:
        reader.send(More())
        await reader.drained()
        reader.send(Status("ok", "x" * 5_000_000))
        waiting = asyncio.ensure_future(reader.drained())
        done, _ = await asyncio.wait((waiting,), timeout=0.05)
        assert not done
        assert await anext(server.from_reader()) == More()
        assert isinstance(await anext(server.from_reader()), Status)
        await waiting

    run(scenario)


@pytest.mark.parametrize("closed_first", [False, True])
def test_an_end_that_is_gone_hears_nothing_and_harms_nobody(closed_first: bool) -> None:
    """What is said to it is lost; the one who listens learns of the end."""

    async def scenario(reader: Channel, server: Channel) -> None:
        if closed_first:
            await reader.aclose()
            reader.send(More())
        await server.aclose()
        for _ in range(20):
            reader.send(Status("ok", "x" * 100_000))
            await reader.drained()
        assert [asked async for asked in reader.to_reader()] == []
        for end in (reader, server, reader, server):
            await end.aclose()
        server.send(AskMade(1, []))

    run(scenario)


def test_the_end_wakes_who_waits() -> None:
    """Listening ends when the other end closes."""

    async def scenario(reader: Channel, server: Channel) -> None:
        async def listen() -> list[ToReader]:
            return [asked async for asked in reader.to_reader()]

        listening = asyncio.create_task(listen())
        server.send(TO_READER[0])
        await server.drained()
        await server.aclose()
        assert await listening == [TO_READER[0]]

    run(scenario)


# Tokens


@given(st.integers(0, 5), st.lists(VALUES, max_size=4))
def test_a_place_survives_its_token(number: int, values: list[Value]) -> None:
    """Any values of a key, exactly; the token needs no quoting in an address."""
    token = encode_place([number, *values])
    assert token.replace("-", "").replace("_", "").isalnum()
    first, *others = decode_place(token)
    assert first == number
    assert len(others) == len(values)
    assert all(map(same, others, values))


@pytest.mark.parametrize(
    "token",
    ["", "x", "=", "W10", "e30", "bnVsbA", "WyIwIl0", "Wy0", "é", "W 10", "WzBd\n", "/+/+",
     "WzAuMF0", "W3RydWVd", "W1sxXV0", "W3siJHgiOjF9XQ", "/w", "WzAsMV0" * 1000],
)  # fmt: skip
def test_what_is_no_token_is_refused(token: str) -> None:
    """Not base64, not JSON, no array, an empty one, one that does not begin with a number."""
    with pytest.raises(MalformedPosition):
        decode_place(token)


@given(st.text(max_size=12))
def test_any_text_is_a_token_or_is_refused(token: str) -> None:
    """Nothing else is raised."""
    try:
        place = decode_place(token)
    except MalformedPosition:
        return
    assert type(place[0]) is int
