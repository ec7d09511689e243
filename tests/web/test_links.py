"""A link that signs a visitor in once; it shows a page first, for previews fetch links too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, expect
from starlette.types import ASGIApp

from tests.web.service import Service, run_service
from watcher.hub import Hub
from watcher.web import SignInLinks, create_app
from watcher.web.credential import Credential
from watcher.web.links import LIFETIME, MAX_LINKS

TOKEN = "a token of some length"  # the tests' own


class Clock:
    """A clock that is set by hand, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_code_is_valid_once_and_for_a_while() -> None:
    clock = Clock()
    links = SignInLinks(clock)
    used, late = links.new(), links.new()
    assert links.is_valid(used)
    assert links.is_valid(used)
    assert links.use(used)
    assert not links.is_valid(used)
    assert not links.use(used)
    clock.now = LIFETIME - 1
    assert links.is_valid(late)
    clock.now = LIFETIME
    assert not links.use(late)
    assert not links.use("")


def test_codes_are_long_differ_and_do_not_pile_up() -> None:
    links = SignInLinks()
    codes = [links.new() for _ in range(MAX_LINKS + 1)]
    assert len(set(codes)) == len(codes)
    assert {len(code) for code in codes} == {32}  # 192 bits in base64
    assert not links.is_valid(codes[0])
    assert all(map(links.is_valid, codes[1:]))


@pytest.fixture(scope="module")
def links() -> SignInLinks:
    return SignInLinks()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, links: SignInLinks) -> Iterator[Service]:
    with run_service(tmp_path_factory.mktemp("guarded"), token=TOKEN, links=links) as running:
        yield running


@pytest.fixture
def visitor(guarded: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=guarded.url, trust_env=False) as client:
        yield client


def test_a_link_is_used_by_its_button_alone(visitor: httpx.Client, links: SignInLinks) -> None:
    code = links.new()
    for _ in range(3):  # a preview, a prefetch, the visitor
        page = visitor.get(f"/login/{code}")
        assert page.status_code == 200
        assert f'<form method="post" action="/login/{code}">' in page.text
        assert "<script" not in page.text
        assert "set-cookie" not in page.headers
        assert page.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in page.headers["content-security-policy"]

    answer = visitor.post(f"/login/{code}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert code not in cookie
    assert TOKEN not in cookie
    assert visitor.get("/health").status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_used_link_leads_to_the_form(
    visitor: httpx.Client, links: SignInLinks, method: str
) -> None:
    code = links.new()
    assert links.use(code)
    page = visitor.request(method, f"/login/{code}")
    assert page.status_code == 401
    assert "has been used or has expired" in page.text
    assert 'action="/login"' in page.text
    assert "set-cookie" not in page.headers


@pytest.mark.parametrize("path", ["/login/x", "/login/" + "a" * 31, "/login/" + "a" * 32 + "/b"])
def test_nothing_else_below_it_is_open(visitor: httpx.Client, path: str) -> None:
    assert visitor.get(path).status_code == 401
    assert visitor.post(path).status_code == 401


def test_another_site_cannot_use_a_link(visitor: httpx.Client, links: SignInLinks) -> None:
    code = links.new()
    for origin in ("null", "http://evil.example"):
        assert visitor.post(f"/login/{code}", headers={"Origin": origin}).status_code == 403
    assert links.is_valid(code)


def test_a_link_works_below_the_mount_point(tmp_path: Path) -> None:
    links = SignInLinks()

    def make_app(hub: Hub) -> ASGIApp:
        outer = FastAPI()
        outer.mount("/live", create_app(hub, token=TOKEN, links=links))
        return outer

    with (
        run_service(tmp_path, make_app=make_app, root="/live") as service,
        httpx.Client(base_url=service.url, trust_env=False) as http,
    ):
        code = links.new()
        assert f'action="/live/login/{code}"' in http.get(f"/login/{code}").text
        answer = http.post(f"/login/{code}")
        assert answer.headers["location"] == "/live/"
        assert "Path=/live/" in answer.headers["set-cookie"]
        assert http.get("/health").status_code == 200
        assert 'action="/live/login"' in http.post(f"/login/{code}").text


def test_a_browser_signs_in_with_it(browser: Browser, guarded: Service, links: SignInLinks) -> None:
    context = browser.new_context()
    try:
        page = context.new_page()
        code = links.new()
        page.goto(f"{guarded.url}/login/{code}")
        page.get_by_role("button", name="Open").click()
        expect(page).to_have_url(f"{guarded.url}/")
        expect(page.locator("#connection-text")).to_have_text("Live")
        # What a script could take away: nothing.
        assert Credential(TOKEN).cookie_value not in page.evaluate("document.cookie")
        assert code not in page.evaluate("location.href + document.referrer")
    finally:
        context.close()
