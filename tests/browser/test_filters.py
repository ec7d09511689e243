"""Finding one's way in the feed: filters, pausing, what came before, from a change to its row."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Locator, expect

from tests.browser.watched import ACCOUNTED, Watch, Watched

TWO_TABLES = "CREATE TABLE notes(id INTEGER PRIMARY KEY, body);"


def three_changes(watched: Watched) -> None:
    """Makes an insert and a delete in `notes`, and an update of `items`."""
    watched.edit("INSERT INTO notes VALUES(1, 'Milk and honey');")
    watched.expect_changes("1 change")
    watched.edit("UPDATE items SET value = 456;")
    watched.expect_changes("2 changes")
    watched.edit("DELETE FROM notes;")
    watched.expect_changes("3 changes")


def open_filter(watched: Watched) -> None:
    """Shows the form of the filter."""
    watched.page.get_by_role("button", name="Filter changes").click()


def expect_shown(watched: Watched, *changes: str) -> None:
    """Waits until these changes are shown, newest first, such as `update items`."""
    page = watched.page
    expect(page.locator("#feed .change")).to_have_count(len(changes))
    ops = page.locator("#feed .op").all_text_contents()
    tables = page.locator("#feed .table").all_text_contents()
    assert [f"{op} {table}" for op, table in zip(ops, tables, strict=True)] == list(changes)


def test_filters_take_from_what_is_held_and_from_what_comes(watch: Watch) -> None:
    """Table, operations and text each leave out the others, now and later."""
    watched = watch(setup=TWO_TABLES)
    page = watched.page
    three_changes(watched)
    open_filter(watched)

    page.get_by_label("Table", exact=True).select_option("notes")
    expect_shown(watched, "delete notes", "insert notes")
    page.get_by_role("button", name="delete", exact=True).click()
    expect_shown(watched, "insert notes")
    page.get_by_role("button", name="Clear").click()
    expect_shown(watched, "delete notes", "update items", "insert notes")

    page.get_by_label("Text in keys and values").fill("HONEY")
    expect_shown(watched, "delete notes", "insert notes")
    watched.edit(
        "BEGIN; INSERT INTO notes VALUES(2, 'x'), (3, 'honey'); DELETE FROM items; COMMIT;"
    )
    watched.expect_changes("6 changes")
    expect_shown(watched, "insert notes", "delete notes", "insert notes")
    page.get_by_label("Text in keys and values").fill("456")
    expect_shown(watched, "delete items", "update items")
    page.get_by_label("Text in keys and values").fill("nowhere")
    expect(page.locator("#no-match")).to_be_visible()


def test_a_condition_is_looked_at_by_the_service(watch: Watch) -> None:
    """A `where` needs a table, shows what was and what comes, and its faults in SQLite's words."""
    watched = watch(setup=TWO_TABLES)
    page = watched.page
    watched.edit("BEGIN; INSERT INTO notes VALUES(1, 10), (2, 20); COMMIT;")
    watched.expect_changes("2 changes")
    open_filter(watched)
    where, says = page.get_by_label("SQL condition on the row"), page.locator("#feed-where-says")

    where.fill("body > 15")
    expect(says).to_have_text("Choose the table that the condition is about.")
    page.get_by_label("Table", exact=True).select_option("notes")
    expect(page.locator("#feed .key .value")).to_have_text(["2"])
    watched.edit("BEGIN; INSERT INTO notes VALUES(3, 5), (4, 50); COMMIT;")
    expect(page.locator("#feed .key .value")).to_have_text(["4", "2"])

    where.fill("absent > 15")
    expect(says).to_contain_text("no such column: absent")
    expect(where).to_have_attribute("aria-invalid", "true")
    where.fill("")
    expect(says).to_be_empty()
    expect(page.locator("#feed .change")).to_have_count(4)


def test_pausing_keeps_the_list_and_counts_what_waits(watch: Watch) -> None:
    """While paused nothing moves; the key `p` pauses and resumes, and then all is there."""
    watched = watch()
    page = watched.page
    watched.edit("UPDATE items SET value = 'first';")
    watched.expect_changes("1 change")

    page.keyboard.press("p")
    pause = page.locator("#pause")
    expect(pause).to_have_attribute("aria-pressed", "true")
    watched.edit("UPDATE items SET value = 'second';")
    expect(pause).to_have_text("Resume · 1 change waiting")
    watched.edit("INSERT INTO items(name) SELECT 'n' FROM (VALUES(1),(2),(3));")
    expect(pause).to_have_text("Resume · 4 changes waiting")
    expect(page.locator("#feed ins .value")).to_have_text(["first"])
    watched.expect_changes("5 changes")

    pause.focus()
    page.keyboard.press("Space")
    expect(pause).to_have_text("Pause")
    expect(page.locator("#feed .change")).to_have_count(5)
    open_filter(watched)
    page.get_by_label("Text in keys and values").press("p")
    expect(pause).to_have_text("Pause")


def test_a_storm_behind_a_pause_is_bounded(watch: Watch) -> None:
    """More may wait than is held: all of it is counted, and in the end accounted for."""
    watched = watch()
    page = watched.page
    watched.edit("UPDATE items SET value = 'first';")
    watched.expect_changes("1 change")
    page.locator("#pause").click()
    inserts = "INSERT INTO items(name) SELECT 'n' FROM json_each('[" + "1," * 99 + "1]');"
    watched.edit(inserts * 20)
    expect(page.locator("#pause")).to_have_text("Resume · 2,000 changes waiting")
    expect(page.locator("#feed .change")).to_have_count(1)

    page.locator("#pause").click()
    page.wait_for_function(ACCOUNTED, arg=2_001)
    assert page.locator("#feed .change").count() <= 500


@pytest.mark.parametrize("commits", [3, 700])
def test_what_came_before_is_there(watch: Watch, commits: int) -> None:
    """A page that is opened shows the newest changesets, below a line, apart from what comes."""
    watched = watch()
    watched.edit(inserts(commits))
    watched.expect_changes(f"{commits:,} changes")
    page = watched.page
    page.reload()
    watched.expect_live()

    expect(page.locator("#feed .notice")).to_contain_text("This page was opened.")
    # The service may have found several commits at one look, and made one changeset of them.
    history = httpx.get(f"{watched.served.url}/history").raise_for_status().json()
    expect(page.locator("#feed > .changeset")).to_have_count(min(history["changesets"], 50))
    expect(watched.newest.locator(".key .value").last).to_have_text(str(commits + 1))
    expect(page.locator("#waiting")).to_be_hidden()
    expect(page.locator("#figures")).to_be_hidden()
    watched.edit("UPDATE items SET value = 'now' WHERE id = 1;")
    watched.expect_changes("1 change")
    expect(watched.newest.locator("ins")).to_have_text("now")


def inserts(commits: int) -> str:
    """As many commits, each of one row."""
    return "".join(f"INSERT INTO items(name) VALUES({n});" for n in range(commits))


def test_a_large_changeset_that_came_before_is_there_in_part(watch: Watch) -> None:
    """Of one with more changes than fit, the first are shown and the others counted."""
    watched = watch()
    watched.edit(
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i <= 3000) "
        "INSERT INTO items SELECT i, 'n', i FROM n;"
    )
    watched.expect_changes("3,000 changes")
    watched.page.reload()
    expect(watched.newest.locator(".tally")).to_have_text("3,000 inserts")
    expect(watched.newest.locator(".change")).to_have_count(100)
    expect(watched.newest.locator(".remainder")).to_have_text("2,900 more changes not shown")


def test_from_a_change_to_its_row_and_back(watch: Watch) -> None:
    """A change leads to its row; the history of the row leads back, whatever the filter is."""
    watched = watch(setup=TWO_TABLES)
    page = watched.page
    watched.edit("INSERT INTO notes VALUES(7, 'seven');")
    watched.expect_changes("1 change")
    watched.newest.locator(".change").hover()
    watched.newest.get_by_role("button", name="Show row").click()
    expect(page.locator("#grid-name")).to_contain_text("notes")

    watched.edit(inserts(60))
    watched.expect_changes("61 changes")
    open_filter(watched)
    page.get_by_label("Table", exact=True).select_option("notes")
    expect(page.locator("#feed .change")).to_have_count(1)
    history = open_history(watched)
    expect(history.locator(".version")).to_have_count(1)
    page.evaluate("document.querySelector('#feed-ops [value=insert]').click()")
    history.get_by_role("button", name="In the feed").click()
    expect(page.locator(".change.found")).to_be_in_viewport()
    expect(page.locator(".change.found .key")).to_contain_text("7")
    expect(page.get_by_label("Table", exact=True)).to_have_value("")


def test_a_changeset_that_is_not_held_any_more(watch: Watch) -> None:
    """Who comes back to a changeset that has gone from the list is told so."""
    watched = watch(setup=TWO_TABLES)
    page = watched.page
    watched.edit("INSERT INTO notes VALUES(7, 'seven');")
    watched.expect_changes("1 change")
    history = open_history(watched)
    watched.edit(inserts(600))
    watched.expect_changes("601 changes")
    expect(page.locator("#older")).to_be_visible()
    history.get_by_role("button", name="In the feed").click()
    expect(page.locator("#feed-says")).to_have_text(re.compile("no longer held"))


def open_history(watched: Watched) -> Locator:
    """Opens the history of the row of the newest change."""
    watched.newest.locator(".change .dots").first.click()
    watched.page.get_by_role("menuitem", name="History of the row").click()
    return watched.page.get_by_role("dialog")
