"""The live page and the description of the interface, from the package's own folder only."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from watcher.hub import Hub

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


def static_files() -> ASGIApp:
    """Answers with the files of the page."""
    return _Files(directory=static_folder())


def directory_routes(hubs: Mapping[str, Hub]) -> APIRouter:
    """The page at `/` where there are several databases: a list of them."""
    router = APIRouter(include_in_schema=False)

    page = (static_folder() / "directory.html").read_text("utf-8")

    @router.api_route("/", methods=["GET", "HEAD"])
    async def index(request: Request) -> Response:
        root_path = request.scope.get("root_path", "")
        items = "".join(_entry(root_path, name) for name in sorted(hubs))
        # The script of the page keeps the list as it is; without one it is complete all the same.
        filled = page.replace("{note}", "" if items else "None yet.").replace("{items}", items)
        return HTMLResponse(filled)

    return router


def _entry(root_path: str, name: str) -> str:
    address = f"{escape(root_path)}/db/{quote(name, safe='')}/"
    return f'<li><a class="database-link" href="{address}"><span></span>{escape(name)}</a></li>'


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
    app.mount("/static", static_files())
