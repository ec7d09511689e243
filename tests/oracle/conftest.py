"""What the tests of the machine share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.oracle.machine import Bench, Machine


@pytest.fixture
def bench() -> Iterator[Bench]:
    """What the machine works on."""
    with ExitStack() as stack:
        Machine.bench = Bench(stack)
        yield Machine.bench
