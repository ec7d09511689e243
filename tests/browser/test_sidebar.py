"""The list of tables: their rows, what happens to them, which one is looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.watched import Watch, run_shell
from tests.conftest import MakeDatabase, StartServer

SHOP = (
    "CREATE TABLE orders(id INTEGER PRIMARY KEY, customer TEXT COLLATE NOCASE NOT NULL,"
    " total REAL DEFAULT 0.5);"
    "CREATE INDEX by_customer ON orders(customer);"
    "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 1500)"
    " INSERT INTO orders SELECT i, 'c' || i, i FROM n;"
    "CREATE TABLE orphans(x);"
)


def entry(page: Page, table: str) -> Locator:
    """What stands for a table in the list."""
    name = page.locator(".name").get_by_text(table, exact=True)
    return page.locator(".table-entry").filter(has=name)


def chosen(page: Page) -> Locator:
    """The name of the table that is looked at."""
    return page.locator('.table-button[aria-current="true"] .name')


def test_every_table_has_its_rows(watch: Watch) -> None:
    """Numbers of rows are there, written out, and follow the changes."""
    watched = watch(setup=SHOP, width=1300)
    page = watched.page
    expect(page.locator(".table-button .name")).to_have_text(["items", "orders", "orphans"])
    expect(page.locator(".table-button .count")).to_have_text(["1", "1,500", "0"])
    watched.edit("DELETE FROM orders WHERE id > 1000; INSERT INTO orphans VALUES (1), (2);")
    expect(page.locator(".table-button .count")).to_have_text(["1", "1,000", "2"])


def test_what_nobody_has_looked_at_is_marked(watch: Watch) -> None:
    """A change elsewhere leaves a mark and a trace; the mark outlives a reload, not a look."""
    watched = watch(setup=SHOP, width=1300)
    page = watched.page
    orders = entry(page, "orders")
    watched.edit(
        "UPDATE orders SET total = 1 WHERE id IN (2, 3, 4); UPDATE items SET value = 'seen';"
    )
    expect(orders.locator(".unseen.on")).to_have_attribute("title", "3 changes since you looked")
    expect(orders.locator(".trace path")).to_have_attribute("d", re.compile("^M"))
    expect(entry(page, "items").locator(".trace path")).to_have_attribute("d", re.compile("^M"))
    expect(entry(page, "items").locator(".unseen.on")).to_have_count(0)
    expect(entry(page, "orphans").locator(".trace path")).not_to_have_attribute(
        "d", re.compile("M")
    )

    page.reload()
    watched.expect_live()
    expect(orders.locator(".unseen.on")).to_have_count(1)
    orders.locator(".table-button").click()
    expect(chosen(page)).to_have_text("orders")
    expect(page.locator(".unseen.on")).to_have_count(0)


def test_the_filter_leads_to_a_table(watch: Watch) -> None:
    """A slash, some letters, arrows and Enter choose a table; Escape shows all again."""
    watched = watch(setup=SHOP, width=1300)
    page = watched.page
    shown = page.locator(".table-entry:not([hidden]) .name")
    page.keyboard.press("/")
    expect(page.locator("#filter")).to_be_focused()
    page.keyboard.type("OR")
    expect(shown).to_have_text(["orders", "orphans"])
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator('.table-button[value="orphans"]')).to_be_focused()
    page.keyboard.press("Enter")
    expect(chosen(page)).to_have_text("orphans")

    page.keyboard.press("/")
    page.locator("#filter").fill("<b>")
    expect(page.locator("#tables-note")).to_have_text("No table has <b> in its name.")
    page.keyboard.press("Escape")
    expect(page.locator("#filter")).to_have_value("")
    expect(shown).to_have_count(3)
    page.locator("#filter").fill("ord")
    page.keyboard.press("Enter")
    expect(chosen(page)).to_have_text("orders")


def test_the_address_keeps_the_table(watch: Watch) -> None:
    """Reload and "back" find the table again, and a renamed one is followed."""
    watched = watch(setup='CREATE TABLE "a&b #1"(x);' + SHOP, width=1300)
    page = watched.page
    expect(chosen(page)).to_have_text("items")
    for name in ("orders", "a&b #1"):
        entry(page, name).locator(".table-button").click()
        expect(chosen(page)).to_have_text(name)
    page.reload()
    expect(chosen(page)).to_have_text("a&b #1")
    page.go_back()
    expect(chosen(page)).to_have_text("orders")
    watched.expect_live()

    watched.edit("ALTER TABLE orders RENAME TO sales;")
    expect(chosen(page)).to_have_text("sales")
    page.reload()
    expect(chosen(page)).to_have_text("sales")
    watched.edit("DROP TABLE sales;")
    expect(page.locator("#rows")).to_contain_text("Table sales is gone")
    page.reload()
    expect(chosen(page)).to_have_text("items")


def test_the_schema_is_shown_and_followed(watch: Watch) -> None:
    """Columns, statement and indexes stand in a dialog, which follows what is altered."""
    watched = watch(setup=SHOP, width=1300)
    page = watched.page
    page.get_by_role("button", name="Schema of orders").click()
    dialog = page.get_by_role("dialog", name="orders")
    rows = dialog.locator("tbody tr")
    expect(rows).to_have_text(
        [re.compile("idINTEGERkey"), re.compile("customerTEXTyescollation NOCASE"), "totalREAL0.5"]
    )
    expect(dialog.locator(".code").first).to_contain_text("CREATE TABLE orders(")
    dialog.locator("summary").get_by_text("by_customer").click()
    expect(dialog.locator("details .code")).to_have_text(
        "CREATE INDEX by_customer ON orders(customer)"
    )

    watched.edit("ALTER TABLE orders ADD COLUMN note;")
    expect(rows).to_have_count(4)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name="Schema of orders")).to_be_focused()

    page.get_by_role("button", name="Schema of orphans").click()
    watched.edit("DROP TABLE orphans;")
    expect(page.get_by_role("alert")).to_contain_text("orphans")


def test_hostile_names_are_texts(watch: Watch) -> None:
    """Markup in the name of a table stays a name, in the list and in its schema."""
    name = '<img src=x onerror="alert(1)">' + "\u202e" + "n" * 300
    quoted = name.replace('"', '""')
    watched = watch(setup=f'CREATE TABLE "{quoted}"("<script>alert(2)</script>");', width=1300)
    page = watched.page
    expect(page.locator(".table-button .name").last).to_contain_text("<img src=x")
    page.locator(".schema-button").last.click()
    expect(page.get_by_role("dialog").locator("tbody th")).to_have_text("<script>alert(2)</script>")
    expect(page.locator("#tables img, dialog img, dialog script")).to_have_count(0)


def test_an_empty_database_says_so(watch: Watch) -> None:
    """Without tables there is a sentence, which goes when the first one comes."""
    watched = watch(setup="DROP TABLE items;", width=1300)
    note = watched.page.locator("#tables-note")
    expect(note).to_have_text("The database has no tables yet.")
    watched.edit("CREATE TABLE first(x);")
    expect(note).to_be_hidden()
    expect(chosen(watched.page)).to_have_text("first")


def test_away_it_keeps_what_it_knew(watch: Watch) -> None:
    """While the service is away the list stays, dimmed, and the filter works."""
    watched = watch(setup=SHOP, width=1300)
    page = watched.page
    expect(entry(page, "orders").locator(".count")).to_have_text("1,500")
    watched.served.stop()
    expect(page.locator('#sidebar[data-stale="true"]')).to_have_count(1)
    expect(entry(page, "orders").locator(".count")).to_have_text("1,500")
    watched.edit("INSERT INTO orders VALUES (2000, 'late', 1);")
    watched.served.restart()
    expect(page.locator('#sidebar[data-stale="false"]')).to_have_count(1)
    expect(entry(page, "orders").locator(".count")).to_have_text("1,501")
    # Chromium's own remark, where the page asked just before the service was away.
    watched.forgive("net::ERR_")


def test_the_traces_are_bounded_and_fair(watch: Watch) -> None:
    """Buckets go with the time, what is too old is left out, and few are seen beside many."""
    outcome = watch().page.evaluate(
        """async () => {
          const { Activity, strokes } = await import("./static/model/activity.js");
          const activity = new Activity(4, 5);
          activity.add("t", 100, 1);
          activity.add("t", 104.9, 2);
          activity.add("t", 80, 9);
          activity.add("t", 112, 4);
          const heights = strokes([10000, 0, 1], 14).match(/v-[\\d.]+/g);
          const places = [["t", 112], ["t", 500], ["u", 112]];
          return [...places.map((place) => activity.series(...place)), heights];
        }"""
    )
    assert outcome == [[0, 3, 0, 4], [0] * 4, [0] * 4, ["v-14.0", "v-2.0"]]


@pytest.fixture
def several(
    serve: StartServer, database: MakeDatabase, browser: Browser
) -> Iterator[tuple[Page, Path, str]]:
    """A tab, the file of `other db.db`, and the address of a service of two databases."""
    first, second = database("one.db", mode="wal"), database("other db.db", mode="wal")
    served = serve(None, "--", str(first), str(second))
    context = browser.new_context()
    yield context.new_page(), second, served.url
    context.close()


def test_several_databases_know_of_each_other(
    several: tuple[Page, Path, str], sqlite3_shell: Path
) -> None:
    """The list leads from one to the other and marks where something happened meanwhile."""
    page, second, url = several
    page.goto(f"{url}/")
    links = page.locator("#database-list .database-link")
    expect(links.locator(".name")).to_have_text(["one.db", "other db.db"])
    expect(links.locator(".condition")).to_have_text(["Live", "Live"])
    links.last.click()
    expect(page).to_have_url(f"{url}/db/other%20db.db/")
    expect(page.locator("#connection")).to_have_text("Live")
    expect(page.locator("#position")).to_have_text(re.compile(":"))
    expect(links.last).to_have_attribute("aria-current", "page")
    links.first.click()
    expect(page.locator("#database")).to_have_text("one.db")
    expect(links.locator(".condition")).to_have_text(["Live", "Live"])
    expect(links.locator(".unseen.on")).to_have_count(0)

    run_shell(sqlite3_shell, second, "UPDATE items SET value = 'elsewhere';")
    expect(links.last.locator(".unseen.on")).to_have_count(1)
    page.get_by_role("link", name="Databases").click()
    expect(links.last.locator(".unseen.on")).to_have_count(1)
    links.last.click()
    expect(page.locator("#position")).to_have_text(re.compile(":"))
    expect(links.last).to_have_attribute("aria-current", "page")
    expect(links.locator(".unseen.on")).to_have_count(0)
