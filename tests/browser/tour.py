"""Pictures of the page at work: `python -m tests.browser.tour DIRECTORY`.

A shop's database is made, served and traded with by another process; what a visitor then sees is
taken as it comes. Each picture waits for what it is to show.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests import system
from tests.browser.shop import make_shop
from tests.conftest import CHROMIUM_ARGUMENTS
from tests.served import ROOT, Served, environment

_READINGS = 1_000_000
_COMMITS = 120  # that are to be seen before the first picture
_WIDE = {"width": 1440, "height": 900}
_PHONE = {"width": 390, "height": 780}


def main(directory: Path) -> None:
    """Takes all pictures.

    Args:
        directory: where they go, as PNG; made where it is not there.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        _serving(Path(scratch)) as url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=system.required(system.CHROMIUM), args=CHROMIUM_ARGUMENTS
        )
        for name, take in _PICTURES.items():
            take(browser, url, directory / f"{name}.png")
        browser.close()


@contextmanager
def _serving(scratch: Path) -> Iterator[str]:
    """Serves the shop while another process trades in it; yields the address of the page."""
    database = scratch / "shop.db"
    make_shop(database, readings=_READINGS)
    served = Served(scratch, database, state=scratch / "state", options=("--allow-writes",))
    command = [sys.executable, "-m", "tests.browser.shop", str(database)]
    trading = subprocess.Popen(command, cwd=ROOT, env=environment())
    try:
        yield served.url
    finally:
        trading.terminate()
        trading.wait()
        served.stop()


@contextmanager
def _visit(
    browser: Browser, url: str, *, dark: bool = False, phone: bool = False
) -> Iterator[Page]:
    context = browser.new_context(
        viewport=_PHONE if phone else _WIDE,  # type: ignore[arg-type] # it has both its fields
        color_scheme="dark" if dark else "light",
        has_touch=phone,
    )
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{url}/#table=orders")
    expect(page.locator("#connection-text")).to_have_text("Live", timeout=60_000)
    yield page
    context.close()


def _choose(page: Page, table: str) -> None:
    page.locator("#tables button.table-button", has_text=table).click()
    expect(page.locator("#grid-name")).to_have_text(table)


def _busy(page: Page, commits: int) -> None:
    """Waits until so many commits have come while the page was open."""
    page.wait_for_function(
        "least => parseInt(document.getElementById('commits').textContent) >= least", arg=commits
    )


def _live(browser: Browser, url: str, path: Path) -> None:
    with _visit(browser, url) as page:
        _choose(page, "orders")
        page.get_by_role("button", name="1 min").click()
        newest = page.get_by_role("columnheader", name="id", exact=True)
        newest.click()
        newest.click()
        expect(newest).to_have_attribute("aria-sort", "descending")
        _busy(page, _COMMITS)
        expect(page.locator("#grid [data-flash]").first).to_be_attached()
        page.screenshot(path=path)


def _dark(browser: Browser, url: str, path: Path) -> None:
    with _visit(browser, url, dark=True) as page:
        _choose(page, "products")
        page.get_by_role("button", name="1 min").click()
        _busy(page, _COMMITS)
        expect(page.locator("#grid [data-flash]").first).to_be_attached()
        page.screenshot(path=path)


def _past(browser: Browser, url: str, path: Path) -> None:
    with _visit(browser, url) as page:
        _choose(page, "products")
        _busy(page, 20)
        for _ in range(12):
            page.locator("#moment-back").click()
        expect(page.locator(".as-of")).to_contain_text("as of")
        expect(page.locator("#grid [data-flash]").first).to_be_attached()
        page.screenshot(path=path)


def _versions(browser: Browser, url: str, path: Path) -> None:
    with _visit(browser, url) as page:
        _choose(page, "products")
        _busy(page, 30)
        page.locator("#feed .change", has_text="products").first.get_by_role("button").last.click()
        page.get_by_role("menuitem", name="History of the row").click()
        expect(page.locator(".versions > li").nth(1)).to_be_visible()
        page.screenshot(path=path)


def _phone(part: str) -> Callable[[Browser, str, Path], None]:
    def take(browser: Browser, url: str, path: Path) -> None:
        with _visit(browser, url, phone=True, dark=part == "Changes") as page:
            page.locator("#tabs").get_by_role("button", name=part).click()
            _busy(page, 25)
            page.screenshot(path=path)

    return take


_PICTURES: dict[str, Callable[[Browser, str, Path], None]] = {
    "live": _live,
    "dark": _dark,
    "past": _past,
    "row-history": _versions,
    "phone-rows": _phone("Rows"),
    "phone-changes": _phone("Changes"),
}

if __name__ == "__main__":
    main(Path(sys.argv[1]))
