"""Who may speak to the service: one layer before routing, the same for HTTP and WebSocket.

A page on another site can make the visitor's browser send requests to a loopback address, and by
DNS rebinding even under a name of its own. So the `Host` must be a name that the service answers
to, and an `Origin`, where one is sent, must be one of the service's own. Middleware for CORS or
HTTP does not cover WebSockets; this layer sees every connection.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from watcher.web.authority import DEFAULT_PORT, is_authority, plain
from watcher.web.crossorigin import (
    answer_preflight,
    checked_origin,
    is_preflight,
    response_headers,
)
from watcher.web.handshake import choosing_subprotocol
from watcher.web.refusal import Refusal, header_values, refuse, route_path
from watcher.web.signin import is_sign_in

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
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
            if not is_authority(authority) or (separator and scheme not in DEFAULT_PORT):
                raise ValueError(f"not a host name: {text!r}")
            self._given.append((scheme or None, authority))

    def hosts(self, scheme: str, server: tuple[str, int | None] | None) -> set[str]:
        """Every `Host` that is accepted by a server at this address."""
        names, port = _own_names(server)
        with_port = {f"{name}:{port}" for name in names} if port is not None else set()
        given = {plain(own or scheme, authority) for own, authority in self._given}
        return names | {plain(scheme, name) for name in with_port} | with_port | given

    def origins(self, scheme: str, server: tuple[str, int | None] | None) -> set[str]:
        """Every `Origin` that is accepted; a bare loopback name is another server's origin."""
        names, port = _own_names(server)
        suffix = "" if port is None else f":{port}"
        own = {f"{scheme}://{plain(scheme, name + suffix)}" for name in names}
        return own | {
            f"{given or scheme}://{plain(given or scheme, authority)}"
            for given, authority in self._given
        }


class Access:
    """Turns away what is not allowed, and puts the security headers on every response.

    Args:
        app: the application behind, or the gate that asks for the token.
        names: the names the service answers to.
        origins: of pages elsewhere that may use it, each as a browser sends it.

    Raises:
        ValueError: one of the origins is none.
    """

    def __init__(self, app: ASGIApp, *, names: Names, origins: Collection[str] = ()) -> None:
        self._app = app
        self._names = names
        self._origins = frozenset(map(checked_origin, origins))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        elsewhere = self._page_elsewhere(scope)
        shared = response_headers(elsewhere) if self._origins else []
        send = choosing_subprotocol(scope, _with_headers(send, shared))
        refusal = check_names(scope, self._names, elsewhere)
        if refusal is not None:
            await refuse(refusal, scope, receive, send)
        elif elsewhere is None:
            await self._app(scope, receive, send)
        elif is_preflight(scope):
            await answer_preflight(scope, receive, send)
        else:
            await self._app(_from_elsewhere(scope), receive, send)

    def _page_elsewhere(self, scope: Scope) -> str | None:
        """The origin of a page elsewhere that may use the service, None for all others."""
        origins = header_values(scope, b"origin") if self._origins else []
        if len(origins) != 1 or origins[0] not in self._origins:
            return None
        own = self._names.origins(_scheme(scope), scope.get("server"))
        return None if origins[0] in own else origins[0]


def check_names(scope: Scope, names: Names, elsewhere: str | None = None) -> Refusal | None:
    """Holds `Host` and `Origin` of a request against the names of the service.

    Args:
        scope: of the request.
        names: of the service.
        elsewhere: an origin that is not the service's own and may use it all the same.
    """
    scheme = _scheme(scope)
    server = scope.get("server")
    hosts = header_values(scope, b"host")
    if len(hosts) != 1:
        return Refusal(400, "A request needs exactly one Host header.")
    host = hosts[0].lower()
    if not is_authority(host):
        return Refusal(400, "The Host header is malformed.")
    if plain(scheme, host) not in names.hosts(scheme, server):
        return Refusal(421, "This service does not answer to the name in the Host header.")
    origins = header_values(scope, b"origin")
    if len(origins) > 1:
        return Refusal(403, "A request may have only one Origin header.")
    if elsewhere is not None:
        # It would sign in the visitor of the service's own page.
        signs_in = scope["type"] == "http" and is_sign_in(route_path(scope))
        return Refusal(403, "Only the page itself signs visitors in.") if signs_in else None
    if origins and origins[0] not in names.origins(scheme, server):
        return Refusal(403, "Requests from pages of another origin are refused.")
    return None


def _scheme(scope: Scope) -> str:
    return {"ws": "http", "wss": "https"}.get(scope["scheme"]) or str(scope["scheme"])


def _from_elsewhere(scope: Scope) -> Scope:
    """Takes away the visitor's session, and says who asks where the browser does not."""
    headers = [(name, value) for name, value in scope["headers"] if name.lower() != b"cookie"]
    return {**scope, "headers": [*headers, (b"sec-fetch-site", b"cross-site")]}


def _with_headers(send: Send, shared: Sequence[tuple[bytes, bytes]]) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"].endswith("http.response.start"):
            headers = [*message.get("headers", []), *shared]
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
