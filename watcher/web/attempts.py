"""Slows down who guesses: wrong tokens are counted, and too many are answered with 429. No I/O."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

MAX_WRONG = 10
"""Wrong tokens that are looked at within `WINDOW`, from anywhere."""
WINDOW = 60.0
"""Seconds for which a wrong token counts."""


class WrongTokens:
    """Counts wrong tokens.

    From anywhere together: addresses are cheap for who guesses, and behind a proxy all clients have
    the same. So that nobody is locked out by a stranger, a right token never asks here.

    Args:
        clock: gives seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # More need not be remembered: the oldest of so many says how long to wait.
        self._times: deque[float] = deque(maxlen=MAX_WRONG)

    def count(self) -> int | None:
        """Counts one; seconds to wait where there were too many before it, None otherwise."""
        now = self._clock()
        if len(self._times) == self._times.maxlen and now - self._times[0] < WINDOW:
            return math.ceil(WINDOW - (now - self._times[0]))
        self._times.append(now)
        return None
