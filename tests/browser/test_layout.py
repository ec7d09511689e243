"""Where the parts of the page are, at any width, and what never moves."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.watched import Watch

LONG = 'CREATE TABLE "' + "n" * 300 + '"("' + "c" * 300 + '", other);'


def sideways(page: Page) -> int:
    """By how many pixels the page is wider than the screen."""
    root = "document.documentElement"
    return int(page.evaluate(f"{root}.scrollWidth - {root}.clientWidth"))


def boxes(page: Page) -> list[object]:
    """Where the parts are."""
    places = (page.locator(part).bounding_box() for part in (".bar", "#rows", "#news", "footer"))
    return list(places)


@pytest.mark.parametrize("width", [360, 640, 900, 1100, 1440])
def test_nothing_is_wider_than_the_screen(watch: Watch, width: int) -> None:
    """At no width the page scrolls, sideways or down: its parts do."""
    watched = watch(setup=LONG, width=width)
    page = watched.page
    rows = "WITH RECURSIVE n(i) AS (VALUES(2) UNION ALL SELECT i + 1 FROM n WHERE i < 90) "
    watched.edit(f"{rows} INSERT INTO items SELECT i, 'n', 'word' FROM n;")
    watched.expect_changes("89 changes")
    assert sideways(page) == 0
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollHeight - {root}.clientHeight") == 0


def test_on_a_phone_there_is_one_part_at_a_time(watch: Watch) -> None:
    """Tabs at the foot switch between the parts; to choose a table shows its rows."""
    watched = watch(width=360)
    page = watched.page
    tabs = page.get_by_role("navigation", name="Parts")
    parts = {"Tables": "#sidebar", "Rows": "#rows", "Changes": "#news"}
    for name, part in parts.items():
        tabs.get_by_role("button", name=name).click()
        for other in parts.values():
            expect(page.locator(other)).to_be_visible(visible=other == part)
    tabs.get_by_role("button", name="Tables").click()
    page.locator(".table-button").click()
    expect(page.locator("#rows")).to_be_visible()
    expect(tabs.get_by_role("button", name="Rows")).to_have_attribute("aria-current", "true")


def test_in_between_the_tables_are_a_drawer(watch: Watch) -> None:
    """It opens over the page, closes by Escape or a click beside it, and gives the focus back."""
    watched = watch(width=1000)
    page = watched.page
    button = page.locator("#drawer-button")
    sidebar = page.locator("#sidebar")
    expect(sidebar).to_be_hidden()
    before = boxes(page)
    button.click()
    expect(sidebar).to_be_visible()
    expect(page.locator("#filter")).to_be_focused()
    assert boxes(page) == before
    page.keyboard.press("Escape")
    expect(sidebar).to_be_hidden()
    expect(button).to_be_focused()
    button.click()
    page.mouse.click(900, 400)
    expect(sidebar).to_be_hidden()


def test_bad_news_moves_nothing(watch: Watch) -> None:
    """What is wrong is said over the page: the parts stay where they are."""
    watched = watch(width=1300)
    page = watched.page
    before = boxes(page)
    away = watched.served.database.with_suffix(".away")
    watched.served.database.rename(away)
    expect(page.locator("#banner")).to_be_visible()
    assert boxes(page) == before
    away.rename(watched.served.database)
    expect(page.locator("#banner")).to_be_hidden()
    watched.served.stop()
    expect(page.locator("#retry")).to_be_visible()
    assert boxes(page) == before


def test_on_paper_there_is_what_was_shown(watch: Watch) -> None:
    """Rows and changes are printed, whole; what can only be pressed is not."""
    watched = watch()
    page = watched.page
    watched.edit("UPDATE items SET value = 'printed';")
    watched.expect_changes("1 change")
    page.emulate_media(media="print")
    for part in ("#rows", "#news", "#feed .change", "h1"):
        expect(page.locator(part).first).to_be_visible()
    for part in ("#sidebar", "#connection", "#help", "#tabs", "footer"):
        expect(page.locator(f"body > {part}, .bar > {part}, #parts > {part}")).to_be_hidden()
    assert page.locator("#news").evaluate("part => getComputedStyle(part).overflow") == "visible"


def test_less_motion_is_none(watch: Watch) -> None:
    """Where the user asked for less motion, nothing moves by itself."""
    watched = watch()
    page = watched.page
    page.emulate_media(reduced_motion="reduce")
    watched.edit("UPDATE items SET value = 'still';")
    watched.expect_changes("1 change")
    assert page.evaluate("document.getAnimations().length") == 0


def test_both_themes_can_be_chosen(watch: Watch) -> None:
    """By default as the system has it; what is chosen is kept."""
    page = watch().page
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground)
    assert light != dark
    page.keyboard.press("?")
    page.get_by_role("button", name="Light").click()
    assert page.evaluate(ground) == light
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    assert page.evaluate(ground) == light
