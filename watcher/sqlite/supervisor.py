"""Starts the reader process, keeps it running, and asks it questions."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import apsw
import msgspec

from watcher.errors import (
    MalformedPosition,
    ProtocolError,
    ReaderStopped,
    StateUnavailable,
    UnknownTable,
)
from watcher.sqlite.channel import (
    Answer,
    Channel,
    Columns,
    Declared,
    Fatal,
    FromReader,
    Keyed,
    Made,
    Question,
    Rows,
    Status,
    Stretch,
    open_channel,
)
from watcher.sqlite.hold_note import HoldNote
from watcher.sqlite.options import Options

_log = logging.getLogger(__name__)

_A = TypeVar("_A", Rows, Made, Declared, Columns, Keyed, Stretch)

_FIRST_BACKOFF_SECONDS = 0.1
_LONGEST_BACKOFF_SECONDS = 5.0
# So often the first reader may end before it has said a word.
_FAILURES_AT_START = 3
_STOP_SECONDS = 0.5
# What a healthy reader never needs for a page of rows, whatever else it has to do first.
_ANSWER_SECONDS = 10.0
# How often the reader's hold on the log is looked at, and what it gets beyond its limit.
_HOLD_LOOK_SECONDS = 1.0
_HOLD_GRACE_SECONDS = 2.0


class ReaderSupervisor:
    """Runs the reader process of one database; an async context manager.

    Args:
        options: what the reader is told.
        on_more: called when the history may have grown, and once after each start.
        on_status: called when the state of the watched file changes.
    """

    def __init__(
        self,
        options: Options,
        *,
        on_more: Callable[[], None],
        on_status: Callable[[Status], None],
    ) -> None:
        self._options = options
        self._on_more = on_more
        self._on_status = on_status
        self._task: asyncio.Task[None] | None = None
        self._channel: Channel | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._questions: dict[int, asyncio.Future[Answer]] = {}
        self._numbers = itertools.count(1)
        # One question at a time: that is what bounds the reader's answers.
        self._asking = asyncio.Lock()
        self._first_word: asyncio.Future[Status] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the reader, None while it is not running."""
        return None if self._process is None else self._process.pid

    async def start(self) -> Status:
        """Starts the reader and waits for its first word on the watched file.

        Raises:
            StateUnavailable: the state directory cannot be used, or another reader holds it.
            ReaderStopped: it cannot be started, or ends at once again and again.
        """
        self._first_word = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())
        await asyncio.wait((self._task, self._first_word), return_when=asyncio.FIRST_COMPLETED)
        if not self._first_word.done():
            await self._task
            raise ReaderStopped("it ended before it said anything")
        return self._first_word.result()

    async def _run(self) -> None:
        backoff, failures = _FIRST_BACKOFF_SECONDS, 0
        while True:
            started = asyncio.get_running_loop().time()
            ended = await self._run_to_end()
            self._lose_questions()
            failures += 1
            if self._is_starting and failures == _FAILURES_AT_START:
                raise ReaderStopped(ended)
            if asyncio.get_running_loop().time() - started > _LONGEST_BACKOFF_SECONDS:
                backoff = _FIRST_BACKOFF_SECONDS
            _log.warning("%s; starting another reader process", ended)
            self._on_status(Status("starting", f"{ended}; it is being restarted", True))
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, _LONGEST_BACKOFF_SECONDS)

    async def _run_to_end(self) -> str:
        try:
            return f"the reader process ended with {await self._run_once()}"
        except (StateUnavailable, ProtocolError, msgspec.DecodeError) as error:
            if self._is_starting:
                raise
            return str(error)
        except (OSError, apsw.Error) as error:
            # No descriptors or no memory left, or a history that cannot be opened: it may pass.
            if self._is_starting:
                raise ReaderStopped(f"it cannot be started ({error})") from error
            return f"the reader process cannot be used ({error})"

    @property
    def _is_starting(self) -> bool:
        return self._first_word is not None and not self._first_word.done()

    async def _run_once(self) -> int:
        with ExitStack() as stack:
            note = None if self._options.hold.is_off else HoldNote.create()
            if note is not None:
                stack.callback(note.close)
            self._channel, self._process = await self._start_process(note)
            try:
                async with _ending_overdue_hold(self._process, note):
                    async for message in self._channel.from_reader():
                        self._take(message)
                    return await self._process.wait()
            finally:
                await self._end_process(self._process, self._channel)
                self._process = self._channel = None

    async def _start_process(
        self, note: HoldNote | None
    ) -> tuple[Channel, asyncio.subprocess.Process]:
        options, descriptors = self._options, []
        if note is not None:
            options = msgspec.structs.replace(options, hold_note=note.descriptor)
            descriptors.append(note.descriptor)
        ours, theirs = socket.socketpair()
        with theirs, _closing_on_error(ours):
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                # Nothing in the current directory gets imported in place of a module of ours.
                "-P",
                "-m",
                "watcher.sqlite.process",
                str(theirs.fileno()),
                msgspec.json.encode(options).decode(),
                pass_fds=(theirs.fileno(), *descriptors),
                stdin=asyncio.subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": _import_path()},
                # Out of the terminal's process group: an interrupt is the server's business.
                start_new_session=True,
            )
        return await open_channel(ours), process

    def _take(self, message: FromReader) -> None:
        if isinstance(message, Answer):
            # While an answer is on its way no `more` is sent.
            self._on_more()
            waiting = self._questions.pop(message.id, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
        elif isinstance(message, Fatal):
            raise StateUnavailable(os.fsdecode(message.directory), message.detail)
        elif isinstance(message, Status):
            if message.progress is None:
                # While the first copy is made there is no history to look at.
                self._on_more()
            self._on_status(message)
            if self._first_word is not None and not self._first_word.done():
                self._first_word.set_result(message)
        else:
            self._on_more()

    async def _end_process(self, process: asyncio.subprocess.Process, channel: Channel) -> None:
        # No process is left behind, however often the wait for its end is given up. The end of a
        # program cancels every task it finds, even one that has not begun.
        channel.close()
        is_given_up, ending = False, asyncio.create_task(_ended(process))
        while not ending.done():
            try:
                await asyncio.shield(ending)
            except asyncio.CancelledError:
                is_given_up = True
            if ending.cancelled():
                ending = asyncio.create_task(_ended(process))
        if is_given_up:
            raise asyncio.CancelledError
        await channel.aclose()

    def _lose_questions(self) -> None:
        for waiting in self._questions.values():
            if not waiting.done():
                waiting.set_exception(ReaderStopped("it is being restarted"))
        self._questions.clear()

    async def ask(self, question: Question, kind: type[_A]) -> _A:
        """Asks the reader for something of the current state.

        Args:
            question: what is asked; its number is given here.
            kind: the type of its answer.

        Raises:
            UnknownTable: no watched table has the name in it.
            MalformedPosition: a token in it is none of its table.
            ReaderStopped: the reader ended, or could not read.
        """
        question = msgspec.structs.replace(question, id=next(self._numbers))
        answer = await self._ask(question)
        assert isinstance(answer, kind)
        if answer.error == "unknown_table":
            raise UnknownTable(getattr(question, "table", ""))
        if answer.error == "malformed":
            raise MalformedPosition(str(getattr(question, "after", "")))
        if answer.error is not None:
            raise ReaderStopped(answer.error)
        return answer

    async def _ask(self, question: Question) -> Answer:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS), self._asking:
                return await self._answer(question)
        except TimeoutError:
            raise ReaderStopped(f"nothing came within {_ANSWER_SECONDS:g} s") from None
        finally:
            self._questions.pop(question.id, None)

    async def _answer(self, question: Question) -> Answer:
        if self._channel is None:
            raise ReaderStopped("it is being restarted")
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._questions[question.id] = waiting
        self._channel.send(question)
        return await waiting

    async def stop(self) -> None:
        """Ends the reader and waits for it; idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._lose_questions()


async def _ended(process: asyncio.subprocess.Process) -> None:
    try:
        await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    except TimeoutError:
        # It is in the middle of a long look; what it has not recorded, the next one will.
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@asynccontextmanager
async def _ending_overdue_hold(
    process: asyncio.subprocess.Process, note: HoldNote | None
) -> AsyncIterator[None]:
    """Kills the reader where it holds the log beyond its limit."""
    task = asyncio.create_task(_end_overdue_hold(process, note)) if note else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _end_overdue_hold(process: asyncio.subprocess.Process, note: HoldNote) -> None:
    # A reader that runs lets go in time, whatever it is doing. One that was stopped cannot, and
    # nothing but its end takes the lock from it.
    while True:
        await asyncio.sleep(_HOLD_LOOK_SECONDS)
        until = note.read()
        if until is None or time.monotonic() < until:
            continue
        # Both processes may have been stopped, and this one been the first to go on.
        await asyncio.sleep(_HOLD_GRACE_SECONDS)
        if note.read() == until:
            _log.warning("the reader process holds the log beyond its limit; it is ended")
            with suppress(ProcessLookupError):
                process.kill()
            return


@contextmanager
def _closing_on_error(end: socket.socket) -> Iterator[None]:
    try:
        yield
    except BaseException:
        end.close()
        raise


def _import_path() -> str:
    """Makes the reader import the same package as this process, wherever it was found."""
    package = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH")
    return package if not inherited else os.pathsep.join((package, inherited))
