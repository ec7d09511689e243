"""Host, Origin and token are checked strictly, for HTTP and WebSocket alike."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.web.service import Service, receive_until, run_service
from watcher.web import attempts
from watcher.web.access import Names, check_names
from watcher.web.credential import Credential

TOKEN = "a token of some length"  # the tests' own
OWN = "127.0.0.1:8000"


def refusal(
    host: str | list[str],
    origin: str | list[str] | None = None,
    *,
    scheme: str = "http",
    server: tuple[str, int | None] | None = ("127.0.0.1", 8000),
    given: tuple[str, ...] = (),
) -> int | None:
    """Status with which such a request is refused, None where it is let through."""
    hosts = [host] if isinstance(host, str) else host
    origins = [origin] if isinstance(origin, str) else origin or []
    headers = [(b"host", text.encode("latin-1")) for text in hosts]
    headers += [(b"origin", text.encode("latin-1")) for text in origins]
    scope: dict[str, Any] = {"scheme": scheme, "server": server, "headers": headers}
    found = check_names(scope, Names(given))
    return None if found is None else found.status


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8000",
        "localhost:8000",
        "[::1]:8000",
        "127.0.0.1",
        "localhost",
        "[::1]",
        "LOCALHOST:8000",
        "LocalHost",
    ],
)
def test_loopback_names_are_answered_in_any_case(host: str) -> None:
    assert refusal(host) is None
    assert refusal(host, scheme="ws") is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil:8000",
        "evil.localhost:8000",
        "localhost:8001",
        "localhost:08000",
        "127.0.0.2:8000",
        "127.1:8000",
        "2130706433:8000",
        "0x7f.1:8000",
        "0.0.0.0:8000",
        "[::]:8000",
        "[0:0:0:0:0:0:0:1]:8000",
        "[::ffff:127.0.0.1]:8000",
        "127.0.0.1.nip.io:8000",
        "xn--lcalhost-54a:8000",
        "localhost-:8000x",
        "localhos",
        "localhostx:8000",
    ],
)
def test_any_other_name_is_misdirected(host: str) -> None:
    assert refusal(host) in {400, 421}
    assert refusal(host, scheme="ws") in {400, 421}


@pytest.mark.parametrize(
    "host",
    [
        [],
        ["localhost:8000", "localhost:8000"],
        ["localhost:8000", "evil.example"],
        "",
        " ",
        "localhost:8000 ",
        " localhost:8000",
        "localhost.:8000",
        "localhost.",
        "127.0.0.1.",
        "a@localhost:8000",
        "user:pw@localhost:8000",
        "localhost:8000@evil.example",
        "localhost:",
        "localhost:port",
        "localhost:8000:8000",
        "localhost:-1",
        "localhost:8000/",
        "localhost/x",
        "http://localhost:8000",
        "localhost,evil.example",
        "localhost\t",
        "localhost\x00",
        "::1",
        "[::1",
        "[::1]8000",
        "[::1%25lo]:8000",
        "[evil.example]",
        "localhöst:8000",
        "localhost:٨",
        "localhost:800000",
        "-localhost",
        ".localhost:8000",
        "localhost#:8000",
        "localhost?:8000",
    ],
)
def test_a_malformed_host_is_a_bad_request(host: str | list[str]) -> None:
    hosts = [
        text.encode().decode("latin-1") for text in ([host] if isinstance(host, str) else host)
    ]
    assert refusal(hosts) == 400
    assert refusal(hosts, scheme="ws") == 400


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000"]
)
def test_pages_of_the_service_itself_may_ask(origin: str) -> None:
    assert refusal(OWN, origin) is None
    assert refusal(OWN, origin, scheme="ws") is None


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example",
        "http://localhost.evil:8000",
        "http://evil.localhost:8000",
        "https://127.0.0.1:8000",
        "ws://127.0.0.1:8000",
        "file://",
        "http://127.0.0.1:8001",
        "http://127.0.0.1",
        "http://localhost",
        "http://127.0.0.1:8000/",
        "HTTP://127.0.0.1:8000",
        "http://LOCALHOST:8000",
        "http://localhost.:8000",
        "http://a@localhost:8000",
        "127.0.0.1:8000",
        "http://127.0.0.1:8000 http://evil.example",
        "http://127.0.0.1:8000, http://evil.example",
        "http://127.0.0.1:8000.evil.example",
        "chrome-extension://abc",
        "http://127.0.0.1:8000\x00",
    ],
)
def test_any_other_origin_is_refused(origin: str) -> None:
    assert refusal(OWN, origin) == 403
    assert refusal(OWN, origin, scheme="ws") == 403


def test_two_origins_are_refused_even_if_both_are_own() -> None:
    own = f"http://{OWN}"
    assert refusal(OWN, [own, own]) == 403
    assert refusal(OWN, [own, "http://evil.example"]) == 403


def test_the_default_port_is_not_written_in_an_origin() -> None:
    server = ("127.0.0.1", 80)
    assert refusal("localhost", "http://localhost", server=server) is None
    assert refusal("localhost:80", "http://localhost", server=server) is None
    assert refusal("localhost", "http://localhost:80", server=server) == 403


def test_a_given_name_is_compared_exactly() -> None:
    given = ("watch.example.org", "pi.lan:8000")
    assert refusal("watch.example.org", "http://watch.example.org", given=given) is None
    assert refusal("pi.lan:8000", "http://pi.lan:8000", given=given) is None
    assert refusal("pi.lan", given=given) == 421
    assert refusal("x.watch.example.org", given=given) == 421
    assert refusal("watch.example.org", "https://watch.example.org", given=given) == 403


def test_a_given_origin_stands_for_a_proxy_that_speaks_tls() -> None:
    given = ("https://watch.example.org",)
    host = "watch.example.org"
    assert refusal(host, "https://watch.example.org", given=given) is None
    assert refusal(host, "http://watch.example.org", given=given) == 403


@pytest.mark.parametrize(
    "name", ["", "a b", "a/b", "*", "*.example.org", "ftp://a", "://a", "a:b", "http://a/"]
)
def test_what_is_no_host_name_cannot_be_given(name: str) -> None:
    with pytest.raises(ValueError, match="not a host name"):
        Names([name])


def test_the_address_a_connection_came_in_on_is_a_name_of_the_service() -> None:
    server = ("192.168.1.5", 8000)
    assert refusal("192.168.1.5:8000", "http://192.168.1.5:8000", server=server) is None
    assert refusal("192.168.1.6:8000", server=server) == 421
    assert refusal("[fd00::5]:8000", server=("fd00::5", 8000)) is None
    assert refusal("testserver", server=("testserver", 80)) == 421


def test_without_an_address_only_bare_names_are_answered() -> None:
    assert refusal("localhost", "http://localhost", server=None) is None
    assert refusal("localhost:8000", server=("/run/watcher.sock", None)) == 421


# The credential


def admits(*headers: tuple[bytes, bytes]) -> bool:
    return Credential(TOKEN).admits(headers) is True


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"BEARER"])
def test_a_bearer_token_is_admitted(scheme: bytes) -> None:
    assert admits((b"Authorization", scheme + b" " + TOKEN.encode()))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer x",
        TOKEN.encode(),
        b"Basic " + TOKEN.encode(),
        b"Bearer " + TOKEN.encode()[:-1],
        b"Bearer " + TOKEN.encode() + b"x",
        b"Bearer \xff",
    ],
)
def test_any_other_authorization_is_not(value: bytes) -> None:
    assert not admits((b"authorization", value))


def test_two_authorizations_are_not_admitted() -> None:
    bearer = (b"authorization", b"Bearer " + TOKEN.encode())
    assert not admits(bearer, bearer)


def test_the_cookie_is_admitted_among_others_and_is_not_the_token() -> None:
    credential = Credential(TOKEN)
    pair = f"{credential.cookie_name}={credential.cookie_value}".encode()
    assert admits((b"cookie", b"a=b; " + pair + b"; c"))
    assert not admits((b"cookie", pair[:-1]))
    assert not admits((b"cookie", f"{credential.cookie_name}={TOKEN}".encode()))
    assert not admits((b"cookie", b"other=" + credential.cookie_value.encode()))
    assert TOKEN not in pair.decode()


def test_the_cookie_outlives_a_restart_but_not_another_token() -> None:
    assert Credential(TOKEN).cookie_value == Credential(TOKEN).cookie_value
    assert Credential(TOKEN).cookie_value != Credential(TOKEN + "x").cookie_value
    assert Credential(TOKEN).cookie_name != Credential(TOKEN + "x").cookie_name


def test_an_empty_token_is_an_error() -> None:
    with pytest.raises(ValueError, match="empty"):
        Credential("")


# Over the network

HOSTILE = [
    (b"Host: evil.example\r\n", {421}),
    (b"Host: evil.example:{port}\r\n", {421}),
    (b"Host: localhost.evil\r\n", {421}),
    (b"Host: localhost.evil:{port}\r\n", {421}),
    (b"Host: null\r\n", {421}),
    (b"Host: localhost:1\r\n", {421}),
    (b"Host: LOCALHOST.EVIL:{port}\r\n", {421}),
    (b"Host: 127.0.0.1.nip.io:{port}\r\n", {421}),
    (b"Host: 0.0.0.0:{port}\r\n", {421}),
    (b"Host: localhost.:{port}\r\n", {400}),
    (b"Host: localhost.\r\n", {400}),
    (b"Host: a@localhost:{port}\r\n", {400}),
    (b"Host: localhost:{port}@evil.example\r\n", {400}),
    (b"Host: localhost:\r\n", {400}),
    (b"Host: localhost:port\r\n", {400}),
    (b"Host: localhost:{port}/\r\n", {400}),
    (b"Host: [::1\r\n", {400}),
    (b"Host:\r\n", {400}),
    (b"Host: localhost:{port}\r\nHost: localhost:{port}\r\n", {400}),
    (b"Host: localhost:{port}\r\nHost: evil.example\r\n", {400}),
    (b"", {400}),
    (b"Host: localhost:{port}\r\nOrigin: null\r\n", {403}),
    (b"Host: localhost:{port}\r\nOrigin:\r\n", {403}),
    (b"Host: localhost:{port}\r\nOrigin: http://evil.example\r\n", {403}),
    (b"Host: localhost:{port}\r\nOrigin: http://localhost.evil:{port}\r\n", {403}),
    (b"Host: localhost:{port}\r\nOrigin: http://localhost\r\n", {403}),
    (b"Host: localhost:{port}\r\nOrigin: https://localhost:{port}\r\n", {403}),
    (b"Host: localhost:{port}\r\nOrigin: ws://localhost:{port}\r\n", {403}),
    (b"Host: localhost:{port}\r\nOrigin: localhost:{port}\r\n", {403}),
    (b"Host: localhost:{port}\r\nOrigin: http://LOCALHOST:{port}\r\n", {403}),
    (b"Host: localhost:{port}\r\nOrigin: http://localhost.:{port}\r\n", {403}),
    (b"Host: localhost:{port}\r\nOrigin: http://a@localhost:{port}\r\n", {403}),
    (b"Host: localhost:{port}\r\nOrigin: http://localhost:{port}/\r\n", {403}),
    (b"Host: localhost:{port}\r\nOrigin: http://localhost:{port}\r\nOrigin: null\r\n", {403}),
]
FRIENDLY = [
    b"Host: localhost:{port}\r\n",
    b"Host: localhost\r\n",
    b"Host: LOCALHOST:{port}\r\n",
    b"Host: [::1]:{port}\r\n",
    b"Host: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n",
    b"Host: 127.0.0.1:{port}\r\nOrigin: http://localhost:{port}\r\n",
]
UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
TRANSPORTS = {
    "http": (b"/health", b"Connection: close\r\n"),
    "events": (b"/events", b"Connection: close\r\n"),
    "poll": (b"/changes", b"Connection: close\r\n"),
    "websocket": (b"/ws", UPGRADE),
    "database": (b"/db/test.db/ws", UPGRADE),
}
# A masked text frame that says {}.
WRONG_MESSAGE = b"\x81\x82\x00\x00\x00\x00{}"


def asked(port: int, transport: str, headers: bytes, until: bytes) -> tuple[int, bytes]:
    """Asks with exactly these headers; the status, and what came up to a text or to the end."""
    path, others = TRANSPORTS[transport]
    headers = headers.replace(b"{port}", b"%d" % port)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET " + path + b" HTTP/1.1\r\n" + headers + others + b"\r\n")
        answer = b""
        while b"\r\n\r\n" not in answer and (chunk := connection.recv(65536)):
            answer += chunk
        if answer.startswith(b"HTTP/1.1 101 "):
            connection.sendall(WRONG_MESSAGE)
        while until not in answer and (chunk := connection.recv(65536)):
            answer += chunk
    return int(answer.split(b" ", 2)[1]), answer


@pytest.mark.fault("H6")
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(("headers", "statuses"), HOSTILE)
def test_hostile_headers_are_refused_by_every_transport(
    service: Service, transport: str, headers: bytes, statuses: set[int]
) -> None:
    """The same answer to all of them, before anything is accepted or begun."""
    status, answer = asked(service.port, transport, headers, b"never")
    doubled = headers.count(b"Host") > 1 or headers.count(b"Origin") > 1
    # The server itself refuses a handshake whose headers are doubled.
    assert status in (statuses | {400} if doubled else statuses)
    assert b"Traceback" not in answer
    assert b"hello" not in answer


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("headers", FRIENDLY)
def test_headers_of_the_service_itself_are_answered_by_every_transport(
    service: Service, transport: str, headers: bytes
) -> None:
    status, _ = asked(service.port, transport, headers, b"HTTP/1.1")
    assert status == (101 if TRANSPORTS[transport][1] is UPGRADE else 200)


@pytest.mark.parametrize(("headers", "statuses"), HOSTILE[::4])
@pytest.mark.parametrize("path", [b"/", b"/add/a/b", b"/static/x", b"/nothing", b"/db/x/y"])
def test_hostile_headers_are_refused_on_every_path(
    service: Service, path: bytes, headers: bytes, statuses: set[int]
) -> None:
    headers = headers.replace(b"{port}", b"%d" % service.port)
    head = b"GET " + path + b" HTTP/1.1\r\n" + headers
    status, answer = service.raw(head + b"Connection: close\r\n\r\n")
    assert status in statuses
    assert b"Traceback" not in answer


def test_a_refusal_is_one_sentence_with_the_security_headers(service: Service) -> None:
    answer = httpx.get(service.url, headers={"host": "evil.example"}, trust_env=False)
    assert answer.status_code == 421
    assert answer.json()["detail"].endswith(".")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/health", "/openapi.json", "/static/page.js", "/nothing"])
def test_every_response_has_the_security_headers(http: httpx.Client, path: str) -> None:
    headers = http.get(path).headers
    assert "script-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] in {"no-store", "no-cache"}


def test_a_websocket_without_origin_is_served(service: Service) -> None:
    with service.websocket() as client:
        assert receive_until(client, "ready")[0]["type"] == "hello"


def test_a_websocket_of_the_own_page_is_served(service: Service) -> None:
    with service.websocket(origin=f"http://{service.host}") as client:
        assert receive_until(client, "ready")[0]["type"] == "hello"


@pytest.mark.parametrize("origin", ["null", "http://evil.example", "http://localhost.evil"])
def test_a_websocket_of_another_page_is_refused(service: Service, origin: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        service.websocket(origin=origin)
    assert caught.value.response.status_code == 403
    assert b"origin" in caught.value.response.body


# With a token


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("guarded")
    with pytest.MonkeyPatch.context() as patch:
        # More wrong tokens come from here than from anybody who just mistypes.
        patch.setattr(attempts, "MAX_WRONG", 10_000)
        with run_service(directory, token=TOKEN, allow_writes=True) as running:
            yield running


@pytest.fixture
def visitor(guarded: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=guarded.url, trust_env=False) as client:
        yield client


_BEARER = b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
_COOKIE = Credential(TOKEN).cookie_name.encode()
UNAUTHORISED = [
    b"",
    b"Authorization:\r\n",
    b"Authorization: Bearer\r\n",
    b"Authorization: Bearer x\r\n",
    b"Authorization: Basic " + TOKEN.encode() + b"\r\n",
    b"Authorization: " + TOKEN.encode() + b"\r\n",
    b"Authorization: Bearer " + TOKEN.encode() + b", Bearer x\r\n",
    b"Authorization: Bearer " + TOKEN.upper().encode() + b"\r\n",
    _BEARER + _BEARER,
    _BEARER + b"Authorization: Bearer x\r\n",
    b"X-Authorization: Bearer " + TOKEN.encode() + b"\r\n",
    b"Cookie: session=1; watcher_00000000=" + Credential(TOKEN).cookie_value.encode() + b"\r\n",
    b"Cookie: " + _COOKIE + b"=\r\n",
    b"Cookie: " + _COOKIE + b"=x; " + _COOKIE + b"=y\r\n",
    b"Cookie: " + _COOKIE + b"=" + TOKEN.encode() + b"\r\n",
    b"Cookie: " + _COOKIE.upper() + b"=" + Credential(TOKEN).cookie_value.encode() + b"\r\n",
]


@pytest.mark.fault("H6")
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("headers", UNAUTHORISED)
def test_what_is_not_the_token_opens_no_transport(
    guarded: Service, transport: str, headers: bytes
) -> None:
    """A WebSocket is accepted, for it to see the code that it is closed with."""
    headers = b"Host: localhost:{port}\r\n" + headers
    if TRANSPORTS[transport][1] is UPGRADE:
        status, answer = asked(guarded.port, transport, headers, b'"code":4501')
        # The server itself may refuse a handshake whose headers are doubled.
        assert status == 101 or (status == 400 and headers.count(b"Authorization") > 1)
        assert status == 400 or b'"code":4501' in answer
    else:
        status, answer = asked(guarded.port, transport, headers, b"never")
        assert status == 401
    assert b"hello" not in answer


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    "headers",
    [
        _BEARER,
        b"Cookie: a=b; " + _COOKIE + b"=" + Credential(TOKEN).cookie_value.encode() + b"\r\n",
    ],
)
def test_the_token_and_the_cookie_open_every_transport(
    guarded: Service, transport: str, headers: bytes
) -> None:
    headers = b"Host: localhost:{port}\r\n" + headers
    websocket = TRANSPORTS[transport][1] is UPGRADE
    status, answer = asked(guarded.port, transport, headers, b"hello" if websocket else b"HTTP")
    assert status == (101 if websocket else 200)
    assert b"hello" in answer or not websocket


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/health",
        "/tables",
        "/openapi.json",
        "/docs",
        "/db/test.db/tables",
        "/staticfiles",
        "/add/a/b",
        "/ws",
        "/nothing",
        "/login/",
        "/login/..",
        "//login",
    ],
)
def test_nothing_but_files_is_served_without_the_token(visitor: httpx.Client, path: str) -> None:
    answer = visitor.get(path)
    assert answer.status_code == 401
    assert "token" in answer.json()["detail"]
    assert answer.headers["www-authenticate"] == "Bearer"


def test_the_bearer_header_opens_http_and_websocket(guarded: Service) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = httpx.get(f"{guarded.url}/health", headers=headers, trust_env=False)
    assert answer.status_code == 200
    with guarded.websocket(additional_headers=headers) as client:
        assert receive_until(client, "ready")


def test_the_token_does_not_open_it_to_another_origin(visitor: httpx.Client) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Origin": "http://evil.example"}
    assert visitor.get("/health", headers=headers).status_code == 403


def test_a_websocket_without_the_token_is_closed_with_4501(guarded: Service) -> None:
    with guarded.websocket() as client:
        client.send("{}")
        assert receive_until(client, "error")[0]["code"] == 4501
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(timeout=10)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 4501


def test_signing_in_gives_a_cookie_that_opens_everything(
    guarded: Service, visitor: httpx.Client
) -> None:
    page = visitor.get("/", headers={"accept": "text/html"})
    assert page.status_code == 401
    assert 'action="/login"' in page.text
    # `no-referrer` would make browsers send `Origin: null` with the form.
    assert page.headers["referrer-policy"] == "same-origin"

    answer = visitor.post("/login", data={"token": TOKEN})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie

    assert visitor.get("/health").status_code == 200
    pair = cookie.partition(";")[0]
    with guarded.websocket(additional_headers={"Cookie": pair}) as client:
        assert receive_until(client, "ready")


@pytest.mark.parametrize(
    "body", [b"", b"token=", b"token=wrong", b"other=x", b"a=1&b=2&c=3", b"\xff"]
)
def test_a_wrong_token_gives_no_cookie(visitor: httpx.Client, body: bytes) -> None:
    answer = visitor.post("/login", content=body)
    assert answer.status_code in {400, 401}
    assert "set-cookie" not in answer.headers


def test_another_site_cannot_sign_a_visitor_in(visitor: httpx.Client) -> None:
    answer = visitor.post("/login", data={"token": TOKEN}, headers={"Origin": "null"})
    assert answer.status_code == 403


def test_without_a_token_there_is_no_sign_in_page(http: httpx.Client) -> None:
    assert http.get("/login").status_code == 404


@pytest.mark.parametrize("path", ["/static/../health", "/static/%2e%2e/health", "/static//health"])
def test_files_that_are_open_lead_nowhere_else(visitor: httpx.Client, path: str) -> None:
    assert visitor.get("/static/client.js").status_code == 200
    with socket.create_connection((visitor.base_url.host, visitor.base_url.port or 80)) as raw:
        host = f"{visitor.base_url.host}:{visitor.base_url.port}"
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"position" not in answer
