"""Tables that are dropped or renamed while they are looked at, or while the feed tells of them."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, expect

from tests.browser.grid import choose, expect_rows
from tests.browser.watched import Watch, Watched

TWO_TABLES = "CREATE TABLE notes(id INTEGER PRIMARY KEY, body);"
MAKE_NOTES = TWO_TABLES + "INSERT INTO notes VALUES(1, 'again');"


def note_requests(watched: Watched) -> list[str]:
    """From now on: the addresses the page asks for."""
    asked: list[str] = []
    watched.page.on("request", lambda request: asked.append(request.url))
    return asked


def change(watched: Watched, words: str) -> Locator:
    """The change in the feed with these words."""
    return watched.page.locator("#feed .change").filter(has_text=words)


def filter_table(watched: Watched, table: str) -> None:
    """Shows the form of the filter and chooses a table in it."""
    watched.page.get_by_role("button", name="Filter changes").click()
    watched.page.get_by_label("Table", exact=True).select_option(f"={table}")


def test_a_dropped_table_is_said_to_be_gone(watch: Watch) -> None:
    """The grid stays, asks for nothing, and has the table again when there is one of its name."""
    watched = watch(setup=MAKE_NOTES, width=1300)
    page = watched.page
    choose(page, "notes")
    expect_rows(page, [["1", "again"]])
    watched.edit("INSERT INTO notes VALUES(2, 'more');")
    expect(page.locator("#moment-words")).to_contain_text("1 changeset")
    watched.edit("DROP TABLE notes;")
    expect(page.locator("#rows")).to_contain_text("Table notes is gone")
    asked = note_requests(watched)
    expect(page.locator("#rows")).to_contain_text("It was dropped or renamed.")
    expect(page.get_by_text("Table notes is gone.", exact=True)).to_have_count(1)
    expect(page.locator(".moment")).to_be_hidden()
    expect(page.locator(".table-button")).to_have_attribute("tabindex", "0")
    watched.edit("UPDATE items SET value = 'later';")
    watched.expect_changes("3 changes")
    expect(page).to_have_url(re.compile("#table=notes$"))
    assert not [url for url in asked if "notes" in url]

    watched.edit(MAKE_NOTES)
    expect_rows(page, [["1", "again"]])
    expect(page.locator(".moment")).to_be_visible()
    expect(page.locator('.table-button[aria-current="true"]')).to_have_text(re.compile("notes"))


def test_nothing_can_be_added_to_a_table_that_is_gone(watch: Watch) -> None:
    """Without the table there is no way to write to it, and none in the past either."""
    watched = watch("--allow-writes", setup=MAKE_NOTES, width=1300)
    page = watched.page
    choose(page, "notes")
    add = page.get_by_role("button", name="Add row")
    expect(add).to_be_visible()
    watched.edit("INSERT INTO notes VALUES(2, 'more');")
    expect(page.locator("#moment-words")).to_contain_text("1 changeset")
    page.locator("#moment-back").click()
    expect_rows(page, [["1", "again"]])
    watched.edit("DROP TABLE notes;")
    expect(page.locator("#rows")).to_contain_text("Table notes is gone")
    page.locator("#moment-now").click()
    expect(page.locator(".moment")).to_be_hidden()
    expect(page.locator("#rows")).to_contain_text("Table notes is gone")
    expect(add).to_be_hidden()


def test_an_address_of_a_table_that_never_was(watch: Watch) -> None:
    """A page that is opened at it shows the first table there is."""
    watched = watch(setup=TWO_TABLES)
    watched.page.goto(f"{watched.served.url}/#table=absent")
    watched.page.reload()
    expect(watched.page.locator("#grid-name")).to_have_text("items")


def test_an_old_change_leads_to_the_table_of_now(watch: Watch) -> None:
    """Names change, and others take the old ones; the row is where its table is."""
    watched = watch(setup=TWO_TABLES, width=1300)
    page = watched.page
    watched.edit("INSERT INTO items VALUES(7, 'old', 'seven');")
    watched.expect_changes("1 change")
    watched.edit("ALTER TABLE items RENAME TO things;")
    watched.expect_changes("2 changes")  # together with what follows it may be seen as one commit
    watched.edit("CREATE TABLE items(id INTEGER PRIMARY KEY); INSERT INTO items VALUES(7);")
    expect(change(watched, "seven").locator(".table")).to_have_text("items")
    choose(page, "notes")

    for reload in (False, True):
        if reload:
            page.reload()
            choose(page, "notes")
        old = change(watched, "seven")
        old.locator(".dots").focus()  # it may be moved away from below a pointer by what is loaded
        old.get_by_role("button", name="Show row").click()
        expect(page.locator("#grid-name")).to_have_text("things")
        expect(page.locator("#grid")).to_contain_text("seven")
        old.locator(".dots").click()
        page.get_by_role("menuitem", name="History of the row").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("History of things")
        expect(dialog.locator(".version")).to_have_count(1)
        dialog.get_by_role("button", name="In the feed").click()
        expect(page.locator(".change.found")).to_contain_text("seven")


def test_an_open_history_goes_on_under_the_new_name(watch: Watch) -> None:
    """It takes in what comes, and leads to the table there is."""
    watched = watch(setup=TWO_TABLES + "INSERT INTO notes VALUES(1, 'one');", width=1300)
    page = watched.page
    watched.edit("UPDATE notes SET body = 'two';")
    watched.expect_changes("1 change")
    old = change(watched, "two")
    old.locator(".dots").click()
    page.get_by_role("menuitem", name="History of the row").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".version")).to_have_count(1)
    watched.edit("ALTER TABLE notes RENAME TO memos;")
    expect(dialog.get_by_role("heading")).to_contain_text("History of memos")
    watched.edit("UPDATE memos SET body = 'three';")
    expect(dialog.locator(".version")).to_have_count(2)
    dialog.get_by_role("button", name="Show row").click()
    expect(page.locator("#grid-name")).to_have_text("memos")
    expect(page.locator("#grid .lit")).to_contain_text("three")


def test_of_a_table_that_is_gone_there_is_no_row_to_show(watch: Watch) -> None:
    """The page says so in words and asks for nothing."""
    watched = watch(setup=TWO_TABLES, width=1300)
    page = watched.page
    watched.edit("INSERT INTO notes VALUES(7, 'seven');")
    watched.expect_changes("1 change")
    watched.edit("DROP TABLE notes;")
    watched.expect_changes("2 changes")
    watched.edit("CREATE TABLE notes(x);")
    watched.expect_changes("3 changes")
    asked = note_requests(watched)
    old = change(watched, "seven")
    old.locator(".dots").focus()
    old.get_by_role("button", name="Show row").click()
    expect(page.locator("#feed-says")).to_have_text(
        "The table notes is gone, and its rows with it."
    )
    expect(page.locator("#grid-name")).to_have_text("items")
    old.locator(".dots").click()
    expect(page.get_by_role("menuitem", name="Copy as JSON")).to_be_visible()
    expect(page.get_by_role("menuitem", name="Show row")).to_have_count(0)
    assert not [url for url in asked if "notes" in url]


def test_a_filter_goes_on_under_the_new_name(watch: Watch) -> None:
    """What was before the rename belongs to the table, too; one of the old name does not."""
    watched = watch(setup=TWO_TABLES)
    page = watched.page
    watched.edit("INSERT INTO notes VALUES(1, 'one');")
    watched.expect_changes("1 change")
    filter_table(watched, "notes")
    watched.edit("ALTER TABLE notes RENAME TO memos;")
    expect(page.get_by_label("Table", exact=True)).to_have_value("=memos")
    watched.edit("CREATE TABLE notes(x); INSERT INTO notes VALUES('other');")
    watched.edit("INSERT INTO memos VALUES(2, 'two');")
    ops = page.locator("#feed .op")
    expect(ops).to_have_text(["insert", "schema", "insert"])
    page.get_by_label("Text in keys and values").fill("o")
    expect(change(watched, "two")).to_be_visible()
    expect(ops).to_have_text(["insert", "schema", "insert"])


def test_a_condition_goes_on_under_the_new_name(watch: Watch) -> None:
    """It is looked at before and after the rename, and the stream is not said to begin."""
    watched = watch(setup=TWO_TABLES)
    page = watched.page
    watched.edit("BEGIN; INSERT INTO notes VALUES(1, 10), (2, 20); COMMIT;")
    watched.expect_changes("2 changes")
    filter_table(watched, "notes")
    where = page.get_by_label("SQL condition on the row")
    where.fill("body > 15")
    keys = page.locator("#feed .key .value")
    expect(keys).to_have_text(["2"])
    for name, former, key in (("memos", "notes", 3), ("papers", "memos", 5)):
        watched.edit(f"ALTER TABLE {former} RENAME TO {name};")
        expect(page.get_by_label("Table", exact=True)).to_have_value(f"={name}")
        watched.edit(f"BEGIN; INSERT INTO {name} VALUES({key}, 5), ({key + 1}, 50); COMMIT;")
        expect(keys.first).to_have_text(str(key + 1))
    expect(keys).to_have_text(["6", "4", "2"])
    expect(page.locator("#feed .op")).to_have_text(
        ["insert", "schema", "insert", "schema", "insert"]
    )

    # Chosen after the rename, it is looked at from there on.
    where.fill("body > 1")
    expect(keys).to_have_text(["5", "6"])
    expect(page.locator("#feed .notice")).to_have_count(0)
    expect(page.locator("#feed-where-says")).to_be_empty()
