"""The rows of the chosen table in a real Chromium, while the real `sqlite3` shell changes them."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.grid import (
    MANY,
    SHOWN,
    cell,
    content,
    expect_count,
    expect_rows,
    head,
    row,
)
from tests.browser.watched import Watch

IMAGE = "<img src=x onerror=alert(1)>"


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
    expect(page.locator("#rows")).to_contain_text("Table items is gone")


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
