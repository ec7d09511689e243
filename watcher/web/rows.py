"""Rows of a table over plain HTTP: page by page, or by their number in an order."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from watcher import wire
from watcher.changes import LargeValue, Position, Row
from watcher.hub import Hub, Rows
from watcher.past import named_key
from watcher.view import MAX_LIMIT, Building, Orderings, Wanted, Window
from watcher.web.problems import problems
from watcher.web.request import BadParameter, require_known

_BY_NUMBER = frozenset(("offset", "around", "order", "desc", "where", "at_least"))
_PARAMETERS = _BY_NUMBER | {"after", "limit"}


class KeyedRow(BaseModel):
    """A row and how it is known; values as in the stream."""

    key: dict[str, Any]
    row: dict[str, Any]


class RowPage(BaseModel):
    """Some rows of a table, all as of one position."""

    position: str
    table: str
    rows: list[KeyedRow]
    next: str | None = Field(
        description="Send it as `after` for the next rows; null at the end, and by number."
    )
    offset: int | None = Field(None, description="Number of the first row, where asked by number.")
    total: int | None = Field(None, description="Rows in all, where asked by number.")
    index: int | None = Field(None, description="Number of the row `around`.")
    found: bool | None = Field(None, description="Whether the row `around` is there.")


class OrderBuilding(BaseModel):
    """The order that was asked for is not there yet; ask again."""

    state: Literal["building"]
    progress: float = Field(description="The part that is done, 0 to 1.")
    rows: int = Field(description="Rows taken so far.")


_BUILDING: dict[int | str, dict[str, Any]] = {
    202: {"model": OrderBuilding, "description": "The order is being built; ask again."}
}


class _Insert(msgspec.Struct):
    # Rows arrive encoded and leave as they are.
    key: msgspec.Raw
    after: msgspec.Raw


_decode_inserts = msgspec.json.Decoder(list[_Insert]).decode


def row_routes(hub: Hub) -> APIRouter:
    """The route that reads rows.

    Args:
        hub: the watched database.
    """
    router = APIRouter(tags=["database"])
    orderings = Orderings(hub)

    @router.get(
        "/tables/{name:anything}/rows",
        response_model=RowPage,
        responses=_BUILDING
        | problems(
            _404="No watched table has this name.",
            _422="A parameter is malformed or fits no other, or the table is too large.",
            _503="The rows cannot be read at the moment.",
        ),
        summary="Rows of a table, page by page or by their number",
    )
    async def rows(
        request: Request,
        name: str,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Rows at most.")] = 100,
        after: Annotated[
            str | None, Query(description="The next of the answer before; absent at first.")
        ] = None,
        offset: Annotated[
            int | None, Query(ge=0, le=2**53, description="Number of the first row, from 0.")
        ] = None,
        around: Annotated[
            str | None, Query(description="Key of the row in the middle, as JSON.")
        ] = None,
        order: Annotated[str | None, Query(description="Column to order by; else the key.")] = None,
        desc: Annotated[bool, Query(description="Turn the whole order around.")] = False,
        where: Annotated[str | None, Query(description="Only rows for which it is true.")] = None,
        at_least: Annotated[
            str | None, Query(description="Position that is waited for, up to 2 seconds.")
        ] = None,
    ) -> Response:
        require_known(request.query_params, _PARAMETERS, once=True)
        if not _BY_NUMBER & request.query_params.keys():
            page = await hub.rows(name, after=after, limit=limit)
            return _answer(_page_object(name, page))
        if after is not None:
            raise BadParameter("after", "does not go with rows by number")
        if offset is not None and around is not None:
            raise BadParameter("around", "is given beside offset")
        position = None if at_least is None else Position.parse(at_least)
        found = await orderings.get(Wanted(name, order, where)).window(
            limit=limit,
            offset=offset or 0,
            around=None if around is None else _small_key(around),
            desc=desc,
            at_least=position,
        )
        if isinstance(found, Building):
            building = {"state": "building", "progress": found.progress, "rows": found.rows}
            return _answer(building, 202)
        return _answer(_window_object(name, found))

    return router


def _small_key(text: str) -> Row:
    key = named_key("around", text)
    if any(isinstance(value, LargeValue) for value in key.values()):
        raise BadParameter("around", "has a value that is too large")
    return key


def _answer(body: object, status: int = 200) -> Response:
    return Response(wire.encode_json(body), status, media_type="application/json")


def _page_object(table: str, page: Rows) -> dict[str, object]:
    inserts = _decode_inserts(b"[" + page.inserts + b"]")
    rows = [{"key": insert.key, "row": insert.after} for insert in inserts]
    return {"position": page.position, "table": table, "rows": rows, "next": page.next}


def _window_object(table: str, window: Window) -> dict[str, object]:
    body: dict[str, object] = {
        "position": window.position,
        "table": table,
        "rows": [{"key": key, "row": row} for key, row in window.rows],
        "offset": window.offset,
        "total": window.total,
        "next": None,
    }
    if window.index is not None:
        body |= {"found": window.found, "index": window.index}
    return body
