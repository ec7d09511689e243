"""`static/client.js` in a page of somebody else's, in a real Chromium."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_websocket

from tests.conftest import ITEMS, MakeDatabase, StartServer, Write
from tests.served import ROOT, Served

INSERT = "INSERT INTO items VALUES ({0}, 'n{0}', {0});"

# Shows what it was told, a line each.
FOLLOWING = """<!doctype html><ol id="told"></ol><script type="module">
import { connect } from "./static/client.js";
const tell = (text) => {
  const line = document.createElement("li");
  line.textContent = text;
  document.getElementById("told").append(line);
};
window.connection = connect({
  ...OPTIONS,
  onChanges: ({ changes }) => {
    for (const { op, key, after } of changes) tell(`${op} ${key?.id ?? ""} ${after?.name ?? ""}`);
  },
  onReset: ({ reason }) => tell(`reset ${reason}`),
  onReady: () => document.title = "ready",
});
</script>"""


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that complains of nothing."""
    complaints: list[str] = []
    # A page that the test itself answers with has no address of its own in the eyes of Chromium.
    context = browser.new_context(permissions=["local-network-access"])
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


def open_page(page: Page, served: Served, html: str) -> None:
    """Opens a page of the server's own origin that the test has written."""

    def answer(route: Route) -> None:
        route.fulfill(body=html, content_type="text/html")

    page.route(f"{served.url}/own.html", answer)
    page.goto(f"{served.url}/own.html")


def told(page: Page) -> list[str]:
    """What the page was told so far."""
    return [text.strip() for text in page.locator("#told > li").all_inner_texts()]


def test_a_filtered_page_resumes_without_a_gap(
    page: Page, database: MakeDatabase, serve: StartServer, write: Write
) -> None:
    """Content, then changes, before and after the server was away: each once, in order."""
    path = database(mode="wal", sql=ITEMS + "CREATE TABLE other(x);")
    served = serve(path)
    options = """{ tables: ["items"], columns: ["name"], where: "id > 1", snapshot: true }"""
    open_page(page, served, FOLLOWING.replace("...OPTIONS", f"...{options}"))
    expect(page).to_have_title("ready")
    write(path, INSERT.format(5) + "INSERT INTO other VALUES (1); DELETE FROM items WHERE id=1;")
    lines = page.locator("#told > li")
    expect(lines).to_have_count(4)

    served.kill()
    write(path, INSERT.format(6) + "UPDATE items SET value='unseen' WHERE id=5;")
    served.restart()
    expect(lines).to_have_count(5)
    write(path, INSERT.format(7))
    expect(lines).to_have_count(6)
    content = ["reset start", "schema", "insert 2 Lamp"]
    assert told(page) == [*content, "insert 5 n5", "insert 6 n6", "insert 7 n7"]


# Takes up an earlier connection, with the same or another filter, and tells what comes first.
TAKING_UP = """async ({ since, options }) => {
  const { connect } = await import("./static/client.js");
  return new Promise((done) => {
    const told = [];
    const connection = connect({
      since, ...options,
      onReset: ({ reason }) => told.push(reason),
      onChanges: ({ changes }) => told.push(...changes.map(({ key }) => key?.id)),
      onReady: () => { connection.close(); done({ told, resume: connection.resume }); },
    });
  });
}"""


def test_a_position_is_used_only_with_its_filter(
    page: Page, database: MakeDatabase, serve: StartServer, write: Write
) -> None:
    """With the same one it goes on; with another what was held is void, which is said."""
    path = database(mode="wal")
    served = serve(path)
    open_page(page, served, "")

    def take_up(since: Any, **options: Any) -> Any:
        return page.evaluate(TAKING_UP, {"since": since, "options": options})

    first = take_up(None, tables=["items"], ops=["insert", "delete"])
    assert first["told"] == []
    write(path, INSERT.format(8))
    page.wait_for_function(
        "(old) => fetch('./health').then((r) => r.json()).then((h) => h.position !== old)",
        arg=first["resume"]["position"],
    )
    again = take_up(first["resume"], tables=["items"], ops=["delete", "insert"])
    assert again["told"] == [8]
    assert take_up(first["resume"], tables=["items"])["told"] == ["start"]
    content = take_up(first["resume"], tables=["items"], snapshot=True)
    assert content["told"] == ["start", None, 1, 2, 8]


def test_large_values_and_whole_changesets(
    page: Page, database: MakeDatabase, serve: StartServer, write: Write
) -> None:
    """Values are fetched when they are asked for; a commit in parts is handed over as one."""
    path = database(mode="wal", sql="CREATE TABLE items(id INTEGER PRIMARY KEY, x);")
    served = serve(path)
    open_page(page, served, "")
    following = """async (url) => {
      const { connect } = await import("./static/client.js");
      window.told = [];
      window.connection = connect({ url, whole: true, onChanges: (m) => window.told.push(m) });
    }"""
    page.evaluate(following, served.url)
    page.wait_for_function("connection.position !== null")
    large = "(1, zeroblob(300000)), (2, printf('%.*c', 300000, 'x'))"
    write(path, f"INSERT INTO items VALUES {large}")
    page.wait_for_function("told.length === 1")
    write(
        path,
        "WITH RECURSIVE n(i) AS (VALUES(10) UNION ALL SELECT i+1 FROM n WHERE i<2509)"
        "INSERT INTO items SELECT i, i FROM n",
    )
    page.wait_for_function("told.length === 2")
    assert page.evaluate("told.map(({ part, last, changes }) => [part, last, changes.length])") == [
        [0, True, 2],
        [0, True, 2500],
    ]
    values = """Promise.all(told[0].changes.map(({ after }) => connection.value(after.x)))
      .then(([blob, text]) => [blob instanceof Uint8Array, blob.length, text.length, text[9]])"""
    assert page.evaluate(values) == [True, 300_000, 300_000, "x"]


@contextmanager
def recording(offered: list[str | None]) -> Iterator[int]:
    """A WebSocket server that notes which subprotocols it is offered."""

    def handle(connection: ServerConnection) -> None:
        assert connection.request is not None
        offered.append(connection.request.headers.get("Sec-WebSocket-Protocol"))
        connection.close(4502, "enough")

    with serve_websocket(handle, "127.0.0.1", 0, subprotocols=["watcher"]) as server:  # type: ignore[list-item]  # a new type of str
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join()


def test_a_token_travels_as_a_subprotocol(
    page: Page, database: MakeDatabase, serve: StartServer
) -> None:
    """Encoded, and never in the address; the server answers with the other one."""
    open_page(page, serve(database()), "")
    offered: list[str | None] = []
    token = "sécret+/?~~"
    with recording(offered) as port:
        state = page.evaluate(
            """([url, token]) => import("./static/client.js").then(({ connect }) =>
              new Promise((done) => connect({ url, token, onConnection: (state) => {
                if (state.state === "closed") done(state);
              }})))""",
            [f"ws://127.0.0.1:{port}", token],
        )
    assert state["code"] == 4502
    text = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
    assert offered == [f"watcher, watcher.token.{text}"]


def test_a_page_elsewhere_follows_with_a_token(
    page: Page, database: MakeDatabase, serve: StartServer, write: Write
) -> None:
    """Its origin is named to the server, and it imports the client and shows the token."""
    path = database(mode="wal", sql="CREATE TABLE items(id INTEGER PRIMARY KEY, name);")
    elsewhere, token = "http://127.0.0.1:9", "a-token-of-the-test-0123"
    served = serve(path, "--token", token, "--allow-origin", elsewhere)
    options = f"{{ token: '{token}', snapshot: true, tables: ['items'] }}"
    html = FOLLOWING.replace("...OPTIONS", f"...{options}")
    html = html.replace("./static/client.js", f"{served.url}/static/client.js")
    page.route(
        f"{elsewhere}/own.html", lambda route: route.fulfill(body=html, content_type="text/html")
    )
    page.goto(f"{elsewhere}/own.html")
    expect(page).to_have_title("ready")
    write(path, "INSERT INTO items VALUES (1, zeroblob(300000)), (2, 'far');")
    expect(page.locator("#told > li")).to_have_count(4)
    assert told(page)[-1] == "insert 2 far"
    value = "connection.value({ $large: %s }).then((bytes) => bytes.length)"
    digest = hashlib.sha256(bytes(300_000)).hexdigest()
    large = f"{{ type: 'blob', bytes: 300000, sha256: '{digest}' }}"
    assert page.evaluate(value % large) == 300_000


def test_the_example_shows_the_rows(
    page: Page, database: MakeDatabase, serve: StartServer, write: Write
) -> None:
    """As they are, and as they become."""
    path = database(mode="wal")
    served = serve(path)
    html = Path(ROOT / "examples" / "page.html").read_text()
    assert "http://127.0.0.1:8000" in html
    open_page(page, served, html.replace("http://127.0.0.1:8000", served.url))
    items = page.locator("#items > li")
    expect(items).to_have_text(["Test", "Lamp"])
    write(path, INSERT.format(5) + "DELETE FROM items WHERE id=1")
    expect(items).to_have_text(["Lamp", "n5"])
