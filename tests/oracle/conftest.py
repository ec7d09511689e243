"""What the tests of the machine share; says at the end of a run what it has gone through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.oracle.machine import Bench, Machine
from tests.oracle.tally import report


@pytest.fixture
def bench() -> Iterator[Bench]:
    """What the machine works on."""
    with ExitStack() as stack:
        Machine.bench = Bench(stack)
        yield Machine.bench


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Adds the lines of the tally."""
    for line in report():
        terminalreporter.write_line(f"oracle: {line}")
