"""A place in a hub's history that moves exactly as far as it is told."""

from __future__ import annotations

from collections.abc import Iterator

from watcher.changes import Position, ResetReason
from watcher.history import Entry, sequence
from watcher.hub import Hub


class Void(Exception):
    """What has been built from the stream cannot be kept up to date, and has to be built anew."""


class Cursor:
    """Reads the history on from a position, changeset by changeset.

    Args:
        hub: whose history it is.
        position: where to begin.
    """

    def __init__(self, hub: Hub, position: str) -> None:
        self._hub = hub
        self.position = Position.parse(position)

    @property
    def is_at_head(self) -> bool:
        """Whether there is nothing to read."""
        head = self._hub.head
        return head.epoch == self.position.epoch and head.offset <= self.position.offset

    def behind(self, position: Position) -> bool:
        """Whether a position of the same epoch has not been reached."""
        return position.epoch == self.position.epoch and position.offset > self.position.offset

    def batches(self, position: Position | None = None) -> Iterator[list[Entry]]:
        """Yields what came up to a position, in batches; the cursor is there when all are taken.

        Args:
            position: where to stop; None for where the history stands now.

        Raises:
            Void: the history does not have what is behind the cursor, or is another one.
        """
        head = self._hub.head
        if not head.epoch:
            # The next reader is starting; its epoch will tell.
            return
        target = head.offset if position is None else position.offset
        if (position or head.position).epoch != self.position.epoch:
            raise Void
        place, until = sequence(self.position.offset, None), sequence(target, None)
        while place < until:
            found = self._hub.after(self.position.epoch, place, until=until)
            if isinstance(found, ResetReason):
                raise Void
            if not found:
                break
            yield [entry for entry, _ in found]
            newest = found[-1][0]
            place = newest.seq
            if newest.last:
                self.position, place = newest.position, sequence(newest.position.offset, None)
