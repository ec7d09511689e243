"""Who may speak to the service: one layer before routing, the same for HTTP and WebSocket.

A page on another site can make the visitor's browser send requests to a loopback address, and by
DNS rebinding even under a name of its own. So the `Host` must be a name that the service answers
to, and an `Origin`, where one is sent, must be one of the service's own. Middleware for CORS or
HTTP does not cover WebSockets; this layer sees every connection.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Collection
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from watcher import wire
from watcher.web.credential import Credential
from watcher.web.signin import SIGN_IN_PATH, sign_in_page

NOT_AUTHORISED = 4501
"""Close code of a WebSocket that brought no token; clients do not come back by themselves."""

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_DEFAULT_PORT = {"http": ":80", "https": ":443"}
# Names are compared in lower case, as DNS does. A trailing dot is refused: it names the same host
# but another origin, and no browser adds it by itself.
_AUTHORITY = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?"
)
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS: list[tuple[bytes, bytes]] = [
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    # What is served is as secret as the database; static files say otherwise for themselves.
    (b"cache-control", b"no-store"),
]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is turned away.

    Args:
        status: HTTP status code.
        detail: one sentence for a person.
    """

    status: int
    detail: str


class Names:
    """The names under which the service may be asked for.

    Loopback names and the address a connection came in on are always among them: an address that
    a client has reached cannot be forged by DNS rebinding, which needs a name.

    Args:
        given: further names, each `host`, `host:port` or, where a proxy in front speaks another
            scheme than this server, a whole origin such as `https://watch.example.org`.

    Raises:
        ValueError: one of them has not that form.
    """

    def __init__(self, given: Collection[str] = ()) -> None:
        self._given: list[tuple[str | None, str]] = []
        for text in given:
            scheme, separator, authority = text.lower().rpartition("://")
            if not _AUTHORITY.fullmatch(authority) or (separator and scheme not in _DEFAULT_PORT):
                raise ValueError(f"not a host name: {text!r}")
            self._given.append((scheme or None, authority))

    def hosts(self, scheme: str, server: tuple[str, int | None] | None) -> set[str]:
        """Every `Host` that is accepted by a server at this address."""
        names, port = _own_names(server)
        with_port = {f"{name}:{port}" for name in names} if port is not None else set()
        given = {_plain(own or scheme, authority) for own, authority in self._given}
        return names | {_plain(scheme, name) for name in with_port} | with_port | given

    def origins(self, scheme: str, server: tuple[str, int | None] | None) -> set[str]:
        """Every `Origin` that is accepted; a bare loopback name is another server's origin."""
        names, port = _own_names(server)
        suffix = "" if port is None else f":{port}"
        own = {f"{scheme}://{_plain(scheme, name + suffix)}" for name in names}
        return own | {
            f"{given or scheme}://{_plain(given or scheme, authority)}"
            for given, authority in self._given
        }


class Access:
    """Turns away what is not allowed, and puts the security headers on every response.

    Args:
        app: the application behind.
        names: the names the service answers to.
        credential: what a client must bring, None where no token is asked for.
    """

    def __init__(self, app: ASGIApp, *, names: Names, credential: Credential | None) -> None:
        self._app = app
        self._names = names
        self._credential = credential

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        send = _with_headers(send)
        refusal = check_names(scope, self._names)
        if refusal is not None:
            await refuse(refusal, scope, receive, send)
        elif self._credential is None or self._admits(self._credential, scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await _close_unauthorised(receive, send)
        else:
            await _ask_for_token(scope, receive, send)

    def _admits(self, credential: Credential, scope: Scope) -> bool:
        signing_in = scope["type"] == "http" and route_path(scope) == SIGN_IN_PATH
        return signing_in or credential.admits(scope["headers"])


def check_names(scope: Scope, names: Names) -> Refusal | None:
    """Holds `Host` and `Origin` of a request against the names of the service."""
    scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"]) or str(scope["scheme"])
    server = scope.get("server")
    hosts = header_values(scope, b"host")
    if len(hosts) != 1:
        return Refusal(400, "A request needs exactly one Host header.")
    host = hosts[0].lower()
    if not _AUTHORITY.fullmatch(host):
        return Refusal(400, "The Host header is malformed.")
    if _plain(scheme, host) not in names.hosts(scheme, server):
        return Refusal(421, "This service does not answer to the name in the Host header.")
    origins = header_values(scope, b"origin")
    if len(origins) > 1:
        return Refusal(403, "A request may have only one Origin header.")
    if origins and origins[0] not in names.origins(scheme, server):
        return Refusal(403, "Requests from pages of another origin are refused.")
    return None


def header_values(scope: Scope, name: bytes) -> list[str]:
    """All values of one header, in order; `name` in lower case."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def route_path(scope: Scope) -> str:
    """The path below the point where the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(root + "/") else path


async def refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with a status and `{"detail": sentence}`, also a WebSocket before it is accepted."""
    prefix = ""
    if scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.detail})
            return
        prefix = "websocket."
    body = json.dumps({"detail": refusal.detail}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        # What is left of the request is not read.
        (b"connection", b"close"),
    ]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    start = {"type": prefix + "http.response.start", "status": refusal.status, "headers": headers}
    await send(start)
    await send({"type": prefix + "http.response.body", "body": body})


async def _ask_for_token(scope: Scope, receive: Receive, send: Send) -> None:
    accept = ",".join(header_values(scope, b"accept"))
    if scope["method"] == "GET" and "text/html" in accept:
        await sign_in_page(scope.get("root_path", ""), status=401)(scope, receive, send)
        return
    detail = "A token is needed: send it as Authorization: Bearer, or sign in on the page."
    await refuse(Refusal(401, detail), scope, receive, send)


async def _close_unauthorised(receive: Receive, send: Send) -> None:
    """Accepts before closing: a browser sees the code only of an accepted WebSocket."""
    await receive()
    detail = "a token is needed"
    await send({"type": "websocket.accept"})
    message = wire.error_message(NOT_AUTHORISED, detail, temporary=False)
    await send({"type": "websocket.send", "text": f"[{message.decode()}]"})
    await send({"type": "websocket.close", "code": NOT_AUTHORISED, "reason": detail})


def _with_headers(send: Send) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"].endswith("http.response.start"):
            headers = list(message.get("headers", []))
            present = {name.lower() for name, _ in headers}
            headers += [(name, value) for name, value in _HEADERS if name not in present]
            message = {**message, "headers": headers}
        await send(message)

    return wrapped


def _own_names(server: tuple[str, int | None] | None) -> tuple[set[str], int | None]:
    names = set(_LOOPBACK)
    if server is None or server[1] is None:  # a Unix socket has no port
        return names, None
    try:
        address = ipaddress.ip_address(server[0])
    except ValueError:
        return names, server[1]
    names.add(f"[{address}]" if address.version == 6 else str(address))
    return names, server[1]


def _plain(scheme: str, authority: str) -> str:
    """The authority as a browser writes it: without the port that the scheme implies."""
    return authority.removesuffix(_DEFAULT_PORT.get(scheme, "\0"))
