"""Looks through a connection: `PRAGMA data_version` and a copy made under a read lock.

A lower grade, for systems where the means of `capture.py` do not exist, for network file systems
and for `--poll`. It takes SHARED locks: a writer without a busy timeout can meet SQLITE_BUSY, and
in WAL mode the connection makes side files that are not there. Each change costs a copy of the
file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path

import apsw

from watcher.errors import DatabaseUnavailable
from watcher.sqlite.captured import Captured, Discontinuity, NotQuiet
from watcher.sqlite.fileformat import HEADER_SIZE, NotADatabase, parse_header
from watcher.sqlite.files import DatabaseFiles, Identity, RawFile, identify
from watcher.sqlite.first_copy import FirstCopy
from watcher.sqlite.names import file_uri
from watcher.sqlite.shadow import Pending, Shadow
from watcher.sqlite.whole_file import compare_file, nothing_newer

_CLOSED = (
    "has no -shm file, and its owner could not open one that we make; it will be read once a"
    " program of its owner has opened it"
)
_NEEDS_RECOVERY = (apsw.SQLITE_READONLY_ROLLBACK, apsw.SQLITE_READONLY_RECOVERY)


class PollCapture:
    """See `watcher.sqlite.captured.Capture`.

    Args:
        files: descriptors of the watched file; opened before the connection, closed after it.
        directory: the state directory, for the copy.
    """

    def __init__(self, files: DatabaseFiles, directory: Path) -> None:
        self._files = files
        self._copy = RawFile(directory / "copy.db")
        self._db: apsw.Connection | None = None
        self._connected_to: Identity | None = None
        self._seen: tuple[Identity | None, int] | None = None

    def changed(self) -> bool:
        """Asks `PRAGMA data_version`, and whether the file is another one or was copied over."""
        found = identify(self._files.path)
        if found is None or found.size == 0 or not self._is_connected_to(found):
            return True
        return self._seen != (found, self._data_version())

    def _is_connected_to(self, found: Identity) -> bool:
        return self._connected_to is not None and found.is_same_file(self._connected_to)

    def _data_version(self) -> int:
        assert self._db is not None
        self._require_harmless()
        with self._naming_obstacles():
            return int(self._db.execute("PRAGMA data_version").get)

    def _require_harmless(self) -> None:
        """In WAL mode whoever comes first makes the side files, and only he can write them.

        As root SQLite gives them to the owner of the database; all others must wait for him.

        Raises:
            DatabaseUnavailable: its owner could not open the database after us.
        """
        owner = os.fstat(self._files.main.descriptor).st_uid
        if os.geteuid() in (0, owner) or self._files.index.path.exists():
            return
        # The version for readers, in the header of the file.
        if self._files.main.read(1, 19) == b"\2":
            self._disconnect()
            raise DatabaseUnavailable(str(self._files.path), "closed", _CLOSED)

    def follow(self, shadow: Shadow, pending: Pending) -> Captured | None:  # noqa: ARG002 - the protocol's
        """See `Capture`: a connection tells states, not commits."""
        raise Discontinuity("read through a connection")

    def capture(self, shadow: Shadow, pending: Pending) -> Captured:
        """See `Capture`."""
        found = identify(self._files.path)
        if found is None or not self._is_connected_to(found):
            self._disconnect()
            self._connected_to = found = self._connect()
        if found.size == 0:
            return self._empty(shadow, pending)
        version = self._data_version()
        self._back_up()
        captured = self._compare(shadow, pending)
        self._seen = (found, version)
        return captured

    def _connect(self) -> Identity:
        # Closing a descriptor drops the connection's locks, so all are closed before it is opened.
        main = self._files.main.refresh()
        if main is None:
            raise DatabaseUnavailable(str(self._files.path), "missing", "there is no such file")
        if main.size:
            self._require_header()
        try:
            self._db = apsw.Connection(
                file_uri(self._files.path, mode="ro"),
                flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
            )
        except apsw.CantOpenError as error:
            raise DatabaseUnavailable(str(self._files.path), "unreadable", str(error)) from error
        return main

    def _require_header(self) -> None:
        try:
            parse_header(self._files.main.read(HEADER_SIZE, 0))
        except NotADatabase:
            raise _not_a_database(self._files.path) from None

    def _empty(self, shadow: Shadow, pending: Pending) -> Captured:
        if shadow.page_count:
            raise DatabaseUnavailable(str(self._files.path), "missing", "the file has become empty")
        pending.begin(0)
        return Captured(0, 0, None)

    def _back_up(self) -> None:
        assert self._db is not None
        # A file copied over with an equal change counter: what is cached may be of the old one.
        self._db.execute("PRAGMA shrink_memory").fetchall()
        self._copy.close()
        # What the last copy was, perhaps no database at all, must not be in the way.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        os.close(os.open(self._copy.path, flags, 0o600))
        with closing(apsw.Connection(str(self._copy.path))) as target:
            for pragma in ("journal_mode=OFF", "synchronous=OFF"):
                target.execute(f"PRAGMA {pragma}").fetchall()
            with self._naming_obstacles(), target.backup("main", self._db, "main") as backup:
                backup.step(-1)

    @contextmanager
    def _naming_obstacles(self) -> Iterator[None]:
        try:
            yield
        except (apsw.BusyError, apsw.LockedError):
            raise NotQuiet("writing") from None
        except (
            apsw.CorruptError,
            apsw.NotADBError,
            apsw.ReadOnlyError,
            apsw.CantOpenError,
        ) as error:
            # What the connection remembers of it may outlast the cause.
            self._disconnect()
            raise _unavailable(self._files.path, error) from error

    def _compare(self, shadow: Shadow, pending: Pending) -> Captured:
        found = self._copy.refresh()
        header = parse_header(self._copy.read(HEADER_SIZE, 0))
        page_count = header.page_count or (found.size if found else 0) // header.page_size
        pending.begin(header.page_size)
        pending.page_count = page_count
        compare_file(self._copy, page_count, shadow, pending, nothing_newer)
        return Captured(header.page_size, page_count, None)

    def meanwhile(self, pages: int) -> AbstractContextManager[None]:  # noqa: ARG002 - the protocol's
        """See `Capture`: nothing can be missed."""
        return nullcontext()

    def settle(self, captured: Captured | None) -> None:
        """See `Capture`."""

    def is_being_written(self) -> bool:
        """See `Capture`: there are no events at all."""
        return False

    def first_copy(self, shadow: Shadow) -> FirstCopy | None:  # noqa: ARG002 - the protocol's
        """See `Capture`."""
        return None

    def resume(self, place: bytes) -> None:
        """See `Capture`."""

    def _disconnect(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
        self._connected_to = self._seen = None
        self._files.close()

    def close(self) -> None:
        """See `Capture`."""
        self._disconnect()
        self._copy.close()


def _unavailable(path: Path, error: apsw.Error) -> DatabaseUnavailable:
    # The stubs of apsw do not know the field.
    if getattr(error, "extendedresult", None) in _NEEDS_RECOVERY:
        detail = "a writer died in mid-commit; SQLite will recover the database"
        return DatabaseUnavailable(str(path), "needs_recovery", detail)
    if isinstance(error, apsw.NotADBError):
        return _not_a_database(path)
    if isinstance(error, apsw.CantOpenError | apsw.ReadOnlyError):
        # Mostly the side files, which cannot be made where the directory cannot be written.
        return DatabaseUnavailable(str(path), "unreadable", f"cannot be opened ({error})")
    return DatabaseUnavailable(str(path), "corrupt", f"cannot be read by SQLite ({error})")


def _not_a_database(path: Path) -> DatabaseUnavailable:
    detail = "is not a SQLite database, or it is encrypted"
    return DatabaseUnavailable(str(path), "not_a_database", detail)
