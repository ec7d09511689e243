"""What the reader process tells of its hold on the log, for its supervisor to see at any time.

A few bytes of memory that both have open. The channel would not do: that a hold is over has to be
told by another thread, while the event loop is busy with one long commit, and it has to be known of
a reader that was stopped and says nothing any more.
"""

from __future__ import annotations

import os
import struct
import sys
from typing import Self

_UNTIL = struct.Struct("=d")


class HoldNote:
    """Until when the reader means to hold the log.

    Args:
        descriptor: of the shared memory; closed with the note.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def create(cls) -> Self | None:
        """Makes a note to be handed to a child process; None on systems where no log is held."""
        if sys.platform != "linux":
            return None
        return cls(os.memfd_create("hold", os.MFD_CLOEXEC))

    def write(self, until: float) -> None:
        """Notes a hold.

        Args:
            until: the time on the monotonic clock, which all processes share, when it ends at the
                latest.
        """
        os.pwrite(self.descriptor, _UNTIL.pack(until), 0)

    def clear(self) -> None:
        """Notes that there is none."""
        self.write(0.0)

    def read(self) -> float | None:
        """The end of the present hold, None where there is none."""
        data = os.pread(self.descriptor, _UNTIL.size, 0)
        return (_UNTIL.unpack(data)[0] or None) if data else None

    def close(self) -> None:
        """Lets go of it; idempotent."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
