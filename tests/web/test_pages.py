"""The sign-in page and the description of the interface, in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.web.service import Service, run_service, stored

TOKEN = "a token of some length"  # the tests' own


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Service]:
    with run_service(tmp_path, token=TOKEN, allow_writes=True) as service:
        yield service


def sign_in(page: Page, service: Service) -> None:
    page.goto(service.url)
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button").click()


def test_a_visitor_signs_in_and_sees_the_page_live(page: Page, guarded: Service) -> None:
    page.goto(guarded.url)
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button").click()
    expect(page.get_by_text("That is not the token.")).to_be_visible()
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button").click()
    expect(page).to_have_url(f"{guarded.url}/")
    expect(page.get_by_text("Waiting for DB updates")).to_be_visible()
    expect(page.locator("#connection-text")).to_have_text("Live")
    assert TOKEN not in page.evaluate("document.cookie + location.href + document.referrer")


def test_requests_are_sent_from_the_description(page: Page, guarded: Service) -> None:
    sign_in(page, guarded)
    expect(page.get_by_text("Waiting for DB updates")).to_be_visible()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{guarded.url}/docs")
    operation = page.locator("details").filter(has_text="/add/{name}/{value}")
    operation.locator("summary").click()
    operation.get_by_label("name").fill("a/b")
    operation.get_by_label("value").fill("<img src=x onerror=alert(1)>?")
    operation.get_by_role("button").click()
    expect(operation.locator("pre")).to_contain_text("<img src=x onerror=alert(1)>?")
    assert stored(guarded.database)[-1] == (3, "a/b", "<img src=x onerror=alert(1)>?")
    assert complaints == []


def test_a_page_of_another_origin_can_neither_write_nor_listen(page: Page, tmp_path: Path) -> None:
    for name in ("target", "other"):
        (tmp_path / name).mkdir()
    with (
        run_service(tmp_path / "target", allow_writes=True) as target,
        run_service(tmp_path / "other") as other,
    ):
        # A stand-in for a foreign page: another port is another origin, though the same site.
        page.context.route(
            f"{other.url}/foreign",
            lambda route: route.fulfill(content_type="text/html", body="<!doctype html>"),
        )
        page.goto(f"{other.url}/foreign")
        before = stored(target.database)
        outcome = page.evaluate(
            """async ({ http, ws }) => {
              const image = new Image()
              const ended = new Promise(resolve => { image.onload = image.onerror = resolve })
              image.src = `${http}/add/Evil/image`
              await ended
              const fetched = await fetch(`${http}/add/Evil/fetch`, { mode: 'no-cors' })
                .then(() => 'answered', () => 'refused')
              const body = JSON.stringify({ name: 'Evil', value: 'post' })
              const posted = await fetch(`${http}/items`, { method: 'POST', mode: 'no-cors', body })
                .then(() => 'answered', () => 'refused')
              const socket = new WebSocket(ws)
              const opened = await new Promise(resolve => {
                socket.onopen = () => resolve('open')
                socket.onerror = () => resolve('refused')
              })
              return { fetched, posted, opened }
            }""",
            {"http": target.url, "ws": f"ws://{target.host}/ws"},
        )
        assert outcome["opened"] == "refused"
        assert stored(target.database) == before
