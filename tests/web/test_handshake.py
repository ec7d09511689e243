"""How a WebSocket shows the token without headers: as a subprotocol, or in its first message."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.typing import Subprotocol

from tests.web.service import Service, receive_until, run_service
from tests.web.test_socket import close_code, execute, wait_for
from watcher.web import attempts, handshake
from watcher.web.credential import Credential

TOKEN = "a tökén of some length"  # the tests' own


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("guarded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attempts, "MAX_WRONG", 10_000)
        with run_service(directory, token=TOKEN) as running:
            yield running


def encoded(token: str) -> Subprotocol:
    """The subprotocol that carries a token."""
    text = base64.urlsafe_b64encode(token.encode()).rstrip(b"=").decode()
    return Subprotocol(handshake.TOKEN_PREFIX + text)


def auth(token: Any) -> str:
    return json.dumps({"type": "auth", "token": token})


def refused(client: ClientConnection) -> bool:
    """Whether the service says that the token is missing, and closes."""
    error = receive_until(client, "error")[-1]
    return (error["code"], error["temporary"], close_code(client)) == (4501, False, 4501)


WATCHER = Subprotocol(handshake.SUBPROTOCOL)


def test_a_subprotocol_opens_it_and_is_never_sent_back(guarded: Service) -> None:
    with guarded.websocket(subprotocols=[WATCHER, encoded(TOKEN)]) as client:
        assert client.subprotocol == "watcher"
        assert client.response is not None
        assert encoded(TOKEN) not in str(client.response.headers)
        assert receive_until(client, "ready")[0]["type"] == "hello"


@pytest.mark.parametrize(
    "offered",
    [
        [WATCHER, encoded("wrong")],
        [WATCHER, encoded(TOKEN[:-1])],
        [WATCHER, encoded(TOKEN), encoded(TOKEN)],
        [WATCHER, encoded(TOKEN), encoded("wrong")],
        [WATCHER, Subprotocol("watcher.token.")],
        [WATCHER, Subprotocol("watcher.token.a")],
        [WATCHER, Subprotocol("watcher.token.%25")],
    ],
)
def test_a_wrong_token_among_the_subprotocols_is_refused_at_once(
    guarded: Service, offered: list[Subprotocol]
) -> None:
    with guarded.websocket(subprotocols=offered) as client:
        assert client.subprotocol == "watcher"
        assert refused(client)


def test_the_subprotocol_is_answered_where_no_token_is_needed(service: Service) -> None:
    """A browser fails a connection for which none of those it offered is chosen."""
    with service.websocket(subprotocols=[WATCHER]) as client:
        assert client.subprotocol == "watcher"
        assert receive_until(client, "ready")


def test_the_first_message_does_no_harm_where_no_token_is_needed(service: Service) -> None:
    """So a client need not know whether it is."""
    with service.websocket() as client:
        client.send(auth("any"))
        assert receive_until(client, "ready")


def test_the_first_message_opens_it_and_changes_arrive(guarded: Service) -> None:
    """Frames that are made once for all go to such a client too."""
    with guarded.websocket() as client:
        client.send(auth(TOKEN))
        assert receive_until(client, "ready")[0]["type"] == "hello"
        execute(guarded.database, "UPDATE items SET value='seen' WHERE id=1")
        (changes,) = [
            message for message in receive_until(client, "changes") if message["type"] == "changes"
        ]
        assert changes["changes"][0]["after"]["value"] == "seen"


def test_the_first_message_is_no_refusal_of_what_follows(guarded: Service) -> None:
    """Parameters that cannot be understood are told as ever."""
    with guarded.websocket("?nonsense=1") as client:
        client.send(auth(TOKEN))
        assert receive_until(client, "error")[-1]["code"] == 4502
        assert close_code(client) == 4502


@pytest.mark.fault("H7")
@pytest.mark.parametrize(
    "message",
    [
        "",
        "{}",
        "null",
        "[]",
        "no json",
        auth("wrong"),
        auth(""),
        auth(None),
        auth([TOKEN]),
        auth("\ud800"),
        json.dumps({"type": "AUTH", "token": TOKEN}),
        json.dumps({"token": TOKEN}),
        json.dumps([{"type": "auth", "token": TOKEN}]),
        auth(TOKEN).encode(),
        "[" * 30_000,
        '{"a":' * 10_000,
        '{"type":"auth","token":"x","more":' + "[" * 30_000 + "]" * 30_000 + "}",
    ],
    ids=lambda message: str(message)[:24],
)
def test_any_other_first_message_is_refused(guarded: Service, message: str | bytes) -> None:
    with guarded.websocket() as client:
        client.send(message)
        assert refused(client)


def test_too_long_a_first_message_is_refused(guarded: Service) -> None:
    with guarded.websocket() as client:
        client.send("x" * 65_537)
        assert close_code(client) == 1009


def test_silence_is_refused(guarded: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "FIRST_MESSAGE_TIMEOUT", 0.05)
    with guarded.websocket() as client:
        assert refused(client)


def test_clients_that_show_nothing_are_few_and_keep_nobody_out(
    guarded: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who shows the token in the handshake is not waited for, and so not among them."""
    monkeypatch.setattr(handshake, "MAX_WAITING", 3)
    before = guarded.open_tasks()
    with ExitStack() as stack:
        waiting = [stack.enter_context(guarded.websocket()) for _ in range(3)]
        with pytest.raises(InvalidStatus) as caught:
            guarded.websocket()
        assert caught.value.response.status_code == 503
        assert caught.value.response.headers["retry-after"] == "5"
        with guarded.websocket(subprotocols=[WATCHER, encoded(TOKEN)]) as client:
            assert receive_until(client, "ready")
        waiting[0].send(auth(TOKEN))
        assert receive_until(waiting[0], "ready")
        with guarded.websocket() as client:
            client.send(auth(TOKEN))
            assert receive_until(client, "ready")
    wait_for(lambda: guarded.open_tasks() <= before)


def test_a_client_that_leaves_instead_of_a_first_message_is_let_go(
    guarded: Service, caplog: pytest.LogCaptureFixture
) -> None:
    before = guarded.open_tasks()
    with guarded.websocket(), suppress(ConnectionClosed):
        pass
    wait_for(lambda: guarded.open_tasks() <= before)
    assert caplog.records == []


def test_the_token_does_nothing_in_an_address(guarded: Service) -> None:
    with guarded.websocket(f"?token={encoded(TOKEN)}") as client:
        client.send("{}")
        assert refused(client)


def test_another_cookie_of_ours_asks_for_the_first_message(guarded: Service) -> None:
    """It may be of another service on this machine: cookies do not tell ports apart."""
    other = Credential("another token").cookie_name
    with guarded.websocket(additional_headers={"Cookie": f"{other}=x"}) as client:
        client.send(auth(TOKEN))
        assert receive_until(client, "ready")
