"""Subscribers that have everything: what comes next is encoded once and written to all of them.

A subscriber with a task of its own costs a wake-up and an encoding for each message. Here a group
of those who stand at the same place with the same filter is one entry: the frame is made once, and
each member only writes it. Who has no room is sent back to its own cursor, where it is waited for,
and comes again when it has caught up; so nobody holds up another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from watcher import wire
from watcher.changes import ResetReason
from watcher.errors import BadFilter
from watcher.history import Entry
from watcher.hub.filters import Sieve, ViewVoid
from watcher.wire import Message

if TYPE_CHECKING:
    from watcher.hub.hub import Hub

_log = logging.getLogger(__name__)

_FRAME_BYTES = 256 * 1024
_FRAMES_AT_ONCE = 4

Encode = Callable[[Sequence[Message]], bytes]
"""Makes of messages what is written to a socket."""


class Outlet(Protocol):
    """Where the messages of one client go."""

    @property
    def encode(self) -> Encode:
        """How messages are written; the same object for all outlets of a kind."""

    def write(self, data: bytes) -> bool:
        """Writes what `encode` made, without waiting; False where there is no room for it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a subscriber stands.

    Args:
        epoch: of the history.
        place: number of the part it has read last.
        position: the same, as clients see it.
    """

    epoch: str
    place: int
    position: str


class Audience:
    """All groups of a hub.

    Args:
        hub: whose history is written.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._groups: dict[tuple[Sieve | None, Encode], _Group] = {}

    def __len__(self) -> int:
        return sum(len(group.members) for group in self._groups.values())

    async def stay(self, sieve: Sieve | None, outlet: Outlet, standing: Standing) -> Standing:
        """Waits among those who are at the head, until this one must go on by itself.

        Args:
            sieve: its filter, None for none; one that asks nobody.
            outlet: where its messages go.
            standing: the head of the history, all of which it has been sent.

        Returns:
            Where it stands now.
        """
        key = (sieve, outlet.encode)
        group = self._groups.get(key)
        if group is not None and not group.members:
            # All of it were sent away in the midst of much; it stands where they do, not here.
            group.close()
            group = None
        if group is None:
            group = self._groups[key] = _Group(self._hub, sieve, outlet.encode, standing)
        assert (group.standing.epoch, group.standing.place) == (standing.epoch, standing.place)
        try:
            return await group.stay(outlet)
        finally:
            if not group.members and self._groups.get(key) is group:
                group.close()
                del self._groups[key]

    def publish(self) -> None:
        """Writes what is new."""
        for group in list(self._groups.values()):
            try:
                group.publish()
            except Exception:  # noqa: BLE001 - logged, and met again where it belongs
                # Each member meets it in its own task, and nobody else does.
                _log.exception("the members of a group go on one by one")
                group.dismiss()

    def dismiss(self) -> None:
        """Sends everyone back to its own cursor, because there is news of another kind."""
        for group in list(self._groups.values()):
            group.dismiss()


class _Group:
    """Those who read alike."""

    def __init__(self, hub: Hub, sieve: Sieve | None, encode: Encode, standing: Standing) -> None:
        self._hub = hub
        self._sieve = sieve
        self._encode = encode
        self.standing = standing
        self.members: dict[Outlet, asyncio.Future[Standing]] = {}
        self._loop = asyncio.get_running_loop()
        self._written = self._loop.time()
        self._heartbeat = self._loop.call_later(hub.heartbeat, self._beat)

    async def stay(self, outlet: Outlet) -> Standing:
        future: asyncio.Future[Standing] = self._loop.create_future()
        self.members[outlet] = future
        try:
            return await future
        finally:
            self.members.pop(outlet, None)

    def publish(self) -> None:
        for _ in range(_FRAMES_AT_ONCE):
            standing = self.standing
            found = self._hub.after(standing.epoch, standing.place, max_bytes=_FRAME_BYTES)
            if isinstance(found, ResetReason):
                break
            if not found or not self.members:
                return
            try:
                messages = self._sifted(found)
            except (BadFilter, ViewVoid):
                break
            self._write(messages)
            newest, message = found[-1]
            self.standing = Standing(standing.epoch, newest.seq, message.position or "")
            self._hub.meter.delivered(found[0][0].time, len(self.members))
        # What else there is each of them finds out, or reads, for itself.
        self.dismiss()

    def _sifted(self, found: list[tuple[Entry, Message]]) -> list[Message]:
        if self._sieve is None:
            return [message for _, message in found]
        left = (self._hub.sieves.left_now(self._sieve, entry) for entry, _ in found)
        return [message for message in left if message is not None]

    def _write(self, messages: list[Message]) -> None:
        if not messages:
            return
        data = self._encode(messages)
        full = [outlet for outlet in self.members if not outlet.write(data)]
        for outlet in full:
            self._release(outlet)
        self._written = self._loop.time()

    def _release(self, outlet: Outlet) -> None:
        # At once no member any more: until its task runs nothing may be written past it.
        future = self.members.pop(outlet)
        if not future.done():
            future.set_result(self.standing)

    def dismiss(self) -> None:
        for outlet in list(self.members):
            self._release(outlet)

    def _beat(self) -> None:
        silence = self._loop.time() - self._written
        if silence >= self._hub.heartbeat:
            self._write([wire.heartbeat_message(self.standing.position)])
            silence = 0.0
        self._heartbeat = self._loop.call_later(self._hub.heartbeat - silence, self._beat)

    def close(self) -> None:
        self._heartbeat.cancel()
