"""Tells clients whose request is cut short by the end of the service; they would get a bare 500."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from watcher.web.refusal import Refusal, refuse


class Stopping:
    """Answers 503 where a request is cancelled before its answer has begun.

    Args:
        app: the application behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] != "http":
            # A WebSocket is told by its close code.
            await self._app(scope, receive, send)
            return
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except asyncio.CancelledError:
            if not begun:
                detail = "The service is stopping before the request is finished."
                await refuse(Refusal(503, detail), scope, receive, send)
            raise
