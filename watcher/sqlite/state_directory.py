"""The directory of a watched database's state: where it is and who holds it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from pathlib import Path

import platformdirs

from watcher.errors import StateUnavailable

# A reader that lost its server may need a moment to see that it has to stop.
_LOCK_SECONDS = 5.0
# What the lock file says, and by which a directory of ours is known.
_MARK = b"state of sqlite-watcher\n"


def default_directory(database: Path) -> Path:
    """The state directory of a database, under the user's own.

    Args:
        database: the resolved path of the database.
    """
    digest = hashlib.sha256(os.fsencode(database)).hexdigest()[:16]
    base = platformdirs.user_state_path("sqlite-watcher")
    # Recognisable, but of characters that are the same everywhere.
    name = re.sub(r"[^A-Za-z0-9._-]", "_", database.name)[:40]
    return base / f"{name}-{digest}"


class StateDirectory:
    """Holds a state directory for one reader.

    Args:
        path: the directory; made if it is missing. Another program's files are never overwritten:
            it must be empty or one of ours.
        database: the watched file, which must not lie in it.

    Raises:
        StateUnavailable: another reader holds it, it cannot be written or is not for us.
    """

    def __init__(self, path: Path, database: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.resolve() == database.parent:
                raise StateUnavailable(str(path), "the database itself is in it")
            self._require_ours()
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._acquire()
            os.pwrite(self._lock, _MARK, 0)
        except OSError as error:
            detail = f"cannot be used for the state ({error.strerror})"
            raise StateUnavailable(str(path), detail) from error

    def _require_ours(self) -> None:
        names = {entry.name for entry in self.path.iterdir()}
        lock = self.path / "lock"
        # Alone and empty it is a lock whose maker has not come to the mark yet.
        if names == {"lock"} and lock.stat().st_size == 0:
            return
        if names and ("lock" not in names or not _begins_with_mark(lock)):
            detail = "there are files in it that are not a watcher's state"
            raise StateUnavailable(str(self.path), detail)

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


def _begins_with_mark(lock: Path) -> bool:
    with lock.open("rb") as file:
        return file.read(len(_MARK)) == _MARK


def boot_id() -> str:
    """Names the present run of the operating system; empty where it has no name for it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
