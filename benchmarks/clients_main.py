"""Many WebSocket clients in one process that does little more than receive.

`python -m benchmarks.clients_main URL` reads requests from its input, one JSON object a line, and
answers each with one line; see `clients.py`. It takes frames apart by hand: a client library would
cost more than the servers that are measured, and be what is measured.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import select
import socket
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

Answer = dict[str, Any]

# Each change of a row begins like this, and nothing else does.
_CHANGE = b'{"op":"'
_READY = b'{"type":"ready"'
_CHUNK = 256 * 1024
_CONNECT_SECONDS = 30.0
# Room for the answer to the handshake, and soon full of what is not read.
_SMALL_BUFFER = 4096


def address_of(url: str) -> tuple[str, int]:
    """Host and port of an address that names both."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


class Client:
    """One connection.

    Args:
        address: of the server.
        path: what to ask for.
        small: whether to take little before the server has to wait.
    """

    def __init__(self, address: tuple[str, int], path: str, *, small: bool) -> None:
        self.socket = socket.socket()
        if small:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
        self.socket.settimeout(_CONNECT_SECONDS)
        self.socket.connect(address)
        self._rest = self._shake_hands(address, path)
        self.socket.setblocking(False)
        self.is_ready = False
        self.frames = self.changes = self.bytes = 0
        self.last = b""
        self._take_frames()

    def _shake_hands(self, address: tuple[str, int], path: str) -> bytes:
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            chunk = self.socket.recv(4096)
            if not chunk:
                raise RuntimeError("the server closed the connection")
            answer += chunk
        if not answer.startswith(b"HTTP/1.1 101 "):
            raise RuntimeError(f"the server refused: {answer[:100]!r}")
        return answer.partition(b"\r\n\r\n")[2]

    def receive(self) -> None:
        """Takes what has come."""
        try:
            chunk = self.socket.recv(_CHUNK)
        except BlockingIOError:
            return
        if not chunk:
            raise RuntimeError("the server closed the connection")
        self._rest = self._rest + chunk if self._rest else chunk
        self._take_frames()

    def _take_frames(self) -> None:
        at, rest = 0, self._rest
        while (payload := _payload(rest, at)) is not None:
            start, end = payload
            self._take(rest, at, start, end)
            at = end
        self._rest = rest[at:]

    def _take(self, data: bytes, at: int, start: int, end: int) -> None:
        if data[at] != 0x81:
            if data[at] & 0x0F == 0x9:
                self.socket.send(_pong(data[start:end]))
            return
        changes = data.count(_CHANGE, start, end)
        if changes:
            self.frames += 1
            self.changes += changes
            self.bytes += end - start
            self.last = data[start:end]
        self.is_ready = self.is_ready or data.find(_READY, start, end) >= 0


def _payload(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the payload of a frame from a server begins and ends; None where it is not complete."""
    if len(data) < at + 2:
        return None
    length, start = data[at + 1], at + 2
    if length >= 126:
        size = 2 if length == 126 else 8
        length, start = int.from_bytes(data[start : start + size], "big"), start + size
    # A length that is itself cut off is found by this too, for then the data end before it.
    return (start, start + length) if len(data) >= max(start, start + length) else None


def _pong(payload: bytes) -> bytes:
    # Masked with zeros, which the standard allows a test.
    return bytes((0x8A, 0x80 | len(payload))) + bytes(4) + payload


class Clients:
    """Answers requests.

    Args:
        url: of the server, without a path.
    """

    def __init__(self, url: str) -> None:
        self._address = address_of(url)
        self._clients: dict[int, Client] = {}
        self._poll = select.epoll()

    def open(self, path: str, clients: int, reads: bool, seconds: float) -> Answer:
        """Connects clients, and waits until all are told that they are ready.

        Args:
            path: what each asks for.
            clients: how many.
            reads: whether they read; if not, nobody waits for anything.
            seconds: patience.

        Returns:
            `seconds` it took, and what came as `receive` gives it.
        """
        began = time.monotonic_ns()
        opened = [Client(self._address, path, small=not reads) for _ in range(clients)]
        for client in opened:
            self._clients[client.socket.fileno()] = client
            if reads:
                self._poll.register(client.socket, select.EPOLLIN)
        if reads:
            self._run(lambda client: client.is_ready, seconds)
        return {"seconds": (time.monotonic_ns() - began) / 1e9, **self._counted([])}

    def receive(self, changes: int, seconds: float) -> Answer:
        """Waits until each client has got so many changes more.

        Args:
            changes: for each client.
            seconds: patience.

        Returns:
            `frames` with changes, `changes` and `bytes` of all clients together since the last
            answer; `arrived`, when each had them all, in nanoseconds of the monotonic clock;
            `last`, the text of a frame.
        """
        return self._counted(self._run(lambda client: client.changes >= changes, seconds))

    def _run(self, is_done: Callable[[Client], bool], seconds: float) -> list[int]:
        """Receives until all are done; when each of them was."""
        arrived: list[int] = []
        waiting = {number for number, client in self._clients.items() if not is_done(client)}
        deadline = time.monotonic() + seconds
        while waiting and time.monotonic() < deadline:
            for number, _ in self._poll.poll(0.1):
                client = self._clients[number]
                client.receive()
                if number in waiting and is_done(client):
                    waiting.discard(number)
                    arrived.append(time.monotonic_ns())
        if waiting:
            raise RuntimeError(f"{len(waiting)} clients wait for more after {seconds:g} s")
        return arrived

    def _counted(self, arrived: list[int]) -> Answer:
        every = list(self._clients.values())
        answer = {
            "frames": sum(client.frames for client in every),
            "changes": sum(client.changes for client in every),
            "bytes": sum(client.bytes for client in every),
            "arrived": arrived,
            "last": every[0].last.decode() if every else "",
        }
        for client in every:
            client.frames = client.changes = client.bytes = 0
            client.last = b""
        return answer


def main() -> None:
    """Answers until the input ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients = Clients(sys.argv[1])
    requests: dict[str, Callable[..., Answer]] = {"open": clients.open, "receive": clients.receive}
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(requests[request.pop("do")](**request)), flush=True)


if __name__ == "__main__":
    main()
