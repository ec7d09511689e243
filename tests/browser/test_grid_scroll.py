"""Finding one's way in many rows: scrolling, keys, staying in place, storms."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.grid import (
    MANY,
    PLACES,
    cell,
    content,
    expect_count,
    head,
    row,
    rows,
)
from tests.browser.watched import Watch

MILLION = """
CREATE TABLE big(id INTEGER PRIMARY KEY, name TEXT, n INTEGER);
WITH RECURSIVE k(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM k WHERE i<1000000)
INSERT INTO big SELECT i, 'row '||i, i*7919%1000003 FROM k;
DROP TABLE items;
"""


def test_it_stays_where_it_is(watch: Watch) -> None:
    """Rows that come and go above the view do not move what is looked at by a pixel."""
    watched = watch(setup=MANY)
    page = watched.page
    expect_count(page, "3,000 rows")
    page.locator("#grid").evaluate("grid => grid.scrollTop = 1000 * 28 + 11")
    expect(row(page, "10020")).to_be_visible()
    before = page.evaluate(PLACES)
    assert "10020" in before
    watched.edit(
        "BEGIN; DELETE FROM many WHERE id BETWEEN 100 AND 700;"
        "INSERT INTO many SELECT id + 1, 'more', n FROM many WHERE id < 9000; COMMIT;"
    )
    total = content(watched, "SELECT count(*) FROM many")[0][0]
    expect_count(page, f"{int(total):,} rows")
    assert page.evaluate(PLACES) == before
    watched.edit("DELETE FROM many WHERE id < 9000; UPDATE many SET n = -1 WHERE id = 10020;")
    expect(cell(page, "10020", 3)).to_have_text("-1")
    total = content(watched, "SELECT count(*) FROM many")[0][0]
    expect_count(page, f"{int(total):,} rows")
    assert page.evaluate(PLACES) == before


def test_a_million_rows(watch: Watch) -> None:
    """To the end, to the middle, a few rows on, and sorted: always the right rows are there."""
    watched = watch(setup=MILLION)
    page = watched.page
    grid = page.locator("#grid")
    expect_count(page, "1,000,000 rows", seconds=45)
    # From its next frame on there is room to scroll.
    expect(grid).to_have_attribute("aria-rowcount", "1000001")
    assert page.evaluate("document.querySelectorAll('#grid .grid-row').length") < 80
    grid.evaluate("grid => grid.scrollTop = grid.scrollHeight")
    expect(cell(page, "1000000", 2)).to_have_text("row 1000000")
    # Rows below the view may stand out of what scrolls, and make its `scrollHeight` larger.
    grid.evaluate(
        """grid => grid.scrollTop = (grid.querySelector(".grid-head").offsetHeight
          + grid.querySelector(".grid-body").offsetHeight - grid.clientHeight) / 2"""
    )
    middle = page.locator("#grid .grid-row[aria-rowindex='500002'] [role=gridcell]")
    expect(middle.first).to_have_text("500001")
    # Small steps are exact to the pixel although the scrollbar stands for 28 million of them.
    top = middle.first.evaluate("cell => cell.getBoundingClientRect().top")
    grid.hover()
    page.mouse.wheel(0, 280)
    page.wait_for_function(
        """top => document.querySelector("#grid .grid-row[aria-rowindex='500002'] .cell")
          ?.getBoundingClientRect().top === top - 280""",
        arg=top,
    )
    watched.edit("UPDATE big SET name = 'changed' WHERE id = 500005;")
    expect(cell(page, "500005", 2)).to_have_text("changed")
    head(page, "n").click()
    first = content(watched, "SELECT * FROM big ORDER BY n, id LIMIT 1")[0]
    expect(rows(page).first.locator("[role=gridcell]")).to_have_text(first, timeout=30_000)


def test_the_keyboard_suffices(watch: Watch) -> None:
    """One tab stop; arrows, pages and ends move the mark; Enter opens, Escape gives back."""
    watched = watch(setup=MANY)
    page = watched.page
    expect_count(page, "3,000 rows")
    page.locator("#grid").focus()
    marked = page.locator("#grid #active-cell")

    def press(*keys: str) -> None:
        for key in keys:
            page.keyboard.press(key)

    press("ArrowDown")
    expect(marked).to_have_text("10")
    press("ArrowDown", "ArrowRight")
    expect(marked).to_have_text("row 20")
    press("Control+End")
    last = content(watched, "SELECT n FROM many WHERE id = 30000")[0][0]
    expect(row(page, "30000").locator("#active-cell")).to_have_text(last)
    press("Home")
    expect(marked).to_have_text("30000")
    press("Control+Home", "ArrowUp", "ArrowRight", "ArrowRight", "Enter")
    expect(head(page, "n")).to_have_attribute("aria-sort", "ascending")
    expect(page.locator("#grid")).to_have_attribute("aria-busy", "false")
    press("ArrowDown", "ArrowLeft")
    expect(marked).to_have_text(content(watched, "SELECT name FROM many ORDER BY n LIMIT 1")[0][0])
    press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("Text")
    press("Escape")
    expect(page.locator("#grid")).to_be_focused()
    assert page.locator("#grid").get_attribute("aria-rowcount") == "3001"
    expect(page.locator("#grid [tabindex='0'], #grid button")).to_have_count(0)


def test_a_click_outlives_a_new_layout(watch: Watch) -> None:
    """The columns get other widths while the button is down: the click still is one."""
    watched = watch(setup=MANY)
    page = watched.page
    expect_count(page, "3,000 rows")
    clicked = cell(page, "20", 2)
    clicked.hover()
    page.mouse.down()
    width = page.locator("#grid").evaluate("grid => grid.clientWidth")
    page.set_viewport_size({"width": 1060, "height": 740})
    page.wait_for_function(
        "before => document.querySelector('#grid').clientWidth !== before", arg=width
    )
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.mouse.up()
    expect(clicked).to_have_id("active-cell")


# Another grid in place of the page's own, which can be told what the other parts tell it.
OWN_GRID = """async () => {
  const [{ Api }, { Context }, grid] = await Promise.all(
    ["api.js", "context.js", "view/grid.js"].map(name => import(`./static/${name}`)));
  window.context = new Context(new Api());
  grid.mount(context);
  context.catalog.replace(await context.api.ask(["tables"]));
  context.choose("many");
}"""


def test_a_row_is_revealed(watch: Watch) -> None:
    """Wherever it is, it is scrolled to and pointed out; where it is gone that is said."""
    watched = watch(setup=MANY)
    page = watched.page
    page.evaluate(OWN_GRID)
    expect_count(page, "3,000 rows")
    page.evaluate("context.reveal('many', { id: 20000 })")
    expect(row(page, "20000")).to_have_class(re.compile(r"\blit\b"))
    expect(row(page, "20000")).to_be_in_viewport()
    page.evaluate("context.reveal('many', { id: 5 })")
    expect(page.locator("#grid-said")).to_have_text("This row is gone.")


def test_a_storm_is_folded(watch: Watch) -> None:
    """Ten thousand changes at once are counted in words, and the rows are right at the end."""
    watched = watch(setup=MANY)
    page = watched.page
    expect_count(page, "3,000 rows")
    updates = "UPDATE many SET n = n + 1;" * 4
    watched.edit(f"PRAGMA synchronous=off;{updates}")
    expect(page.locator("#folded")).to_have_text(re.compile(r"^\+[\d,]+ changes folded$"))
    found = content(watched, "SELECT n FROM many WHERE id = 10")[0][0]
    expect(cell(page, "10", 3)).to_have_text(found)
    expect(page.locator("#folded")).to_be_hidden()
