"""The reader process: one per watched database, and the only process that reads its file.

Started by `supervisor.py` as `python -m watcher.sqlite.process DESCRIPTOR OPTIONS`, where
DESCRIPTOR is its end of the channel and OPTIONS a JSON object, see `options.Options`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import selectors
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import apsw
import msgspec

from watcher.errors import DatabaseUnavailable, StateUnavailable
from watcher.history import HistoryWriter, Limits
from watcher.sqlite.answers import Answers
from watcher.sqlite.capture import RawCapture
from watcher.sqlite.captured import Capture, NotQuiet
from watcher.sqlite.caught_journals import CaughtJournals
from watcher.sqlite.channel import Channel, Fatal, More, Status, open_channel
from watcher.sqlite.exclusion import Exclusion
from watcher.sqlite.files import DatabaseFiles
from watcher.sqlite.filesystem import remote_kind, warning
from watcher.sqlite.hold import Hold
from watcher.sqlite.hold_note import HoldNote
from watcher.sqlite.kept_history import open_history
from watcher.sqlite.options import Options
from watcher.sqlite.poll_capture import PollCapture
from watcher.sqlite.reader import Reader
from watcher.sqlite.state_directory import StateDirectory
from watcher.wakeup import Wakeup, open_wakeup

_log = logging.getLogger(__name__)

# Behind file events a slow look, for those that get lost.
_FALLBACK_SECONDS = 1.0
_FIRST_PAUSE_SECONDS = 0.0005
_LONGEST_PAUSE_SECONDS = 0.05
_BUSY_PAUSE_SECONDS = 0.005
_FIRST_FOLLOW_UP_SECONDS = 0.0001
_LONGEST_FOLLOW_UP_SECONDS = 0.05
# Between two words on how far the first copy is.
_PROGRESS_SECONDS = 0.05
# A file that is not quiet for so long is worth a word.
_PATIENCE_SECONDS = 1.0

_NOT_QUIET = {
    "writing": ("locked", "another program holds the database exclusively"),
    "journal": ("needs_recovery", "a writer died in mid-commit; SQLite will recover the database"),
    "changed": ("busy", "the database is being written faster than it can be read"),
    "log": ("busy", "the log is being restarted faster than it can be read"),
    "fresh": ("busy", "the database was written a moment ago"),
}


class ReaderProcess:
    """Takes looks, answers questions, says how things stand.

    Args:
        reader: the recipe.
        history: where changesets go.
        wakeup: tells when to look.
        channel: to the server.
        poll: seconds between looks where no event comes.
        warning: what is to be said even while all is well.
    """

    def __init__(
        self,
        reader: Reader,
        history: HistoryWriter,
        wakeup: Wakeup,
        channel: Channel,
        poll: float,
        warning: str,
    ) -> None:
        self._reader = reader
        self._history = history
        self._wakeup = wakeup
        self._channel = channel
        self._poll = poll
        self._warning = warning
        self._answers = Answers(reader, history)
        self._status: Status | None = None
        self._restless_since: float | None = None
        self._pause = _FIRST_PAUSE_SECONDS
        self._busy_until = 0.0
        self._follow_up = self._poll
        self._progress_due = 0.0
        self._behind_since = time.monotonic()

    async def watch(self) -> None:
        """Looks whenever something may have changed, until cancelled."""
        while True:
            pause = self._look()
            if pause is not None:
                await asyncio.sleep(pause)
            elif await self._wakeup.wait(self._next_wait()):
                self._hinted()

    def _next_wait(self) -> float:
        if self._follow_up > _LONGEST_FOLLOW_UP_SECONDS:
            # A sync can take its time.
            is_awaited = self._reader.is_being_written
            return _LONGEST_FOLLOW_UP_SECONDS if is_awaited else self._poll
        seconds, self._follow_up = self._follow_up, 2 * self._follow_up
        return seconds

    def _hinted(self) -> None:
        # The hint comes with the write of the log; the commit counts only when the wal-index says
        # so, of which there is no event, and a sync may lie in between. So look again a few times.
        self._follow_up = _FIRST_FOLLOW_UP_SECONDS

    def _look(self) -> float | None:
        """Takes one look; returns the seconds until the next, None to wait for a hint."""
        try:
            grown = self._reader.step()
        except NotQuiet as error:
            return self._not_quiet(error)
        except DatabaseUnavailable as error:
            self._report(error.state, error.detail)
            return None
        except StateUnavailable as error:
            return self._no_state(error.detail)
        except (OSError, apsw.FullError, apsw.IOError) as error:
            return self._no_state(f"the state cannot be written ({error})")
        self._restless_since, self._pause = None, _FIRST_PAUSE_SECONDS
        if self._reader.copying is not None:
            self._report_copying(self._reader.copying)
            # At once, but questions and the end of the channel have their turn.
            return 0.0
        if grown and self._channel.is_idle:
            self._channel.send(More())
        self._report(*self._how_it_stands(), behind=self._is_behind())
        return None if self._reader.is_settled else 0.0

    def _is_behind(self) -> bool:
        """Whether commits have been waiting for so long that it is worth a word."""
        now = time.monotonic()
        if self._reader.is_settled:
            self._behind_since = now
        return now - self._behind_since > _PATIENCE_SECONDS

    def _report_copying(self, part: float) -> None:
        now = time.monotonic()
        if now >= self._progress_due:
            self._progress_due = now + _PROGRESS_SECONDS
            progress = round(part, 2)
            self._report("starting", "the first copy is being made", behind=True, progress=progress)

    def _no_state(self, detail: str) -> float:
        # The state volume, not the watched file: nothing was published, so try again.
        self._history.reload()
        self._report("state_unavailable", detail, behind=True)
        return _PATIENCE_SECONDS

    def _how_it_stands(self) -> tuple[str, str]:
        if not self._reader.unreadable:
            return "ok", self._warning
        tables = "; ".join(
            f'table "{name}" cannot be read: {why}'
            for name, why in sorted(self._reader.unreadable.items())
        )
        return "partial", tables

    def _not_quiet(self, error: NotQuiet) -> float:
        now = time.monotonic()
        self._restless_since = self._restless_since or now
        if error.reason == "changed":
            self._busy_until = now + _PATIENCE_SECONDS
        is_busy = error.reason in {"changed", "writing"} and now < self._busy_until
        if now - self._restless_since > _PATIENCE_SECONDS:
            self._report(*_NOT_QUIET["changed" if is_busy else error.reason], behind=True)
        # Between two commits of a busy writer there is little time, and that is to be met.
        longest = _BUSY_PAUSE_SECONDS if is_busy else _LONGEST_PAUSE_SECONDS
        pause, self._pause = self._pause, min(2 * self._pause, longest)
        return pause

    def _report(
        self, state: str, detail: str, *, behind: bool = False, progress: float | None = None
    ) -> None:
        status = Status(state, detail, behind, progress)
        if status != self._status:
            self._status = status
            self._channel.send(status)

    async def answer(self) -> None:
        """Answers the server's questions until it closes its end."""
        async for question in self._channel.to_reader():
            self._channel.send(self._answers.answer(question))
            await self._channel.drained()


async def _open_capture(
    path: Path, options: Options, directory: Path, stack: AsyncExitStack
) -> tuple[Capture, Wakeup, float]:
    poll = options.poll
    if poll is None and (sys.platform != "linux" or remote_kind(path)):
        poll = _FALLBACK_SECONDS
    files = DatabaseFiles(path)
    names = [file.path.name for file in (files.main, files.log, files.index, files.journal)]
    journals = CaughtJournals(path)
    told, passing = journals.on_event, [files.journal.path.name]
    wakeup = open_wakeup(path.parent, names, events=poll is None, on_event=told, passing=passing)
    stack.push_async_callback(wakeup.aclose)
    if poll is not None:
        return PollCapture(files, directory), wakeup, poll
    note = None if options.hold_note is None else HoldNote(options.hold_note)
    hold = Hold(files, options.hold, note)
    return RawCapture(files, wakeup.touched, hold, journals, wakeup.take), wakeup, _FALLBACK_SECONDS


def _open_state(
    options: Options, path: Path, stack: AsyncExitStack
) -> tuple[StateDirectory, HistoryWriter]:
    directory = StateDirectory(Path(os.fsdecode(options.state)), path)
    stack.callback(directory.close)
    limits = Limits(options.seconds, options.changesets, options.size)
    try:
        history = open_history(directory.path, limits, options.exclusion)
    except apsw.Error as error:
        detail = f"the history cannot be opened ({error})"
        raise StateUnavailable(str(directory.path), detail) from error
    stack.callback(history.close)
    return directory, history


def _open_reader(
    path: Path, directory: Path, capture: Capture, history: HistoryWriter, exclusion: Exclusion
) -> Reader:
    try:
        return Reader(path, directory, capture, history, exclusion)
    except (OSError, apsw.Error) as error:
        # What the reader before has left undone is done here, and may be refused.
        raise StateUnavailable(str(directory), f"it cannot be written ({error})") from error


async def _run(end: socket.socket, options: Options) -> int:
    channel = await open_channel(end)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(channel.aclose)
        path = Path(os.fsdecode(options.path))
        try:
            directory, history = _open_state(options, path, stack)
            capture, wakeup, poll = await _open_capture(path, options, directory.path, stack)
            reader = _open_reader(path, directory.path, capture, history, options.exclusion)
        except StateUnavailable as error:
            channel.send(Fatal(os.fsencode(error.directory), error.detail))
            await channel.drained()
            return 3
        stack.callback(reader.close)
        said = warning(path)
        if said:
            _log.warning("%s: %s", path, said)
        process = ReaderProcess(reader, history, wakeup, channel, poll, said)
        await _until_end_of_file(process)
        try:
            history.remember_durably("clean", reader.sync())
        except FileNotFoundError:
            # It was a temporary one, and whoever has removed it does not come back to it.
            _log.debug("the state in %s is gone", directory.path)
        except (OSError, apsw.FullError, apsw.IOError) as error:
            _log.warning("the state in %s was not brought to disk: %s", directory.path, error)
    return 0


async def _until_end_of_file(process: ReaderProcess) -> None:
    watching = asyncio.create_task(process.watch())
    answering = asyncio.create_task(process.answer())
    await asyncio.wait((watching, answering), return_when=asyncio.FIRST_COMPLETED)
    answering.cancel()
    watching.cancel()
    # Whatever ended the watching, other than the server's end of file, must be seen.
    for task in (answering, watching):
        with suppress(asyncio.CancelledError):
            await task


def main() -> int:
    """Runs the reader process; returns its exit code."""
    # Interrupts are meant for the server, whose end of the channel tells when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The state is as secret as the database, whoever may look into its directory.
    os.umask(0o077)
    sys.setswitchinterval(0.0003)  # for the thread of `taking`
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    end = socket.socket(fileno=int(sys.argv[1]))
    options = msgspec.json.decode(sys.argv[2], type=Options)
    with asyncio.Runner(loop_factory=_event_loop) as runner:
        return runner.run(_run(end, options))


def _event_loop() -> asyncio.AbstractEventLoop:
    # Python waits for epoll in whole milliseconds; a commit is over in a fraction of one.
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


if __name__ == "__main__":
    sys.exit(main())
