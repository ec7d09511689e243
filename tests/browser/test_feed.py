"""What an open page shows of changes that other programs make."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.watched import ACCOUNTED, Watch

IMAGE = "<img src=x onerror=alert(1)>"
TABLE = '<script>alert("t")</script>'
COLUMN = 'a"><b onclick=alert(2)>c'


def test_an_external_edit_appears(watch: Watch) -> None:
    """An edit by the sqlite3 shell appears on the open page with its old and new value."""
    watched = watch()
    page = watched.page
    expect(page.get_by_text("Waiting for DB updates…")).to_be_visible()
    expect(page.locator("#database")).to_have_text("shop.db")

    watched.edit("UPDATE items SET value = '456' WHERE id = 1;")

    entry = watched.newest
    expect(entry.locator(".op")).to_have_text("update")
    expect(entry.locator(".table")).to_have_text("items")
    expect(entry.locator(".key")).to_have_text(re.compile(r"^\s*id\s+1\s*$"))
    expect(entry.locator("dt")).to_have_text(["value"])
    expect(entry.locator("del")).to_have_text("123")
    expect(entry.locator("ins")).to_have_text("456")
    expect(entry.locator("time")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d\.\d{3}$"))
    expect(page.get_by_text("Waiting for DB updates…")).to_be_hidden()
    watched.expect_changes("1 change")


def test_add_appears(watch: Watch) -> None:
    """A row added over HTTP to the demo database appears on the open page."""
    watched = watch(demo=True)

    added = httpx.get(f"{watched.served.url}/add/Lamp/12").raise_for_status().json()

    entry = watched.newest
    expect(entry.locator(".op")).to_have_text("insert")
    expect(entry.locator(".key")).to_contain_text(str(added["id"]))
    expect(watched.cell(entry, "name")).to_have_text("Lamp")
    expect(watched.cell(entry, "value")).to_have_text("12")


def test_the_newest_change_is_on_top(watch: Watch) -> None:
    """Changesets stand newest first, the changes of one commit together and in their order."""
    watched = watch()
    watched.edit("UPDATE items SET value = 'first';")
    watched.expect_changes("1 change")
    watched.edit("BEGIN; INSERT INTO items VALUES(2,'a',1),(3,'b',2); COMMIT;")
    watched.expect_changes("3 changes")

    entries = watched.page.locator("#feed > .changeset")
    expect(entries).to_have_count(2)
    expect(entries.first.locator(".key .value")).to_have_text(["2", "3"])
    expect(entries.first.locator(".tally")).to_have_text("2 inserts")
    expect(entries.last.locator("ins")).to_have_text("first")


@pytest.mark.fault("H5")
def test_hostile_values_and_names_are_text(watch: Watch) -> None:
    """Markup in cells, table and column names is shown as text and does nothing."""
    watched = watch()
    column, table = COLUMN.replace('"', '""'), TABLE.replace('"', '""')

    watched.edit(
        f"UPDATE items SET value = '{IMAGE}';"
        f'CREATE TABLE "{table}"(id INTEGER PRIMARY KEY, "{column}");'
        f"""INSERT INTO "{table}" VALUES(1, '{IMAGE}');""",
    )
    watched.expect_changes("3 changes")

    page = watched.page
    expect(page.locator("ins .value")).to_have_text(IMAGE)
    inserted = page.locator('.change[data-op="insert"]')
    expect(inserted.locator(".table")).to_have_text(TABLE)
    expect(inserted.locator("dt")).to_have_text([COLUMN])
    expect(inserted.locator("dd .value")).to_have_text([IMAGE])
    expect(page.locator("main img, main script, main b, #feed [onclick]")).to_have_count(0)


@pytest.mark.fault("H5")
def test_text_cannot_rearrange_its_surroundings(watch: Watch) -> None:
    """Overrides of the writing direction are made visible, and each value is isolated."""
    watched = watch()
    watched.edit("UPDATE items SET value = 'abc' || char(0x202e) || 'fed' || char(10, 9);")

    value = watched.page.locator("ins .value bdi")
    expect(value).to_have_text("abc⟨U+202E⟩fed␊␉")
    expect(value).to_have_css("unicode-bidi", "isolate")


def test_every_type_can_be_told_apart(watch: Watch) -> None:
    """Inserts and deletes show NULL, texts, blobs, large integers and whole reals as what they are.

    Each is seen by its text and by its type, which decides how it is marked.
    """
    values = [
        ("NULL", "null", "NULL"),
        ("'NULL'", "text", "NULL"),
        ("''", "text", ""),
        ("x'00ff10'", "blob", "00ff10"),
        ("x''", "blob", ""),
        ("9223372036854775807", "integer", "9223372036854775807"),
        ("-9223372036854775808", "integer", "-9223372036854775808"),
        ("1", "integer", "1"),
        ("1.0", "real", "1.0"),
        ("0.1", "real", "0.1"),
        ("9e999", "real", "Infinity"),
        ("CAST(x'ff61' AS TEXT)", "blob", "ff61"),
    ]
    columns = ", ".join(f"c{number}" for number in range(len(values)))
    literals = ", ".join(literal for literal, _, _ in values)
    watched = watch(setup=f"CREATE TABLE kinds(id INTEGER PRIMARY KEY, {columns});")
    watched.edit(f"INSERT INTO kinds VALUES(1, {literals});")
    watched.expect_changes("1 change")
    watched.edit("DELETE FROM kinds;")
    watched.expect_changes("2 changes")

    for op in ("insert", "delete"):
        change = watched.page.locator(f'.change[data-op="{op}"]')
        for number, (_, kind, text) in enumerate(values):
            value = watched.cell(change, f"c{number}").locator(".value")
            expect(value).to_have_attribute("data-type", kind)
            expect(value).to_have_text(text)
        expect(watched.cell(change, "c3")).to_contain_text("blob, 3 bytes")
        expect(watched.cell(change, "c11")).to_contain_text("text that is not UTF-8, 2 bytes")


def test_a_change_of_type_alone_shows(watch: Watch) -> None:
    """1 becoming 1.0 and then '1' is seen, although JavaScript holds the numbers equal."""
    watched = watch(
        setup="CREATE TABLE loose(id INTEGER PRIMARY KEY, v); INSERT INTO loose VALUES(1, 1);"
    )
    watched.edit("UPDATE loose SET v = 1.0;")
    watched.expect_changes("1 change")
    watched.edit("UPDATE loose SET v = '1.0';")
    watched.expect_changes("2 changes")

    page = watched.page
    expect(page.locator("del .value")).to_have_text(["1.0", "1"])
    expect(page.locator("ins .value")).to_have_text(["1.0", "1.0"])
    expect(page.locator("ins .value").first).to_have_attribute("data-type", "text")
    expect(page.locator("ins .value").last).to_have_attribute("data-type", "real")


@pytest.mark.fault("H5")
def test_long_values_are_shortened(watch: Watch) -> None:
    """A long text is shown from about where it changed, and in full on demand."""
    before, after = "x" * 5_000 + "old", "x" * 5_000 + "new"
    watched = watch(setup=f"UPDATE items SET value = '{before}';")
    watched.edit(f"UPDATE items SET value = '{after}';")

    value = watched.page.locator("ins .value")
    expect(value).to_have_text(re.compile(r"^…x{24}new$"))
    button = watched.page.locator("ins").get_by_role("button")
    expect(button).to_have_text("Show all 5,003 characters")
    button.click()
    expect(value).to_have_text(after)
    expect(button).to_have_attribute("aria-expanded", "true")
    button.click()
    expect(value).to_have_text(re.compile(r"^…x{24}new$"))


def test_a_large_value_can_be_opened(watch: Watch) -> None:
    """A value that travels beside the stream is named by its size and linked to."""
    watched = watch()
    watched.edit("UPDATE items SET value = zeroblob(300000);")

    page = watched.page
    expect(page.locator("ins .value")).to_have_text("blob, 300,000 bytes")
    address = page.locator("ins a").evaluate("link => link.href")
    assert httpx.get(address).raise_for_status().content == bytes(300_000)


def test_schema_changes_are_explained(watch: Watch) -> None:
    """New, changed and dropped tables are told in sentences."""
    watched = watch()
    steps = [
        ("CREATE TABLE notes(id INTEGER PRIMARY KEY, body);", "Table notes was created with"),
        ("ALTER TABLE notes ADD COLUMN mark DEFAULT 7;", "Column mark was added."),
        ("ALTER TABLE notes RENAME COLUMN body TO text;", "Column body is now called text."),
        ("ALTER TABLE notes RENAME TO memos;", "Table notes is now called memos."),
        ("DROP TABLE memos;", "Table memos was dropped, with its rows."),
    ]
    for sql, sentence in steps:
        watched.edit(sql)
        expect(watched.newest.locator(".schema")).to_contain_text(sentence)


def test_wide_rows_unfold(watch: Watch) -> None:
    """A row of many columns shows some of them at first and the others on demand."""
    columns = ", ".join(f"c{number}" for number in range(60))
    numbers = ", ".join(str(number) for number in range(60))
    watched = watch(setup=f"CREATE TABLE wide({columns});")
    watched.edit(f"INSERT INTO wide VALUES({numbers});")

    labels = watched.newest.locator("dt")
    expect(labels).to_have_count(12)
    watched.page.get_by_role("button", name="Show 48 more columns").click()
    expect(labels).to_have_count(60)
    expect(labels).to_have_text([f"c{number}" for number in range(60)])


def test_a_narrow_screen_suffices(watch: Watch) -> None:
    """At 360 pixels nothing makes the page scroll sideways, long words and names included."""
    word, name = "w" * 3_000, "n" * 300
    watched = watch(width=360)
    page = watched.page
    assert sideways(page) == 0

    watched.edit(
        f"UPDATE items SET value = '{word}';"
        f"CREATE TABLE {name}({name} PRIMARY KEY, other);"
        f"INSERT INTO {name} VALUES('{word}', zeroblob(2000));",
    )
    watched.expect_changes("3 changes")
    unfold = page.get_by_role("button", name=re.compile("^Show all"))
    while unfold.count():
        unfold.first.click()
    assert sideways(page) == 0


def sideways(page: Page) -> int:
    """By how many pixels the page is wider than the screen."""
    root = "document.documentElement"
    return int(page.evaluate(f"{root}.scrollWidth - {root}.clientWidth"))


def test_a_burst_is_accounted_for(watch: Watch) -> None:
    """2,000 single commits are all counted: shown, folded into their changeset, or too old."""
    watched = watch()
    watched.edit(
        "PRAGMA synchronous=off;\n"
        + "\n".join(f"INSERT INTO items(name, value) VALUES('n', {n});" for n in range(2_000)),
    )
    watched.expect_changes("2,000 changes")

    page = watched.page
    expect(page.locator("#commits")).to_have_text(re.compile(r"^([\d,]+ commits|at least .*)$"))
    page.wait_for_function(ACCOUNTED, arg=2_000)
    assert page.locator("#feed .change").count() <= 500
    expect(watched.newest.locator(".change").last).to_be_visible()


def test_a_large_commit_is_one_changeset(watch: Watch) -> None:
    """The parts of one commit are joined, and most of its rows only counted."""
    watched = watch()
    watched.edit(
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i <= 3000) "
        "INSERT INTO items SELECT i, 'n', i FROM n;"
    )
    watched.expect_changes("3,000 changes")

    expect(watched.page.locator("#commits")).to_have_text(re.compile(r"^(at least )?1 commit$"))
    expect(watched.page.locator("#feed > .changeset")).to_have_count(1)
    expect(watched.newest.locator(".tally")).to_have_text("3,000 inserts")
    expect(watched.newest.locator(".change")).to_have_count(100)
    expect(watched.newest.locator(".remainder")).to_have_text("2,900 more changes not shown")


@pytest.mark.fault("H5")
def test_the_policy_forbids_foreign_script(watch: Watch) -> None:
    """Were markup ever to slip through, the Content-Security-Policy would not let it run."""
    watched = watch()
    with watched.page.expect_console_message(lambda message: "violates" in message.text):
        ran = watched.page.evaluate(
            """() => {
                const script = document.createElement("script");
                script.textContent = "window.ran = true";
                document.body.append(script);
                return window.ran === true;
            }"""
        )
    assert not ran
    # This also proves that a violation in any other test would have been noticed.
    assert len(watched.complaints) == 1
    assert "Content Security Policy" in watched.complaints.pop()
