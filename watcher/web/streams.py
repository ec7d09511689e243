"""The stream over plain HTTP: server-sent events, long polling, and the content in one answer."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Collection, Mapping
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from watcher.errors import ReaderStopped
from watcher.hub import Hub, Message, Subscription
from watcher.web.problems import problems
from watcher.web.request import FILTERS, STREAM, BadParameter, StreamRequest, single
from watcher.web.streaming import MessageStream

MAX_WAIT = 60.0
"""Seconds a long poll may wait."""
MAX_LIMIT = 1000
"""Parts a long poll may ask for."""

_WAIT = 20.0
# Seconds to wait for the first position, which is there unless the reader has just begun.
_PATIENCE = 5.0
_LIMIT = 100
# Milliseconds after which a browser comes back by itself; at random, for a restart of the service
# must not bring all of them at once.
_RETRY = (1000, 5000)
# A proxy in front must not collect what is to arrive at once.
_UNBUFFERED = {"x-accel-buffering": "no"}
_POLL = FILTERS | {"since", "limit", "wait"}

_TEXT = {"type": "string"}
_SCHEMAS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "since": ("Go on after this position.", _TEXT),
    "snapshot": ("First the content, where there is no position.", {"type": "boolean"}),
    "tables": ("Only these tables, separated by commas.", _TEXT),
    "columns": ("Only these columns, each `column` or `table.column`, and keys.", _TEXT),
    "ops": ("Only these of insert, update and delete, separated by commas.", _TEXT),
    "where": ("Only rows of which this SQL expression over their columns is true.", _TEXT),
    "wait": (
        "Seconds to wait where there is nothing new.",
        {"type": "number", "minimum": 0, "maximum": MAX_WAIT, "default": _WAIT},
    ),
    "limit": (
        "Parts of changesets at most.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": _LIMIT},
    ),
}


class ChangesPage(BaseModel):
    """What a long poll answers."""

    messages: list[dict[str, Any]] = Field(description="As on the WebSocket.")
    position: str = Field(description="Send it as `since` of the next request.")


def stream_routes(hub: Hub, *, send_timeout: float) -> APIRouter:
    """The routes that stream over HTTP.

    Args:
        hub: the watched database.
        send_timeout: seconds a client may take to make room.
    """
    failures = problems(
        _404="A table is named that is not watched.",
        _422="A parameter is unknown or malformed, or does not fit the tables.",
        _503="The service is stopping, or has no first copy of the file yet.",
    )
    router = APIRouter(tags=["changes"], responses=failures)

    def subscribe(request: Request, allowed: Collection[str], **fixed: bool) -> Subscription:
        asked = StreamRequest.parse(
            request.query_params,
            {table.name for table in hub.tables()},
            allowed=allowed,
            last_event=request.headers.get("last-event-id"),
        )
        snapshot = fixed.get("snapshot", asked.snapshot)
        return hub.subscribe(since=asked.since, snapshot=snapshot, wanted=asked.wanted)

    async def events(request: Request) -> Response:
        """The messages of the WebSocket as events: `id` is the position, `event` the type."""
        return MessageStream(
            hub,
            subscribe(request, STREAM),
            event,
            transport="events",
            media_type="text/event-stream",
            first=b"retry: %d\n\n" % random.randint(*_RETRY),
            headers=_UNBUFFERED,
            send_timeout=send_timeout,
        )

    described = {"parameters": _parameters("since", "snapshot", *sorted(FILTERS))}
    router.add_api_route(
        "/events",
        events,
        response_class=Response,
        responses={200: {"content": {"text/event-stream": {}}}},
        summary="Changes as server-sent events",
        openapi_extra=described,
    )
    router.add_api_route("/events/", events, include_in_schema=False)

    @router.get(
        "/changes",
        response_model=ChangesPage,
        summary="Changes since a position, or the next ones",
        openapi_extra={"parameters": _parameters(*sorted(_POLL))},
    )
    async def changes(request: Request) -> Response:
        """Without `since` it answers at once, with the present position."""
        since = single(request.query_params, "since")
        wait = _number(request, "wait", _WAIT, 0, MAX_WAIT)
        limit = int(_number(request, "limit", _LIMIT, 1, MAX_LIMIT))
        with hub.meter.connected("poll"), subscribe(request, _POLL) as subscription:
            messages = await _poll(subscription, 0.0 if since is None else wait)
        return _page(messages, limit, since, subscription.reached)

    @router.get(
        "/snapshot",
        response_class=Response,
        responses={200: {"content": {"application/x-ndjson": {}}}},
        summary="The whole content, as lines",
        openapi_extra={"parameters": _parameters(*sorted(FILTERS))},
    )
    async def snapshot(request: Request) -> Response:
        """A message of the stream on each line, from `hello` to `ready`."""
        return MessageStream(
            hub,
            subscribe(request, FILTERS, snapshot=True),
            line,
            transport="snapshot",
            media_type="application/x-ndjson",
            until="ready",
            headers=_UNBUFFERED,
            send_timeout=send_timeout,
        )

    return router


def event(message: Message) -> bytes:
    """Makes the event of a message, see https://html.spec.whatwg.org/#event-stream-interpretation.

    A heartbeat is an id alone, which moves the browser's position and calls nobody. A reset takes
    the position away: to come back with the old one would skip the content.
    """
    if message.type == "heartbeat":
        return b"id: %b\n\n" % (message.position or "").encode()
    identity = b""
    if message.type == "reset":
        identity = b"id:\n"
    elif message.position is not None:
        identity = b"id: %b\n" % message.position.encode()
    return b"event: %b\n%bdata: %b\n\n" % (message.type.encode(), identity, message.data)


def line(message: Message) -> bytes:
    """Makes the line of a message."""
    return message.data + b"\n"


async def _poll(subscription: Subscription, wait: float) -> list[Message]:
    """Takes what is there, or else waits for something that is news."""
    clock = asyncio.get_running_loop().time
    messages: list[Message] = []
    until = clock() + wait
    while not _is_answer(messages) and (clock() < until or not _has_position(messages)):
        # Where it stands is told at once, or there is nothing to tell yet.
        patience = until if _has_position(messages) else max(until, clock() + _PATIENCE)
        try:
            async with asyncio.timeout_at(patience):
                messages += await subscription.next()
        except TimeoutError:
            break
    return messages


def _is_answer(messages: list[Message]) -> bool:
    types = [message.type for message in messages]
    # After a reset only `ready` says from where to go on.
    return "ready" in types if "reset" in types else "changes" in types


def _has_position(messages: list[Message]) -> bool:
    return any(_reached(message) is not None for message in messages)


def _reached(message: Message) -> str | None:
    """The position of which a message says that the client has all up to there."""
    # That of `hello` is the head of the history, which may lie far ahead.
    return None if message.type == "hello" else message.position


def _page(messages: list[Message], limit: int, since: str | None, reached: str | None) -> Response:
    """Makes the answer; who goes on from a position is not greeted each time."""
    position: str | None = None
    is_begin = since is None or any(message.type == "reset" for message in messages)
    kept: list[bytes] = []
    for message in messages:
        limit -= message.type == "changes"
        if limit < 0:
            break
        position = _reached(message) or position
        if is_begin or message.type not in {"hello", "ready", "heartbeat"}:
            kept.append(message.data)
    # A stretch of which nothing was wanted is behind it too.
    position = position or reached or since
    if position is None:
        raise ReaderStopped("the first copy is not complete")
    body = b'{"messages":[%b],"position":"%b"}' % (b",".join(kept), position.encode())
    return Response(body, media_type="application/json")


def _number(request: Request, name: str, default: float, least: float, most: float) -> float:
    text = single(request.query_params, name)
    try:
        number = default if text is None else float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise BadParameter(name, f"must be a number from {least:g} to {most:g}")
    return number


def _parameters(*names: str) -> list[dict[str, Any]]:
    """Describes query parameters for the OpenAPI document."""
    return [
        {"name": name, "in": "query", "required": False, "description": text, "schema": schema}
        for name in names
        for text, schema in (_SCHEMAS[name],)
    ]
