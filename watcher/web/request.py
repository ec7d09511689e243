"""What a client asks of a stream: the same parameters for every transport."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from starlette.datastructures import QueryParams

from watcher.errors import WatchError
from watcher.hub import Filter

_FLAGS = {"true": True, "1": True, "false": False, "0": False}
# EventSource polyfills send their last position under any of these.
_SINCE = ("since", "last_event_id", "lastEventId")
FILTERS = frozenset(("tables", "columns", "ops", "where"))
"""Parameters that say what of a stream is wanted."""
STREAM = FILTERS | {"snapshot", *_SINCE}
"""Parameters of a stream."""


class BadParameter(WatchError):
    """A parameter of the request cannot be understood.

    Args:
        name: the parameter.
        detail: what is wrong with it.
    """

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(name, detail)
        self.name = name
        self.detail = detail

    def __str__(self) -> str:
        return f"parameter {self.name[:80]!r}: {self.detail}"


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """What a client asks for.

    Args:
        since: position to go on from, None to start now.
        snapshot: whether all rows come first.
        wanted: what of it is wanted.
    """

    since: str | None
    snapshot: bool
    wanted: Filter

    @classmethod
    def parse(
        cls,
        parameters: QueryParams,
        known: Collection[str],
        *,
        allowed: Collection[str] = STREAM,
        last_event: str | None = None,
    ) -> StreamRequest:
        """Reads the parameters of a request.

        Args:
            parameters: the query.
            known: names of the watched tables; one that holds a comma is taken as a whole.
            allowed: names of the parameters there are.
            last_event: the header `Last-Event-ID`. A browser that comes back by itself sends it
                and its old address, so it goes before `since`.

        Raises:
            BadParameter: one is unknown, given twice or malformed.
            BadFilter: an operation is named that there is not.
        """
        require_known(parameters, allowed)
        snapshot = single(parameters, "snapshot")
        if snapshot is not None and snapshot not in _FLAGS:
            raise BadParameter("snapshot", "must be true or false")
        return cls(
            since=last_event or _since(parameters),
            snapshot=_FLAGS[snapshot or "false"],
            wanted=Filter.of(
                tables=_names(parameters, "tables", known),
                columns=_names(parameters, "columns", ()),
                ops=_names(parameters, "ops", ()),
                where=single(parameters, "where"),
            ),
        )


def _since(parameters: QueryParams) -> str | None:
    given = [name for name in _SINCE if name in parameters]
    if len(given) > 1:
        raise BadParameter(given[1], f"is given beside {given[0]}")
    return single(parameters, given[0]) if given else None


def _names(parameters: QueryParams, name: str, known: Collection[str]) -> frozenset[str] | None:
    if name not in parameters:
        return None
    found: set[str] = set()
    for text in parameters.getlist(name):
        found.update([text] if text in known else text.split(","))
    return frozenset(found)


def require_known(parameters: QueryParams, allowed: Collection[str], *, once: bool = False) -> None:
    """Requires that a query has no parameters but those there are.

    Args:
        parameters: the query.
        allowed: names of the parameters there are.
        once: whether each may be given only once.

    Raises:
        BadParameter: one is unknown, or given twice.
    """
    for name in parameters:
        if name not in allowed:
            raise BadParameter(name, "there is none of this name")
        if once:
            single(parameters, name)


def single(parameters: QueryParams, name: str) -> str | None:
    """A parameter that may be given once, None where it is missing.

    Raises:
        BadParameter: it is given more than once.
    """
    values = parameters.getlist(name)
    if len(values) > 1:
        raise BadParameter(name, "is given more than once")
    return values[0] if values else None
