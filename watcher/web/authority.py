"""Where a request goes: `host` or `host:port`, as `Host` and `Origin` carry it."""

from __future__ import annotations

import re

DEFAULT_PORT = {"http": ":80", "https": ":443"}
"""What a browser leaves out, by scheme."""

# Names are compared in lower case, as DNS does. A trailing dot is refused: it names the same host
# but another origin, and no browser adds it by itself.
AUTHORITY = r"(?:[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?"
"""Pattern of one, in lower case."""

_AUTHORITY = re.compile(AUTHORITY)


def is_authority(text: str) -> bool:
    """Whether a text, in lower case, is one."""
    return _AUTHORITY.fullmatch(text) is not None


def plain(scheme: str, authority: str) -> str:
    """The authority as a browser writes it: without the port that the scheme implies."""
    return authority.removesuffix(DEFAULT_PORT.get(scheme, "\0"))
