"""What was: the reach of the history, the versions of a row, a table as it was."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from watcher import wire
from watcher.changes import Position, Table
from watcher.errors import BadFilter, ReaderStopped, UnknownTable
from watcher.hub import Hub
from watcher.past import MOST, Counted, Past, RowHistory, Version, named_key, stretch
from watcher.web.problems import problems
from watcher.web.request import require_known
from watcher.web.rows import KeyedRow

_STRETCH = frozenset(("from", "to", "marks", "table"))
_VERSIONS = frozenset(("key", "limit", "before"))
_PAST = frozenset(("at", "after", "limit", "from"))


class HistoryEnd(BaseModel):
    """An end of the history."""

    position: str
    time: str | None = Field(description="Null where no changeset is kept.")


class HistoryMark(BaseModel):
    """A changeset."""

    position: str
    time: str
    changes: int = Field(description="How many changes it has.")


class HistoryReach(BaseModel):
    """How far the history reaches, and some of its changesets."""

    changesets: int = Field(description="How many there are in the stretch.")
    oldest: HistoryEnd = Field(description="Before the first changeset, with the time of that.")
    newest: HistoryEnd
    marks: list[HistoryMark] = Field(description="Spread evenly; all where they are few.")


class RowChangeVersion(BaseModel):
    """A change of a row, as in the stream."""

    position: str
    time: str
    commits: int | None
    op: str
    changed: list[str]
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class RowVersions(BaseModel):
    """What the kept history says of a row."""

    table: str
    key: dict[str, Any]
    versions: list[RowChangeVersion] = Field(description="Newest first.")
    next: str | None = Field(description="Send it as `before` for older ones; null at the end.")
    reaches: str = Field(description="`birth`, `limit` or `history`: what lies before the oldest.")


class FormerRows(BaseModel):
    """Some rows of a table as it was."""

    position: str
    table: str
    columns: list[str] = Field(description="The columns of the table then.")
    rows: list[KeyedRow]
    next: str | None = Field(description="Send it as `after` for the next rows; null at the end.")


_Limit = Annotated[int, Query(ge=1, le=1000)]


def past_routes(hub: Hub) -> APIRouter:
    """The routes that look back.

    Args:
        hub: the watched database.
    """
    router = APIRouter(tags=["past"])
    past = Past(hub)

    @router.get(
        "/history",
        response_model=HistoryReach,
        responses=problems(
            _410="A position is not in the history.",
            _422="A parameter is unknown or malformed.",
            _503="There is no history yet.",
        ),
        summary="How far the history reaches",
    )
    async def history(
        request: Request,
        begin: Annotated[str | None, Query(alias="from", description="Only after it.")] = None,
        to: Annotated[str | None, Query(description="Only up to this position.")] = None,
        marks: Annotated[int, Query(ge=1, le=MOST, description="Marks at most.")] = 200,
        table: Annotated[
            str | None, Query(description="Only changesets that touch a table of this name.")
        ] = None,
    ) -> Response:
        require_known(request.query_params, _STRETCH, once=True)
        _require_history(hub)
        ends = (_position("from", begin), _position("to", to))
        found = await past.in_thread(
            lambda: stretch(hub.state_directory, *ends, marks, table, lambda: hub.closed)
        )
        body = {
            "changesets": found.changesets,
            "oldest": {"position": str(found.oldest), "time": _time(found.began)},
            "newest": {"position": str(found.newest), "time": _time(found.ended)},
            "marks": list(map(_mark, found.marks)),
        }
        return Response(wire.encode_json(body), media_type="application/json")

    @router.get(
        "/tables/{name:anything}/history",
        response_model=RowVersions,
        responses=problems(
            _404="No watched table has this name.",
            _410="The position `before` is not of this history.",
            _422="A parameter is unknown or malformed, or the table has no such keys.",
            _503="There is no history yet.",
        ),
        summary="The versions of a row",
    )
    async def versions(
        request: Request,
        name: str,
        key: Annotated[str, Query(description="The key of the row, a JSON object.")],
        limit: _Limit = 100,
        before: Annotated[str | None, Query(description="The next of the answer before.")] = None,
    ) -> Response:
        require_known(request.query_params, _VERSIONS, once=True)
        head, table = _require_history(hub), _table(hub, name)
        row = RowHistory(
            hub.state_directory, head, table, named_key("key", key), lambda: hub.closed
        )
        place = _position("before", before)
        found = await past.in_thread(lambda: row.versions(place, limit))
        body = {
            "table": name,
            "key": wire.decode_json(row.key),
            "versions": list(map(_version, found.versions)),
            "next": found.next,
            "reaches": found.reaches,
        }
        return Response(wire.encode_json(body), media_type="application/json")

    @router.get(
        "/tables/{name:anything}/past",
        response_model=FormerRows,
        responses=problems(
            _404="No watched table has this name, or there was none then.",
            _409="The table has changed since, so that what it held then is not known.",
            _410="The position is not in the history.",
            _422="A parameter is unknown or malformed, or the table has no such keys.",
            _503="The rows cannot be read at the moment.",
        ),
        summary="A table as it was, page by page",
    )
    async def former(
        request: Request,
        name: str,
        at: Annotated[str, Query(description="The position of a changeset.")],
        after: Annotated[str | None, Query(description="The next of the answer before.")] = None,
        limit: _Limit = 100,
        begin: Annotated[
            str | None, Query(alias="from", description="Begin with this key, a JSON object.")
        ] = None,
    ) -> Response:
        require_known(request.query_params, _PAST, once=True)
        key = None if begin is None else named_key("from", begin)
        page = await past.page(name, at, after=after, begin=key, limit=limit)
        body = {
            "position": at,
            "table": name,
            "columns": page.columns,
            "rows": [{"key": row.key, "row": row.row} for row in page.rows],
            "next": page.next,
        }
        return Response(wire.encode_json(body), media_type="application/json")

    return router


def _require_history(hub: Hub) -> Any:
    head = hub.head
    if not head.epoch:
        raise ReaderStopped("it is starting")
    return head


def _table(hub: Hub, name: str) -> Table:
    for table in hub.tables():
        if table.name == name:
            return table
    raise UnknownTable(name)


def _position(name: str, text: str | None) -> Position | None:
    if text is None:
        return None
    position = Position.parse(text)
    if position.part is not None:
        raise BadFilter(name, "is the position of a part of a changeset")
    return position


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else wire.encode_time(seconds)


def _mark(counted: Counted) -> dict[str, object]:
    mark = counted.mark
    return {
        "position": str(mark.position),
        "time": _time(mark.time),
        "changes": counted.changes,
    }


def _version(version: Version) -> dict[str, object]:
    change = version.change
    return {
        "position": version.position,
        "time": version.time,
        "commits": version.commits,
        "op": change.op,
        "changed": change.changed,
        "before": change.before,
        "after": change.after,
    }
