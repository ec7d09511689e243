"""Several databases behind one address: `/db/{name}/…` is the service of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from watcher.hub import Hub
from watcher.web.refusal import Refusal, refuse, route_path

PREFIX = "/db/"


class Databases:
    """Hands a request below `/db/{name}` to the application of that database.

    It is called as if mounted there, so the paths below are those of a single database.

    Args:
        hubs: the watched databases by their names; may grow.
        make: makes the application of one.
        otherwise: answers every other request.
    """

    def __init__(
        self, hubs: Mapping[str, Hub], make: Callable[[Hub], ASGIApp], otherwise: ASGIApp
    ) -> None:
        self._hubs = hubs
        self._make = make
        self._otherwise = otherwise
        self._apps: dict[str, tuple[Hub, ASGIApp]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        path = route_path(scope)
        if not path.startswith(PREFIX):
            await self._otherwise(scope, receive, send)
            return
        name = path[len(PREFIX) :].partition("/")[0]
        app = self._app(name)
        if app is None:
            await refuse(Refusal(404, unknown_database(name, self._hubs)), scope, receive, send)
            return
        if scope["type"] == "http" and path == PREFIX + name:
            # Of the page the files are beside it.
            where = quote(scope.get("root_path", "") + path) + "/"
            await RedirectResponse(where, 307)(scope, receive, send)
            return
        await app(_mounted(scope, PREFIX + name), receive, send)

    def _app(self, name: str) -> ASGIApp | None:
        hub = self._hubs.get(name)
        if hub is None:
            return None
        held = self._apps.get(name)
        if held is None or held[0] is not hub:
            held = self._apps[name] = (hub, self._make(hub))
        return held[1]


def unknown_database(name: str, known: Mapping[str, Hub]) -> str:
    """Says in one sentence which databases there are."""
    names = ", ".join(sorted(known)[:20]) or "none yet"
    return f"No database here is named {name[:80]!r}; there are: {names}."


def _mounted(scope: Scope, prefix: str) -> Scope:
    return {**scope, "root_path": scope.get("root_path", "") + prefix}
