"""Where a service is, and how it is asked for a stream. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, urlencode, urlsplit

_SECURE = {"http": False, "ws": False, "https": True, "wss": True}
# The root of one database of several; it may itself be called `ws`.
_DATABASE = re.compile(r"/db/[^/]+$")
_PATH_SAFE = "/%!$&'()*+,;=:@~"


@dataclass(frozen=True, slots=True)
class Address:
    """A service of one database.

    Args:
        host: name or number, IPv6 in brackets; with the port, where one is given.
        root: path in front of `/ws` and `/values`, without a slash at its end.
        is_secure: whether it is spoken to over TLS.
    """

    host: str
    root: str
    is_secure: bool

    @classmethod
    def parse(cls, url: str) -> Self:
        """Reads the address of a service, or of its WebSocket.

        Args:
            url: `http`, `https`, `ws` or `wss`, with any path the service is mounted at, with or
                without `/ws` at its end.

        Raises:
            ValueError: it has another form; parameters and passwords are arguments, not part of it.
        """
        parts = urlsplit(url)
        if parts.scheme not in _SECURE or not parts.hostname:
            raise ValueError(f"not an address of http, https, ws or wss: {url!r}")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("an address has no user, query or fragment")
        path = parts.path.rstrip("/")
        root = path if _DATABASE.search(path) else path.removesuffix("/ws").rstrip("/")
        return cls(parts.netloc, quote(root, safe=_PATH_SAFE), _SECURE[parts.scheme])

    def stream(self, query: str) -> str:
        """The address of the stream with these parameters."""
        scheme = "wss" if self.is_secure else "ws"
        return f"{scheme}://{self.host}{self.root}/ws{query and '?'}{query}"

    def value(self, sha256: str) -> str:
        """The path of a large value."""
        return f"{self.root}/values/{sha256}"


def query(
    *,
    tables: Collection[str] | None,
    columns: Collection[str] | None,
    ops: Collection[str] | None,
    where: str | None,
    since: str | None,
    snapshot: bool,
) -> str:
    """Encodes the parameters of a stream.

    An empty collection is sent as an empty name, which the service refuses: it asks for nothing,
    and without the parameter it would ask for all.
    """
    pairs: list[tuple[str, str]] = []
    for name, wanted in (("tables", tables), ("columns", columns), ("ops", ops)):
        if wanted is not None:
            pairs += [(name, text) for text in wanted or ("",)]
    if where is not None:
        pairs.append(("where", where))
    if since is not None:
        pairs.append(("since", since))
    if snapshot:
        pairs.append(("snapshot", "true"))
    return urlencode(pairs, quote_via=quote)
