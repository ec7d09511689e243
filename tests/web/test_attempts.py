"""Guessing is slowed down, and never locks out who knows the token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.web.service import Service, receive_until, run_service
from tests.web.test_handshake import WATCHER, auth, encoded, refused
from tests.web.test_links import Clock
from watcher.web.attempts import MAX_WRONG, WINDOW, WrongTokens

TOKEN = "a token of some length"  # the tests' own


def test_so_many_wrong_tokens_are_looked_at_in_a_minute() -> None:
    clock = Clock()
    wrong = WrongTokens(clock)
    for second in range(MAX_WRONG):
        clock.now = second
        assert wrong.count() is None
    assert wrong.count() == WINDOW - clock.now
    clock.now = WINDOW
    assert wrong.count() is None
    assert wrong.count() == 1


@pytest.fixture
def guessed(tmp_path: Path) -> Iterator[Service]:
    """A service at which somebody guesses."""
    with run_service(tmp_path, token=TOKEN) as service:
        with httpx.Client(base_url=service.url, trust_env=False) as client:
            for _ in range(MAX_WRONG):
                headers = {"Authorization": "Bearer guessed"}
                assert client.get("/health", headers=headers).status_code == 401
        yield service


def test_further_guesses_are_refused_whichever_way_they_come(guessed: Service) -> None:
    with httpx.Client(base_url=guessed.url, trust_env=False) as client:
        answers = [
            client.get("/health", headers={"Authorization": "Bearer guessed"}),
            client.get("/events", headers={"Authorization": f"Bearer {TOKEN}x"}),
            client.post("/login", data={"token": "guessed"}),
            client.get("/login/" + "a" * 32),
            client.post("/login/" + "a" * 32),
        ]
    assert [answer.status_code for answer in answers] == [429] * 5
    assert all(0 < int(answer.headers["retry-after"]) <= WINDOW for answer in answers)
    with pytest.raises(InvalidStatus) as caught:
        guessed.websocket(subprotocols=[WATCHER, encoded("guessed")])
    assert caught.value.response.status_code == 429


def test_the_right_token_always_passes_at_once(guessed: Service) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=guessed.url, trust_env=False) as client:
        assert client.get("/health", headers=bearer).status_code == 200
        assert client.post("/login", data={"token": TOKEN}).status_code == 303
    with guessed.websocket(subprotocols=[WATCHER, encoded(TOKEN)]) as socket:
        assert receive_until(socket, "ready")
    with guessed.websocket() as socket:
        socket.send(auth(TOKEN))
        assert receive_until(socket, "ready")


def test_who_shows_nothing_does_not_guess(guessed: Service) -> None:
    with httpx.Client(base_url=guessed.url, trust_env=False) as client:
        assert client.get("/health").status_code == 401
        assert client.get("/health", headers={"Cookie": "other=x"}).status_code == 401
    with guessed.websocket() as socket:
        socket.send("{}")
        assert refused(socket)
