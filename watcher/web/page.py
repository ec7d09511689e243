"""The live page and the description of the interface, from the package's own folder only."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

# Files are public and small; asking each time whether they are still the same keeps a page that
# stays open across an upgrade from mixing versions.
_REVALIDATE = {"cache-control": "no-cache"}


def static_folder() -> Path:
    """The folder of the page: inside an installed package, else beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "static"
    return installed if installed.is_dir() else package.parent / "static"


class _Files(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_REVALIDATE)
        return response


def add_page(app: FastAPI) -> None:
    """Adds the page at `/`, the interface's description at `/docs` and their files."""
    folder = static_folder()
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def index() -> Response:
        return FileResponse(folder / "index.html", headers=_REVALIDATE)

    @router.api_route("/docs", methods=["GET", "HEAD"])
    async def docs() -> Response:
        return FileResponse(folder / "docs.html", headers=_REVALIDATE)

    app.include_router(router)
    app.mount("/static", _Files(directory=folder))
