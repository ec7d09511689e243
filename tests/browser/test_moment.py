"""Looking back: the table as it was at any moment that is kept, in a real Chromium."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from playwright.sync_api import expect

from tests.browser.grid import MANY, cell, expect_count, expect_rows, row
from tests.browser.watched import Watch, Watched


def steps(watched: Watched) -> list[list[list[str]]]:
    """Makes some changesets one by one; tells what the table held before and after each."""
    held = [_rows(watched)]
    for at, sql in enumerate(
        (
            "INSERT INTO items VALUES(2, 'Lamp', 'off');",
            "UPDATE items SET value = 'on' WHERE id = 2; ",
            "DELETE FROM items WHERE id = 1;",
            "UPDATE items SET value = 'dim', name = 'Light';",
        )
    ):
        watched.edit(sql)
        watched.expect_changes(f"{at + 1} change{'s' if at else ''}")
        held.append(_rows(watched))
    return held


def _rows(watched: Watched) -> list[list[str]]:
    with closing(sqlite3.connect(watched.served.database)) as connection:
        return [list(map(str, found)) for found in connection.execute("SELECT * FROM items")]


def test_each_changeset_can_be_stepped_through(watch: Watch) -> None:
    """Back and forth, one changeset at a time; what differs is marked; nothing can be changed."""
    watched = watch("--allow-writes")
    page = watched.page
    held = steps(watched)
    rows = page.locator("#rows")
    expect(page.locator("#moment-words")).to_contain_text("4 changesets back")
    for state in reversed(held[:-1]):
        page.locator("#moment-back").click()
        expect_rows(page, state)
    expect(page.locator("#moment-back")).to_be_disabled()
    expect(page.locator("#moment-words")).to_have_text("Before the first change kept")
    expect(rows).to_have_class("in-past")
    expect(page.locator("#add-row")).to_be_hidden()
    slider = page.locator("#moment")
    slider.focus()
    for state in held[1:-1]:
        page.keyboard.press("ArrowRight")
        expect_rows(page, state)
    page.keyboard.press("ArrowLeft")
    expect(cell(page, "2", 3)).to_have_attribute("data-flash", "a")
    page.locator("#moment-now").click()
    expect_rows(page, held[-1])
    expect(rows).not_to_have_class("in-past")
    expect(page.locator("#add-row")).to_be_visible()


def test_changes_do_not_move_the_past(watch: Watch) -> None:
    """What happens meanwhile is counted; the present has it."""
    watched = watch()
    page = watched.page
    held = steps(watched)
    # The slider takes some seconds to have a place for each.
    expect(page.locator("#moment-words")).to_contain_text("4 changesets back")
    page.locator("#moment").fill("1")
    expect_rows(page, held[1])
    expect(page.locator(".as-of")).to_contain_text("as of ")
    watched.edit("INSERT INTO items VALUES(5, 'New', 1), (6, 'New', 2);")
    expect(page.locator("#moment-since")).to_have_text("2 changes since")
    expect_rows(page, held[1])
    page.locator("#moment-now").click()
    expect_count(page, "3 rows")
    expect(page.locator("#moment-since")).to_be_hidden()


def test_a_large_table_stays_in_its_place(watch: Watch) -> None:
    """The rows in view are those of before; those above and below can be had."""
    watched = watch(setup=MANY)
    page = watched.page
    expect_count(page, "3,000 rows")
    watched.edit("UPDATE many SET name = 'changed' WHERE id % 100 = 0;")
    watched.expect_changes("300 changes")
    page.locator("#grid").evaluate("grid => grid.scrollTop = 1009 * 28")
    expect(cell(page, "10100", 2)).to_have_text("changed")
    before = row(page, "10100").bounding_box()
    page.locator("#moment-back").click()
    expect(cell(page, "10100", 2)).to_have_text("row 10100")
    assert row(page, "10100").bounding_box() == before
    page.locator("#grid").evaluate("grid => grid.scrollTop = 1200 * 28")
    expect(page.locator("#row-count")).to_contain_text("more than")
    page.get_by_role("button", name="From the first row").click()
    expect(cell(page, "100", 2)).to_have_text("row 100")
    page.locator("#moment-now").click()
    expect(cell(page, "100", 2)).to_have_text("changed")
    expect_count(page, "3,000 rows")


def test_what_cannot_be_told_is_said(watch: Watch) -> None:
    """Columns that have changed since, and a moment that has fallen off the history."""
    watched = watch("--keep-changesets", "3")
    page = watched.page
    steps(watched)
    page.locator("#moment-back").click()
    expect(page.locator("#rows")).to_have_class("in-past")
    watched.refusals |= {409, 410}
    for number in range(6):
        watched.edit(f"INSERT INTO items VALUES({number + 10}, 'more', 0);")
        watched.expect_changes(f"{number + 5} changes")
    page.locator("#moment").fill("0")
    expect(page.locator("#grid-said")).to_contain_text("history")
    page.locator("#moment-now").click()
    expect_count(page, "7 rows")
    expect(page.locator("#grid-said")).to_be_hidden()


MOMENTS = """async () => {
  const { Moments } = await import("./static/model/moments.js");
  const { dated } = await import("./static/model/times.js");
  const at = second => `2026-01-02T00:00:0${second}Z`;
  const mark = (position, second) => ({ position, time: at(second), changes: 1 });
  const history = { changesets: 9, oldest: { position: "a", time: "2026-01-01T00:00:00Z" },
    marks: [mark("b", 1), mark("d", 3), mark("f", 5)] };
  const moments = new Moments(history);
  const asked = [null, mark("a", 0), mark("d", 3), mark("e", 4), { position: "x", time: null }];
  const day = /^2 Jan 2026, \\d\\d:\\d\\d:01\\.000$/.test(dated(mark("b", 1).time, new Date(0)));
  return [moments.last, moments.began, asked.map(moment => moments.indexOf(moment)), day,
    new Moments().indexOf(null)];
}"""


def test_the_slider_has_a_place_for_each_moment(watch: Watch) -> None:
    """A moment between two marks stands at the one before it."""
    page = watch().page
    assert page.evaluate(MOMENTS) == [3, "2026-01-01T00:00:00Z", [3, 0, 2, 2, 0], True, 0]
