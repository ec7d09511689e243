"""Texts and numbers out of a request path, exactly as they were sent. No I/O.

A server hands on the path decoded, with `%2F` turned into a slash and bytes that are no UTF-8
turned into U+FFFD. What is stored must be what was sent, so these functions read the raw path.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from starlette.convertors import Convertor

MAX_TEXT = 10_000
"""Characters a name or a value may have."""

_CANONICAL = re.compile(r"0|-?[1-9][0-9]{0,18}")


class PathError(Exception):
    """A path does not carry what it should.

    Args:
        status: HTTP status code that says so.
        detail: one sentence for a person.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


class Anything(Convertor[str]):
    """A part of a route that may hold any text; Starlette's own end at slashes or line ends."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        """Takes the text as it is."""
        return value

    def to_string(self, value: str) -> str:
        """Gives the text as it is."""
        return value


def path_texts(raw_path: bytes, root_path: str, verb: str) -> tuple[str, str]:
    """The two texts of `/<verb>/<first>/<second>`.

    The second is all that follows, so it may hold slashes; in the first they are sent as `%2F`.

    Args:
        raw_path: the path as sent, percent-encoded, without query.
        root_path: where the application is mounted, empty at the root.
        verb: the segment before the texts.

    Raises:
        PathError: there are no two texts, or one is not UTF-8, or one is too long.
    """
    # Mount points are counted in segments: their encoding in the raw path is not known.
    mounted = root_path.rstrip("/").count("/")
    parts = raw_path.split(b"/", mounted + 3)[mounted + 1 :]
    if len(parts) != 3 or unquote_to_bytes(parts[0]) != verb.encode():
        raise PathError(404, "The address needs two texts; a slash in the first is sent as %2F.")
    return decode_text(parts[1]), decode_text(parts[2])


def decode_text(raw: bytes) -> str:
    """Undoes percent-encoding.

    Raises:
        PathError: the bytes are not UTF-8, or more than `MAX_TEXT` characters.
    """
    try:
        text = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise PathError(400, "The address holds text that is not UTF-8.") from error
    if len(text) > MAX_TEXT:
        raise PathError(422, f"A text in the address is longer than {MAX_TEXT} characters.")
    return text


def parse_id(text: str) -> int:
    """Reads a row's id: a decimal integer in its shortest form, within 64 bits.

    Python's `int` takes ` 1`, `1_0`, `+1` and digits of other scripts as well; an address that
    names a row in two ways is refused.

    Raises:
        PathError: it is not such a number.
    """
    if _CANONICAL.fullmatch(text) and -(2**63) <= int(text) < 2**63:
        return int(text)
    raise PathError(422, "An id is a plain decimal integer of at most 64 bits.")
