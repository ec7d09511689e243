"""The WebSocket as RFC 6455 has it: what must be taken, what must be refused, and with which code.

The client makes its frames by hand, so that it can make those which no library would.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import NamedTuple, Self

import pytest

from tests.web.service import Service
from tests.web.test_socket import wait_for

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MASK = b"\x37\xfa\x21\x3d"
SECONDS = 10.0


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, masked: bool = True
) -> bytes:
    """A frame as section 5.2 has it.

    Args:
        opcode: 0 to 15.
        payload: before it is masked.
        fin: whether it is the last of its message.
        reserved: the three bits that stand for extensions.
        masked: whether it is, as every frame of a client must be.
    """
    masking = MASK if masked else bytes(4)
    data = bytes(byte ^ masking[at % 4] for at, byte in enumerate(payload))
    return head(opcode, len(payload), fin=fin, reserved=reserved, masked=masked) + data


def head(
    opcode: int, length: int, *, fin: bool = True, reserved: int = 0, masked: bool = True
) -> bytes:
    """A frame up to its payload."""
    first = fin << 7 | reserved << 4 | opcode
    if length < 126:
        sizes = struct.pack("!BB", first, masked << 7 | length)
    elif length < 1 << 16:
        sizes = struct.pack("!BBH", first, masked << 7 | 126, length)
    else:
        sizes = struct.pack("!BBQ", first, masked << 7 | 127, length)
    return sizes + (MASK if masked else b"")


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


class Frame(NamedTuple):
    """A frame from the server."""

    opcode: int
    payload: bytes


class Peer:
    """A client that sends what it is told to, right or wrong."""

    def __init__(self, service: Service) -> None:
        self._socket = socket.create_connection(("127.0.0.1", service.port), timeout=SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send(
            b"GET /ws HTTP/1.1\r\nHost: %b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            % service.host.encode()
        )
        self._file = self._socket.makefile("rb")
        self.answer: list[bytes] = []
        while (line := self._file.readline()) not in {b"\r\n", b""}:
            self.answer.append(line.strip())

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def end(self) -> None:
        """Sends no more, but goes on reading."""
        self._socket.shutdown(socket.SHUT_WR)

    def vanish(self) -> None:
        """Resets the connection."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._file.close()
        self._socket.close()

    def frames(self) -> Iterator[Frame]:
        """The frames that come, without the stream's own messages, up to the end."""
        while begin := self._file.read(2):
            # A server sends whole messages and never masks (section 5.1).
            assert begin[0] & 0xF0 == 0x80
            length = begin[1]
            if length >= 126:
                length = int.from_bytes(self._file.read(2 if length == 126 else 8), "big")
            payload = self._file.read(length)
            if begin[0] & 0xF != TEXT:
                yield Frame(begin[0] & 0xF, payload)

    def pongs(self, last: bytes) -> list[bytes]:
        """What is answered to pings, up to an answer."""
        found: list[bytes] = []
        for opcode, payload in self.frames():
            assert opcode == PONG, payload
            found.append(payload)
            if payload == last:
                return found
        raise AssertionError("the server closed the connection")

    def closing(self) -> bytes | None:
        """The payload of the one close frame; None where the connection ends without."""
        found: list[bytes] = []
        for opcode, payload in self.frames():
            if opcode != CLOSE:
                continue
            found.append(payload)
            with contextlib.suppress(OSError):  # the server has ended it already
                self._socket.shutdown(socket.SHUT_WR)  # else it waits a second for an answer
        assert len(found) <= 1
        return found[0] if found else None

    def code(self) -> int | None:
        """The close code of the server."""
        payload = self.closing()
        return None if payload is None else struct.unpack("!H", payload[:2])[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture
def peer(service: Service) -> Iterator[Peer]:
    with Peer(service) as peer:
        yield peer


def test_the_handshake_is_accepted_with_the_key_of_the_standard(peer: Peer) -> None:
    """The key and its answer are the example of section 1.3."""
    assert peer.answer[0] == b"HTTP/1.1 101 Switching Protocols"
    accepted = [line for line in peer.answer if line.lower().startswith(b"sec-websocket-accept:")]
    assert [line.split()[1] for line in accepted] == [b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]
    assert not any(b"extensions" in line.lower() for line in peer.answer)


ALLOWED = {
    "empty-text": frame(TEXT),
    "empty-binary": frame(BINARY),
    "text": frame(TEXT, "κόσμε 😀".encode()),
    "nul": frame(TEXT, b"\x00"),
    "noncharacter": frame(TEXT, "\uffff".encode()),
    "fragments": frame(TEXT, b"a", fin=False)
    + frame(CONTINUATION, b"b", fin=False)
    + frame(CONTINUATION, b"c"),
    "empty-fragments": frame(TEXT, fin=False)
    + frame(CONTINUATION, fin=False)
    + frame(CONTINUATION),
    "binary-fragments": frame(BINARY, b"\xff", fin=False) + frame(CONTINUATION, b"\xfe"),
    "character-in-two-fragments": frame(TEXT, "é".encode()[:1], fin=False)
    + frame(CONTINUATION, "é".encode()[1:]),
    "pong-unasked": frame(PONG, b"nobody asked"),
    "pong-empty": frame(PONG),
    "pong-in-a-message": frame(TEXT, b"a", fin=False) + frame(PONG) + frame(CONTINUATION, b"b"),
    "not-masked-by-much": frame(TEXT, MASK),
    **{f"{size}-bytes": frame(BINARY, b"x" * size) for size in (125, 126, 127, 65535, 65536)},
}


@pytest.mark.parametrize("data", ALLOWED.values(), ids=ALLOWED)
def test_what_is_allowed_is_taken(peer: Peer, data: bytes) -> None:
    """What a client says is ignored, but the connection goes on and answers."""
    peer.send(data + frame(PING, b"still there"))
    assert peer.pongs(b"still there") == [b"still there"]


@pytest.mark.parametrize("name", ["text", "fragments", "126-bytes", "pong-in-a-message"])
def test_how_the_bytes_are_cut_does_not_matter(peer: Peer, name: str) -> None:
    """Each byte in a packet of its own."""
    for byte in ALLOWED[name] + frame(PING, b"whole"):
        peer.send(bytes([byte]))
    assert peer.pongs(b"whole") == [b"whole"]


@pytest.mark.parametrize("payload", [b"", b"x", b"\x00\xff\xfe", b"p" * 125])
def test_a_ping_is_answered_with_what_it_says(peer: Peer, payload: bytes) -> None:
    """Section 5.5.3: with identical application data, up to the 125 bytes there may be."""
    peer.send(frame(PING, payload))
    assert peer.pongs(payload) == [payload]


def test_pings_are_answered_in_order_also_amid_a_message(peer: Peer) -> None:
    """Section 5.4: control frames may stand between the fragments of a message."""
    peer.send(
        frame(PING, b"1")
        + frame(TEXT, b"a", fin=False)
        + frame(PING, b"2")
        + frame(CONTINUATION, b"b", fin=False)
        + frame(PING, b"3")
        + frame(CONTINUATION, b"c")
        + frame(PING, b"4")
    )
    assert peer.pongs(b"4") == [b"1", b"2", b"3", b"4"]


VIOLATIONS = {
    **{f"reserved-bit-{bit}": frame(TEXT, b"x", reserved=bit) for bit in (1, 2, 4)},
    "reserved-bit-of-a-ping": frame(PING, reserved=4),
    **{f"opcode-{code:x}": frame(code) for code in (*range(3, 8), *range(0xB, 0x10))},
    "not-masked": frame(TEXT, b"x", masked=False),
    "ping-not-masked": frame(PING, masked=False),
    "ping-in-fragments": frame(PING, b"x", fin=False),
    "pong-in-fragments": frame(PONG, fin=False),
    "close-in-fragments": frame(CLOSE, fin=False),
    "ping-of-126-bytes": frame(PING, b"x" * 126),
    "close-of-126-bytes": frame(CLOSE, struct.pack("!H", 1000) + b"x" * 124),
    "continues-nothing": frame(CONTINUATION, b"x"),
    "continues-nothing-more": frame(TEXT, b"a") + frame(CONTINUATION, b"x"),
    "text-within-a-message": frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"),
    "binary-within-a-message": frame(TEXT, b"a", fin=False) + frame(BINARY, b"b"),
    "half-a-close-code": frame(CLOSE, b"\x03"),
    **{
        f"close-code-{code}": close(code)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    },
}


@pytest.mark.fault("H7")
@pytest.mark.parametrize("data", VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_violation_closes_with_1002(
    peer: Peer, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    """And what any client can send does not fill the log of the service."""
    peer.send(data)
    assert peer.code() == 1002
    assert caplog.messages == []


NOT_TEXT = {
    "lone-byte": frame(TEXT, b"a\xffb"),
    "cut-off": frame(TEXT, "é".encode()[:1]),
    "overlong": frame(TEXT, b"\xc0\xaf"),
    "surrogate": frame(TEXT, b"\xed\xa0\x80"),
    "beyond-unicode": frame(TEXT, b"\xf4\x90\x80\x80"),
    "in-fragments": frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"\xff"),
    "cut-off-in-fragments": frame(TEXT, "é".encode()[:1], fin=False) + frame(CONTINUATION, b"a"),
    "reason": close(1000, b"\xff"),
}


@pytest.mark.fault("H7")
@pytest.mark.parametrize("data", NOT_TEXT.values(), ids=NOT_TEXT)
def test_text_that_is_not_utf_8_closes_with_1007(
    service: Service, peer: Peer, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    """Section 8.1, for messages as for the reason of a close."""
    peer.send(data)
    assert peer.code() == 1007
    wait_for(lambda: service.open_connections() == 0)
    assert caplog.messages == []


@pytest.mark.fault("H7")
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("length", [65_537, 1 << 30, (1 << 63) - 1])
def test_too_long_a_frame_is_refused_by_its_head(peer: Peer, opcode: int, length: int) -> None:
    """Nothing of it need be there: a gigabyte is never waited for."""
    peer.send(head(opcode, length))
    assert peer.code() == 1009


CODES = (1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999)


@pytest.mark.parametrize("code", CODES)
def test_a_close_is_answered_with_its_code(service: Service, peer: Peer, code: int) -> None:
    """Section 5.5.1; then the server, as it should, closes the connection first."""
    peer.send(close(code, b"that is all" + b"!" * 112))
    assert peer.code() == code
    wait_for(lambda: service.open_connections() == 0)


def test_a_close_without_a_code_is_answered_without(peer: Peer) -> None:
    peer.send(frame(CLOSE))
    assert peer.closing() == b""


def test_what_comes_after_a_close_is_not_looked_at(peer: Peer) -> None:
    """Section 5.5.1: not even where it is wrong."""
    peer.send(close(1000) + frame(PING, b"late") + frame(3))
    assert [each.opcode for each in peer.frames()] == [CLOSE]


def test_a_close_amid_a_message_is_answered(peer: Peer) -> None:
    """It may stand there as any control frame; that the message is cut off may be said too."""
    peer.send(frame(TEXT, b"never", fin=False) + close(1000))
    assert peer.code() in {1000, 1002}


ENDS: dict[str, Callable[[Peer], None]] = {"ends": Peer.end, "vanishes": Peer.vanish}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize(
    "sent",
    [b"", frame(TEXT, b"half")[:-2], frame(TEXT, b"a", fin=False), frame(PING)[:1]],
    ids=["at-rest", "in-a-frame", "in-a-message", "in-a-head"],
)
def test_a_client_that_only_ends_leaves_nothing_behind(
    service: Service,
    caplog: pytest.LogCaptureFixture,
    sent: bytes,
    end: Callable[[Peer], None],
) -> None:
    """Without a close, half closed or reset, at any place."""
    before = service.open_tasks()
    with Peer(service) as peer:
        peer.send(sent)
        end(peer)
        wait_for(lambda: service.open_connections() == 0 and service.open_tasks() <= before)
    assert caplog.messages == []
