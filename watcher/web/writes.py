"""`/add`, `/update` and their twins under `/items`.

The GETs write, as the addresses of a demonstration one types into a browser. So that no other
site's page can follow them unnoticed, they look at what the browser says of the request's origin,
and no cache or prefetch may touch them.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from watcher import wire
from watcher.web.items import Item, Items
from watcher.web.problems import problems
from watcher.web.rawpath import MAX_TEXT, PathError, parse_id, path_texts
from watcher.web.refusal import header_values

Text = Annotated[str, Field(strict=True, max_length=MAX_TEXT)]
TextInPath = Annotated[
    str, Path(description=f"Percent-encoded UTF-8, at most {MAX_TEXT} characters.")
]
IdInPath = Annotated[
    str,
    Path(
        description="A plain decimal integer of at most 64 bits.",
        json_schema_extra={"type": "integer", "format": "int64"},
    ),
]


class NewItem(BaseModel):
    """An item to add."""

    model_config = ConfigDict(extra="forbid")
    name: Text
    value: Text | None = None


class NewValue(BaseModel):
    """What an item shall hold."""

    model_config = ConfigDict(extra="forbid")
    value: Text | None


class ItemRow(BaseModel):
    """A row of `items` after the write; values that JSON lacks are tagged as in the stream.

    Columns that are excluded are missing.
    """

    id: Any = Field(examples=[1])
    name: Any = Field(default=None, examples=["Test"])
    value: Any = Field(default=None, examples=["456"])


_FAILURES = problems(
    _400="The text is not UTF-8.",
    _403="Writing is off, the table is excluded, or a page of another site asked for it.",
    _409="The database refuses the write, for example by a constraint.",
    _413="The request body is too long.",
    _422="The id or a text is not acceptable.",
    _503="The database is locked by another program; try again.",
)
_UNKNOWN = problems(_404="No item has this id.")


def write_routes(items: Items, *, allowed: bool) -> APIRouter:
    """The routes that write.

    Args:
        items: where to write.
        allowed: whether writing is on; where it is off every route answers 403.
    """

    async def refuse_where_off() -> None:
        if not allowed:
            raise HTTPException(403, "Writing through this service is off for this database.")
        if not items.is_served:
            raise HTTPException(403, "The table items is not served here.")

    def row(item: Item | None, *, status: int = 200) -> Response:
        if item is None:
            raise HTTPException(404, "No item has this id.")
        fields = {name: wire.encode_value(value) for name, value in items.shown(item).items()}
        return Response(wire.encode_json(fields), status, media_type="application/json")

    router = APIRouter(
        tags=["items"], responses=_FAILURES, dependencies=[Depends(refuse_where_off)]
    )
    typed_in_browser = [Depends(refuse_foreign_fetch)]

    # The parameters of the two GETs are declared for the OpenAPI document. Their values come from
    # the raw path, because the decoded one no longer tells what was sent.
    @router.get(
        "/add/{name:anything}/{value:anything}",
        response_model=ItemRow,
        dependencies=typed_in_browser,
        summary="Add an item by typing an address",
    )
    async def add(request: Request, name: TextInPath, value: TextInPath) -> Response:
        name, value = _texts(request, "add")
        return row(await items.add(name, value))

    @router.get(
        "/update/{item_id:anything}/{new_value:anything}",
        response_model=ItemRow,
        responses=_UNKNOWN,
        dependencies=typed_in_browser,
        summary="Give an item a new value by typing an address",
    )
    async def update(request: Request, item_id: IdInPath, new_value: TextInPath) -> Response:
        item_id, new_value = _texts(request, "update")
        return row(await items.update(parse_id(item_id), new_value))

    @router.post("/items", response_model=ItemRow, status_code=201, summary="Add an item")
    async def post(item: NewItem) -> Response:
        return row(await items.add(item.name, item.value), status=201)

    @router.patch(
        "/items/{item_id}",
        response_model=ItemRow,
        responses=_UNKNOWN,
        summary="Give an item a new value",
    )
    async def patch(item_id: IdInPath, new: NewValue) -> Response:
        return row(await items.update(parse_id(item_id), new.value))

    return router


def refuse_foreign_fetch(request: Request) -> None:
    """Lets a writing GET through only where nobody but the user or the page itself asked for it.

    A browser states in `Sec-Fetch-Site` who asked; programs send nothing. A prefetch is a guess
    of the browser's, not a wish of the user's.

    Raises:
        HTTPException: 403, the request came from elsewhere or is a prefetch.
    """
    sites = header_values(request.scope, b"sec-fetch-site")
    if any(site not in {"none", "same-origin"} for site in sites):
        raise HTTPException(403, "Only the page itself, or a typed address, may write.")
    purposes = [
        *header_values(request.scope, b"sec-purpose"),
        *header_values(request.scope, b"purpose"),
        *header_values(request.scope, b"x-moz"),
    ]
    if any("prefetch" in purpose.lower() for purpose in purposes):
        raise HTTPException(403, "A prefetch does not write.")


def _texts(request: Request, verb: str) -> tuple[str, str]:
    if request.scope["query_string"]:
        raise PathError(400, "A question mark in a text is sent as %3F.")
    raw_path = request.scope.get("raw_path")
    if raw_path is None:  # optional in ASGI
        raise PathError(400, "This server does not pass on the address as sent; use /items.")
    return path_texts(raw_path, request.scope.get("root_path", ""), verb)
