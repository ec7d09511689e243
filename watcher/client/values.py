"""Fetches values that travel beside the stream."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPSConnection
from urllib.parse import urlsplit

from watcher.changes import LargeValue, Value
from watcher.client.address import Address
from watcher.errors import ProtocolError, Refused

_SECONDS = 30.0
# The service may answer these otherwise in a while.
_TEMPORARY = frozenset((408, 425, 429))
_NOT_FOUND = 404


class ValueGone(Exception):
    """The service keeps no value of this digest (any more)."""


def is_final(status: int) -> bool:
    """Whether an HTTP status is one that coming back does not mend."""
    return 400 <= status < 500 and status not in _TEMPORARY


def fetch_value(
    address: Address,
    large: LargeValue,
    headers: Mapping[str, str],
    tls: ssl.SSLContext | None,
) -> Value:
    """Fetches a large value; blocks.

    Args:
        address: of the service.
        large: what stands for it.
        headers: of the request.
        tls: for an address with TLS, None for the system's certificates.

    Raises:
        ValueGone: it is not kept (any more).
        Refused: the service refuses it for good.
        ProtocolError: what came is another value.
        OSError, HTTPException: the connection failed, or the service cannot answer now.
    """
    status, data = _get(address, address.value(large.sha256), headers, tls, limit=large.bytes + 1)
    if status == _NOT_FOUND:
        raise ValueGone
    if is_final(status):
        raise Refused(status, "the service refuses to give a large value")
    if status != 200:
        raise ConnectionError(f"HTTP status {status}")
    if len(data) < large.bytes:
        raise ConnectionResetError("the connection was cut within a value")
    if hashlib.sha256(data).hexdigest() != large.sha256:
        raise ProtocolError(f"the large value {large.sha256} came with other content")
    return data.decode() if large.type == "text" else data


def _get(
    address: Address,
    path: str,
    headers: Mapping[str, str],
    tls: ssl.SSLContext | None,
    *,
    limit: int,
) -> tuple[int, bytes]:
    # Neither proxies of the environment nor redirects: the token goes to this address alone.
    parts = urlsplit(f"//{address.host}")
    assert parts.hostname is not None
    connection = (
        HTTPSConnection(parts.hostname, parts.port, timeout=_SECONDS, context=tls)
        if address.is_secure
        else HTTPConnection(parts.hostname, parts.port, timeout=_SECONDS)
    )
    try:
        connection.request("GET", path, headers=dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read(limit)
    finally:
        connection.close()
