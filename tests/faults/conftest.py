"""Programs and followers for the fault tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn, Protocol

import pytest

from tests import system
from tests.faults.program import Program


def absent(reason: str) -> NoReturn:
    """Skips the test; where nothing may stay untested unseen, it fails."""
    if system.strict():
        pytest.fail(reason)
    pytest.skip(reason)


class StartProgram(Protocol):
    """Starts a program on a database; it is ended with the test."""

    def __call__(
        self, path: Path, *, timeout: float = 10, before: Sequence[str] = ()
    ) -> Program: ...


@pytest.fixture
def program() -> Iterator[StartProgram]:
    """Starts programs that use the database; they are ended with the test."""
    with ExitStack() as stack:

        def start(path: Path, *, timeout: float = 10, before: Sequence[str] = ()) -> Program:
            return stack.enter_context(Program(path, timeout=timeout, before=before))

        yield start


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory."""
    return tmp_path / "state"
