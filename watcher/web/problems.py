"""Answers to requests that fail: one sentence as `{"detail": …}`, never a traceback."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from watcher.errors import BadFilter, HubClosed, MalformedPosition, ReaderStopped, UnknownTable
from watcher.view import TooLarge
from watcher.web.items import WriteRefused
from watcher.web.rawpath import PathError
from watcher.web.request import BadParameter

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
    for error, status in _STATUS.items():
        app.add_exception_handler(error, _with_status(status))
    app.add_exception_handler(Exception, _unexpected)


_STATUS: dict[type[Exception], int] = {
    UnknownTable: 404,
    MalformedPosition: 422,
    BadFilter: 422,
    BadParameter: 422,
    TooLarge: 422,
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


def _with_status(status: int) -> Any:
    async def handler(_: Request, error: Exception) -> JSONResponse:
        return _answer(status, str(error), _RETRY if status == 503 else None)

    return handler


async def _unexpected(_: Request, __: Exception) -> JSONResponse:
    # The server logs the error itself; the client learns nothing of the inside.
    return _answer(500, "The service failed on this request; its log says more.")
