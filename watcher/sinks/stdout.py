"""Changes as lines on standard output: JSON for programs, readable text for people.

Rule of this module: what comes out of a database never reaches a terminal as it is. Names and
values pass `printable`, so that a stored escape sequence is shown instead of obeyed.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from watcher.changes import InvalidText, LargeValue, Op, Value
from watcher.errors import OutputFailed
from watcher.hub import Subscription
from watcher.wire import Message, decode_json, decode_value

_SHOWN = 80  # characters of a text, or bytes of a blob, before it is shortened


class Render(Protocol):
    """Turns one message into what is written for it, nothing where it says nothing to a reader."""

    def __call__(self, message: Message) -> bytes: ...


class Output:
    """A descriptor that is written without blocking the event loop.

    The descriptor stays in blocking mode, because other processes share it. Instead no more is
    written at once than a pipe or terminal takes when it says that it is ready.

    Args:
        descriptor: an open descriptor; it is not closed here.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        mode = os.fstat(descriptor).st_mode
        self._waits = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)

    async def write(self, data: bytes) -> None:
        """Writes all of `data`.

        Raises:
            BrokenPipeError: nobody reads the other end any more.
            OutputFailed: it cannot be written for another reason.
        """
        rest = memoryview(data)
        while rest:
            if self._waits:
                await self._ready()
            with output_failures():
                rest = rest[os.write(self._descriptor, rest[: select.PIPE_BUF]) :]

    def on_hangup(self, callback: Callable[[], object]) -> None:
        """Calls `callback` as soon as the reading end of a pipe is closed.

        Without this an idle watcher would notice only at its next change. Only Linux reports the
        hang-up of a write-only pipe as an event; elsewhere the next write finds out.
        """
        mode = os.fstat(self._descriptor).st_mode
        access = fcntl.fcntl(self._descriptor, fcntl.F_GETFL) & os.O_ACCMODE
        if sys.platform == "linux" and stat.S_ISFIFO(mode) and access == os.O_WRONLY:
            loop = asyncio.get_running_loop()

            def hangup() -> None:
                loop.remove_reader(self._descriptor)
                callback()

            loop.add_reader(self._descriptor, hangup)

    async def _ready(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(self._descriptor, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(self._descriptor)


@contextlib.contextmanager
def output_failures() -> Iterator[None]:
    """Turns what the system says of a failed write into `OutputFailed`.

    A reader that has gone is no failure: `BrokenPipeError` passes.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(error.strerror or str(error)) from error


class JsonLines:
    """Renders the messages that carry data as JSON lines, as they travel on the wire.

    A changeset that travels in parts is one line per part. A `reset` is a line, and so is the
    `ready` that ends the content after it: it carries the position to come back with.
    """

    def __init__(self) -> None:
        self._resetting = False

    def __call__(self, message: Message) -> bytes:
        if message.type == "reset":
            self._resetting = True
        elif message.type == "ready" and self._resetting:
            self._resetting = False
        elif message.type != "changes":
            return b""
        return message.data + b"\n"


class ReadableLines:
    """Renders each change as a line for a person: time, table, operation, key, columns."""

    def __call__(self, message: Message) -> bytes:
        if message.type == "changes":
            return "".join(f"{line}\n" for line in _changes(decode_json(message.data))).encode()
        if message.type == "reset":
            reason = decode_json(message.data)["reason"]
            return f"-- what was shown before is void ({printable(reason)})\n".encode()
        return b""


async def tail(
    subscription: Subscription, output: Output, render: Render, notice: Callable[[str], None]
) -> None:
    """Writes what a subscription brings, each batch at once, until it is cancelled.

    Args:
        subscription: where the messages come from.
        output: where the lines go.
        render: `JsonLines()` or `ReadableLines()`.
        notice: takes a sentence for the person in front of the screen, on any other channel.

    Raises:
        BrokenPipeError: nobody reads the output any more.
        OutputFailed: the output cannot be written.
        HubClosed: the hub was shut down.
    """
    said = ""
    while True:
        messages = await subscription.next()
        for sentence in _notices(messages):
            # How far a first copy is makes many of these that differ in nothing else.
            if sentence != said:
                notice(sentence)
            said = sentence
        await output.write(b"".join(map(render, messages)))


def printable(text: str) -> str:
    """Escapes every character that a terminal might obey or hide, bidirectional marks included.

    Bytes of a file name that are not UTF-8 are shown as bytes.
    """
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # how Python holds such a byte
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")


def _notices(messages: Sequence[Message]) -> Iterator[str]:
    for message in messages:
        if message.type == "status":
            status = decode_json(message.data)
            yield printable(f"{status['state']}: {status['detail']}")
        elif message.type == "error":
            yield printable(decode_json(message.data)["detail"])


def _changes(message: Mapping[str, Any]) -> Iterator[str]:
    moment = message.get("time")
    time = "(content)   " if moment is None else _time(moment)
    for change in message["changes"]:
        yield f"{time}  {_name(change['table'])}  {change['op']}  {_what(change)}"


def _time(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone().strftime("%H:%M:%S.%f")[:-3]


def _what(change: Mapping[str, Any]) -> str:
    if change["op"] == Op.SCHEMA:
        sql = change["sql"]
        return f"{change['object']}: {_sql(sql['before'])} → {_sql(sql['after'])}"
    key = _columns(change["key"], "=")
    before, after = change["before"], change["after"]
    if change["op"] == Op.UPDATE:
        pairs = (
            f"{_name(name)}: {_value(before[name])} → {_value(after[name])}"
            for name in change["changed"]
        )
        return f"{key}  {', '.join(pairs)}"
    return f"{key}  {_columns(after if before is None else before, ': ')}"


def _columns(row: Mapping[str, Any], sign: str) -> str:
    return ", ".join(f"{_name(name)}{sign}{_value(value)}" for name, value in row.items())


def _sql(sql: str | None) -> str:
    return "nothing" if sql is None else printable(sql)


def _name(name: str) -> str:
    plain = name.isprintable() and name and " " not in name
    return name if plain else '"' + printable(name).replace('"', '""') + '"'


def _value(encoded: object) -> str:
    value: Value = decode_value(encoded)
    match value:
        case None:
            return "NULL"
        case str():
            return _shortened("'" + printable(value[:_SHOWN]).replace("'", "''") + "'", value)
        case bytes():
            return _shortened(f"x'{value[:_SHOWN].hex()}'", value)
        case InvalidText(data):
            return _shortened(f"text x'{data[:_SHOWN].hex()}'", data)
        case LargeValue():
            return f"<{value.type} of {value.bytes} bytes>"
    return repr(value)


def _shortened(shown: str, value: str | bytes) -> str:
    return shown if len(value) <= _SHOWN else f"{shown}… ({len(value)} long)"
