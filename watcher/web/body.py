"""A limit to the size of request bodies, whether their length is announced or not.

FastAPI's own limit answers in plain text; here every refusal is `{"detail": …}`.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from watcher.web.refusal import Refusal, header_values, refuse

MAX_BODY = 64 * 1024
"""Bytes a request body may have."""
MAX_ROW_BODY = 4 * 1024 * 1024
"""The same where rows of a table are written: a row is sent whole, as it was seen."""


class BodyLimit:
    """Reads the body before the application does, and answers 413 where it is too long.

    Args:
        app: the application behind.
        limit: bytes a body may have.
        row_limit: the same where rows of a table are written.
    """

    def __init__(
        self, app: ASGIApp, *, limit: int = MAX_BODY, row_limit: int = MAX_ROW_BODY
    ) -> None:
        self._app = app
        self._limit = limit
        self._row_limit = row_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        # No GET here looks at a body, so it stays unread.
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD"}:
            await self._app(scope, receive, send)
            return
        writes_row = "/tables/" in scope["path"] and scope["path"].endswith("/rows")
        limit = self._row_limit if writes_row else self._limit
        messages = None if _announces_more(scope, limit) else await _read(receive, limit)
        if messages is None:
            detail = f"The request body is longer than {limit} bytes."
            await refuse(Refusal(413, detail), scope, receive, send)
            return
        if messages[-1]["type"] == "http.request":  # else the client has gone
            await self._app(scope, _replay(messages, receive), send)


def _announces_more(scope: Scope, limit: int) -> bool:
    # A length that is no number does not get here: no server can frame such a request.
    lengths = header_values(scope, b"content-length")
    return any(length.isdecimal() and int(length[:20]) > limit for length in lengths)


async def _read(receive: Receive, limit: int) -> list[Message] | None:
    messages: list[Message] = []
    size = 0
    while True:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if size > limit:
            return None
        if message["type"] != "http.request" or not message.get("more_body", False):
            return messages


def _replay(messages: list[Message], receive: Receive) -> Receive:
    remaining = iter(messages)

    async def replayed() -> Message:
        return next(remaining, None) or await receive()

    return replayed
