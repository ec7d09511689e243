"""Opens the history that is kept in a state directory, if it can still be used."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

import apsw

from watcher.history import HistoryWriter, Limits
from watcher.sqlite.exclusion import NOTHING, Exclusion
from watcher.sqlite.shadow import stamp
from watcher.sqlite.state_directory import boot_id

_log = logging.getLogger(__name__)

# The file itself first: SQLite takes no log for that of a new file.
_FILES = ("state.db", "state.db-wal", "state.db-shm")


def open_history(directory: Path, limits: Limits, exclusion: Exclusion = NOTHING) -> HistoryWriter:
    """Opens the history; one that cannot be trusted is put aside for a new one.

    It cannot be trusted after the machine stopped unclean, because it is not synced, and where
    somebody else has written to the copy it speaks of. One that was written under another
    exclusion is deleted, because it may hold what is excluded now.

    Args:
        directory: the state directory, held by this process.
        limits: how much to keep.
        exclusion: what may not be in it.
    """
    try:
        history = HistoryWriter(directory, limits)
        if history.epoch and (history.recall("exclusion") or "") != exclusion.rule:
            history.close()
            return _begun_anew(directory, limits, exclusion)
        reason = _reason_for_distrust(history, directory) if history.epoch else None
        if reason is None:
            return _opened(history, exclusion)
        history.close()
    except (apsw.CorruptError, apsw.NotADBError) as error:
        reason = f"it is damaged ({error})"
    _log.warning("the history in %s begins anew: %s", directory, reason)
    _put_aside(directory)
    return _opened(HistoryWriter(directory, limits), exclusion)


def _begun_anew(directory: Path, limits: Limits, exclusion: Exclusion) -> HistoryWriter:
    _log.warning("the history in %s begins anew: another exclusion was given", directory)
    # Rows that are deleted in a file can still be read in it. What was put aside goes first: as
    # long as the file is there, who comes after a crash in between will see that it has to go.
    for suffix in (".damaged", ""):
        for name in _FILES:
            (directory / f"{name}{suffix}").unlink(missing_ok=True)
    return _opened(HistoryWriter(directory, limits), exclusion)


def _reason_for_distrust(history: HistoryWriter, directory: Path) -> str | None:
    boot, clean = history.recall("boot"), history.recall("clean")
    if not clean:
        return None if boot and boot == boot_id() else "the machine stopped unclean"
    try:
        found = stamp(directory / "shadow.db")
    except OSError as error:
        return f"there is no copy ({error.strerror})"
    return None if found == clean else "the copy is not as it was left"


def _opened(history: HistoryWriter, exclusion: Exclusion) -> HistoryWriter:
    if not history.epoch:
        # Before anything else is: what is kept must never go by another rule.
        history.remember("exclusion", exclusion.rule)
    history.remember("boot", boot_id())
    # Before the shadow moves: after a power cut the mark must not speak for a newer one.
    history.remember_durably("clean", 0)
    return history


def _put_aside(directory: Path) -> None:
    for name in _FILES:
        with suppress(FileNotFoundError):
            os.replace(directory / name, directory / f"{name}.damaged")
