"""How a table and a file are named to SQLite, whatever characters their names hold."""

from __future__ import annotations

from pathlib import Path
from urllib import parse

_COLLATIONS = frozenset(("BINARY", "NOCASE", "RTRIM"))


def quote(name: str) -> str:
    """Quotes an identifier for SQL."""
    return '"' + name.replace('"', '""') + '"'


def known_collation(collation: str) -> str:
    """A collation of SQLite's own, or BINARY in place of one that only an application has."""
    return collation.upper() if collation.upper() in _COLLATIONS else "BINARY"


def file_uri(path: Path, **parameters: str) -> str:
    """Names a file so that no character of its path is taken for anything else.

    Args:
        path: the file; bytes of its name that are not UTF-8 are quoted as they are.
        parameters: of the URI, such as `mode="ro"` (sqlite.org/uri.html).
    """
    absolute = path.absolute().as_posix()
    # A leading slash keeps a drive letter out of the URI's authority.
    rooted = absolute if absolute.startswith("/") else f"/{absolute}"
    query = "&".join(f"{name}={parse.quote(value, safe='')}" for name, value in parameters.items())
    return f"file://{parse.quote(rooted, errors='surrogateescape')}?{query}"
