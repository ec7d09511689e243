"""One-use links to the page: an address that signs a visitor in, once and soon. No I/O.

A lasting token in an address would stay in histories, logs and chat previews. A code of these does
too, and is worth nothing there: it was used up or has expired.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

LIFETIME = 600.0
"""Seconds for which a link is valid."""
MAX_LINKS = 100
"""Links that are valid at the same time; the oldest gives way."""

_BYTES = 24


class SignInLinks:
    """The codes that are valid now; kept in memory alone, so a restart ends them all.

    Args:
        clock: gives seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._expiries: dict[str, float] = {}

    def new(self) -> str:
        """Makes a code of 192 random bits that needs no quoting in an address."""
        while len(self._expiries) >= MAX_LINKS:
            del self._expiries[next(iter(self._expiries))]
        code = secrets.token_urlsafe(_BYTES)
        self._expiries[code] = self._clock() + LIFETIME
        return code

    def is_valid(self, code: str) -> bool:
        """Whether a code could be used now; it is not used up by asking."""
        # A dictionary finds by hash, so the time it takes tells nothing of how much was right.
        return self._clock() < self._expiries.get(code, 0.0)

    def use(self, code: str) -> bool:
        """Uses a code up; False where it has been used, has expired or never was."""
        valid = self.is_valid(code)
        self._expiries.pop(code, None)
        return valid
