"""How many clients there may be at once: streams are bounded, so that all else is answered."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from watcher.web.refusal import Refusal, answers_over_http, refuse, route_path

MAX_CLIENTS = 10_000
"""Clients that may be connected at once."""
TRY_AGAIN_LATER = 1013
"""Close code of a WebSocket for which there is no room."""

FULL = Refusal(503, "There are as many clients as this service takes; try again later.", 5)
"""What a client is told for which there is no room."""

# What stays open for long. All else is answered and gone, and is needed to see what is wrong.
_STREAMS = re.compile(r"(?:/db/[^/]+)?/(?:events/?|changes|snapshot)")


class Capacity:
    """Bounds WebSockets and the HTTP requests that stay open, together.

    Args:
        app: the application behind.
        limit: how many there may be at once.

    Raises:
        ValueError: the limit is negative.
    """

    def __init__(self, app: ASGIApp, *, limit: int = MAX_CLIENTS) -> None:
        if limit < 0:
            raise ValueError(f"not a number of clients: {limit}")
        self._app = app
        self._limit = limit
        self._clients = 0

    @property
    def is_full(self) -> bool:
        """Whether the next one is refused."""
        return self._clients >= self._limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if not _is_stream(scope):
            await self._app(scope, receive, send)
            return
        if self.is_full:
            await _turn_away(scope, receive, send)
            return
        self._clients += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._clients -= 1


def _is_stream(scope: Scope) -> bool:
    if scope["type"] == "websocket":
        return True
    return scope["type"] == "http" and _STREAMS.fullmatch(route_path(scope)) is not None


async def _turn_away(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http" or answers_over_http(scope):
        await refuse(FULL, scope, receive, send)
        return
    # A client sees the code only of an accepted WebSocket.
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": FULL.detail})
