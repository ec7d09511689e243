"""A program that uses the watched database: a process of its own, told what to do step by step."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_SCRIPT = Path(__file__).with_name("program_main.py")


class Refused(Exception):
    """SQLite refused a statement of the program."""


class Program:
    """One process with one connection in autocommit mode; a context manager.

    Args:
        path: the database.
        timeout: seconds for which its connection waits for locks.
        before: what to put before the command.
    """

    def __init__(self, path: Path, *, timeout: float = 10, before: Sequence[str] = ()) -> None:
        self._process = subprocess.Popen(
            [*before, sys.executable, str(_SCRIPT), str(path), str(timeout)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def run(self, *statements: str) -> list[list[Any]]:
        """Runs statements and returns the rows of the last one.

        Raises:
            Refused: SQLite refused one; those after it were not run.
        """
        rows: list[list[Any]] = []
        for sql in statements:
            rows = self._ask({"sql": sql})
        return rows

    def commit_many(self, count: int) -> list[str]:
        """Makes so many commits of one row each into `items`; returns the errors it met."""
        return [str(error) for (error,) in self._ask({"commits": count})]

    def insert_until_stopped(self) -> None:
        """Starts to commit a row in `items` again and again, until `stop_inserting`."""
        self._send({"insert_until_stopped": True})

    def stop_inserting(self) -> list[str]:
        """Ends that; returns the errors it met."""
        return [str(error) for (error,) in self._ask({})]

    def _ask(self, question: dict[str, Any]) -> list[list[Any]]:
        self._send(question)
        assert self._process.stdout is not None
        answer = json.loads(self._process.stdout.readline() or '{"error": "it has ended"}')
        if "error" in answer:
            raise Refused(answer["error"])
        return list(answer["rows"])

    def _send(self, question: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """Closes its connection and ends it; idempotent."""
        self._process.communicate()

    def kill(self) -> None:
        """Ends it as a crash does: what it was about to write is lost, nothing is tidied up."""
        self._process.kill()
        self._process.communicate()
