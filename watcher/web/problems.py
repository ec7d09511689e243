"""Answers to requests that fail: one sentence as `{"detail": …}`, never a traceback."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from watcher import wire
from watcher.errors import (
    BadFilter,
    HubClosed,
    MalformedPosition,
    PastUnavailable,
    ReaderStopped,
    UnknownTable,
)
from watcher.view import TooLarge
from watcher.web.rawpath import PathError
from watcher.web.request import BadParameter
from watcher.web.row_body import row_object
from watcher.web.table_writes import RowChanged
from watcher.web.transaction import WriteRefused
from watcher.web.writable_table import Misfit

_MAX_DETAIL = 300
_RETRY = {"retry-after": "1"}
_SENTENCES = {404: "There is nothing at this address.", 405: "This address has no such method."}


class Problem(BaseModel):
    """Why a request failed."""

    detail: str = Field(description="One sentence for a person.")


def problems(**sentences: str) -> dict[int | str, dict[str, Any]]:
    """Describes the failures of a route for the OpenAPI document.

    Args:
        sentences: what each status means, by `_<status>`.
    """
    return {
        int(status.removeprefix("_")): {"model": Problem, "description": sentence}
        for status, sentence in sentences.items()
    }


def add_problem_answers(app: FastAPI) -> None:
    """Registers the answers with an application."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(PathError, _path)
    app.add_exception_handler(WriteRefused, _write)
    app.add_exception_handler(RowChanged, _row)
    app.add_exception_handler(PastUnavailable, _past)
    for error, status in _STATUS.items():
        app.add_exception_handler(error, _with_status(status))
    app.add_exception_handler(Exception, _unexpected)


_STATUS: dict[type[Exception], int] = {
    UnknownTable: 404,
    MalformedPosition: 422,
    BadFilter: 422,
    BadParameter: 422,
    TooLarge: 422,
    Misfit: 422,
    HubClosed: 503,
    ReaderStopped: 503,
}


def _answer(status: int, detail: str, headers: Any = None) -> JSONResponse:
    # What the client sent may be quoted, and need not be encodable.
    text = detail[:_MAX_DETAIL].encode("utf-8", "replace").decode()
    return JSONResponse({"detail": text}, status, headers)


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    generic = error.detail in {"Not Found", "Method Not Allowed"}
    detail = _SENTENCES[error.status_code] if generic else str(error.detail)
    return _answer(error.status_code, detail, error.headers)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return _answer(422, f"{place}: {first['msg']}")


async def _path(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PathError)
    return _answer(error.status, str(error))


async def _write(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, WriteRefused)
    if error.temporary:
        return _answer(503, str(error), _RETRY)
    return _answer(409, str(error))


async def _row(_: Request, error: Exception) -> Response:
    assert isinstance(error, RowChanged)
    row = None if error.row is None else await asyncio.to_thread(row_object, error.row)
    body = wire.encode_json({"detail": str(error), "row": row})
    return Response(body, 409, media_type="application/json")


_PAST = {"expired": 410, "no_table": 404, "changed": 409}


async def _past(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PastUnavailable)
    return _answer(_PAST[error.reason], str(error))


def _with_status(status: int) -> Any:
    async def handler(_: Request, error: Exception) -> JSONResponse:
        return _answer(status, str(error), _RETRY if status == 503 else None)

    return handler


async def _unexpected(_: Request, __: Exception) -> JSONResponse:
    # The server logs the error itself; the client learns nothing of the inside.
    return _answer(500, "The service failed on this request; its log says more.")
