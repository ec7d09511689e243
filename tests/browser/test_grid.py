"""The rows of the chosen table in a real Chromium, while the real `sqlite3` shell changes them."""

from __future__ import annotations

import json
import random
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.watched import Watch, Watched

MILLION = """
CREATE TABLE big(id INTEGER PRIMARY KEY, name TEXT, n INTEGER);
WITH RECURSIVE k(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM k WHERE i<1000000)
INSERT INTO big SELECT i, 'row '||i, i*7919%1000003 FROM k;
DROP TABLE items;
"""
MANY = """
CREATE TABLE many(id INTEGER PRIMARY KEY, name TEXT, n INTEGER);
WITH RECURSIVE k(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM k WHERE i<3000)
INSERT INTO many SELECT i*10, 'row '||(i*10), i*7919%3001 FROM k;
DROP TABLE items;
"""
IMAGE = "<img src=x onerror=alert(1)>"

# What is shown, row by row in their order: number, and the texts of the cells.
SHOWN = """() => [...document.querySelectorAll("#grid .grid-body [aria-rowindex]")].map(row => [
  Number(row.getAttribute("aria-rowindex")) - 2,
  ...[...row.querySelectorAll("[role=gridcell]")].map(cell => cell.textContent),
])"""
# Rows whose cells lie below the head and above the end of the view, with their place on the screen.
PLACES = """() => {
  const grid = document.getElementById("grid").getBoundingClientRect();
  const head = document.querySelector("#grid .grid-head").getBoundingClientRect();
  return Object.fromEntries([...document.querySelectorAll("#grid .grid-body [aria-rowindex]")]
    .map(row => [row.firstChild.textContent, row.getBoundingClientRect().top])
    .filter(([, top]) => top >= head.bottom && top < grid.bottom));
}"""


def rows(page: Page) -> Locator:
    """The rows that are in the table, those painted."""
    return page.locator("#grid .grid-body .grid-row[aria-rowindex]")


def row(page: Page, first: str) -> Locator:
    """The row whose first cell says this."""
    exactly = page.locator("[role=gridcell]:first-child").get_by_text(first, exact=True)
    return page.locator("#grid .grid-body .grid-row").filter(has=exactly)


def cell(page: Page, first: str, column: int) -> Locator:
    """A cell of this row, by the number of its column from 1."""
    return row(page, first).locator(f"[aria-colindex='{column}']")


def head(page: Page, name: str) -> Locator:
    """The head of a column."""
    return page.locator("#grid").get_by_role("columnheader", name=name, exact=True)


def expect_count(page: Page, words: str) -> None:
    """Waits until this many rows are said to be there."""
    expect(page.locator("#row-count")).to_have_text(words)


def expect_rows(page: Page, wanted: list[list[str]]) -> None:
    """Waits until exactly these rows are shown, in this order."""
    expect(rows(page)).to_have_count(len(wanted))
    page.wait_for_function(
        f"wanted => JSON.stringify(({SHOWN})().map(([, ...texts]) => texts)) === wanted",
        arg=_json(wanted),
    )


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def content(watched: Watched, sql: str) -> list[list[str]]:
    """What the file says, as the grid writes it."""
    with closing(sqlite3.connect(watched.served.database)) as connection:
        found = connection.execute(sql).fetchall()
    return [["NULL" if value is None else str(value) for value in values] for values in found]


def test_it_follows_the_shell(watch: Watch) -> None:
    """New rows are green, changed cells flash and keep their old value, deleted ones are struck."""
    watched = watch(setup="INSERT INTO items VALUES(2, 'Lamp', 'off'), (3, 'Door', 'shut');")
    page = watched.page
    expect_count(page, "3 rows")

    watched.edit("INSERT INTO items VALUES(0, 'First', NULL);")
    expect(row(page, "0")).to_have_class(re.compile(r"\bborn\b"))
    expect(cell(page, "0", 3)).to_have_attribute("data-type", "null")
    expect_count(page, "4 rows")

    watched.edit("UPDATE items SET value = 'open' WHERE id = 3;")
    changed = cell(page, "3", 3)
    expect(changed).to_have_text("open")
    expect(changed).to_have_attribute("data-flash", re.compile("a|b"))
    expect(changed).to_have_attribute("title", re.compile(r"^was shut, \d\d:\d\d:\d\d\.\d{3}$"))
    expect(cell(page, "3", 2)).to_have_attribute("title", "")

    watched.edit("DELETE FROM items WHERE id = 2;")
    expect(row(page, "2")).to_have_class(re.compile(r"\bleaving\b"))
    expect(row(page, "2").locator(".cell").first).to_have_css(
        "text-decoration-line", "line-through"
    )
    expect_count(page, "3 rows")
    expect(row(page, "2")).to_have_count(0)
    expect_rows(page, content(watched, "SELECT * FROM items ORDER BY id"))


def test_two_windows_show_the_same(watch: Watch) -> None:
    """Each of two windows beside each other follows, whatever it shows."""
    watched = watch()
    other = watched.page.context.new_page()
    other.goto(f"{watched.served.url}/")
    expect_count(other, "1 row")
    watched.edit("INSERT INTO items VALUES(2, 'Lamp', 'off'); UPDATE items SET value = 'on';")
    for page in (watched.page, other):
        expect_rows(page, [["1", "Test", "on"], ["2", "Lamp", "on"]])


def test_every_type_is_told_apart(watch: Watch) -> None:
    """NULL, texts, blobs, large integers and whole reals are shown as what they are."""
    values = [
        ("NULL", "null", "NULL"),
        ("'NULL'", "text", "NULL"),
        ("''", "text", ""),
        ("x'00ff10'", "blob", "00ff10"),
        ("9223372036854775807", "integer", "9223372036854775807"),
        ("1.0", "real", "1.0"),
        ("9e999", "real", "Infinity"),
        ("CAST(x'ff61' AS TEXT)", "blob", "ff61"),
        ("zeroblob(300000)", "large", "blob, 300,000 bytes"),
        ("'a' || char(10, 0x202e) || 'b'", "text", "a␊⟨U+202E⟩b"),
    ]
    rows_sql = "; ".join(
        f"INSERT INTO kinds VALUES({number}, {literal})"
        for number, (literal, _, _) in enumerate(values)
    )
    watched = watch(
        setup=f"CREATE TABLE kinds(id INTEGER PRIMARY KEY, v); {rows_sql}; DROP TABLE items;"
    )
    page = watched.page
    for number, (_, kind, text) in enumerate(values):
        shown = cell(page, str(number), 2)
        expect(shown).to_have_attribute("data-type", kind)
        expect(shown).to_have_text(text)


@pytest.mark.fault("H5")
def test_hostile_names_and_values_are_text(watch: Watch) -> None:
    """Markup in tables, columns and cells is shown as text and does nothing."""
    table, column = '<script>alert("t")</script>', 'a"><b onclick=alert(2)>c'
    quoted = [name.replace('"', '""') for name in (table, column)]
    watched = watch(
        setup="DROP TABLE items;"
        f'CREATE TABLE "{quoted[0]}"("__proto__" PRIMARY KEY, "{quoted[1]}");'
        f"""INSERT INTO "{quoted[0]}" VALUES('{IMAGE}', '{IMAGE}');"""
    )
    page = watched.page
    expect(page.locator("#grid-name")).to_have_text(table)
    expect(page.locator("#grid").get_by_role("columnheader")).to_have_text(["__proto__", column])
    expect(page.locator("#grid [role=gridcell]")).to_have_text([IMAGE, IMAGE])
    watched.edit(f"""UPDATE "{quoted[0]}" SET "{quoted[1]}" = '<b>2</b>';""")
    changed = page.locator("#grid [role=gridcell]").last
    expect(changed).to_have_text("<b>2</b>")
    changed.dblclick()
    expect(page.locator("dialog pre")).to_have_text("<b>2</b>")
    expect(page.locator("main img, main script, main b, dialog b, #rows [onclick]")).to_have_count(
        0
    )


def test_it_sorts_by_any_column(watch: Watch) -> None:
    """Up, down and back to the key; rows move as their values change."""
    setup = "INSERT INTO items VALUES(2, 'b', 30), (3, 'c', 4), (4, 'd', NULL), (5, 'e', x'00');"
    watched = watch(setup=setup)
    page = watched.page
    value = head(page, "value")
    value.click()
    expect(value).to_have_attribute("aria-sort", "ascending")
    ascending = ["4", "3", "2", "1", "5"]
    expect(page.locator("#grid [role=gridcell]:first-child")).to_have_text(ascending)
    watched.edit("UPDATE items SET value = 50 WHERE id = 3;")
    moved = ["4", "2", "3", "1", "5"]
    expect(page.locator("#grid [role=gridcell]:first-child")).to_have_text(moved)
    value.click()
    expect(value).to_have_attribute("aria-sort", "descending")
    expect(page.locator("#grid [role=gridcell]:first-child")).to_have_text(moved[::-1])
    value.click()
    expect(value).to_have_attribute("aria-sort", "none")
    expect(page.locator("#grid [role=gridcell]:first-child")).to_have_text(list("12345"))


def test_a_condition_chooses_rows(watch: Watch) -> None:
    """Rows that fulfil it come and go live; what is wrong with it is said in the server's words."""
    watched = watch(setup="INSERT INTO items VALUES(2, 'Lamp', 'off'), (3, 'Door', 'off');")
    page = watched.page
    expect_count(page, "3 rows")
    watched.refusals.add(422)
    where = page.locator("#where")
    where.fill("value = 'off'")
    expect_count(page, "2 matches")
    watched.edit("UPDATE items SET value = 'on' WHERE id = 2;")
    expect_count(page, "1 match")
    where.fill("nothing = 1")
    where.press("Enter")
    expect(page.locator("#grid-said")).to_contain_text("nothing")
    expect(where).to_have_attribute("aria-invalid", "true")
    where.fill("value = 'never'")
    where.press("Enter")
    expect(page.get_by_text("No row fulfils the condition")).to_be_visible()
    where.fill("")
    where.press("Enter")
    expect_count(page, "3 rows")
    expect(page.locator("#grid-said")).to_be_hidden()


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


def test_it_equals_the_file_after_random_edits(watch: Watch) -> None:
    """A thousand edits, some of them while it scrolls: then it shows what the file says."""
    watched = watch(setup=MANY)
    page = watched.page
    expect_count(page, "3,000 rows")
    chance = random.Random(7)
    for at in range(10):
        edits = "".join(_edit(chance) for _ in range(100))
        watched.edit(f"PRAGMA synchronous=off;{edits}")
        page.locator("#grid").evaluate(f"grid => grid.scrollTop = {at * 700}")
    found = content(watched, "SELECT id, name, n FROM many ORDER BY id")
    expect_count(page, f"{len(found):,} rows")
    page.locator("#grid").evaluate("grid => grid.scrollTop = 1500 * 28")
    page.wait_for_function(
        f"""wanted => {{
          const shown = ({SHOWN})();
          return shown.length > 15 && shown[0][0] > 1300 && shown.every(
            ([number, ...texts]) => texts.join() === wanted[number]?.join());
        }}""",
        arg=found,
    )


def _edit(chance: random.Random) -> str:
    key = chance.randrange(30_000)
    return chance.choice(
        [
            f"INSERT OR REPLACE INTO many VALUES({key}, 'new {key}', {chance.randrange(99)});",
            f"DELETE FROM many WHERE id BETWEEN {key} AND {key + 30};",
            f"UPDATE many SET n = {chance.randrange(999)} WHERE id BETWEEN {key} AND {key + 50};",
        ]
    )


def test_a_million_rows(watch: Watch) -> None:
    """To the end, to the middle, a few rows on, and sorted: always the right rows are there."""
    watched = watch(setup=MILLION)
    page = watched.page
    grid = page.locator("#grid")
    expect_count(page, "1,000,000 rows")
    # From its next frame on there is room to scroll.
    expect(grid).to_have_attribute("aria-rowcount", "1000001")
    assert page.evaluate("document.querySelectorAll('#grid .grid-row').length") < 80
    grid.evaluate("grid => grid.scrollTop = grid.scrollHeight")
    expect(cell(page, "1000000", 2)).to_have_text("row 1000000")
    grid.evaluate("grid => grid.scrollTop = (grid.scrollHeight - grid.clientHeight) / 2")
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


def test_values_are_shown_whole(watch: Watch) -> None:
    """JSON in lines, bytes as a dump with a download, and values kept beside the stream."""
    watched = watch(
        setup="INSERT INTO items VALUES(2, 'json', '{\"a\":[1,12345678901234567890]}'),"
        "(3, 'blob', x'89504e470d0a1a0a'), (4, 'large', printf('%.*c', 300000, 'y')),"
        "(5, 'long', printf('%.*c', 500, 'z'));"
    )
    page = watched.page
    dialog = page.get_by_role("dialog")
    cell(page, "5", 2).click()  # is shown whole already
    cell(page, "5", 3).click()
    expect(dialog.locator("pre")).to_have_text("z" * 500)
    page.keyboard.press("Escape")
    cell(page, "2", 3).dblclick()
    expect(dialog.locator("pre")).to_have_text(
        '{\n  "a": [\n    1,\n    12345678901234567890\n  ]\n}'
    )
    dialog.get_by_role("button", name="As it is").click()
    expect(dialog.locator("pre")).to_have_text('{"a":[1,12345678901234567890]}')
    page.keyboard.press("Escape")
    cell(page, "3", 3).dblclick()
    expect(dialog.locator("pre")).to_contain_text("89 50 4e 47 0d 0a 1a 0a")
    expect(dialog).to_contain_text("looks like a PNG image")
    with page.expect_download() as download:
        dialog.get_by_role("button", name="Download").click()
    assert Path(download.value.path()).read_bytes() == b"\x89PNG\r\n\x1a\n"
    page.keyboard.press("Escape")
    cell(page, "4", 3).click()
    expect(dialog).to_contain_text("300,000 characters")
    expect(dialog.locator("pre")).to_contain_text("yyyy")


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


def test_tables_change_and_go(watch: Watch) -> None:
    """Columns come and go with the table's definition; an empty and a dropped table say so."""
    watched = watch()
    page = watched.page
    expect_count(page, "1 row")
    watched.edit("ALTER TABLE items ADD COLUMN mark DEFAULT 7;")
    expect(page.locator("#grid").get_by_role("columnheader")).to_have_text(
        ["id", "name", "value", "mark"]
    )
    expect_rows(page, [["1", "Test", "123", "7"]])
    watched.edit("DELETE FROM items;")
    expect(page.get_by_text("No rows yet")).to_be_visible()
    watched.edit("DROP TABLE items;")
    expect(page.locator("#rows")).to_contain_text("No table is chosen")


def test_a_break_is_made_up_for(watch: Watch) -> None:
    """While the server is away the rows stay, and it is said; afterwards they equal the file."""
    watched = watch(setup=MANY)
    page = watched.page
    expect_count(page, "3,000 rows")
    watched.served.kill()
    expect(page.locator("#grid-said")).to_contain_text("Offline")
    expect(row(page, "10")).to_be_visible()
    watched.edit(
        "DELETE FROM many WHERE id = 20; UPDATE many SET name = 'meanwhile' WHERE id = 30;"
    )
    watched.served.restart()
    watched.expect_live()
    expect_count(page, "2,999 rows")
    expect(cell(page, "30", 2)).to_have_text("meanwhile")
    expect(row(page, "20")).to_have_count(0)
    expect(page.locator("#grid-said")).to_be_hidden()


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
