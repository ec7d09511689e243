"""Asks for the token, and lets nobody behind who has not shown it."""

from __future__ import annotations

from contextlib import suppress

from starlette.types import Receive, Scope, Send

from watcher.web import handshake
from watcher.web.attempts import WrongTokens
from watcher.web.capacity import FULL, Capacity
from watcher.web.credential import Credential
from watcher.web.refusal import (
    Refusal,
    header_values,
    refuse,
    route_path,
    without_answers_over_http,
)
from watcher.web.signin import is_sign_in, sign_in_page


class Gate:
    """Lets through who has shown the token.

    Args:
        app: the application behind.
        credential: what a client must bring.
        wrong: counts the wrong ones.
    """

    def __init__(self, app: Capacity, *, credential: Credential, wrong: WrongTokens) -> None:
        self._app = app
        self._credential = credential
        self._wrong = wrong
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point, for HTTP and WebSocket."""
        shown = self._shown(scope)
        if shown or (scope["type"] == "http" and _is_open(route_path(scope))):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            if await self._identifies(shown, scope, receive, send):
                later = without_answers_over_http(scope)
                await self._app(later, *handshake.accepted(receive, send))
        elif shown is False and (wait := self._wrong.count()) is not None:
            await refuse(_too_many(wait), scope, receive, send)
        else:
            await _ask_for_token(scope, receive, send)

    def _shown(self, scope: Scope) -> bool | None:
        """Whether the token was shown, None where nothing was."""
        shown = self._credential.admits(scope["headers"])
        if shown is None and (offered := handshake.offered_tokens(scope)):
            return len(offered) == 1 and self._credential.is_token(offered[0])
        return shown

    async def _identifies(
        self, shown: bool | None, scope: Scope, receive: Receive, send: Send
    ) -> bool:
        """Lets a WebSocket show the token in its first message; else says why it is closed."""
        wait = self._wrong.count() if shown is False else None
        if wait is not None:
            await refuse(_too_many(wait), scope, receive, send)
            return False
        if shown is None and (self._waiting >= handshake.MAX_WAITING or self._app.is_full):
            await refuse(FULL, scope, receive, send)
            return False
        # The client may leave, or be cut off for what it sends, before it is told.
        with suppress(OSError, RuntimeError):
            await receive()
            await send({"type": "websocket.accept"})
            if shown is None and await self._hears_token(receive):
                return True
            await handshake.close_unauthorised(send)
        return False

    async def _hears_token(self, receive: Receive) -> bool:
        self._waiting += 1
        try:
            token = await handshake.first_token(receive)
        finally:
            self._waiting -= 1
        if not token:
            return False
        if self._credential.is_token(token):
            return True
        self._wrong.count()
        return False


def _is_open(path: str) -> bool:
    # The files of the page are the same everywhere, and a page elsewhere that imports the client
    # cannot show a token with it.
    return is_sign_in(path) or path.startswith("/static/")


def _too_many(wait: int) -> Refusal:
    return Refusal(429, "Too many wrong tokens were tried; wait a little.", wait)


async def _ask_for_token(scope: Scope, receive: Receive, send: Send) -> None:
    accept = ",".join(header_values(scope, b"accept"))
    if scope["method"] == "GET" and "text/html" in accept:
        await sign_in_page(scope.get("root_path", ""), status=401)(scope, receive, send)
        return
    detail = "A token is needed: send it as Authorization: Bearer, or sign in on the page."
    await refuse(Refusal(401, detail), scope, receive, send)
