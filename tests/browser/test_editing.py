"""Rows changed, added and deleted on the page, in a real Chromium; the file has the say."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.browser.grid import cell, expect_count, row
from tests.browser.watched import Watch, Watched

PRICES = """
CREATE TABLE prices(
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, price REAL DEFAULT 9.5 CHECK(price > 0), note);
INSERT INTO prices VALUES(1, 'Lamp', 2.5, 'a'), (2, 'Door', 100.0, NULL);
DROP TABLE items;
"""


def stored(watched: Watched, sql: str) -> list[Any]:
    """What the file says."""
    with closing(sqlite3.connect(watched.served.database)) as connection:
        return connection.execute(sql).fetchall()


def opened(watch: Watch, *options: str) -> Watched:
    """A page on which prices may be changed."""
    watched = watch("--allow-writes", *options, setup=PRICES)
    watched.refusals |= {409, 503}
    expect_count(watched.page, "2 rows")
    expect(watched.page.locator("#add-row")).to_be_visible()
    return watched


def editor(page: Page) -> Locator:
    """The open editor of a cell."""
    return page.locator(".cell-editor")


def fill(page: Page, text: str, kind: str | None = None) -> None:
    """Types a value into the editor and saves it."""
    if kind is not None:
        editor(page).get_by_role("combobox").select_option(label=kind)
    if text:
        editor(page).get_by_role("textbox").fill(text)
    editor(page).get_by_role("button", name=re.compile("Save|Try again")).click()


def test_a_click_shows_and_a_double_click_edits(watch: Watch) -> None:
    """Of a value that is cut short, and of the cell that is marked already."""
    watched = opened(watch)
    page = watched.page
    watched.edit("UPDATE prices SET note = printf('%.*c', 500, 'z') WHERE id = 1;")
    expect(cell(page, "1", 4)).to_contain_text("zzz")
    cell(page, "1", 4).click()
    expect(page.get_by_role("dialog").locator("pre")).to_have_text("z" * 500)
    page.keyboard.press("Escape")
    for _ in range(2):
        cell(page, "1", 4).dblclick()
        expect(editor(page).get_by_role("textbox")).to_have_value("z" * 500)
        page.keyboard.press("Escape")
        expect(editor(page)).to_have_count(0)
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_cell_keeps_its_type_or_takes_another(watch: Watch) -> None:
    """A value is changed as what it was; integer, real, NULL and blob can be chosen."""
    watched = opened(watch)
    page = watched.page
    cell(page, "1", 3).dblclick()
    expect(editor(page).get_by_role("combobox")).to_have_value("real")
    fill(page, "7")
    expect(cell(page, "1", 3)).to_have_text("7.0")
    assert stored(watched, "SELECT typeof(price), price FROM prices WHERE id = 1") == [
        ("real", 7.0)
    ]
    steps = [
        ("NULL", "", ("null", None)),
        ("Blob, as hex", "00 ff", ("blob", b"\x00\xff")),
        ("Integer", "9223372036854775807", ("integer", 2**63 - 1)),
        ("Real", "-0", ("real", 0.0)),
        ("Text", "two\nlines", ("text", "two\nlines")),
    ]
    for kind, text, wanted in steps:
        cell(page, "1", 2).click()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("F2")
        fill(page, text, kind)
        expect(editor(page)).to_have_count(0)
        assert stored(watched, "SELECT typeof(note), note FROM prices WHERE id = 1") == [wanted]
        expect(cell(page, "1", 4)).to_have_attribute("data-type", wanted[0])


def test_what_the_database_refuses_stands_beside_the_cell(watch: Watch) -> None:
    """A constraint is told in the database's words, and what was typed is still there."""
    watched = opened(watch)
    page = watched.page
    cell(page, "1", 3).dblclick()
    fill(page, "-5")
    expect(editor(page)).to_contain_text("CHECK constraint failed: price > 0")
    fill(page, "abc")
    expect(editor(page)).to_contain_text("This is not a number")
    expect(editor(page).get_by_role("textbox")).to_have_attribute("aria-invalid", "true")
    page.keyboard.press("Escape")
    expect(editor(page)).to_have_count(0)
    expect(page.locator("#grid")).to_be_focused()
    assert stored(watched, "SELECT price FROM prices WHERE id = 1") == [(2.5,)]


def test_a_row_that_changed_meanwhile_is_not_overwritten(watch: Watch) -> None:
    """What is there now is shown, and can be overwritten knowingly; a row that is gone cannot."""
    watched = opened(watch)
    page = watched.page
    cell(page, "1", 4).dblclick()
    watched.edit("UPDATE prices SET note = 'theirs' WHERE id = 1;")
    expect(cell(page, "1", 4)).to_have_text("theirs")
    fill(page, "mine")
    expect(editor(page)).to_contain_text("This cell is now theirs")
    assert stored(watched, "SELECT note FROM prices WHERE id = 1") == [("theirs",)]
    editor(page).get_by_role("button", name="Save anyway").click()
    expect(cell(page, "1", 4)).to_have_text("mine")

    cell(page, "2", 4).dblclick()
    watched.edit("DELETE FROM prices WHERE id = 2;")
    expect_count(page, "1 row")
    fill(page, "mine", "Text")
    expect(editor(page)).to_contain_text("The row was deleted in the meantime.")
    assert stored(watched, "SELECT note FROM prices") == [("mine",)]


def test_a_busy_database_can_be_tried_again(watch: Watch) -> None:
    """Where another program holds the database, that is said; later the same goes through."""
    watched = opened(watch)
    page = watched.page
    cell(page, "1", 4).dblclick()
    with closing(sqlite3.connect(watched.served.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        fill(page, "later")
        expect(editor(page).get_by_role("button", name="Try again")).to_be_visible()
        other.execute("ROLLBACK")
    fill(page, "later")
    expect(cell(page, "1", 4)).to_have_text("later")


def test_rows_are_added_and_deleted(watch: Watch) -> None:
    """Defaults are the table's own; the new row is shown; deleting asks first."""
    watched = opened(watch)
    page = watched.page
    page.get_by_role("button", name="Add row").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="name", exact=True).fill("Lamp")
    dialog.get_by_role("button", name="Add row").click()
    expect(dialog).to_contain_text("UNIQUE constraint failed: prices.name")
    dialog.get_by_role("textbox", name="name", exact=True).fill("Roof")
    dialog.get_by_role("button", name="Add row").click()
    expect(dialog).to_have_count(0)
    expect(row(page, "3")).to_have_class(re.compile(r"\blit\b"))
    assert stored(watched, "SELECT * FROM prices WHERE id = 3") == [(3, "Roof", 9.5, None)]

    page.keyboard.press("Delete")
    expect(dialog).to_contain_text("Delete this row?")
    watched.edit("UPDATE prices SET price = 11 WHERE id = 3;")
    dialog.get_by_role("button", name="Delete row").click()
    expect(dialog).to_contain_text("this is how it is now")
    expect(dialog).to_contain_text("11.0")
    dialog.get_by_role("button", name="Delete row").click()
    expect_count(page, "2 rows")
    assert stored(watched, "SELECT id FROM prices ORDER BY id") == [(1,), (2,)]


def test_nothing_can_be_changed_where_writing_is_off(watch: Watch) -> None:
    """No buttons, no editor, no deleting by key."""
    page = watch(setup=PRICES).page
    expect_count(page, "2 rows")
    cell(page, "1", 3).click()
    page.keyboard.press("F2")
    page.keyboard.press("Delete")
    cell(page, "1", 3).click(button="right")
    expect(page.get_by_role("menuitem")).to_have_count(4)
    expect(page.locator("#add-row")).to_be_hidden()
    expect(editor(page)).to_have_count(0)
    expect(page.get_by_role("dialog")).to_have_count(0)


PARSED = """async (cases) => {
  const { parsed, editable } = await import("./static/model/cell_input.js");
  return cases.map(([type, text]) => {
    const read = parsed(type, text);
    return read.problem ? "problem" : [read.value, editable(read.value).type];
  });
}"""


def test_what_is_typed_becomes_a_value_of_the_wire(watch: Watch) -> None:
    """Whole reals stay reals, large integers stay exact, and nonsense is no value."""
    page = watch().page
    cases = [
        ("integer", "007", [7, "integer"]),
        ("integer", "-9223372036854775808", [{"$int": "-9223372036854775808"}, "integer"]),
        ("integer", "9223372036854775808", "problem"),
        ("integer", "1.0", "problem"),
        ("real", "1", [{"$real": "1.0"}, "real"]),
        ("real", "1e300", [{"$real": "1e+300"}, "real"]),
        ("real", "-0", [{"$real": "-0.0"}, "real"]),
        ("real", "inf", [{"$real": "Infinity"}, "real"]),
        ("real", "1e999", "problem"),
        ("real", ".5", [0.5, "real"]),
        ("real", "", "problem"),
        ("blob", "x'00FF'", [{"$blob": "AP8="}, "blob"]),
        ("blob", "0", "problem"),
        ("rawtext", "ff", [{"$text": "/w=="}, "rawtext"]),
        ("text", " a ", [" a ", "text"]),
        ("null", "ignored", [None, "null"]),
    ]
    found = page.evaluate(PARSED, [[kind, text] for kind, text, _ in cases])
    assert found == [wanted for _, _, wanted in cases]


def test_line_ends_stay_what_they_were(watch: Watch) -> None:
    """A field knows one kind of line end only; a text keeps its own, and an untouched one stays."""
    watched = opened(watch)
    page = watched.page
    watched.edit(
        "UPDATE prices SET note = 'a' || char(13, 10) || 'b' || char(13) || 'c' WHERE id = 1;"
        "UPDATE prices SET note = 'p' || char(13) || 'q' WHERE id = 2;"
    )
    expect(cell(page, "2", 4)).to_contain_text("q")
    cell(page, "1", 4).dblclick()
    field = editor(page).get_by_role("textbox")
    field.press("Control+Home")
    field.press_sequentially("x")
    field.press("Shift+Enter")
    field.press("Enter")
    expect(editor(page)).to_have_count(0)
    cell(page, "2", 4).dblclick()
    editor(page).get_by_role("textbox").press("Enter")
    expect(editor(page)).to_have_count(0)
    notes = [("x\r\na\r\nb\rc",), ("p\rq",)]
    assert stored(watched, "SELECT note FROM prices ORDER BY id") == notes


def test_a_row_that_goes_takes_its_mark_along(watch: Watch) -> None:
    """What is pressed next is not meant for the row that takes its place."""
    watched = opened(watch)
    page = watched.page
    cell(page, "1", 2).click()
    watched.edit("DELETE FROM prices WHERE id = 1;")
    expect_count(page, "1 row")
    expect(page.locator("#active-cell")).to_have_count(0)
    page.keyboard.press("F2")
    page.keyboard.press("Delete")
    expect(editor(page)).to_have_count(0)
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("ArrowDown")
    expect(page.locator("#active-cell")).to_have_text("Door")
    page.keyboard.press("F2")
    expect(editor(page)).to_have_count(1)


def test_a_click_is_forgotten_when_something_else_is_done(watch: Watch) -> None:
    """It waits whether it becomes a double click, and must not open over what was opened since."""
    watched = opened(watch)
    page = watched.page
    cell(page, "1", 2).click()
    expect(page.locator("#active-cell")).to_have_text("Lamp")
    page.evaluate("window.opened = []")
    page.evaluate(
        """() => new MutationObserver(changes => window.opened.push(...changes
          .flatMap(({ addedNodes }) => [...addedNodes]).filter(node => node.matches?.("dialog"))
          .map(({ className }) => className))).observe(document.body, { childList: true })"""
    )
    # No double click: the first one was long ago.
    page.wait_for_timeout(600)
    cell(page, "1", 2).click()
    page.locator("#add-row").click()
    expect(page.get_by_role("dialog")).to_contain_text("Add a row")
    # As long as it would have waited, and longer.
    page.wait_for_timeout(600)
    assert page.evaluate("window.opened") == ["row-dialog"]


def test_tables_and_columns_change_under_an_editor(watch: Watch) -> None:
    """It follows a new name, needs no second try for a new column, and says that one is gone."""
    watched = opened(watch)
    page = watched.page
    cell(page, "1", 4).dblclick()
    editor(page).get_by_role("textbox").fill("mine")
    watched.edit("ALTER TABLE prices RENAME TO costs; ALTER TABLE costs ADD COLUMN more;")
    expect(page.locator("#grid-name")).to_have_text("costs")
    editor(page).get_by_role("textbox").press("Enter")
    expect(editor(page)).to_have_count(0)
    assert stored(watched, "SELECT note FROM costs WHERE id = 1") == [("mine",)]

    cell(page, "1", 4).dblclick()
    watched.edit("ALTER TABLE costs DROP COLUMN note;")
    fill(page, "never")
    expect(editor(page)).to_contain_text("The column was dropped or renamed")
    expect(editor(page).get_by_role("button", name="Save")).to_be_hidden()
    page.keyboard.press("Escape")

    page.locator("#add-row").click()
    form = page.get_by_role("dialog")
    form.get_by_role("textbox", name="name", exact=True).fill("Chair")
    watched.edit("ALTER TABLE costs RENAME TO prices;")
    expect(page.locator("#grid-name")).to_have_text("prices")
    form.get_by_role("button", name="Add row").click()
    expect(form).to_have_count(0)
    assert stored(watched, "SELECT name FROM prices WHERE id = 3") == [("Chair",)]


def test_a_generated_column_is_shown_and_not_edited(watch: Watch) -> None:
    """Nobody can write it, so a double click shows it."""
    watched = watch(
        "--allow-writes",
        setup="CREATE TABLE made(id INTEGER PRIMARY KEY, n INT, twice INT AS (n * 2));"
        "INSERT INTO made VALUES(1, 21); DROP TABLE items;",
    )
    page = watched.page
    with page.expect_response("**/tables/made/schema"):
        page.reload()
    expect(page.locator("#add-row")).to_be_visible()
    cell(page, "1", 3).dblclick()
    expect(page.get_by_role("dialog")).to_contain_text("42")
    expect(page.get_by_role("dialog").get_by_role("button", name="Edit")).to_have_count(0)
    expect(editor(page)).to_have_count(0)
