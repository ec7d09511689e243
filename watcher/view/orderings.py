"""The orders of one database's tables: shared by all who ask for the same, and not many."""

from __future__ import annotations

import asyncio
import logging
import time

from watcher.errors import UnknownTable
from watcher.hub import Filter, Hub
from watcher.view.index import TooLarge
from watcher.view.order import Wanted
from watcher.view.ordering import Ordering

_log = logging.getLogger(__name__)

MAX_ORDERINGS = 6
"""Orders that are kept at once; the one unused for longest goes first."""

# So long it is taken for granted that a table is too large.
_TOO_LARGE_SECONDS = 30.0


class Orderings:
    """Makes orders when they are first asked for.

    Args:
        hub: the watched database.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._tasks: dict[Wanted, tuple[Ordering, asyncio.Task[None]]] = {}

    def get(self, wanted: Wanted) -> Ordering:
        """The order that is wanted, perhaps still to be built.

        Raises:
            UnknownTable: no watched table has the name.
            BadFilter: the condition does not fit the table.
        """
        tables = [table for table in self._hub.head.tables if table.name == wanted.table]
        if self._hub.head.epoch and not tables:
            raise UnknownTable(wanted.table)
        if wanted.where is not None:
            wanted_rows = Filter.of(tables=(wanted.table,), where=wanted.where)
            self._hub.sieves.sieve(wanted_rows).check(tables)
        found = self._tasks.get(wanted)
        if found is not None and not found[1].done():
            return found[0]
        if found is not None and _is_lasting(found[0]):
            return found[0]
        self._make_room()
        ordering = Ordering(self._hub, wanted)
        task = asyncio.create_task(ordering.run())
        task.add_done_callback(_report)
        self._tasks[wanted] = (ordering, task)
        return ordering

    def _make_room(self) -> None:
        for wanted, (_, task) in list(self._tasks.items()):
            if task.done():
                del self._tasks[wanted]
        while len(self._tasks) >= MAX_ORDERINGS:
            oldest = min(self._tasks, key=lambda wanted: self._tasks[wanted][0].used)
            _, task = self._tasks.pop(oldest)
            task.cancel()


def _is_lasting(ordering: Ordering) -> bool:
    is_recent = time.monotonic() - ordering.used < _TOO_LARGE_SECONDS
    return isinstance(ordering.failure, TooLarge) and is_recent


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("an order of a table was given up", exc_info=error)
