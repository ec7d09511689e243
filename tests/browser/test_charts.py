"""The charts above the feed: what they count, draw and read out."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.watched import Watch

# The rings of model/rates.js: sums, what is too old, and how many tables are told apart.
RATES = """async () => {
    const { Rates, SPAN } = await import("./static/model/rates.js");
    const rates = new Rates();
    const change = (op, table = "t") => ({ op, table });
    rates.add(10_000, [change("insert"), change("update"), change("update")]);
    rates.add(10_001, [change("delete", "u")]);
    rates.add(9_999, [change("schema")]);
    rates.add(10_001 - SPAN, [change("insert")]);
    const sums = () => rates.bars(10_004, 60, 5).map(({ total }) => total).filter(Boolean);
    const first = sums();
    const bars = rates.bars(10_001, 3, 1).map(({ from, counts }) => [from, ...counts]);
    const busiest = rates.busiest(10_001, 60, 1);
    for (let n = 0; n < 1_000; n += 1) rates.add(10_002, [change("insert", `x${n}`)]);
    const tables = rates.busiest(10_002, 60, 9_999).length;
    rates.add(10_000 + SPAN, [change("insert", "late")]);
    return { first, bars, busiest, tables, late: rates.busiest(10_000 + SPAN, SPAN, 9_999).length,
      all: rates.bars(10_000 + SPAN, SPAN, 1).reduce((sum, { total }) => sum + total, 0) };
}"""

# The colours of the drawing, as "r,g,b" with how many pixels have them.
COLOURS = """() => {
    const canvas = document.querySelector(".bars");
    const copy = new OffscreenCanvas(canvas.width, canvas.height);
    const read = copy.getContext("2d", { willReadFrequently: true });
    read.drawImage(canvas, 0, 0);
    const { data } = read.getImageData(0, 0, canvas.width, canvas.height);
    const found = {};
    for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] < 255) continue;
        const colour = `${data[at]},${data[at + 1]},${data[at + 2]}`;
        found[colour] = (found[colour] ?? 0) + 1;
    }
    return found;
}"""
INSERT_LIGHT, UPDATE_LIGHT, DELETE_LIGHT = "23,113,63", "138,83,0", "176,37,27"
INSERT_DARK = "111,211,152"


def test_rates_are_exact_and_bounded(watch: Watch) -> None:
    """Each change is in its second; what is older than is kept is left out, whoever it is of."""
    found = watch().page.evaluate(RATES)
    assert found["first"] == [1, 4]
    assert found["bars"] == [[9_999, 0, 0, 0, 1], [10_000, 1, 2, 0, 0], [10_001, 0, 0, 1, 0]]
    assert found["busiest"] == [{"table": "t", "total": 4}]
    assert found["tables"] == 100
    assert found["late"] == 100
    assert found["all"] == 1_000 + 1 + 1


def test_changes_are_drawn_counted_and_read_out(watch: Watch) -> None:
    """Bars, labels with figures, the busiest tables, and a bar in words by the arrow keys."""
    watched = watch(setup="CREATE TABLE log(line);")
    page = watched.page
    expect(page.locator(".chart-empty")).to_have_text("No change in the last 5 minutes")
    watched.edit(
        "BEGIN; INSERT INTO log SELECT 'x' FROM json_each('[" + "1," * 2_999 + "1]');"
        "UPDATE items SET value = 1; COMMIT;"
    )
    watched.expect_changes("3,001 changes")
    watched.edit("DELETE FROM log WHERE rowid <= 500;")
    watched.expect_changes("3,501 changes")

    expect(page.locator(".legend-count")).to_have_text(["3,000", "1", "500", "0"])
    expect(page.locator(".busy-name")).to_have_text(["log", "items"])
    expect(page.locator(".busy-count")).to_have_text(["3,500", "1"])
    expect(page.locator(".chart-empty")).to_be_empty()
    colours = page.evaluate(COLOURS)
    assert INSERT_LIGHT in colours
    assert DELETE_LIGHT in colours

    chart = page.get_by_role("slider", name="Changes per second")
    chart.focus()
    page.keyboard.press("End")
    for _ in range(60):
        if "3,000 inserts" in (chart.get_attribute("aria-valuetext") or ""):
            break
        before = page.locator(".readout").inner_text()
        page.keyboard.press("ArrowLeft")
        expect(page.locator(".readout")).not_to_have_text(before)
    expect(page.locator(".readout")).to_contain_text("3,000 inserts, 1 update")
    page.locator(".busy-name").first.click()
    expect(page.locator("#grid-name")).to_contain_text("log")
    expect(page.locator(".charts table tbody tr").first).to_be_attached()


def test_the_theme_and_the_stretch_can_change(watch: Watch) -> None:
    """It is drawn anew in the colours of the other theme, and over another time."""
    watched = watch()
    page = watched.page
    watched.edit("INSERT INTO items(name) VALUES('a');")
    expect(page.locator(".legend-count").first).to_have_text("1")
    assert INSERT_LIGHT in page.evaluate(COLOURS)

    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"() => '{INSERT_DARK}' in ({COLOURS})()")
    assert INSERT_LIGHT not in page.evaluate(COLOURS)
    page.get_by_role("button", name="15 min").click()
    expect(page.get_by_role("button", name="15 min")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".charts caption")).to_have_text("Changes in each 15 seconds")


def test_what_is_over_moves_out_of_sight(watch: Watch) -> None:
    """After the minutes that are looked at, nothing is left of a change."""
    watched = watch(clock=True)
    page = watched.page
    watched.edit("UPDATE items SET value = 'x';")
    watched.expect_changes("1 change")
    page.clock.run_for(2_000)
    expect(page.locator(".legend-count").nth(1)).to_have_text("1")
    # The time it goes by is that of the server, which does not take part in the leap.
    page.route("**/health", lambda route: route.fulfill(json={"state": "ok"}))
    page.clock.fast_forward(301_000)
    page.clock.run_for(2_000)
    expect(page.locator(".chart-empty")).to_have_text("No change in the last 5 minutes")


def test_a_storm_is_drawn_once_a_second(watch: Watch) -> None:
    """However much comes: the drawing is made anew about once a second, and counts all of it."""
    watched = watch()
    page = watched.page
    page.evaluate(
        """() => {
            const write = CanvasRenderingContext2D.prototype.fillText;
            window.drawn = 0;
            window.begun = performance.now();
            CanvasRenderingContext2D.prototype.fillText = function (...words) {
                if (words[0] === "now") window.drawn += 1;
                write.apply(this, words);
            };
        }"""
    )
    watched.edit("".join(f"INSERT INTO items(name) VALUES({n});" for n in range(1_500)))
    watched.expect_changes("1,500 changes")
    expect(page.locator(".legend-count").first).to_have_text("1,500")
    drawn, seconds = page.evaluate("[drawn, (performance.now() - begun) / 1000]")
    assert 1 <= drawn <= seconds * 2 + 3


def test_patterns_tell_operations_apart_without_colour(watch: Watch) -> None:
    """The share of a swatch that is painted differs by operation: it is no matter of hue."""
    page = watch().page
    shares = painted_shares(page)
    assert shares["insert"] > 0.95
    assert all(0.2 < shares[op] < 0.8 for op in ("update", "delete")), shares


def painted_shares(page: Page) -> dict[str, float]:
    """How much of the swatch of each operation is in its colour."""
    return dict(
        page.evaluate(
            """() => [...document.querySelectorAll(".legend li")].map(item => {
                const swatch = item.querySelector("canvas");
                const own = getComputedStyle(swatch).color.match(/\\d+/g).map(Number);
                const { data } = swatch.getContext("2d")
                    .getImageData(0, 0, swatch.width, swatch.height);
                let same = 0;
                for (let at = 0; at < data.length; at += 4) {
                    same += own.every((part, index) => Math.abs(data[at + index] - part) < 64);
                }
                return [item.dataset.op, same / (data.length / 4)];
            })"""
        )
    )
