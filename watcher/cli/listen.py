"""Opens the sockets to serve on, before anything else is started.

Listening at once makes "the port is taken" an exact answer: nothing has been read or written yet,
and nobody can take the port while the rest starts.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket

from watcher.errors import CannotListen

_BACKLOG = 2048
# A name may resolve to addresses of a protocol that this machine does not speak.
_NOT_HERE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


class Listener:
    """Listening sockets on every address of one host, all on the same port.

    Args:
        host: a name or an address.
        port: the port, 0 for any free one.
        private: whether addresses other than loopback are refused.

    Raises:
        CannotListen: the address is unknown, taken, not permitted, or not loopback.
    """

    def __init__(self, host: str, port: int, *, private: bool) -> None:
        self.host = host
        self.port = port
        self.sockets: list[socket.socket] = []
        addresses = _resolve(host, port)
        if private and not all(_is_loopback(address) for _, address in addresses):
            detail = "other machines could reach it, so it needs --token or WATCHER_TOKEN"
            raise CannotListen(host, port, mistake=True, detail=detail)
        try:
            self._open(addresses)
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the page."""
        host = self.host
        if _is_wildcard(host):
            host = "127.0.0.1" if self.sockets[0].family == socket.AF_INET else "::1"
        bracketed = f"[{host}]" if ":" in host else host
        return f"http://{bracketed}:{self.port}"

    @property
    def hosts(self) -> set[str]:
        """The `host:port` the user named, where a browser can ask for it."""
        return set() if _is_wildcard(self.host) else {self.url.removeprefix("http://")}

    def close(self) -> None:
        """Closes all sockets. Safe to call again."""
        for opened in self.sockets:
            opened.close()

    def _open(self, addresses: list[tuple[socket.AddressFamily, str]]) -> None:
        absent: OSError | None = None
        for family, address in addresses:
            try:
                opened = _listen(family, address, self.port)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise self._refusal(error) from error
                absent = error
                continue
            self.sockets.append(opened)
            # With port 0 the first socket finds the port, the others follow.
            self.port = opened.getsockname()[1]
        if not self.sockets and absent is not None:
            raise self._refusal(absent) from absent

    def _refusal(self, error: OSError) -> CannotListen:
        if error.errno == errno.EADDRINUSE:
            detail = "another program uses this port; choose another one with --port"
        elif error.errno == errno.EACCES:
            detail = "no permission for this port; choose one above 1023 with --port"
        elif error.errno in _NOT_HERE:
            detail = "this is not an address of this machine"
        else:
            detail = error.strerror or str(error)
        mistake = error.errno in _NOT_HERE
        return CannotListen(self.host, self.port, mistake=mistake, detail=detail)


def _resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        detail = "no such host is known"
        raise CannotListen(host, port, mistake=True, detail=detail) from error
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _listen(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    # With the protocol named, asyncio sends at once what it is given (TCP_NODELAY). Without it the
    # second part of an answer would wait for the client's acknowledgement, which takes its time.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            # Connections of a server that has just ended must not keep its port. (On Windows
            # the option would let two servers share a port.)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind((address, port))
        opened.listen(_BACKLOG)
    except BaseException:
        opened.close()
        raise
    return opened


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
