"""The application: everything the service answers, around one hub."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import FastAPI
from starlette.convertors import register_url_convertor
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from watcher.hub import Hub
from watcher.web.access import Access, Names
from watcher.web.body import BodyLimit
from watcher.web.credential import Credential
from watcher.web.items import Items
from watcher.web.page import add_page
from watcher.web.problems import add_problem_answers
from watcher.web.rawpath import Anything
from watcher.web.reads import read_routes
from watcher.web.signin import sign_in_routes
from watcher.web.socket import SEND_TIMEOUT, stream
from watcher.web.stopping import Stopping
from watcher.web.writes import write_routes

_DESCRIPTION = """Row-level changes of a SQLite file, as they are committed by any program.

The changes themselves come over the WebSocket /ws with the parameters since (a position to go
on from), snapshot (true: all rows first) and tables (names, separated by commas)."""


def create_app(
    hub: Hub,
    *,
    token: str | None = None,
    allow_writes: bool = False,
    hosts: Collection[str] = (),
    send_timeout: float = SEND_TIMEOUT,
) -> ASGIApp:
    """Makes the application for one watched database.

    The hub is neither started nor stopped here: serve the application within `async with hub`.
    It can also be mounted in an application of one's own: `app.mount("/live", create_app(hub))`.

    Args:
        hub: the watched database.
        token: what every client must bring, None where no token is asked for.
        allow_writes: whether `/add`, `/update` and `/items` may write to the table `items`.
        hosts: names beside the loopback ones under which the service may be asked for, each
            `host`, `host:port` or an origin such as `https://watch.example.org`.
        send_timeout: seconds a WebSocket client may take to make room for one frame before it is
            closed with 4008.

    Raises:
        ValueError: the token is empty, or a host is not a host name.
    """
    credential = None if token is None else Credential(token)
    app = FastAPI(
        title="watcher",
        version="1",
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    add_problem_answers(app)
    register_url_convertor("anything", Anything())
    app.include_router(read_routes(hub))
    app.include_router(write_routes(Items(hub.path), allowed=allow_writes))
    if credential is not None:
        app.include_router(sign_in_routes(credential))

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await stream(hub, websocket, send_timeout=send_timeout)

    add_page(app)
    return Access(Stopping(BodyLimit(app)), names=Names(hosts), credential=credential)
