"""What goes wrong around the page, and what the page makes of it: always a word, never a flood."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing

from playwright.sync_api import expect

from tests.browser.grid import MANY, cell, expect_count, row, rows
from tests.browser.watched import Watch

# Notes every moment in which the sentence beside the grid is not to be seen.
NOTE_GAPS = """() => {
  const said = document.getElementById("grid-said");
  window.gaps = 0;
  new MutationObserver(() => { if (said.hidden) window.gaps += 1; })
    .observe(said, { attributes: true, childList: true });
}"""

# An answer whose head comes, and whose body does not.
BREAK_OFF = """async () => {
  const { Api } = await import("./static/api.js");
  const real = globalThis.fetch;
  const body = () => new ReadableStream({ pull: (way) => way.error(new TypeError("broken")) });
  globalThis.fetch = async () => new Response(body());
  try {
    await new Api().ask(["tables"]);
  } catch (error) {
    return [error.name, error.status, error.message];
  } finally {
    globalThis.fetch = real;
  }
}"""


def test_a_condition_that_fails_leaves_no_other_rows(watch: Watch) -> None:
    """Rows of before do not stand under it, and it is not asked again and again."""
    watched = watch(setup=MANY)
    page = watched.page
    watched.refusals |= {422}
    expect_count(page, "3,000 rows")
    page.locator("#grid").evaluate("grid => grid.scrollTop = 70_000")
    expect(row(page, "25050")).to_be_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator("#where").fill("nonsense = 1")
    page.locator("#where").press("Enter")
    expect(page.locator("#grid-said")).to_contain_text("no such column")
    expect(rows(page)).to_have_count(0)
    expect(page.locator("#row-count")).to_be_hidden()
    watched.edit("DELETE FROM many WHERE id = 10;")
    watched.expect_changes("1 change")
    assert len([url for url in asked if "/rows" in url]) <= 2
    page.locator("#where").fill("")
    page.locator("#where").press("Enter")
    expect_count(page, "2,999 rows")
    expect(row(page, "20")).to_be_visible()


def test_offline_is_said_once(watch: Watch) -> None:
    """The sentence stays through all attempts until it is live again."""
    other = "CREATE TABLE other(id INTEGER PRIMARY KEY);"
    watched = watch(setup=MANY + other, width=1300)
    page = watched.page
    expect_count(page, "3,000 rows")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    watched.edit("UPDATE many SET n = 0 WHERE id = 10;")
    watched.expect_changes("1 change")
    watched.served.kill()
    said = page.locator("#grid-said")
    expect(said).to_contain_text("Offline")
    page.evaluate(NOTE_GAPS)
    for _ in range(3):
        page.evaluate("document.getElementById('retry').click()")
        expect(page.locator("#connection")).to_have_text(re.compile("Retrying"))
    assert page.evaluate("window.gaps") == 0
    # SQL that undoes a change needs the schema, which cannot be had.
    page.locator("#feed .head .dots").click()
    page.get_by_role("menuitem", name="Copy SQL that undoes it").click()
    expect(page.locator(".toast")).to_have_text("The service cannot be reached.")
    page.locator(".table-button[value=other]").click()
    expect(said).to_have_text("Offline: the rows come when the service is back.")
    watched.served.restart()
    watched.expect_live()
    expect(said).to_be_hidden()


def test_an_answer_that_breaks_off_is_a_service_away(watch: Watch) -> None:
    """It is told as a problem that can be tried again, not as a fault of the page."""
    outcome = watch().page.evaluate(BREAK_OFF)
    assert outcome == ["Refused", 0, "The service cannot be reached."]


def test_the_menu_of_a_row_out_of_sight(watch: Watch) -> None:
    """It opens although its cell is not painted; Tab closes it and the grid has the focus."""
    watched = watch(setup=MANY)
    page = watched.page
    grid = page.locator("#grid")
    cell(page, "10", 2).click()
    # Near enough for its values to be held.
    grid.evaluate("grid => grid.scrollTop = 4_000")
    expect(row(page, "10")).to_have_count(0)
    grid.press("Shift+F10")
    menu = page.get_by_role("menu")
    expect(menu.get_by_role("menuitem").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(menu).to_have_count(0)
    expect(grid).to_be_focused()


def test_a_large_text_keeps_its_first_character(watch: Watch) -> None:
    """A byte order mark is no decoration: to edit a text must not drop it."""
    watched = watch(
        "--allow-writes",
        setup="UPDATE items SET value = char(65279) || printf('%.*c', 270000, 'y');",
    )
    page = watched.page
    length = """async () => {
      const { connect } = await import("./static/client.js");
      const [{ row }] = (await (await fetch("tables/items/rows")).json()).rows;
      const connection = connect();
      const text = await connection.value(row.value);
      connection.close();
      return text.length;
    }"""
    assert page.evaluate(length) == 270_001
    cell(page, "1", 3).click()
    page.locator("#grid").press("F2")
    field = page.get_by_role("textbox", name="value", exact=True)
    expect(field).to_be_focused()
    field.press("End")
    field.evaluate("field => { field.value += '!'; }")
    field.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    with closing(sqlite3.connect(watched.served.database)) as connection:
        [[first, count]] = connection.execute("SELECT unicode(value), length(value) FROM items")
    assert (first, count) == (0xFEFF, 270_002)


def test_a_value_that_cannot_be_had_is_said(watch: Watch) -> None:
    """The editor of a large value says why it is empty; only one is open at a time."""
    watched = watch(
        "--allow-writes",
        setup="INSERT INTO items SELECT 2, name, value FROM items;"
        "UPDATE items SET value = printf('%.*c', 300000, 'y') WHERE id = 1;",
    )
    page = watched.page
    expect(cell(page, "2", 3)).to_be_visible()
    page.route(re.compile("/values/"), lambda route: route.abort())
    cell(page, "2", 2).dblclick()
    editor = page.locator(".cell-editor")
    expect(editor).to_have_count(1)
    cell(page, "1", 3).dblclick()
    expect(editor).to_have_count(1)
    expect(editor.get_by_role("alert").last).to_have_text("The service cannot be reached.")
    expect(editor.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(editor).to_have_count(0)
    expect(page.locator("#grid")).to_be_focused()
    watched.forgive("net::ERR_FAILED")


def test_a_reset_is_told_once_to_a_filtered_feed(watch: Watch) -> None:
    """A condition has a connection of its own, which is told of the reset, too."""
    watched = watch()
    page = watched.page
    watched.edit("UPDATE items SET value = 'before';")
    watched.expect_changes("1 change")
    page.locator("#feed-filter-button").click()
    page.locator("#feed-table").select_option("=items")
    page.locator("#feed-where").fill("id > 0")
    expect(watched.newest).to_contain_text("before")
    watched.refusals |= {503}
    watched.served.stop()
    shutil.rmtree(watched.served.state)
    watched.served.restart()
    watched.expect_live()
    expect(page.locator("#feed .notice")).to_contain_text(["begun a new history"])
    watched.edit("UPDATE items SET value = 'after';")
    expect(watched.newest).to_contain_text("after")
    expect(page.locator("#feed .notice")).to_have_count(1)
