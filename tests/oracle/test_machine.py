"""The oracle at scale: whatever several programs do to a file, three ways to read it agree."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.oracle.machine import Machine

# Some ten a second; a soak names its own number.
EXAMPLES = int(os.environ.get("WATCHER_EXAMPLES", "200"))


@pytest.mark.usefixtures("bench")
@pytest.mark.timeout(0)
def test_three_ways_to_read_agree() -> None:
    """Page-guided reading, comparing whole tables and a fresh read agree after every commit."""
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
