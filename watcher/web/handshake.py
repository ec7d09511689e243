"""How a WebSocket shows the token where it cannot send headers: browsers have no other way.

Either among the subprotocols of the handshake, or in the first message. The endpoint behind sees a
WebSocket like any other, whichever it was.
"""

from __future__ import annotations

import asyncio
import base64
import re
from typing import Literal

import msgspec
from starlette.types import Message, Receive, Scope, Send

from watcher import wire

NOT_AUTHORISED = 4501
"""Close code of a WebSocket that brought no token; clients do not come back by themselves."""
SUBPROTOCOL = "watcher"
"""What is answered to a client that offers subprotocols: a browser wants one of them chosen."""
TOKEN_PREFIX = "watcher.token."  # noqa: S105  # a name, not a secret
"""A subprotocol that begins like this carries the token, in base64url without padding."""
FIRST_MESSAGE_TIMEOUT = 10.0
"""Seconds a client has for its first message, where that is to bring the token."""
MAX_WAITING = 100
"""Clients that may be waited for at once, which have shown nothing yet."""

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


class _FirstMessage(msgspec.Struct):
    type: Literal["auth"]
    token: str


def offered_tokens(scope: Scope) -> list[bytes]:
    """The tokens among the subprotocols; one that is malformed is empty, which no token is."""
    return [
        _decoded(name.removeprefix(TOKEN_PREFIX))
        for name in scope.get("subprotocols", [])
        if name.startswith(TOKEN_PREFIX)
    ]


def _decoded(text: str) -> bytes:
    # A remainder of 1 is the length of no base64.
    if not _BASE64URL.fullmatch(text) or len(text) % 4 == 1:
        return b""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def choosing_subprotocol(scope: Scope, send: Send) -> Send:
    """Chooses the subprotocol for the endpoint, and never the one with the token."""
    if SUBPROTOCOL not in scope.get("subprotocols", []):
        return send

    async def choosing(message: Message) -> None:
        if message["type"] == "websocket.accept":
            message = {**message, "subprotocol": SUBPROTOCOL}
        await send(message)

    return choosing


async def first_token(receive: Receive) -> bytes | None:
    """Waits for the message of an accepted WebSocket that brings the token.

    Returns:
        The token, which may be a wrong one; empty where something else came or nothing did, and
        None where the client has gone.
    """
    try:
        async with asyncio.timeout(FIRST_MESSAGE_TIMEOUT):
            message = await receive()
    except TimeoutError:
        return b""
    return None if message["type"] == "websocket.disconnect" else _token_of(message)


def _token_of(message: Message) -> bytes:
    text = message.get("text")
    if text is None:
        return b""
    try:
        return msgspec.json.decode(text, type=_FirstMessage).token.encode()
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return b""


def accepted(receive: Receive, send: Send) -> tuple[Receive, Send]:
    """Shows a WebSocket that has been accepted as one that has not."""
    connected = False
    accepting = True

    async def receive_connect() -> Message:
        nonlocal connected
        if not connected:
            connected = True
            return {"type": "websocket.connect"}
        return await receive()

    async def send_accepted(message: Message) -> None:
        nonlocal accepting
        if accepting and message["type"] == "websocket.accept":
            accepting = False
            return
        await send(message)

    return receive_connect, send_accepted


async def close_unauthorised(send: Send, detail: str = "a token is needed") -> None:
    """Tells an accepted WebSocket why it is closed, and closes it."""
    message = wire.error_message(NOT_AUTHORISED, detail, temporary=False)
    await send({"type": "websocket.send", "text": f"[{message.decode()}]"})
    await send({"type": "websocket.close", "code": NOT_AUTHORISED, "reason": detail})
