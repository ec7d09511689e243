"""A key as a client names it in a query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from watcher import wire
from watcher.changes import Value
from watcher.errors import BadFilter, ProtocolError

Key = Mapping[str, Value]
ROWID = "$rowid"


def named_key(parameter: str, text: str) -> Key:
    """Reads the JSON object of a key, with values as on the wire.

    Args:
        parameter: its name, for errors.
        text: what was given.

    Raises:
        BadFilter: it is no such object.
    """
    try:
        body = wire.decode_json(text)
        if not isinstance(body, dict) or not body:
            raise BadFilter(parameter, 'must be a key, such as {"id":1}')
        return {name: wire.decode_value(value) for name, value in body.items()}
    except (msgspec.DecodeError, UnicodeError, ProtocolError, ValueError) as error:
        raise BadFilter(parameter, f"is not a key ({error})") from error


def ordered(parameter: str, key: Key, *definitions: Sequence[str]) -> tuple[list[Value], bool]:
    """The values of a key in the order of the table's key.

    Args:
        parameter: its name, for errors.
        key: as it was named.
        definitions: columns of the table's key, as it is and as it was.

    Returns:
        The values, and whether they are a rowid.

    Raises:
        BadFilter: the table's rows are not known by such a key.
    """
    for columns in definitions:
        if columns and key.keys() == set(columns):
            return [key[name] for name in columns], False
    if key.keys() == {ROWID} and type(key[ROWID]) is int:
        return [key[ROWID]], True
    wanted = ", ".join(definitions[0]) or ROWID
    raise BadFilter(parameter, f"the rows of this table are known by {wanted[:100]}")


def encoded(names: Sequence[str], values: Sequence[Value]) -> bytes:
    """A key in the bytes it has in the stream."""
    return wire.encode_json(
        {name: wire.encode_value(v, _leave) for name, v in zip(names, values, strict=True)}
    )


def _leave(sha256: str, kind: str, data: bytes) -> None:
    """Whoever names a large value need not keep it."""
