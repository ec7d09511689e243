"""Combinations of parameters: a few that have every value, all of them when soaking."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest


def combined(*values: Sequence[object]) -> list[Any]:
    """All combinations; unless soaking, only so many that each value is in one of them.

    Args:
        values: for each parameter the values it can have.
    """
    longest = max(map(len, values))
    few = {tuple(n % len(each) for each in values) for n in range(longest)}
    places = product(*(range(len(each)) for each in values))
    return [
        pytest.param(
            *(each[n] for each, n in zip(values, place, strict=True)),
            marks=() if place in few else pytest.mark.soak,
        )
        for place in places
    ]
