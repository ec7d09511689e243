"""What filters leave of the parts: worked out once for all who filter alike."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from weakref import WeakValueDictionary

from watcher import wire
from watcher.history import Entry, Head
from watcher.hub.filters import Filter, Sieve
from watcher.wire import Message

_KEPT = 256

_Key = tuple[str, int, Filter]


class Sieves:
    """The filters in use, and what they left of recent parts.

    Args:
        head: as for `Sieve`.
        large: as for `Sieve`.
    """

    def __init__(
        self,
        head: Callable[[], Head],
        large: Callable[[str], tuple[str, bytes] | None],
    ) -> None:
        self._head = head
        self._large = large
        # Whoever filters holds its sieve; with the last of them it goes.
        self._sieves: WeakValueDictionary[Filter, Sieve] = WeakValueDictionary()
        self._left: OrderedDict[_Key, Message | None] = OrderedDict()
        self._under_way: dict[_Key, asyncio.Task[Message | None]] = {}

    def sieve(self, wanted: Filter) -> Sieve:
        """The sieve of a filter, shared by all who ask for it.

        Raises:
            BadFilter: its expression is too long.
        """
        found = self._sieves.get(wanted)
        if found is None:
            found = self._sieves[wanted] = Sieve(wanted, self._head, self._large)
        return found

    def left_now(self, sieve: Sieve, entry: Entry) -> Message | None:
        """What a filter that asks nobody leaves of a part; None where nothing is left.

        Raises:
            BadFilter: see `Sieve.sift`.
            ViewVoid: see `Sieve.sift`.
        """
        key = _key(sieve, entry)
        if key not in self._left:
            self._keep(key, _message(sieve.sift(entry.tail), entry))
        return self._left[key]

    async def left(self, sieve: Sieve, entry: Entry) -> Message | None:
        """Does the same for any filter; one that asks SQLite does so in a thread.

        Raises:
            BadFilter: see `Sieve.sift`.
            ViewVoid: see `Sieve.sift`.
        """
        if not sieve.is_costly:
            return self.left_now(sieve, entry)
        key = _key(sieve, entry)
        if key not in self._left:
            task = self._under_way.get(key)
            if task is None:
                task = asyncio.create_task(_sifted(sieve, entry))
                self._under_way[key] = task
                task.add_done_callback(lambda done: self._finish(key, done))
            # Whoever goes away while it runs does not take it from the others.
            return await asyncio.shield(task)
        return self._left[key]

    def _finish(self, key: _Key, task: asyncio.Task[Message | None]) -> None:
        del self._under_way[key]
        if not task.cancelled() and task.exception() is None:
            self._keep(key, task.result())

    def _keep(self, key: _Key, left: Message | None) -> None:
        self._left[key] = left
        if len(self._left) > _KEPT:
            self._left.popitem(last=False)


def _key(sieve: Sieve, entry: Entry) -> _Key:
    return entry.position.epoch, entry.seq, sieve.filter


async def _sifted(sieve: Sieve, entry: Entry) -> Message | None:
    return _message(await asyncio.to_thread(sieve.sift, entry.tail), entry)


def _message(tail: bytes | None, entry: Entry) -> Message | None:
    return None if tail is None else wire.changes_message(tail, entry.position)
