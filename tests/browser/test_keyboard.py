"""The page without a mouse, and without eyes."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.watched import Watch


def test_the_keys_are_told(watch: Watch) -> None:
    """A question mark shows them all; Escape closes it, and the focus is where it was."""
    page = watch(width=1300).page
    page.locator("#connection").focus()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard")
    expect(dialog).to_be_visible()
    expect(dialog).to_contain_text("Filter the tables")
    page.keyboard.press("/")
    expect(page.locator("#filter")).not_to_be_focused()
    page.keyboard.press("?")
    expect(page.locator("dialog")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.locator("#connection")).to_be_focused()


def test_every_part_has_its_keys(watch: Watch) -> None:
    """`g` and a letter, or Alt and a number, go to a part, also where it was not in sight."""
    page = watch(width=360).page
    ways = {"#rows": ("r", "Alt+2"), "#news": ("c", "Alt+3"), "#filter": ("t", "Alt+1")}
    for part, (letter, _) in ways.items():
        page.locator("#connection").focus()
        page.keyboard.press("g")
        page.keyboard.press(letter)
        expect(page.locator(part)).to_be_focused()
        expect(page.locator(part)).to_be_visible()
    for part, (_, chord) in ways.items():
        page.locator("#connection").focus()
        page.keyboard.press(chord)
        expect(page.locator(part)).to_be_focused()


def test_what_is_typed_stays_what_it_is(watch: Watch) -> None:
    """In a field the same keys are letters; alone they mean nothing else."""
    page = watch(width=1300).page
    page.keyboard.press("/")
    page.keyboard.type("?/gr g r")
    expect(page.locator("#filter")).to_have_value("?/gr g r")
    expect(page.locator("#filter")).to_be_focused()
    expect(page.locator("dialog")).to_have_count(0)


def test_the_first_stop_skips_to_the_rows(watch: Watch) -> None:
    """Tab leads first to a link past everything, which does not touch the address."""
    page = watch(width=1300).page
    before = page.url
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the rows")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#rows")).to_be_focused()
    assert page.url == before


def test_the_parts_are_landmarks(watch: Watch) -> None:
    """Each part can be found by what it is, and there is one place that speaks."""
    page = watch(width=1300).page
    for role, name in (("navigation", "Tables"), ("region", "Changes"), ("main", None)):
        found = page.get_by_role(role, name=name) if name else page.get_by_role(role)  # type: ignore[arg-type]  # of a literal type
        expect(found).to_have_count(1)
    expect(page.get_by_role("banner")).to_have_count(1)
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("shop.db"))
    speaking = page.locator('#announcements[role="status"]')
    expect(speaking).to_have_count(1)
    expect(page.locator('[aria-live="assertive"]')).to_have_count(0)


def test_the_live_region_does_not_shout(watch: Watch) -> None:
    """A hundred sentences at once become a few, the newest among them, one after the other."""
    outcome = watch().page.evaluate(
        """async () => {
          const { announce } = await import("./static/view/announce.js");
          const region = document.getElementById("announcements");
          const said = [];
          const last = new Promise((done) => {
            new MutationObserver(() => {
              said.push([region.textContent, performance.now()]);
              if (region.textContent === "sentence 99") done();
            }).observe(region, { childList: true });
          });
          for (let n = 0; n < 100; n += 1) announce(`sentence ${n}`);
          await last;
          const pauses = said.slice(1).map(([, at], n) => at - said[n][1]);
          return { number: said.length, shortest: Math.min(...pauses) };
        }"""
    )
    assert 2 <= outcome["number"] <= 5
    assert outcome["shortest"] >= 1_000
