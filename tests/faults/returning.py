"""A follower that comes back with the position and the replica it has left with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.faults.watched import Watched
from watcher import ResetReason, watch


@dataclass(frozen=True, slots=True)
class Left:
    """What a follower takes along.

    Args:
        position: of the last changeset it has applied.
        content: its replica.
    """

    position: str
    content: bytes

    @classmethod
    def by(cls, follower: Watched) -> Self:
        """What a follower has at this moment."""
        positions = [str(c.position) for c in follower.received if c.position is not None]
        return cls(positions[-1], follower.replica.serialize())

    @property
    def epoch(self) -> str:
        """The epoch of the position."""
        return self.position.partition(":")[0]


class Returning(Watched):
    """A follower that goes on where another has left.

    Args:
        path: the database.
        state: its state directory.
        left: what it starts from.
        poll: as for `watch`.
    """

    def __init__(self, path: Path, state: Path, left: Left, *, poll: float | None = None) -> None:
        super().__init__(path, state)
        self._stream = watch(path, state=state, since=left.position, snapshot=True, poll=poll)
        self.replica.deserialize(left.content)

    @property
    def resets(self) -> list[ResetReason]:
        """Why the content was sent anew, each time it was."""
        return [changeset.reset for changeset in self.received if changeset.reset is not None]
