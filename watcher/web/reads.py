"""What can be asked of the watched database over plain HTTP: health, large values."""

from __future__ import annotations

import re
import time

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field
from starlette.responses import Response

from watcher import wire
from watcher.hub import Hub
from watcher.web.problems import problems

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MEDIA_TYPES = {"text": "text/plain; charset=utf-8", "blob": "application/octet-stream"}


class HealthReport(BaseModel):
    """How the watching goes."""

    state: str = Field(description="`ok`, or what is wrong, as in `status` messages.")
    detail: str = Field(description="The same as a sentence; empty where all is well.")
    position: str | None = Field(description="Where the stream stands.")
    lag: float = Field(description="Seconds for which there have been changes not yet sent.")
    clients: int = Field(description="Clients connected now.")
    database: str = Field(description="File name of the database.")
    writes: bool = Field(description="Whether rows may be written here.")
    time: str = Field(
        description="The clock of the service, ISO 8601 in UTC.",
        json_schema_extra={"format": "date-time"},
    )


def read_routes(hub: Hub, *, writes: bool) -> APIRouter:
    """The routes that read.

    Args:
        hub: the watched database.
        writes: whether writing is on, which clients are told.
    """
    router = APIRouter(tags=["database"])

    @router.get("/health", response_model=HealthReport, summary="How the watching goes")
    async def health() -> dict[str, object]:
        """Answers 200 also where the database cannot be watched at the moment: `state` says so."""
        report = hub.health()
        return {
            "state": report.status.state,
            "detail": report.status.detail,
            "position": report.position,
            "lag": report.lag,
            "clients": report.clients,
            "database": hub.name,
            "writes": writes,
            "time": wire.encode_time(time.time()),
        }

    @router.get(
        "/values/{sha256}",
        response_class=Response,
        responses=problems(_404="No such value is kept.")
        | {200: {"content": {"application/octet-stream": {}}}},
        summary="A value too large for the stream",
    )
    async def value(sha256: str) -> Response:
        """The bytes of a `$large` value; a text comes as UTF-8."""
        found = hub.value(sha256) if _DIGEST.fullmatch(sha256) else None
        if found is None:
            raise HTTPException(404, "No value with this digest is kept.")
        kind, data = found
        # A value that is HTML must not become a page of this origin.
        disposition = {"content-disposition": f'attachment; filename="{sha256}"'}
        return Response(data, headers=disposition, media_type=_MEDIA_TYPES[kind])

    return router
