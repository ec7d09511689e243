"""JSON of single values: what JSON cannot express is tagged."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from watcher.changes import InvalidText, LargeValue, Value
from watcher.errors import ProtocolError

# Beyond it a JavaScript number is no longer exact (Number.MAX_SAFE_INTEGER).
SAFE_INTEGER = 2**53 - 1
LARGE_VALUE_BYTES = 256 * 1024

# Receives a value that is too large for the stream: digest, type (`text` or `blob`), bytes.
KeepLarge = Callable[[str, str, bytes], None]

encode_json = msgspec.json.Encoder().encode
decode_json = msgspec.json.Decoder().decode


def encode_value(value: Value, keep: KeepLarge | None = None) -> object:
    """Gives a value the form it has in JSON.

    Args:
        value: what SQLite holds.
        keep: takes over values of more than 256 KiB, which are then replaced by a `$large` tag;
            without it they are encoded in full.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return value if len(value) * 4 <= LARGE_VALUE_BYTES else _encode_long_text(value, keep)
    if isinstance(value, int):
        return value if -SAFE_INTEGER <= value <= SAFE_INTEGER else {"$int": str(value)}
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$real": _NON_FINITE[str(value)]}
    if isinstance(value, bytes):
        if keep is not None and len(value) > LARGE_VALUE_BYTES:
            return _large("blob", value, keep)
        return {"$blob": base64.b64encode(value).decode()}
    if isinstance(value, InvalidText):
        return {"$text": base64.b64encode(value.data).decode()}
    return {"$large": {"type": value.type, "bytes": value.bytes, "sha256": value.sha256}}


_NON_FINITE = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}
_FROM_NON_FINITE = {text: float(name) for name, text in _NON_FINITE.items()}
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_REAL = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")


def _encode_long_text(value: str, keep: KeepLarge | None) -> object:
    if keep is None:
        return value
    data = value.encode()
    return _large("text", data, keep) if len(data) > LARGE_VALUE_BYTES else value


def _large(kind: str, data: bytes, keep: KeepLarge) -> object:
    digest = hashlib.sha256(data).hexdigest()
    keep(digest, kind, data)
    return {"$large": {"type": kind, "bytes": len(data), "sha256": digest}}


def decode_value(value: object) -> Value:
    """Gives a JSON value the form SQLite holds; the inverse of `encode_value`.

    Of a finite real it also takes `{"$real":"1.0"}`: JavaScript writes 1.0 as 1, which is an
    integer, so it has no other way to send one that is whole.

    Raises:
        ProtocolError: SQLite holds no such value, or it is tagged with an unknown tag or badly.
    """
    if value is None or isinstance(value, str | float):
        return value
    try:
        if type(value) is int:  # true and false are no values
            return _int64(value)
        ((tag, content),) = value.items()  # type: ignore[attr-defined]  # a list is refused below
        return _DECODE_TAG[tag](content)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ProtocolError(f"not a value: {str(value)[:80]}") from error


def _decode_int(text: str) -> int:
    # Python alone would take "1_000", " 5" and the digits of any script too.
    if not _INTEGER.fullmatch(text):
        raise ValueError
    return _int64(int(text))


def _decode_real(text: str) -> float:
    if text in _FROM_NON_FINITE:
        return _FROM_NON_FINITE[text]
    # What is too large for a real would become infinite.
    if not _REAL.fullmatch(text) or not math.isfinite(number := float(text)):
        raise ValueError
    return number


def _int64(number: int) -> int:
    if not -(2**63) <= number < 2**63:
        raise ValueError
    return number


_DECODE_TAG: dict[str, Callable[[Any], Value]] = {
    "$int": _decode_int,
    "$real": _decode_real,
    "$blob": lambda text: base64.b64decode(text, validate=True),
    "$text": lambda text: InvalidText(base64.b64decode(text, validate=True)),
    "$large": lambda large: LargeValue(large["type"], large["bytes"], large["sha256"]),
}


def large_content(kind: str, data: bytes) -> Value:
    """A large value as SQLite holds it.

    Args:
        kind: `text` or `blob`.
        data: its bytes, those of a text in UTF-8.
    """
    return data.decode() if kind == "text" else data


def encode_time(seconds: float) -> str:
    """A time as messages have it: ISO 8601, UTC, with microseconds.

    Args:
        seconds: since 1970.
    """
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")
