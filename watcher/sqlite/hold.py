"""Keeps the log of a watched database from being restarted while the reader is far behind.

A writer restarts the log when all of it has been copied into the main file, and must find all read
locks of the wal-index free for it: an exclusive lock on the slots 1 to 4 (sqlite.org/walformat.html
2.3.2). A hold is a shared lock on one of them, as any reader of the database takes it, but without
a connection. `docs/design.md`, "Hold", tells what it does to others.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time

from watcher.sqlite.fileformat import (
    FRAME_HEADER_SIZE,
    WAL_HEADER_SIZE,
    WAL_INDEX_HEADER_SIZE,
    WAL_INDEX_USERS_BYTE,
    WAL_WRITE_BYTE,
    parse_wal_index,
)
from watcher.sqlite.files import FLOCK, DatabaseFiles, is_locked
from watcher.sqlite.hold_note import HoldNote
from watcher.sqlite.options import HoldLimits

_log = logging.getLogger(__name__)

# The lock of the checkpointer, in the -shm file.
_CHECKPOINTER_BYTE = WAL_WRITE_BYTE + 1
# Slot 0 is for readers of the main file alone, and keeps nobody from restarting the log.
_SLOTS = (4, 3, 2, 1)
# Where slot 0 has its lock and its mark, which tells up to which frame its readers read.
_FIRST_LOCK_BYTE = WAL_WRITE_BYTE + 3
_FIRST_MARK = 100
_MARK_SIZE = 4
_UNUSED_MARK = b"\xff\xff\xff\xff"
# How often a hold is measured against its limits.
_LOOK_SECONDS = 0.05


class HoldPolicy:
    """When to hold the log, from how far the reader is behind; knows no file and no clock.

    Args:
        cool_down: seconds for which a log is left alone after a hold that reached its limits,
            unless the reader catches up before.
    """

    # One restart of the log does no harm to who has read almost all of it: the old frames stay
    # until new ones are written over them. It takes two, or a whole new log, to lose commits. But
    # where the log is let go, a fast writer restarts it at once: so not before all is read.
    FAR_BEHIND = 64
    CAUGHT_UP = 0

    def __init__(self, cool_down: float) -> None:
        self._cool_down = cool_down
        self._not_before: float | None = None

    def wants(self, backlog: int, now: float, *, held: bool) -> bool:
        """Tells whether the log should be held.

        Args:
            backlog: frames that are committed and not dealt with yet.
            now: seconds on any clock that does not go backwards.
            held: whether it is held at present.
        """
        if backlog <= self.CAUGHT_UP:
            self._not_before = None
            return False
        if self._not_before is not None and now < self._not_before:
            return False
        return held or backlog > self.FAR_BEHIND

    def spent(self, now: float) -> None:
        """Is told that a hold has reached its limits."""
        self._not_before = now + self._cool_down


class Hold:
    """Holds the log of a database, within limits that it keeps by itself.

    Args:
        files: its descriptors.
        limits: how long, and how large the log may become.
        note: where the supervisor looks, None where there is no supervisor.
    """

    def __init__(
        self, files: DatabaseFiles, limits: HoldLimits, note: HoldNote | None = None
    ) -> None:
        self._files = files
        self._limits = limits
        self._note = note
        self._policy = HoldPolicy(limits.seconds)
        self._held: _HeldSlot | None = None

    @property
    def is_held(self) -> bool:
        """Whether the log cannot be restarted at present."""
        return self._held is not None and not self._held.is_over

    def follow(self, backlog: int) -> None:
        """Begins or ends a hold as it is needed.

        Args:
            backlog: frames that are committed and not dealt with yet.
        """
        if self._limits.is_off:
            return
        now = time.monotonic()
        if self._held is not None and self._held.is_over:
            self._policy.spent(now)
            self._held = None
        if not self._policy.wants(backlog, now, held=self.is_held):
            self.release()
        elif self._held is None or self._held.opening != self._files.index.opening:
            self.begin()

    def begin(self) -> bool:
        """Begins a hold, or goes on with the present one.

        Only where a connection uses the wal-index: without one nobody restarts the log, and who
        comes next may have to recover it.

        Returns:
            Whether the log is held. Where not, nothing is wrong: it is read without.
        """
        index = self._files.index
        if self._held is not None and self._held.opening == index.opening and self.is_held:
            return True
        self.release()
        if self._limits.is_off or index.descriptor < 0:
            return False
        try:
            held = _HeldSlot(index.descriptor, index.opening, self._limits, self._note)
        except OSError as error:
            _log.debug("no hold: %s", error)
            return False
        self._held = held if held.begin() else None
        return self._held is not None

    def release(self) -> None:
        """Lets the log go; idempotent."""
        held, self._held = self._held, None
        if held is not None:
            held.end()

    def close(self) -> None:
        """Lets go of the log and of the note; idempotent."""
        self.release()
        if self._note is not None:
            self._note.close()


class _HeldSlot:
    """One hold from its beginning to its end; a thread sees to it that it ends in time.

    A thread, because the reader may be at work on one commit for longer than the limit.

    Args:
        descriptor: of the `-shm` file.
        opening: which opening of that file it is.
        limits: how long, and how large the log may become.
        note: where the supervisor looks.
    """

    def __init__(
        self, descriptor: int, opening: int, limits: HoldLimits, note: HoldNote | None
    ) -> None:
        self.opening = opening
        self._limits = limits
        self._note = note
        # The lock belongs to what both descriptors have open, and lasts until both are closed.
        self._descriptor = os.dup(descriptor)
        self._until = time.monotonic() + limits.seconds
        # The header of the index when both locks were found taken, empty where they were not.
        self._locked_at = b""
        self._ending = threading.Lock()
        self._over = threading.Event()

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._over.is_set()

    def begin(self) -> bool:
        """Takes the lock; False where that cannot be."""
        # First the note: a process can be stopped between any two calls.
        self._tell(self._until)
        if not self._lock_slot() or self._must_end():
            self.end()
            return False
        try:
            threading.Thread(target=self._end_in_time, name="hold", daemon=True).start()
        except RuntimeError as error:
            # There can be no more threads; without one the limits cannot be kept.
            _log.debug("no hold: %s", error)
            self.end()
            return False
        return True

    def _lock_slot(self) -> bool:
        """Locks a slot with a mark, or one without where none has one.

        No checkpoint goes beyond the mark of a slot that is locked. That is what spares the writer:
        each of its commits tries a checkpoint where the log is long, and one that has nothing to
        copy costs nothing, while one that copies a single frame has to sync twice.
        """
        for is_marked in (True, False):
            for slot in _SLOTS:
                if self._lock(fcntl.F_RDLCK, slot):
                    if (self._mark(slot) != _UNUSED_MARK) is is_marked:
                        return True
                    self._lock(fcntl.F_UNLCK, slot)
        return False

    def _lock(self, kind: int, slot: int) -> bool:
        request = FLOCK.pack(kind, os.SEEK_SET, _FIRST_LOCK_BYTE + slot, 1, 0)
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, request)
        except OSError as error:
            _log.debug("no hold on slot %d: %s", slot, error)
            return False
        return True

    def _mark(self, slot: int) -> bytes:
        return os.pread(self._descriptor, _MARK_SIZE, _FIRST_MARK + _MARK_SIZE * slot)

    def _end_in_time(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            with self._ending:
                if not self._over.is_set() and self._must_end():
                    self._end()

    def _must_end(self) -> bool:
        if time.monotonic() >= self._until:
            return True
        # All connections are gone, perhaps with a crash: recovery may need all locks.
        if not is_locked(self._descriptor, WAL_INDEX_USERS_BYTE, fcntl.F_WRLCK):
            return True
        data = os.pread(self._descriptor, WAL_INDEX_HEADER_SIZE, 0)
        found = parse_wal_index(data)
        if found is None:
            return False
        frame_size = FRAME_HEADER_SIZE + found.page_size
        if WAL_HEADER_SIZE + found.max_frame * frame_size >= self._limits.bytes:
            return True
        return self._is_waited_for(data[:48])

    def _is_waited_for(self, header: bytes) -> bool:
        """Tells whether a checkpoint has kept writers out since the last look.

        It is one that wants to restart the log, and waits for its readers as long as its busy
        timeout lasts. A commit and the checkpoint after it, or that of another connection, have
        the same two locks; but between two looks they change the header of the index.
        """
        is_locked_now = all(
            is_locked(self._descriptor, byte, fcntl.F_RDLCK)
            for byte in (WAL_WRITE_BYTE, _CHECKPOINTER_BYTE)
        )
        before, self._locked_at = self._locked_at, header if is_locked_now else b""
        return is_locked_now and before == header

    def end(self) -> None:
        """Gives the lock back; idempotent."""
        with self._ending:
            if not self._over.is_set():
                self._end()

    def _end(self) -> None:
        for slot in _SLOTS:
            self._lock(fcntl.F_UNLCK, slot)
        os.close(self._descriptor)
        self._tell(0.0)
        self._over.set()

    def _tell(self, until: float) -> None:
        if self._note is not None:
            self._note.write(until)
