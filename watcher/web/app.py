"""The application: everything the service answers, around one hub or several."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from fastapi import FastAPI
from starlette.convertors import register_url_convertor
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from watcher.hub import Hub
from watcher.web.access import Access, Names
from watcher.web.attempts import WrongTokens
from watcher.web.body import BodyLimit
from watcher.web.capacity import MAX_CLIENTS, Capacity
from watcher.web.credential import Credential
from watcher.web.databases import Databases
from watcher.web.gate import Gate
from watcher.web.items import Items
from watcher.web.links import SignInLinks
from watcher.web.page import add_page, directory_routes, static_files
from watcher.web.past import past_routes
from watcher.web.problems import add_problem_answers
from watcher.web.rawpath import Anything
from watcher.web.reads import read_routes
from watcher.web.refusal import Refusal, refuse
from watcher.web.row_writes import row_write_routes
from watcher.web.rows import row_routes
from watcher.web.service import service_routes
from watcher.web.signin import sign_in_routes
from watcher.web.socket import stream
from watcher.web.stopping import Stopping
from watcher.web.streaming import SEND_TIMEOUT
from watcher.web.streams import stream_routes
from watcher.web.tables import table_routes
from watcher.web.writes import write_routes

_DESCRIPTION = """Row-level changes of a SQLite file, as they are committed by any program.

The changes themselves come over the WebSocket /ws, which takes the parameters of /events, as
server-sent events over /events, and by long polling from /changes."""


def create_app(
    hub: Hub | Mapping[str, Hub],
    *,
    token: str | None = None,
    allow_writes: bool = False,
    hosts: Collection[str] = (),
    origins: Collection[str] = (),
    max_clients: int = MAX_CLIENTS,
    links: SignInLinks | None = None,
    send_timeout: float = SEND_TIMEOUT,
) -> ASGIApp:
    """Makes the application for one watched database, or for several.

    The hubs are neither started nor stopped here: serve the application within `async with hub`.
    It can also be mounted in an application of one's own: `app.mount("/live", create_app(hub))`.

    Args:
        hub: the watched database; or several by their names, each of which is then found below
            `/db/{name}`. The mapping may grow while the application is served.
        token: what every client must bring, None where no token is asked for.
        allow_writes: whether rows of the watched tables may be written, also by `/add` and
            `/update`.
        hosts: names beside the loopback ones under which the service may be asked for, each
            `host`, `host:port` or an origin such as `https://watch.example.org`.
        origins: of pages elsewhere that may use the service, each exactly as a browser sends it.
        max_clients: how many may be connected at once; all else is answered beyond that too.
        links: where the codes are made for links that sign a visitor in once, None for none.
        send_timeout: seconds a client may take to make room for one frame before it is closed.

    Raises:
        ValueError: the token is empty, a host is not a host name, an origin not an origin, or
            the number of clients negative.
    """
    credential = None if token is None else Credential(token)
    wrong = WrongTokens(time.monotonic)
    register_url_convertor("anything", Anything())
    single = hub if isinstance(hub, Hub) else None
    hubs = {hub.name: hub} if isinstance(hub, Hub) else hub

    def database_app(of: Hub) -> FastAPI:
        app = _new_app()
        _add_database(app, of, allow_writes=allow_writes, send_timeout=send_timeout)
        return app

    app = _new_app() if single is None else database_app(single)
    app.include_router(service_routes(hubs))
    if credential is not None:
        app.include_router(sign_in_routes(credential, links or SignInLinks(), wrong))
    if single is None:
        _add_directory(app, hubs)
    inner = Databases(hubs, database_app, otherwise=app)
    bounded = Capacity(Stopping(BodyLimit(inner)), limit=max_clients)
    guarded: ASGIApp = bounded
    if credential is not None:
        guarded = Gate(bounded, credential=credential, wrong=wrong)
    return Access(guarded, names=Names(hosts), origins=origins)


def _new_app() -> FastAPI:
    app = FastAPI(
        title="watcher",
        version="1",
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    add_problem_answers(app)
    return app


def _add_database(app: FastAPI, hub: Hub, *, allow_writes: bool, send_timeout: float) -> None:
    """Adds all that is answered for one database."""
    app.include_router(read_routes(hub, writes=allow_writes))
    app.include_router(table_routes(hub))
    app.include_router(row_routes(hub))
    app.include_router(past_routes(hub))
    app.include_router(stream_routes(hub, send_timeout=send_timeout))
    app.include_router(row_write_routes(hub, allowed=allow_writes))
    app.include_router(write_routes(Items(hub.path, hub.exclusion), allowed=allow_writes))

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await stream(hub, websocket, send_timeout=send_timeout)

    add_page(app)


def _add_directory(app: FastAPI, hubs: Mapping[str, Hub]) -> None:
    """Adds the list of databases, and says of the paths of a single one where they are now."""
    app.include_router(directory_routes(hubs))
    app.mount("/static", static_files())

    async def elsewhere(scope: Scope, receive: Receive, send: Send) -> None:
        names = ", ".join(f"/db/{name}" for name in sorted(hubs)[:20]) or "none yet"
        detail = f"There are several databases here, each with paths of its own: {names}."
        await refuse(Refusal(404, detail), scope, receive, send)

    app.mount("/", elsewhere)
