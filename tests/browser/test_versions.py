"""The history of a row on the open page."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.watched import Watch, Watched


def history_of_newest(watched: Watched) -> Locator:
    """Opens the history of the row of the newest change."""
    watched.newest.locator(".change .dots").first.click()
    watched.page.get_by_role("menuitem", name="History of the row").click()
    return watched.page.get_by_role("dialog")


def test_a_row_has_its_versions_newest_first(watch: Watch) -> None:
    """From its insert to the newest change, each with what it changed; new ones come on top."""
    watched = watch()
    watched.edit("INSERT INTO items VALUES(2, 'Lamp', 1);")
    watched.expect_changes("1 change")
    watched.edit("UPDATE items SET value = 2 WHERE id = 2;")
    watched.expect_changes("2 changes")

    history = history_of_newest(watched)
    expect(history.get_by_role("heading")).to_have_text(re.compile(r"History of\s+items\s+id\s+2"))
    versions = history.locator(".version")
    expect(versions.locator(".op")).to_have_text(["update", "insert"])
    expect(versions.first.locator("del .value")).to_have_text("1")
    expect(versions.first.locator("ins .value")).to_have_text("2")
    expect(history).to_contain_text("Here the row was inserted.")

    watched.edit("UPDATE items SET name = 'Other';")
    expect(versions).to_have_count(3)
    watched.edit("DELETE FROM items WHERE id = 2;")
    expect(versions.locator(".op")).to_have_text(["delete", "update", "update", "insert"])
    expect(versions.nth(1).locator("ins .value")).to_have_text("Other")
    positions = versions.locator("code").all_text_contents()
    assert len(set(positions)) == 4
    expect(watched.page.locator("#position")).to_have_text(positions[0])


def test_how_far_it_reaches_is_said(watch: Watch) -> None:
    """A row that is older than the history has no insert in it; long histories come in pages."""
    watched = watch()
    for rows in range(55):
        watched.edit(f"UPDATE items SET value = 'v{rows}';")
        watched.expect_changes("1 change" if rows == 0 else f"{rows + 1} changes")

    history = history_of_newest(watched)
    versions, older = history.locator(".version"), history.get_by_role("button", name="Older")
    expect(versions).to_have_count(50)
    older.click()
    expect(versions).to_have_count(55)
    expect(history).to_contain_text("The history that is kept reaches no further back.")
    expect(versions.last.locator("del .value")).to_have_text("123")
    expect(older).to_have_count(0)


def test_where_a_version_leads(watch: Watch) -> None:
    """To the row as it is, to its changeset in the feed, and to the tables as they were."""
    watched = watch(setup="CREATE TABLE notes(id INTEGER PRIMARY KEY, body);")
    page = watched.page
    page.evaluate(
        """async () => {
            const { Context } = await import("./static/context.js");
            const tell = Context.prototype.tell;
            window.told = [];
            Context.prototype.tell = function (event, detail) {
                if (event === "moment") window.told.push(detail);
                tell.call(this, event, detail);
            };
        }"""
    )
    watched.edit("INSERT INTO notes VALUES(5, 'five');")
    watched.expect_changes("1 change")

    history_of_newest(watched).get_by_role("button", name="As of here").click()
    assert page.evaluate("told.at(-1).position") == watched.position()
    expect(page.get_by_role("dialog")).to_have_count(0)
    history_of_newest(watched).get_by_role("button", name="In the feed").click()
    expect(page.locator(".change.found .key")).to_contain_text("5")
    history_of_newest(watched).get_by_role("button", name="Show row").click()
    expect(page.locator("#grid-name")).to_contain_text("notes")


@pytest.mark.parametrize("status", [503, 0])
def test_a_history_that_cannot_be_had_is_asked_for_again(watch: Watch, status: int) -> None:
    """What went wrong is said in a sentence, with a button that tries again."""
    watched = watch()
    watched.edit("UPDATE items SET value = 'x';")
    watched.expect_changes("1 change")
    page = watched.page

    def refuse(route: Route) -> None:
        if status:
            route.fulfill(status=status, json={"detail": "It is being read."})
        else:
            route.abort()

    page.route("**/history?key=*", refuse)
    history = history_of_newest(watched)
    words = "It is being read." if status else "The service cannot be reached."
    expect(history.get_by_role("alert")).to_contain_text(words)
    page.unroute_all()
    history.get_by_role("button", name="Try again").click()
    expect(history.locator(".version")).to_have_count(1)
    forget_refusals(watched)


def forget_refusals(watched: Watched) -> None:
    """Chromium itself complains of each request that fails, which is what was wanted here."""
    watched.complaints[:] = [said for said in watched.complaints if "Failed to load" not in said]


def test_it_is_left_by_key_and_fits_a_phone(watch: Watch) -> None:
    """Escape closes it and gives the focus back; at 360 pixels nothing scrolls sideways."""
    watched = watch(width=360)
    page = watched.page
    watched.edit("UPDATE items SET value = '" + "w" * 2_000 + "';")
    watched.expect_changes("1 change")
    history = history_of_newest(watched)
    expect(history.locator(".version")).to_have_count(1)
    assert sideways(page) == 0
    page.keyboard.press("Escape")
    expect(history).to_have_count(0)
    expect(watched.newest.locator(".change .dots")).to_be_focused()


def sideways(page: Page) -> int:
    """By how many pixels the content of the dialog is wider than there is room for."""
    body = "document.querySelector('.dialog-body')"
    return int(page.evaluate(f"{body}.scrollWidth - {body}.clientWidth"))
