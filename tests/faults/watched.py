"""A follower whose status can be waited for, and waiting for the end of any process."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable
from pathlib import Path

from tests.oracle.contents import Contents, contents, contents_of_file
from tests.oracle.follower import Follower
from watcher import ChangeSet, SchemaChange
from watcher.changes import Change, Op
from watcher.hub import Status
from watcher.sqlite.options import HoldLimits

# The machine may be busy with other things: nothing here should ever take so long.
PATIENCE = 30.0


class Watched(Follower):
    """A follower of the whole content of a database, whose status can be waited for.

    Args:
        path: the database.
        state: its state directory.
        poll: as for `watch`.
        hold: as for `watch`.
    """

    def __init__(
        self, path: Path, state: Path, *, poll: float | None = None, hold: HoldLimits | None = None
    ) -> None:
        super().__init__(path, state, poll=poll, hold=hold)
        self.path = path

    @property
    def status(self) -> Status:
        """What is known of the file at this moment."""
        return self._stream.status

    @property
    def reader_pid(self) -> int | None:
        """Process id of the reader, None between two."""
        assert self._stream._hub is not None
        return self._stream._hub.reader_pid

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Waits until a condition holds; it is looked at whenever there is news."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    await self._news()
        except TimeoutError:
            raise AssertionError(f"not {what}, but {self.status}") from None

    async def _news(self) -> None:
        assert self._stream._hub is not None
        assert self._task is not None
        self._moved.clear()
        moved = asyncio.create_task(self._moved.wait())
        await asyncio.wait(
            (self._stream._hub.wake, moved, self._task), return_when=asyncio.FIRST_COMPLETED
        )
        moved.cancel()
        if self._task.done():
            self._task.result()

    async def until_status(self, *states: str) -> Status:
        """Waits until the status is one of these."""
        await self.until(lambda: self.status.state in states, f"{states}")
        return self.status

    async def until_rows(self, count: int) -> None:
        """Waits until so many row changes have come since the content was complete."""
        await self.until(lambda: len(self.rows()) >= count, f"{count} changes")

    async def caught_up(self) -> None:
        """Waits until the replica equals the file, and the status says that all is well."""
        await self.until_equal(contents_of_file(self.path), PATIENCE)
        await self.until_status("ok")

    async def begun(self) -> None:
        """Waits until the whole content has come."""
        await self.until(lambda: any(c.position for c in self.received), "live")

    def _check_order(self, changeset: ChangeSet) -> None:
        before = [c.position for c in self.received if c.position is not None]
        if before and changeset.position and changeset.position.epoch == before[-1].epoch:
            assert changeset.position.offset == before[-1].offset + 1, "offsets have a gap"

    @property
    def held(self) -> Contents:
        """What the replica holds."""
        return contents(self.replica)

    def live(self) -> list[ChangeSet]:
        """The changesets since the content was complete."""
        places = [n for n, changeset in enumerate(self.received) if changeset.position]
        first = places[0] if places else len(self.received)
        return self.received[first + 1 :]

    def rows(self) -> list[Change]:
        """The row changes since the content was complete."""
        return [c for cs in self.live() for c in cs.changes if not isinstance(c, SchemaChange)]

    def operations(self) -> list[Op]:
        """What happened to the schema and to rows since the content was complete."""
        return [change.op for changeset in self.live() for change in changeset.changes]


def ended(pid: int) -> Callable[[], bool]:
    """Makes a function that waits for a process to end; True if it does so in time.

    Args:
        pid: a process that still exists, not necessarily a child of this one.
    """
    descriptor = os.pidfd_open(pid)

    def wait() -> bool:
        found = select.select([descriptor], [], [], PATIENCE)[0]
        os.close(descriptor)
        return bool(found)

    return wait
