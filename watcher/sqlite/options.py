"""What the reader process is told at its start."""

from __future__ import annotations

import msgspec


class Options(msgspec.Struct, frozen=True):
    """Passed to the reader process as JSON.

    Args:
        path: the database, resolved; bytes, because not every name is text.
        state: the state directory.
        poll: seconds between looks with `PRAGMA data_version` on a connection; None to read raw.
        seconds: age of the history.
        changesets: length of the history.
        size: bytes of the history.
    """

    path: bytes
    state: bytes
    poll: float | None
    seconds: float
    changesets: int
    size: int
