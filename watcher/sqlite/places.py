"""Places of rows: what a row is known by, as a token for clients and packed for the channel."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import msgspec

from watcher import wire
from watcher.changes import InvalidText, LargeValue, Value
from watcher.errors import MalformedPosition, ProtocolError

_INVALID_TEXT = 1


def encode_place(place: Sequence[Value]) -> str:
    """Makes the opaque token of a row's place from it."""
    body = wire.encode_json([wire.encode_value(value) for value in place])
    return base64.urlsafe_b64encode(body).decode().rstrip("=")


def decode_place(token: str) -> list[Value]:
    """Reads a token.

    Raises:
        MalformedPosition: it is none.
    """
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars="-_", validate=True)
        place = [wire.decode_value(value) for value in msgspec.json.decode(data, type=list)]
    except (binascii.Error, msgspec.DecodeError, ProtocolError, ValueError) as error:
        raise MalformedPosition(token) from error
    if not place or type(place[0]) is not int or any(isinstance(v, LargeValue) for v in place):
        raise MalformedPosition(token)
    return place


def _pack_odd(value: Any) -> msgspec.msgpack.Ext:
    if isinstance(value, InvalidText):
        return msgspec.msgpack.Ext(_INVALID_TEXT, value.data)
    raise TypeError(f"not a value: {type(value).__name__}")


def _unpack_odd(_: int, data: memoryview) -> InvalidText:
    return InvalidText(bytes(data))


_pack = msgspec.msgpack.Encoder(enc_hook=_pack_odd).encode
_unpack = msgspec.msgpack.Decoder(list[Any], ext_hook=_unpack_odd).decode


def pack(values: Sequence[Value] | Sequence[Sequence[Value]]) -> bytes:
    """Packs values, or rows of them, for the channel alone; no type is lost."""
    return _pack(values)


def unpack(data: bytes) -> list[Any]:
    """Undoes `pack`; rows come as lists."""
    return _unpack(data)
