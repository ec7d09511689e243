"""The directory of a watched database's state: where it is and who holds it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from pathlib import Path

import platformdirs

from watcher.errors import StateUnavailable

# A reader that lost its server may need a moment to see that it has to stop.
_LOCK_SECONDS = 5.0


def default_directory(database: Path) -> Path:
    """The state directory of a database, under the user's own.

    Args:
        database: the resolved path of the database.
    """
    digest = hashlib.sha256(os.fsencode(database)).hexdigest()[:16]
    base = platformdirs.user_state_path("sqlite-watcher")
    return base / f"{database.name[:40]}-{digest}"


class StateDirectory:
    """Holds a state directory for one reader.

    Args:
        path: the directory; made if it is missing.

    Raises:
        StateUnavailable: another reader holds it, or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            detail = f"cannot be used for the state ({error.strerror})"
            raise StateUnavailable(str(path), detail) from error
        self._acquire()

    def _acquire(self) -> None:
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(self._lock)
                    detail = "another daemon is watching this database with this state directory"
                    raise StateUnavailable(str(self.path), detail) from None
                time.sleep(0.02)

    def close(self) -> None:
        """Lets go of the directory."""
        os.close(self._lock)


def boot_id() -> str:
    """Names the present run of the operating system; empty where it has no name for it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
