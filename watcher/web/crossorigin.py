"""Pages elsewhere that may use the service: CORS, for the origins that were named and no others.

Cookies are left out on purpose: such a page shows the token itself, and a visitor's own session
stays with the service's own page. See https://fetch.spec.whatwg.org/#http-cors-protocol.
"""

from __future__ import annotations

import re

from starlette.types import Receive, Scope, Send

from watcher.web.authority import AUTHORITY, plain
from watcher.web.refusal import header_values

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://" + AUTHORITY)
# How long a browser may remember a preflight; after a change of the options it asks soon enough.
_MAX_AGE = 600

_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, PATCH, DELETE"),
    (b"access-control-allow-headers", b"authorization, content-type, last-event-id"),
    (b"access-control-max-age", b"%d" % _MAX_AGE),
]


def checked_origin(text: str) -> str:
    """Takes an origin as a browser would send it: scheme, name, and any but the default port.

    Raises:
        ValueError: it is not one; `null` and `*` are none.
    """
    origin = text.lower()
    scheme, _, authority = origin.partition("://")
    if not _ORIGIN.fullmatch(origin) or scheme == "file":
        raise ValueError(f"not an origin such as https://app.example.org: {text!r}")
    return f"{scheme}://{plain(scheme, authority)}"


def response_headers(origin: str | None) -> list[tuple[bytes, bytes]]:
    """What lets a page read an answer, where pages elsewhere are served at all.

    Args:
        origin: of the page that asks, None where it is the service's own or no page.
    """
    # The same address is answered differently to others; a cache between must know.
    headers = [(b"vary", b"Origin")]
    if origin is not None:
        headers += [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-expose-headers", b"retry-after, www-authenticate"),
            (b"cross-origin-resource-policy", b"cross-origin"),
        ]
    return headers


def is_preflight(scope: Scope) -> bool:
    """Whether a browser asks before the request of a page."""
    return (
        scope["type"] == "http"
        and scope["method"] == "OPTIONS"
        and bool(header_values(scope, b"access-control-request-method"))
    )


async def answer_preflight(scope: Scope, receive: Receive, send: Send) -> None:
    """Says what a page elsewhere may send; a browser asks this without any token."""
    headers = list(_PREFLIGHT)
    if header_values(scope, b"access-control-request-private-network"):
        # From a public page to an address of a private network.
        headers.append((b"access-control-allow-private-network", b"true"))
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
