"""Whether the live page stays smooth: the gaps between its frames, in a real headless Chromium.

The same page of the same million rows is measured twice in a run, first while nothing is written,
then under 1,000 commits a second: while it is scrolled, and while it stands still over rows that
all are being changed. A gap is the time between two frames as the page itself sees it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks.databases import Databases
from benchmarks.extent import Extent
from benchmarks.figures import Figure, count, percentile, ratio
from benchmarks.serving import serving
from benchmarks.writing import WriterProcess
from tests import system
from tests.conftest import CHROMIUM_ARGUMENTS

_MOST_RUNS = 3
_CONTROL = "nothing is written"
_ROWS = 1_000_000
_RATE = 1_000.0  # commits a second
# Of the commits there are more than of the frames that are timed, by this much.
_LONGER = 1.5
_PATIENCE = 120_000.0  # ms
# Rows in view while it stands still.
_IN_VIEW = 25
_WINDOW = {"width": 1440, "height": 900}

# The gaps between frames for some seconds; scrolled a little with each, and now and then far.
_GAPS = """
async ([seconds, scrolls]) => {
  const grid = document.getElementById("grid");
  const gaps = [];
  const far = [0.5, 0.1, 0.9, 0.3];
  const begin = performance.now();
  let last = await new Promise(requestAnimationFrame);
  let jump = begin + 2000;
  while (last < begin + seconds * 1000) {
    if (scrolls) grid.scrollTop += 60;
    if (scrolls && last > jump) {
      jump += 2000;
      far.push(far.shift());
      grid.scrollTop = far[0] * grid.scrollHeight;
    }
    const now = await new Promise(requestAnimationFrame);
    gaps.push(now - last);
    last = now;
  }
  return gaps;
}
"""


@dataclass(frozen=True, slots=True)
class _Run:
    """Gaps between frames in ms, and how many commits a second there were.

    Args:
        quiet: while nothing is written.
        stormy: while it is.
        rate: commits a second.
    """

    quiet: list[float]
    stormy: list[float]
    rate: float


def measure(databases: Databases, extent: Extent) -> list[Figure]:
    """Measures with and without changes."""
    rows = min(_ROWS, extent.large)
    scrolled: list[_Run] = []
    still: list[_Run] = []
    for _ in range(min(extent.runs, _MOST_RUNS)):
        with _page(databases, rows) as (page, stack, path):
            anywhere = stack.enter_context(WriterProcess(path, rows, "synchronous=NORMAL"))
            scrolled.append(_run(page, anywhere, extent.page_seconds, scrolls=True))
            page.evaluate("document.getElementById('grid').scrollTop = 0")
            in_view = stack.enter_context(WriterProcess(path, _IN_VIEW, "synchronous=NORMAL"))
            still.append(_run(page, in_view, extent.page_seconds, scrolls=False))
    name = f"{count(rows)} rows"
    return [
        *_figures(f"gap between frames, {name}, scrolled", scrolled),
        *_figures(f"gap between frames, {name}, changes in view", still),
    ]


@contextmanager
def _page(databases: Databases, rows: int) -> Iterator[tuple[Page, ExitStack, Path]]:
    with ExitStack() as stack:
        path = stack.enter_context(databases.database(rows))
        service = stack.enter_context(serving(path, stack.enter_context(databases.place())))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(
            executable_path=system.required(system.HEADLESS), args=CHROMIUM_ARGUMENTS
        )
        stack.callback(browser.close)
        page = browser.new_page(viewport=_WINDOW)  # type: ignore[arg-type] # it has both its fields
        page.goto(service.url)
        # All rows have their numbers.
        page.wait_for_selector(f'#grid[aria-rowcount="{rows + 1}"]', timeout=_PATIENCE)
        service.wait_until_calm()
        yield page, stack, path


def _run(page: Page, writer: WriterProcess, seconds: float, *, scrolls: bool) -> _Run:
    quiet = page.evaluate(_GAPS, [seconds, scrolls])
    commits = round(_LONGER * seconds * _RATE)
    writer.begin_edits(commits, rate=_RATE)
    stormy = page.evaluate(_GAPS, [seconds, scrolls])
    edits = writer.end_edits()
    assert edits.seconds > seconds, "the changes ended too early"
    return _Run(quiet, stormy, commits / edits.seconds)


def _figures(what: str, runs: list[_Run]) -> Iterator[Figure]:
    """The gap that 99 % do not exceed, and the longest."""
    quiet = tuple(percentile(run.quiet, 0.99) for run in runs)
    stormy = tuple(percentile(run.stormy, 0.99) for run in runs)
    longest = max(max(run.stormy) for run in runs)
    still = max(max(run.quiet) for run in runs)
    rate = sum(run.rate for run in runs) / len(runs)
    yield Figure(f"{what}, p99", _CONTROL, "ms", quiet, detail=f"longest {still:.0f} ms")
    yield Figure(
        f"{what}, p99",
        f"watcher, {count(round(rate))} commits/s",
        "ms",
        stormy,
        ratio(stormy, quiet),
        _CONTROL,
        f"longest {longest:.0f} ms",
        "≤ 50 ms",
    )
