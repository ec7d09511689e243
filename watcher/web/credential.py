"""The token: how a client shows it, and the cookie that stands for it on the page. No I/O."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator


class Credential:
    """What a client must bring where a token is set.

    The cookie holds not the token but a value derived from it: a cookie that leaks opens this
    service until the token is changed, and nothing else. Derived, not random, so that a page
    comes back by itself after a restart. Its name is derived too, because cookies do not tell
    ports apart and two services on one machine must not overwrite each other's.

    Args:
        token: the secret text, not empty.

    Raises:
        ValueError: the token is empty.
    """

    def __init__(self, token: str) -> None:
        if not token:
            raise ValueError("the token is empty")
        self._token = token.encode()
        self.cookie_name = f"watcher_{self._derive(b'cookie name')[:8]}"
        self.cookie_value = self._derive(b"session")

    def is_token(self, offered: bytes) -> bool:
        """Compares in constant time; the digests hide even the length."""
        digest = hashlib.sha256
        return hmac.compare_digest(digest(offered).digest(), digest(self._token).digest())

    def admits(self, headers: Iterable[tuple[bytes, bytes]]) -> bool | None:
        """Tells whether request headers carry the token (Bearer) or the cookie.

        Returns:
            True where they do, False where they carry a wrong one, None where they carry neither.
        """
        pairs = [(name.lower(), value) for name, value in headers]
        bearers = [value for name, value in pairs if name == b"authorization"]
        if bearers:
            scheme, _, offered = bearers[0].partition(b" ")
            valid = self.is_token(offered.strip())
            return len(bearers) == 1 and scheme.lower() == b"bearer" and valid
        own = self.cookie_name.encode()
        cookies = (value for name, value in pairs if name == b"cookie")
        values = [value for name, value in _cookies(cookies) if name == own]
        if not values:
            return None
        return any(hmac.compare_digest(value, self.cookie_value.encode()) for value in values)

    def _derive(self, label: bytes) -> str:
        return hmac.new(self._token, b"watcher " + label, hashlib.sha256).hexdigest()


def _cookies(headers: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for header in headers:
        for pair in header.split(b";"):
            name, _, value = pair.strip().partition(b"=")
            yield name, value
