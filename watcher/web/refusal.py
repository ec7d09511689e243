"""How a request is turned away, and the few things about a scope that every layer asks."""

from __future__ import annotations

import json
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

_RESPONSE = "websocket.http.response"
_POLICY_VIOLATION = 1008


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is turned away.

    Args:
        status: HTTP status code.
        detail: one sentence for a person.
        retry_after: seconds after which it is worth another try, None where time mends nothing.
    """

    status: int
    detail: str
    retry_after: int | None = None


def header_values(scope: Scope, name: bytes) -> list[str]:
    """All values of one header, in order; `name` in lower case."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def route_path(scope: Scope) -> str:
    """The path below the point where the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(root + "/") else path


def answers_over_http(scope: Scope) -> bool:
    """Whether a WebSocket can still be answered with an HTTP status."""
    return _RESPONSE in scope.get("extensions", {})


def without_answers_over_http(scope: Scope) -> Scope:
    """The scope of a WebSocket that has been accepted: too late for an HTTP status."""
    extensions = dict(scope.get("extensions", {}))
    extensions.pop(_RESPONSE, None)
    return {**scope, "extensions": extensions}


async def refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with a status and `{"detail": sentence}`, also a WebSocket before it is accepted."""
    prefix = ""
    if scope["type"] == "websocket":
        await receive()
        if not answers_over_http(scope):
            reason = {"code": _POLICY_VIOLATION, "reason": refusal.detail}
            await send({"type": "websocket.close", **reason})
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
    if refusal.retry_after is not None:
        headers.append((b"retry-after", b"%d" % refusal.retry_after))
    start = {"type": prefix + "http.response.start", "status": refusal.status, "headers": headers}
    await send(start)
    await send({"type": prefix + "http.response.body", "body": body})
