"""Several databases behind one address: each has all paths of its own below its name."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.conftest import MakeDatabase, StartServer, Write
from tests.served import ROOT, Served, environment
from tests.web.test_socket import wait_for
from watcher.hub import Hub
from watcher.web import create_app


@pytest.fixture
def serve_all(serve: StartServer) -> Any:
    """Starts a server for several databases or patterns."""

    def start(*arguments: object) -> Served:
        return serve(None, *map(str, ["--", *arguments]))

    return start


def get(served: Served, path: str) -> httpx.Response:
    return httpx.get(served.url + path, trust_env=False, timeout=20)


def is_ok(served: Served, name: str) -> bool:
    return bool(get(served, f"/db/{name}/health").json()["state"] == "ok")


def names(served: Served) -> list[str]:
    return [found["name"] for found in get(served, "/databases").json()]


def next_change(served: Served, path: str, write: Write, database: Path) -> dict[str, Any]:
    """Connects, lets another program write, and returns the change that arrives."""
    url = served.url.replace("http", "ws", 1)
    with connect(f"{url}{path}", compression=None, proxy=None) as client:
        until(client, "ready")
        write(database, "UPDATE items SET value='changed' WHERE id=1")
        (change,) = until(client, "changes")["changes"]
    return dict(change)


def until(client: Any, type_: str) -> dict[str, Any]:
    while True:
        for message in json.loads(client.recv(timeout=20)):
            if message["type"] == type_:
                return dict(message)


def test_each_database_has_all_paths_below_its_name(
    serve_all: Any, database: MakeDatabase, write: Write
) -> None:
    """Its own stream, position, rows and page; what happens to one is not told of another."""
    one, other = database("one.db"), database("two words.db", mode="wal")
    served = serve_all(one, other)
    assert names(served) == ["one.db", "two words.db"]
    for name in ("one.db", "two%20words.db"):
        wait_for(partial(is_ok, served, name))
        bare = get(served, f"/db/{name}")
        assert (bare.status_code, bare.headers["location"]) == (307, f"/db/{name}/")
        for path in ("/", "/docs", "/static/page.js", "/tables", "/openapi.json", "/snapshot"):
            found = get(served, f"/db/{name}{path}")
            assert found.status_code in ({200, 404} if path.startswith("/static") else {200}), path
    before = get(served, "/db/one.db/health").json()["position"]
    change = next_change(served, "/db/two%20words.db/ws", write, other)
    assert change["after"]["value"] == "changed"
    assert get(served, "/db/one.db/health").json()["position"] == before
    listing = get(served, "/").text
    assert re.findall(r'href="(/db/[^"]*)"', listing) == ["/db/one.db/", "/db/two%20words.db/"]


def test_the_bare_paths_say_where_the_databases_are(serve_all: Any, database: MakeDatabase) -> None:
    served = serve_all(database("one.db"), database("two.db"))
    for path in ("/ws", "/events", "/changes", "/tables", "/health", "/nothing"):
        response = get(served, path)
        assert response.status_code == 404
        assert "/db/one.db, /db/two.db" in response.json()["detail"]
    for path in ("/db/three.db/ws", "/db/three.db/", "/db/", "/db/%2e%2e/x"):
        response = get(served, path)
        assert response.status_code == 404
        assert "one.db, two.db" in response.json()["detail"]
    assert get(served, "/livez").status_code == 200
    wait_for(lambda: get(served, "/readyz").status_code == 200)
    metrics = get(served, "/metrics").text
    assert {'database="one.db"', 'database="two.db"'} <= set(
        re.findall(r'database="[^"]*"', metrics)
    )


def test_a_websocket_to_a_bare_path_is_refused(serve_all: Any, database: MakeDatabase) -> None:
    served = serve_all(database("one.db"), database("two.db"))
    key = {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version": "13"}
    upgrade = {"connection": "Upgrade", "upgrade": "websocket", **key}
    for path in ("/ws", "/db/three.db/ws"):
        response = httpx.get(served.url + path, headers=upgrade, trust_env=False)
        assert response.status_code == 404
        assert "one.db" in response.text


def test_a_file_that_comes_to_match_a_pattern_is_watched(
    serve_all: Any, database: MakeDatabase, write: Write, tmp_path: Path
) -> None:
    """Also from none at all; what is no database is left alone."""
    folder = tmp_path / "many"
    folder.mkdir()
    served = serve_all(folder / "*.db*")
    assert names(served) == []
    assert "none yet" in get(served, "/ws").json()["detail"]
    (folder / "text.db").write_text("no database at all")
    made = database("made.db", mode="wal")
    made.rename(folder / "late.db")
    wait_for(lambda: names(served) == ["late.db"])
    wait_for(lambda: get(served, "/db/late.db/health").json()["state"] == "ok")
    change = next_change(served, "/db/late.db/ws", write, folder / "late.db")
    assert change["op"] == "update"


def test_a_database_may_be_given_a_name(
    serve_all: Any, database: MakeDatabase, write: Write
) -> None:
    one, other = database("app.db"), database("other.db")
    served = serve_all(f"first={one}", f"second one={other}")
    assert names(served) == ["first", "second one"]
    wait_for(lambda: get(served, "/db/first/health").json()["state"] == "ok")
    assert next_change(served, "/db/second%20one/ws", write, other)["op"] == "update"


def test_equal_names_are_refused_in_one_sentence(database: MakeDatabase, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    one = database("app.db")
    other = database("x.db").rename(tmp_path / "sub" / "app.db")
    ended = subprocess.run(
        [sys.executable, str(ROOT / "server.py"), "--port=0", str(one), str(other)],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
        timeout=30,
    )
    assert ended.returncode == 2
    assert "two databases would be called app.db" in ended.stderr
    assert "NAME=PATH" in ended.stderr
    assert "Traceback" not in ended.stderr


# As a library


@asynccontextmanager
async def application(databases: dict[str, Path]) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application around several hubs."""
    async with AsyncExitStack() as stack:
        hubs: dict[str, Hub] = {}
        app = create_app(hubs)
        for name, path in databases.items():
            hub = Hub(path, state=path.parent / f"state-{path.name}")
            # The mapping may grow while the application is served.
            hubs[name] = await stack.enter_async_context(hub)
            await hub.started()
        transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 1))
        yield await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://localhost")
        )


def test_an_application_takes_several_hubs_by_any_names(database: MakeDatabase) -> None:
    odd = 'a"b<i>é?#'
    quoted = "a%22b%3Ci%3E%C3%A9%3F%23"

    async def run() -> None:
        async with application({"plain": database("a.db"), odd: database("b.db")}) as client:
            found = await client.get("/databases")
            assert [entry["name"] for entry in found.json()] == sorted(["plain", odd])
            tables = await client.get(f"/db/{quoted}/tables")
            assert tables.status_code == 200
            assert tables.json()[0]["name"] == "items"
            listing = (await client.get("/")).text
            assert f"/db/{quoted}/" in listing
            assert "<i>" not in listing

    asyncio.run(run())
