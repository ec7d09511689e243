"""What a hostile WebSocket client sends is bounded, answered with a code, and disturbs nobody."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.web.service import Service, receive_until
from tests.web.test_access import UPGRADE
from tests.web.test_socket import close_code

MEBIBYTE = 2**20


@contextmanager
def handshaken(service: Service, headers: bytes = b"") -> Iterator[socket.socket]:
    """A WebSocket that has been accepted, to send any bytes over."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        head = b"GET /ws HTTP/1.1\r\nHost: %b\r\n" % service.host.encode()
        connection.sendall(head + headers + UPGRADE + b"\r\n")
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(1)
        assert answer.startswith(b"HTTP/1.1 101 ")
        yield connection


def frame(opcode: int, length: int, data: bytes = b"", *, fin: bool = True) -> bytes:
    """A masked frame that announces so many bytes."""
    first = opcode | (0x80 if fin else 0)
    return struct.pack("!BBQ", first, 0x80 | 127, length) + b"\0\0\0\0" + data


def closed_with(connection: socket.socket) -> int | None:
    """The code of the close frame at the end of all that comes; None where there is none."""
    received = b""
    with suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            received += chunk
    at = received.rfind(b"\x88")
    return None if at < 0 else int(struct.unpack("!H", received[at + 2 : at + 4])[0])


def resident() -> int:
    """Bytes of memory that this process, in which the service runs, has in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.fault("H7")
@pytest.mark.parametrize("length", [65_537, 10**9, 2**63 - 1])
def test_a_frame_that_announces_too_much_is_refused_by_its_head(
    service: Service, length: int
) -> None:
    before = resident()
    with handshaken(service) as connection:
        connection.sendall(frame(1, length, b"x" * 100))
        assert closed_with(connection) == 1009
    assert resident() - before < 50 * MEBIBYTE


@pytest.mark.fault("H7")
@pytest.mark.parametrize("size", [0, 1, 1000])
def test_fragments_without_end_are_refused(service: Service, size: int) -> None:
    before = resident()
    sent = 0
    with handshaken(service) as connection:
        fragment = frame(0, size, b"x" * size, fin=False)
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(frame(1, 1, b"x", fin=False))
            while sent < 64 * MEBIBYTE:
                connection.sendall(fragment * 100)
                sent += len(fragment) * 100
                if _has_answer(connection):
                    break
        assert closed_with(connection) in {1008, 1009, None}
    # It was cut off, and long before all of it was sent.
    assert sent < 16 * MEBIBYTE
    assert resident() - before < 50 * MEBIBYTE


def _has_answer(connection: socket.socket) -> bool:
    """Whether the close frame is among what waits to be read."""
    with suppress(BlockingIOError):
        return b"\x88" in connection.recv(2**20, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    return False


@pytest.mark.fault("H7")
def test_messages_without_number_are_refused(service: Service) -> None:
    """100,000 in a row are cut off after the first hundred, and another client hears on."""
    message = b"\x81\x80\0\0\0\0"
    with service.websocket() as other, handshaken(service) as connection:
        receive_until(other, "ready")
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(message * 100_000)
        assert closed_with(connection) in {1008, None}
        other.ping().wait(10)


@pytest.mark.fault("H7")
@pytest.mark.parametrize(
    "head",
    [
        b"\x83\x80\0\0\0\0",  # a reserved opcode
        b"\xf1\x80\0\0\0\0",  # reserved bits
        b"\x81\x01x",  # not masked
        b"\x80\x80\0\0\0\0",  # the end of a message that has not begun
        b"\x89\xfe\x00\x7e\0\0\0\0" + b"x" * 126,  # a control frame that is too long
        b"\x09\x80\0\0\0\0",  # a control frame in fragments
        b"\x88\x81\0\0\0\0x",  # a close code of one byte
    ],
)
def test_what_the_standard_forbids_is_a_protocol_error(service: Service, head: bytes) -> None:
    with handshaken(service) as connection:
        connection.sendall(head)
        assert closed_with(connection) == 1002


def test_text_that_is_not_utf8_is_closed_with_1007(service: Service) -> None:
    with handshaken(service) as connection:
        connection.sendall(b"\x81\x81\0\0\0\0\xff")
        assert closed_with(connection) == 1007


def test_compression_is_not_taken_up(service: Service) -> None:
    """A few bytes would become many, and every client would cost memory."""
    with service.websocket(compression="deflate") as client:
        assert client.response is not None
        assert "sec-websocket-extensions" not in client.response.headers
        assert client.protocol.extensions == []
        receive_until(client, "ready")
    with handshaken(
        service, b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    ) as connection:
        # The bit that marks a compressed message is then as forbidden as any.
        connection.sendall(b"\xc1\x80\0\0\0\0")
        assert closed_with(connection) == 1002


def test_a_message_within_the_limit_is_read_and_ignored(service: Service) -> None:
    with service.websocket() as client:
        client.send("x" * 65_536)
        assert receive_until(client, "ready")
        client.close()
        assert close_code(client) == 1000
