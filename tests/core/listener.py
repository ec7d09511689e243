"""A subscriber that can be asked for messages one by one, and a hub for it to listen to."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from watcher.hub import Hub, Message, Subscription

# The machine may be busy with other things: nothing here should ever take so long.
PATIENCE = 30.0


class Listener:
    """Reads a subscription message by message.

    Args:
        subscription: what to read.
    """

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._waiting: deque[Message] = deque()

    async def next(self) -> Message:
        """Waits for the next message."""
        async with asyncio.timeout(PATIENCE):
            while not self._waiting:
                self._waiting.extend(await self._subscription.next())
        return self._waiting.popleft()

    async def until(self, type_: str) -> list[Message]:
        """The messages up to and including the next one of a type."""
        messages = [await self.next()]
        while messages[-1].type != type_:
            messages.append(await self.next())
        return messages

    async def ready(self) -> Message:
        """Waits until it is live."""
        return (await self.until("ready"))[-1]

    async def changes(self) -> dict[str, Any]:
        """The next `changes` message."""
        return body((await self.until("changes"))[-1])


def body(message: Message) -> dict[str, Any]:
    """What a message says."""
    found: dict[str, Any] = json.loads(message.data)
    assert found["type"] == message.type
    return found


def types(messages: list[Message]) -> list[str]:
    """The types of messages, in order."""
    return [message.type for message in messages]


async def until(hub: Hub, condition: Callable[[], object]) -> None:
    """Waits until something is so; it is looked at whenever the hub has news."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.wait((hub.wake,))


@asynccontextmanager
async def opened(path: Path, **options: Any) -> AsyncIterator[Hub]:
    """A hub that is live and has said so; its state lies beside the file."""
    options.setdefault("state", path.parent / "state")
    async with Hub(path, **options) as hub:
        await until(hub, lambda: hub.head.epoch and hub.status.state == "ok")
        yield hub
