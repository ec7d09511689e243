"""What the reader process is told at its start."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from watcher.sqlite.exclusion import NOTHING, Exclusion


@dataclass(frozen=True, slots=True)
class HoldLimits:
    """How far a reader that is behind may keep a write-ahead log from being restarted.

    Args:
        seconds: for how long at a time; 0 never holds it.
        bytes: how large it may become; 0 never holds it.
    """

    seconds: float = 10.0
    bytes: int = 256 * 1024 * 1024

    @property
    def is_off(self) -> bool:
        """Whether the log is never held."""
        return self.seconds <= 0 or self.bytes <= 0


class Options(msgspec.Struct, frozen=True):
    """Passed to the reader process as JSON.

    Args:
        path: the database, resolved; bytes, because not every name is text.
        state: the state directory.
        poll: seconds between looks with `PRAGMA data_version` on a connection; None to read raw.
        seconds: age of the history.
        changesets: length of the history.
        size: bytes of the history.
        hold_seconds: for how long the log may be held at a time; 0 for never.
        hold_bytes: how large a log that is held may become; 0 for never.
        hold_note: descriptor of the note that tells of a hold, None where nobody reads it.
        exclusion: what takes no part.
    """

    path: bytes
    state: bytes
    poll: float | None
    seconds: float
    changesets: int
    size: int
    hold_seconds: float = 0.0
    hold_bytes: int = 0
    hold_note: int | None = None
    exclusion: Exclusion = NOTHING

    @property
    def hold(self) -> HoldLimits:
        """The limits of a hold."""
        return HoldLimits(self.hold_seconds, self.hold_bytes)
