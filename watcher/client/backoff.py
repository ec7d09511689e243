"""How long to wait between two tries."""

from __future__ import annotations

import random

FIRST_SECONDS = 0.5
"""Ceiling of the first wait; it doubles with each failure."""
LONGEST_SECONDS = 30.0
HEALTHY_SECONDS = 10.0
"""For how long all must have been well that earlier failures are forgotten."""


class Backoff:
    """Counts failures, and says how long to wait after each."""

    def __init__(self) -> None:
        self._failures = 0
        self._well_since: float | None = None

    def well(self, now: float) -> None:
        """It works since now.

        Args:
            now: seconds of a monotonic clock.
        """
        self._well_since = now

    def failed(self, now: float) -> float:
        """It failed; returns the seconds to wait, drawn at random from all up to the ceiling.

        A restart of the service must not bring all its clients back at once.

        Args:
            now: seconds of the same clock.
        """
        since, self._well_since = self._well_since, None
        if since is not None and now - since >= HEALTHY_SECONDS:
            self._failures = 0
        # An exponent without bound would end in an overflow after some hours.
        ceiling = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(self._failures, 10))
        self._failures += 1
        return random.uniform(0, ceiling)
