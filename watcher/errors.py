"""The error tree.

Errors carry fields; the sentence a person reads is made from them in `__str__`. Nothing in the
project parses a message to find out what happened.
"""

from __future__ import annotations


class WatchError(Exception):
    """Root of every error this package raises on purpose."""


class DatabaseUnavailable(WatchError):
    """The database file cannot be watched as it stands.

    Args:
        path: the file as the user named it.
        state: one of the states of a `status` message, such as `missing` or `not_a_database`.
        detail: one sentence for a person.
    """

    def __init__(self, path: str, state: str, detail: str) -> None:
        super().__init__(path, state, detail)
        self.path = path
        self.state = state
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}"


class StateUnavailable(WatchError):
    """The state directory cannot be used: another daemon holds it, or it cannot be written.

    Args:
        directory: the state directory.
        detail: one sentence for a person.
    """

    def __init__(self, directory: str, detail: str) -> None:
        super().__init__(directory, detail)
        self.directory = directory
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.directory}: {self.detail}"


class MalformedPosition(WatchError):
    """A text that should be a position has not the form of one.

    Args:
        text: what was given.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"not a position: {self.text[:80]!r}"


class UnknownTable(WatchError):
    """A table was named that the database does not have, or that is not watched.

    Args:
        table: the name that was asked for.
    """

    def __init__(self, table: str) -> None:
        super().__init__(table)
        self.table = table

    def __str__(self) -> str:
        return f"no watched table is named {self.table[:80]!r}"


class PastUnavailable(WatchError):
    """What was at a position cannot be told.

    Args:
        reason: `expired`, where the history does not reach so far; `no_table`, where there was no
            such table then; `changed`, where the table has changed since so that it is not known.
        detail: one sentence for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


class BadFilter(WatchError):
    """A filter cannot be applied: it is malformed, or does not fit the tables (any more).

    Args:
        name: the parameter, such as `where`.
        detail: what is wrong with it.
    """

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(name, detail)
        self.name = name
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.name}: {self.detail[:200]}"


class ReaderStopped(WatchError):
    """The reader process cannot answer: it ended, or it is busy with something else.

    Args:
        detail: what is known of the cause.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return f"the reader process gives no answer: {self.detail}"


class ProtocolError(WatchError):
    """A message does not follow the wire format.

    Args:
        detail: what is wrong with it.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


class Refused(WatchError):
    """A service refuses what it is asked for, and coming back will not mend that.

    Args:
        code: close code of 4500 to 4999, or status of HTTP below 500.
        detail: one sentence for a person.
    """

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.detail} ({self.code})"


class HubClosed(WatchError):
    """The hub is shutting down; whoever waits for messages should come back later."""

    def __str__(self) -> str:
        return "the watcher is shutting down"


class CannotListen(WatchError):
    """The address to serve on cannot be used.

    Args:
        host: the host as the user named it.
        port: the port, 0 for any.
        mistake: whether the request itself is wrong (an unknown name, an address of another
            machine), as against something that stands in its way (a taken port).
        detail: one sentence for a person.
    """

    def __init__(self, host: str, port: int, *, mistake: bool, detail: str) -> None:
        super().__init__(host, port, mistake, detail)
        self.host = host
        self.port = port
        self.mistake = mistake
        self.detail = detail

    def __str__(self) -> str:
        return f"cannot serve on {self.host} port {self.port}: {self.detail}"


class OutputFailed(WatchError):
    """What should be printed cannot be written, for example because the disk is full.

    Args:
        detail: what the system says of the cause.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return f"cannot write to the output: {self.detail}"


class ReplicaError(WatchError):
    """A changeset cannot be applied to a replica.

    Args:
        detail: one sentence for a person.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return self.detail
