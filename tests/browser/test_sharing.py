"""Tabs of one browser and their one connection, and every way in which there is none to share."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.watched import Watch, Watched
from tests.web.test_socket import wait_for

# Holds up a tab, as a heavy page or a debugger does.
BLOCK = "ms => setTimeout(() => { const end = Date.now() + ms; while (Date.now() < end); }, 0)"

# More than what the worker holds for a tab that takes nothing.
FLOOD = (
    "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 110)"
    " INSERT INTO heavy SELECT hex(zeroblob(100000)) FROM n;"
)

# Each makes a browser in which nothing can be shared, in another way.
UNSHARED = {
    "missing": "delete globalThis.SharedWorker",
    "forbidden": "globalThis.SharedWorker = class { constructor() { throw new Error('no') } }",
    "broken": """{
      const Real = globalThis.SharedWorker;
      globalThis.SharedWorker = class extends Real {
        constructor(_, options) { super(new URL("static/none.js", document.baseURI), options) }
      };
    }""",
    "mute": """globalThis.SharedWorker = class {
      constructor() { this.port = new MessageChannel().port1 }
    }""",
}


def clients(watched: Watched) -> int:
    """How many connections the server has."""
    return int(httpx.get(f"{watched.served.url}/health").raise_for_status().json()["clients"])


def expect_clients(watched: Watched, number: int) -> None:
    wait_for(lambda: clients(watched) == number)


def shown(page: Page, event: str, persisted: bool = True) -> None:
    """Tells a page that it goes to the browser's cache of pages, or comes back from there."""
    page.evaluate(
        "([event, persisted]) => dispatchEvent(new PageTransitionEvent(event, { persisted }))",
        [event, persisted],
    )


def test_tabs_share_one_connection(watch: Watch) -> None:
    """All see the same, a new one at once what the others know; the last one ends it."""
    first = watch(width=1300)
    first.edit("CREATE TABLE later(x);")
    first.expect_changes("1 change")
    tabs = [first, first.beside(), first.beside()]
    for tab in tabs:
        tab.expect_live()
        expect(tab.page.locator(".table-button .name")).to_have_text(["items", "later"])
    expect(first.page.locator("#database")).to_have_text("shop.db")
    assert clients(first) == 1

    first.edit("UPDATE items SET value = 'to all';")
    for tab in tabs:
        expect(tab.newest.locator("ins .value")).to_have_text("to all")
    tabs[1].page.locator("#connection").click()
    expect(tabs[1].page.locator("#panel-sharing")).to_have_text("shared by 3 tabs of this browser")

    tabs[0].page.close()
    tabs[2].page.close()
    expect(tabs[1].page.locator("#panel-sharing")).to_contain_text("this tab alone")
    first.edit("UPDATE items SET value = 'to the last';")
    expect(tabs[1].newest.locator("ins .value")).to_have_text("to the last")
    assert clients(first) == 1
    tabs[1].page.close()
    expect_clients(first, 0)


@pytest.mark.parametrize("way", UNSHARED)
def test_without_a_shared_worker_each_has_its_own(watch: Watch, way: str) -> None:
    """Missing, forbidden, broken or mute: the page works as if nothing were wrong."""
    first = watch()
    alone = first.beside(UNSHARED[way])
    alone.expect_live()
    expect_clients(first, 2)
    first.edit("UPDATE items SET value = 'to both';")
    for tab in (first, alone):
        expect(tab.newest.locator("ins .value")).to_have_text("to both")
    alone.page.locator("#connection").click()
    expect(alone.page.locator("#panel-sharing")).to_contain_text("of its own")
    first.forgive("404 (Not Found)")


def test_one_tab_wakes_the_connection_of_all(watch: Watch) -> None:
    """Whoever presses the button brings all tabs back, with all that they missed."""
    first = watch()
    second = first.beside()
    second.expect_live()
    first.served.stop()
    retry = second.page.get_by_role("button", name="Try now")
    expect(retry).to_be_visible()
    first.edit("UPDATE items SET value = 'meanwhile';")
    first.served.restart()
    # It may come back by itself before that; then there is nothing to press.
    second.page.evaluate("document.getElementById('retry').click()")
    for tab in (first, second):
        tab.expect_live()
        expect(tab.newest.locator("ins .value")).to_have_text("meanwhile")
        expect(tab.page.locator("#event-line")).to_contain_text("1 change caught up after")
    expect_clients(first, 1)


def test_a_tab_that_lags_goes_on_by_itself_and_comes_back(watch: Watch) -> None:
    """It holds up nobody, misses nothing, sees nothing twice, and shares again afterwards."""
    first = watch(setup="CREATE TABLE heavy(text);")
    slow = first.beside()
    slow.expect_live()
    expect_clients(first, 1)
    slow.page.evaluate(BLOCK, 3_000)
    first.edit(FLOOD)
    for tab in (first, slow):
        tab.expect_changes("110 changes")
        expect(tab.page.locator(".notice")).to_have_count(0)
    assert len(first.sockets) > 0, "no tab had to go on by itself"
    first.edit("UPDATE items SET value = 'after' WHERE id = 1;")
    for tab in (first, slow):
        tab.expect_changes("111 changes")
    expect_clients(first, 1)
    first.edit("UPDATE items SET value = 'again' WHERE id = 1;")
    for tab in (first, slow):
        tab.expect_changes("112 changes")


def test_a_page_out_of_the_cache_goes_on(watch: Watch) -> None:
    """A page that was put away lets go of the connection, and catches up when it is back."""
    first = watch()
    second = first.beside()
    second.expect_live()
    shown(first.page, "pagehide")
    shown(second.page, "pagehide")
    expect_clients(first, 0)
    first.edit("UPDATE items SET value = 'meanwhile'; INSERT INTO items VALUES(2, 'Later', '4');")
    for tab in (first, second):
        shown(tab.page, "pageshow")
        tab.expect_changes("2 changes")
        tab.expect_live()
    expect_clients(first, 1)
    first.edit("UPDATE items SET value = 'after' WHERE id = 1;")
    for tab in (first, second):
        tab.expect_changes("3 changes")


def test_going_back_shows_the_present(watch: Watch) -> None:
    """A real way there and back, whether or not the browser has kept the page."""
    watched = watch()
    watched.page.goto(f"{watched.served.url}/docs")
    watched.edit("UPDATE items SET value = 'meanwhile';")
    watched.page.go_back()
    watched.expect_live()
    watched.edit("UPDATE items SET value = 'after';")
    expect(watched.newest.locator("ins .value")).to_have_text("after")
    expect_clients(watched, 1)
