"""Makes writing processes in a millisecond or two: a process that has all imported, and forks.

Started as `python -m tests.oracle.nursery DESCRIPTOR`. Over that socket it is sent one end of a
socket pair and the name of a library at a time, and answers with the process id of a child that
serves a `session.Session` on that end. It opens no database itself. It ends, and so do its
children, when the other end of its socket is closed.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
import traceback
from typing import Any

import msgspec

from tests.oracle.session import Session

_SIZE = struct.Struct("<I")
_LIBRARIES = {b"s": "sqlite3", b"a": "apsw"}


def send(end: socket.socket, message: object) -> None:
    """Sends one message."""
    data = msgspec.msgpack.encode(message)
    end.sendall(_SIZE.pack(len(data)) + data)


def receive(end: socket.socket) -> Any:
    """Receives one message.

    Raises:
        EOFError: the other side is gone.
    """
    (size,) = _SIZE.unpack(_exactly(end, _SIZE.size))
    return msgspec.msgpack.decode(_exactly(end, size))


def _exactly(end: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = end.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _serve(end: socket.socket, session: Session) -> None:
    """Answers requests, each a method of the session and its arguments, until there are no more.

    An answer is a pair: the result and None, or None and what went wrong.
    """
    while True:
        try:
            name, *arguments = receive(end)
        except EOFError:
            return
        try:
            answer: tuple[Any, str | None] = getattr(session, name)(*arguments), None
        except Exception:  # noqa: BLE001  # the test must see it, whatever it is
            answer = None, traceback.format_exc()
        send(end, answer)


def main() -> None:
    """Forks a child for each request."""
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        library, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not library:
            return
        with socket.socket(fileno=descriptors[0]) as end:
            child = os.fork()
            if child == 0:
                control.close()
                _serve(end, Session(_LIBRARIES[library]))
                return
            control.sendall(struct.pack("<i", child))


if __name__ == "__main__":
    main()
