"""What the service says of itself: that it lives, that the pipeline moves, and its figures."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from watcher.hub import Hub
from watcher.web.metrics import CONTENT_TYPE, exposition
from watcher.web.problems import problems

MAX_LAG = 10.0
"""Seconds of known changes that are not sent, after which the pipeline does not move."""

_MOVING = frozenset(("ok", "partial", "busy"))


class DatabaseReport(BaseModel):
    """One of the watched databases."""

    name: str = Field(description="Found below `/db/{name}`.")
    state: str = Field(description="As in `/health`.")
    position: str | None = Field(description="Where its stream stands.")


def service_routes(hubs: Mapping[str, Hub]) -> APIRouter:
    """The routes about the service as a whole.

    Args:
        hubs: the watched databases by their names.
    """
    router = APIRouter(tags=["service"])

    @router.get("/livez", summary="Whether the service answers")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @router.get(
        "/readyz",
        responses=problems(_503="For some database changes do not get through; `detail` says why."),
        summary="Whether changes get through",
    )
    async def readyz() -> Response:
        """Ready means that for every database changes move from the file to the clients."""
        faults = [fault for name, hub in hubs.items() if (fault := _fault(name, hub)) is not None]
        if faults:
            return JSONResponse({"detail": "; ".join(faults)}, 503, {"retry-after": "1"})
        return JSONResponse({"status": "ready"})

    @router.get("/databases", response_model=list[DatabaseReport], summary="What is watched")
    async def databases() -> list[dict[str, object]]:
        reports = ((name, hub.health()) for name, hub in sorted(hubs.items()))
        return [
            {"name": name, "state": report.status.state, "position": report.position}
            for name, report in reports
        ]

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}},
        summary="Figures for Prometheus",
    )
    async def metrics() -> Response:
        return Response(await exposition(hubs), media_type=CONTENT_TYPE)

    return router


def _fault(name: str, hub: Hub) -> str | None:
    report = hub.health()
    if report.status.state not in _MOVING:
        return f"{name}: {report.status.state}, {report.status.detail}"
    if report.lag > MAX_LAG:
        return f"{name}: behind for {report.lag:.0f} seconds"
    return None
