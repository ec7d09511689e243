"""Pages elsewhere: those of a named origin may use the service, without cookies; no others."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page
from websockets.exceptions import InvalidStatus

from tests.web.service import Service, receive_until, run_service, stored
from tests.web.test_handshake import refused
from watcher.web.credential import Credential
from watcher.web.crossorigin import checked_origin

TOKEN = "a token of some length"  # the tests' own
ELSEWHERE = "https://app.example.org"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("https://app.example.org", "https://app.example.org"),
        ("HTTPS://App.Example.org", "https://app.example.org"),
        ("https://app.example.org:443", "https://app.example.org"),
        ("http://app.example.org:80", "http://app.example.org"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ("tauri://localhost", "tauri://localhost"),
    ],
)
def test_an_origin_is_taken_as_a_browser_sends_it(given: str, origin: str) -> None:
    assert checked_origin(given) == origin


@pytest.mark.parametrize(
    "given",
    [
        "",
        "null",
        "*",
        "https://*",
        "https://*.example.org",
        "app.example.org",
        "https://app.example.org/",
        "https://app.example.org/x",
        "https://a@app.example.org",
        "https://app.example.org.",
        "https://app.example.org https://b.example.org",
        "https://",
        "file://",
        "file://x",
    ],
)
def test_what_is_no_origin_cannot_be_given(given: str) -> None:
    with pytest.raises(ValueError, match="not an origin"):
        checked_origin(given)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a token that pages of one other origin may use."""
    directory = tmp_path_factory.mktemp("shared")
    with run_service(directory, token=TOKEN, allow_writes=True, origins=[ELSEWHERE]) as running:
        yield running


@pytest.fixture
def page(shared: Service) -> Iterator[httpx.Client]:
    """Asks as a page of the named origin does."""
    headers = {"Origin": ELSEWHERE}
    with httpx.Client(base_url=shared.url, headers=headers, trust_env=False) as client:
        yield client


def test_answers_name_the_origin_and_allow_no_cookies(page: httpx.Client) -> None:
    for path, status in (("/health", 200), ("/changes", 200), ("/nothing", 404)):
        answer = page.get(path, headers=BEARER)
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == ELSEWHERE
        assert "access-control-allow-credentials" not in answer.headers
        assert "Origin" in answer.headers["vary"]
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"


def test_a_refusal_can_be_read_by_the_page(page: httpx.Client) -> None:
    answer = page.get("/health")
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == ELSEWHERE


@pytest.mark.parametrize("path", ["/health", "/events", "/items", "/db/test.db/changes"])
def test_a_preflight_is_answered_without_the_token(page: httpx.Client, path: str) -> None:
    answer = page.options(
        path,
        headers={
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization,last-event-id",
        },
    )
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == ELSEWHERE
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    assert {"authorization", "content-type", "last-event-id"} <= set(allowed)
    assert {"GET", "POST", "PATCH", "DELETE"} <= set(
        answer.headers["access-control-allow-methods"].split(", ")
    )
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize(
    "origin", ["null", "http://app.example.org", "https://app.example.org:8443", "https://x.org"]
)
def test_no_other_origin_is_let_in(shared: Service, origin: str) -> None:
    preflight = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    for answer in (
        httpx.options(f"{shared.url}/health", headers=preflight, trust_env=False),
        httpx.get(f"{shared.url}/health", headers={"Origin": origin, **BEARER}, trust_env=False),
    ):
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
    with pytest.raises(InvalidStatus):
        shared.websocket(origin=origin, additional_headers=BEARER)


def test_the_host_is_checked_all_the_same(page: httpx.Client) -> None:
    preflight = {"Host": "evil.example", "Access-Control-Request-Method": "GET"}
    assert page.options("/health", headers=preflight).status_code == 421


def test_the_own_origin_is_answered_as_ever_but_for_caches(shared: Service) -> None:
    answer = httpx.get(
        f"{shared.url}/health", headers={"Origin": shared.url, **BEARER}, trust_env=False
    )
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "Origin" in answer.headers["vary"]


def test_without_named_origins_nothing_is_said_of_them(http: httpx.Client) -> None:
    headers = http.get("/health").headers
    assert "vary" not in headers
    assert not any(name.startswith("access-control") for name in headers)


def test_the_session_of_the_visitor_is_not_lent_to_a_page_elsewhere(
    shared: Service, page: httpx.Client
) -> None:
    """Neither used nor given: a page elsewhere shows the token itself."""
    credential = Credential(TOKEN)
    cookie = {"Cookie": f"{credential.cookie_name}={credential.cookie_value}"}
    assert httpx.get(f"{shared.url}/health", headers=cookie, trust_env=False).status_code == 200
    assert page.get("/health", headers=cookie).status_code == 401
    with shared.websocket(origin=ELSEWHERE, additional_headers=cookie) as client:
        client.send("{}")
        assert refused(client)
    answer = page.post("/login", data={"token": TOKEN})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_websocket_of_the_named_origin_is_served(shared: Service) -> None:
    with shared.websocket(origin=ELSEWHERE, additional_headers=BEARER) as client:
        assert receive_until(client, "ready")


@pytest.mark.fault("H10")
def test_gets_that_write_stay_with_the_service_itself(shared: Service, page: httpx.Client) -> None:
    """Also where the browser does not say who asks, as it does not over plain HTTP."""
    before = stored(shared.database)
    assert page.get("/add/a/b", headers=BEARER).status_code == 403
    assert page.get("/update/1/x", headers=BEARER).status_code == 403
    assert stored(shared.database) == before


# In a real browser


class _Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>elsewhere</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def elsewhere(browser: Browser) -> Iterator[Page]:
    """A page of another site: the same machine, another port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{server.server_address[1]}/")
    yield page
    context.close()
    server.shutdown()
    server.server_close()
    thread.join()


TRY_EVERYTHING = """async (service) => {
  const outcome = async (work) => { try { return await work(); } catch { return "refused"; } };
  const bearer = {headers: {Authorization: "Bearer a token of some length"}};
  const ws = service.replace("http", "ws") + "/ws";
  const opened = (url, ...rest) => new Promise((resolve) => {
    const socket = new WebSocket(url, ...rest);
    socket.onopen = () => { socket.onmessage = (event) => {
      resolve(JSON.parse(event.data)[0].type); socket.close(); } };
    socket.onclose = () => resolve("refused");
  });
  return {
    health: await outcome(async () => {
      const answer = await fetch(service + "/health", bearer);
      return (await answer.json()).state; }),
    add: await outcome(async () => (await fetch(service + "/add/a/b", bearer)).status),
    image: await outcome(() => new Promise((resolve, reject) => {
      const image = new Image(); image.onload = resolve; image.onerror = reject;
      image.src = service + "/update/1/stolen"; })),
    form: await outcome(async () => (await fetch(service + "/items", {method: "POST",
      mode: "no-cors", body: '{"name":"a","value":"b"}'})).type),
    socket: await outcome(() => opened(ws, ["watcher", "watcher.token." +
      btoa("a token of some length").replaceAll("=", "")])),
    events: await outcome(async () => {
      const answer = await fetch(service + "/events", bearer);
      const {value} = await answer.body.getReader().read();
      return new TextDecoder().decode(value).split(":")[0]; }),
  };
}"""


@pytest.mark.fault("H10")
def test_a_page_on_another_site_gets_and_changes_nothing(service: Service, elsewhere: Page) -> None:
    """Without a token even: the service of a visitor's own machine."""
    before = stored(service.database)
    found = elsewhere.evaluate(TRY_EVERYTHING, service.url)
    # A form may be sent unread; that it was refused is what the rows show.
    assert found.pop("form") in {"opaque", "refused"}
    assert found == dict.fromkeys(("health", "add", "image", "socket", "events"), "refused")
    assert stored(service.database) == before


@pytest.mark.fault("H10")
def test_a_name_that_now_leads_to_this_machine_gets_nothing(service: Service) -> None:
    """DNS rebinding: the page and the service have the same origin, a name that is foreign."""
    name = f"evil.example:{service.port}"
    headers = {"Host": name, "Origin": f"http://{name}", "Sec-Fetch-Site": "same-origin"}
    before = stored(service.database)
    for path in ("/health", "/events", "/changes", "/add/a/b", "/update/1/x", "/"):
        answer = httpx.get(service.url + path, headers=headers, trust_env=False)
        assert answer.status_code == 421
    assert stored(service.database) == before


def test_a_page_of_a_named_origin_uses_http_events_and_websocket(
    elsewhere: Page, tmp_path: Path
) -> None:
    origin = elsewhere.evaluate("location.origin")
    with run_service(tmp_path, token=TOKEN, allow_writes=True, origins=[origin]) as service:
        before = stored(service.database)
        found = elsewhere.evaluate(TRY_EVERYTHING, service.url)
        assert found.pop("form") in {"opaque", "refused"}
        assert found == {
            "health": "ok",
            "add": 403,
            "image": "refused",
            "socket": "hello",
            "events": "retry",
        }
        assert stored(service.database) == before
