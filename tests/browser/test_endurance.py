"""A page that stays open all day: what it holds does not grow with what it has seen."""

from __future__ import annotations

import time
from contextlib import closing

import pytest
from playwright.sync_api import CDPSession, Page

from tests.browser.shown import file_rows, shown_rows
from tests.browser.test_storm import SETUP, choose_filled, settles, storm
from tests.browser.watched import Watch

MINUTE = 60.0
# Bytes and nodes by which two looks may differ: caches are filled and emptied.
MOST_GROWN = 24 * 1024 * 1024
MOST_NODES_GROWN = 4_000


class Held:
    """What a page holds, with what is garbage taken away first.

    Args:
        page: the page.
    """

    def __init__(self, page: Page) -> None:
        self._session: CDPSession = page.context.new_cdp_session(page)
        self._session.send("Performance.enable")

    def bytes_and_nodes(self) -> tuple[float, float]:
        """Bytes of the JavaScript heap, and nodes of all documents."""
        self._session.send("HeapProfiler.collectGarbage")
        found = self._session.send("Performance.getMetrics")["metrics"]
        metrics = {metric["name"]: metric["value"] for metric in found}
        return metrics["JSHeapUsedSize"], metrics["Nodes"]

    def close(self) -> None:
        """Lets go of the page."""
        self._session.detach()


@pytest.mark.parametrize(
    "minutes",
    [
        pytest.param(0.1, id="six seconds"),
        pytest.param(10, id="ten minutes", marks=[pytest.mark.soak, pytest.mark.timeout(1800)]),
    ],
)
def test_what_a_page_holds_is_bounded(watch: Watch, minutes: float) -> None:
    """While commits rain, a page that is scrolled holds as much at the end as at the beginning."""
    watched = watch(setup=SETUP, width=1440)
    page = watched.page
    choose_filled(page, "stock")
    end = time.monotonic() + minutes * MINUTE
    with storm(watched.served.database, 10) as writer, closing(Held(page)) as held:
        assert writer.line() == 1
        assert writer.line() == 300  # by now all that is bounded is full
        first_bytes, first_nodes = held.bytes_and_nodes()
        page.locator("#grid").hover()
        while time.monotonic() < end:
            page.mouse.wheel(0, 900)
            page.wait_for_timeout(250)
            page.mouse.wheel(0, -900)
            page.wait_for_timeout(250)
        bytes_, nodes = held.bytes_and_nodes()
        assert writer.end() > 300
    assert bytes_ < first_bytes + MOST_GROWN, (first_bytes, bytes_)
    assert nodes < first_nodes + MOST_NODES_GROWN, (first_nodes, nodes)
    settles(lambda: shown_rows(page), lambda: file_rows(watched.served.database, "stock", "id"))
