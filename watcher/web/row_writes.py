"""`POST`, `PATCH` and `DELETE` of `/tables/{name}/rows`: one row at a time, as it was seen."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from pydantic import Field

from watcher import wire
from watcher.changes import Row
from watcher.errors import ReaderStopped, UnknownTable
from watcher.hub import Hub
from watcher.web.problems import Problem, problems
from watcher.web.request import BadParameter, require_known, single
from watcher.web.row_body import (
    ChangedRow,
    NewRow,
    SeenRow,
    decode_key,
    decode_row,
    read_body,
    row_object,
    with_large_values,
)
from watcher.web.rows import KeyedRow
from watcher.web.table_writes import KnownRow, TableWrites

KeyInQuery = Annotated[
    str, Query(description='The key of the row, as in the stream: `{"id":1}`, `{"$rowid":5}`.')
]


class RowConflict(Problem):
    """Why a row was not written."""

    row: dict[str, Any] | None = Field(
        default=None,
        description="Only where the row was not as it was seen: as it is now, null if it is gone.",
    )


_FAILURES = problems(
    _403="Writing is off, or a page of another site asked for it.",
    _404="No watched table has this name.",
    _413="The request body is too long.",
    _422="The key, a column or a value is not acceptable.",
    _503="The database is locked by another program; try again.",
) | {409: {"model": RowConflict, "description": "The row has changed, or the database refuses."}}


def row_write_routes(hub: Hub, *, allowed: bool) -> APIRouter:
    """The routes that write rows of any watched table.

    Args:
        hub: the watched database.
        allowed: whether writing is on; where it is off every route answers 403.
    """
    writes = TableWrites(hub.path, hub.exclusion)

    async def refuse_where_off() -> None:
        if not allowed:
            raise HTTPException(403, "Writing through this service is off for this database.")

    def taken(name: str, row: dict[str, Any]) -> Row:
        return with_large_values(hub, name, decode_row(name, row))

    def key_of(request: Request) -> Row:
        return taken("key", decode_key(single(request.query_params, "key") or ""))

    router = APIRouter(tags=["rows"], responses=_FAILURES, dependencies=[Depends(refuse_where_off)])

    @router.post(
        "/tables/{name:anything}/rows",
        response_model=KeyedRow,
        status_code=201,
        openapi_extra=_body("row"),
        summary="Add a row",
    )
    async def post(name: str, request: Request) -> Response:
        """A column that is left out takes its default."""
        require_known(request.query_params, ())
        body = await read_body(request, NewRow)
        row = taken("row", body.row)
        _require_watched(hub, name)
        return await _answer(await writes.add(name, row), status=201)

    @router.patch(
        "/tables/{name:anything}/rows",
        response_model=KeyedRow,
        openapi_extra=_body("seen", "set"),
        summary="Change a row",
    )
    async def patch(name: str, request: Request, key: KeyInQuery) -> Response:
        """Only if it is as it was seen; its key may be another one afterwards."""
        require_known(request.query_params, ("key",))
        body = await read_body(request, ChangedRow)
        known, seen, new = key_of(request), decode_row("seen", body.seen), taken("set", body.set)
        _require_some(new)
        _require_watched(hub, name)
        return await _answer(await writes.change(name, known, seen, new))

    @router.delete(
        "/tables/{name:anything}/rows",
        response_model=KeyedRow,
        openapi_extra=_body("seen"),
        summary="Delete a row",
    )
    async def delete(name: str, request: Request, key: KeyInQuery) -> Response:
        """Only if it is as it was seen; the answer is what was deleted."""
        require_known(request.query_params, ("key",))
        body = await read_body(request, SeenRow)
        known, seen = key_of(request), decode_row("seen", body.seen)
        _require_watched(hub, name)
        return await _answer(await writes.remove(name, known, seen))

    return router


def _require_watched(hub: Hub, table: str) -> None:
    if not hub.head.epoch:
        raise ReaderStopped("there is no first copy yet")
    if all(watched.name != table for watched in hub.tables()):
        raise UnknownTable(table)


def _require_some(new: Row) -> None:
    if not new:
        raise BadParameter("set", "names no column")


def _body(*fields: str) -> dict[str, Any]:
    """Describes the body for the OpenAPI document; it is read by `read_body`."""
    row = {"type": "object", "description": "Values as in the stream, by columns."}
    schema = {
        "type": "object",
        "properties": dict.fromkeys(fields, row),
        "required": list(fields),
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def _answer(known: KnownRow, *, status: int = 200) -> Response:
    # In a thread, because large values are hashed.
    content = await asyncio.to_thread(_encode, known)
    return Response(content, status, media_type="application/json")


def _encode(known: KnownRow) -> bytes:
    return wire.encode_json({"key": row_object(known.key), "row": row_object(known.row)})
