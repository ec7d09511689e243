"""The arithmetic behind the grid, imported by a real Chromium: places, held rows, comparison."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route

from tests.served import ROOT


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page beside the modules; it needs no server."""
    page = browser.new_page()

    def answer(route: Route) -> None:
        path = ROOT / urlsplit(route.request.url).path.lstrip("/")
        if path.is_file():
            route.fulfill(path=path)
        else:
            route.fulfill(body="<!doctype html>", content_type="text/html")

    page.route("http://own.test/**", answer)
    page.goto("http://own.test/")
    yield page
    page.close()


def run(page: Page, module: str, body: str) -> Any:
    """Runs statements with what a module exports as `m`."""
    return page.evaluate(f"import('./static/model/{module}.js').then(m => {{ {body} }})")


def test_a_scaled_scrollbar_is_exact_in_small_steps(page: Page) -> None:
    """28 million pixels in an element of 4: steps are pixels, jumps are shares."""
    found = run(
        page,
        "scroll",
        """
        const scroll = new m.Scroll(28);
        scroll.resize(1_000_000, 600);
        const told = [scroll.extent];
        scroll.moved((scroll.extent - 600) / 2);
        told.push(scroll.range[0]);
        const top = scroll.top;
        scroll.moved((scroll.extent - 600) / 2 + 100);
        told.push(scroll.top - top);
        const rest = scroll.place;
        scroll.settled(rest);
        told.push(Math.round(scroll.shift - (rest - scroll.top)), scroll.top - top);
        scroll.moved(scroll.extent - 600);
        told.push(scroll.range[1], scroll.moved(scroll.extent - 700), Math.round(scroll.top));
        scroll.to(50); scroll.settled(scroll.place);
        told.push(scroll.moved(0), scroll.top > 0);
        scroll.include(0); told.push(scroll.top);
        scroll.include(999_999); told.push(scroll.range[1]);
        return told;
        """,
    )
    end = 28_000_000 - 600
    assert found == [
        4_000_000,
        499_989,
        100,
        0,
        100,
        1_000_000,
        False,
        end - 100,
        True,
        True,
        0,
        1_000_000,
    ]


def test_a_short_table_scrolls_as_any_element(page: Page) -> None:
    """Nothing is scaled or shifted, and fewer rows than fit leave no room to scroll."""
    found = run(
        page,
        "scroll",
        """
        const scroll = new m.Scroll(28);
        scroll.resize(100, 600);
        scroll.moved(1300);
        const told = [scroll.extent, scroll.top, scroll.shift, scroll.range];
        scroll.resize(3, 600);
        return [...told, scroll.top, scroll.range];
        """,
    )
    assert found == [2800, 1300, 0, [46, 68], 0, [0, 3]]


def test_gone_rows_have_slots_between_the_others(page: Page) -> None:
    """Numbers and slots translate into each other."""
    found = run(
        page,
        "scroll",
        """
        const slots = new m.Slots();
        slots.total = 3;
        slots.gone = [[0, "a"], [2, "b"], [2, "c"], [3, "d"]].map(([at, name]) => ({ at, name }));
        const each = Array.from({ length: slots.count }, (_, slot) => {
          const { gone, index } = slots.at(slot);
          return gone ? gone.name : index;
        });
        return [each, [0, 1, 2].map(index => slots.slotOf(index))];
        """,
    )
    assert found == [["a", 0, 1, "b", "c", 2, "d"], [1, 2, 5]]


LIVE = """
  const row = (id, v) => ({ key: { id }, row: { id, v } });
  const change = (op, id, v, was) => ({ op, table: "t", key: { id }, changed: ["v"],
    before: op === "insert" ? null : { id, v: was }, after: op === "delete" ? null : { id, v } });
  const view = { order: null, filtered: false };
  const live = new m.LiveRows();
  live.apply({ offset: 0, rows: [row(1, "a"), row(2, "b"), row(3, "c")], total: 10 }, 1000);
"""


def test_updates_are_taken_in_and_others_ask_for_a_refetch(page: Page) -> None:
    """An update of a row in place needs no server; what moves rows does; the rest is counted."""
    found = run(
        page,
        "live_rows",
        LIVE
        + """
        const told = [
          live.take([change("update", 2, "B", "b")], "t1", view, 2000),
          live.take([change("update", 2, "BB", "B")], "t1", view, 2001),
          live.take([change("update", 9, "x", "y")], "t1", view, 2002),
          live.take([change("update", 1, "x", "a")], "t1", { ...view, order: "v" }, 2003),
          live.take([change("update", 9, "x", "a")], "t1", { ...view, filtered: true }, 2003),
          live.take([change("delete", 3, null, "c")], "t2", view, 2004),
        ];
        const held = live.get(1);
        return [told, held.row.v, held.was.get("v"), live.folded, live.get(2).left];
        """,
    )
    told = [False, False, False, True, True, True]
    assert found == [told, "BB", {"value": "B", "time": "t1", "at": 2001}, 3, 2004]


def test_a_refetch_keeps_what_is_known(page: Page) -> None:
    """New rows are new, old values stay, deleted rows stand where they were until they expire."""
    found = run(
        page,
        "live_rows",
        LIVE
        + """
        live.take([change("update", 1, "A", "a"), change("delete", 2, null, "b"),
          change("insert", 0, "z")], "t1", view, 2000);
        live.apply({ offset: 0, rows: [row(0, "z"), row(1, "A"), row(3, "c")], total: 10 }, 2100);
        const gone = live.slots.gone.map(({ id, at }) => [id, at]);
        const early = live.expire(2200);
        return [live.get(0).born, live.get(1).was.get("v").value, gone, early,
          live.expire(2000 + m.LEAVING + 1), live.slots.gone.length, live.placeOf('{"id":3}')];
        """,
    )
    assert found == [2000, "a", [['{"id":2}', 2]], False, True, 0, 2]


def test_a_late_answer_undoes_nothing(page: Page) -> None:
    """What the stream said while an answer was on its way is laid over it; too much is noticed."""
    found = run(
        page,
        "live_rows",
        LIVE
        + """
        live.expect();
        live.take([change("update", 7, "new", "old")], "t1", view, 2000);
        live.put(6, [row(7, "old")], 2001);
        const value = live.get(6).row.v;
        const missed = [live.arrived()];
        live.expect();
        const many = Array.from({ length: 6000 }, (_, at) => change("update", at + 100, "x", "y"));
        live.take(many, "t", view, 2002);
        missed.push(live.arrived());
        live.prune(0, 2);
        return [value, missed, live.size, live.missing(0, 5), live.missing(0, 2)];
        """,
    )
    assert found == ["new", [False, True], 2, [2, 5], None]


def test_two_states_are_compared(page: Page) -> None:
    """Changed cells, new rows and rows that are gone, but not what lies beyond what both have."""
    found = run(
        page,
        "comparison",
        """
        const held = (id, v) => ({ id, row: { id, v }, was: new Map(), born: 0, left: 0 });
        const tell = whole => {
          const old = [held(1, "a"), held(2, "b"), held(4, "d"), held(5, "e")];
          const fresh = [held(2, "b"), held(3, "c"), held(4, "D"), held(6, "f")];
          m.compare(old, fresh, whole, "then", 9);
          return [fresh.filter(row => row.born).map(row => row.id),
            old.filter(row => row.left).map(row => row.id), fresh[2].was.get("v")];
        };
        return [tell({ head: false, tail: false }), tell({ head: true, tail: true })];
        """,
    )
    was = {"value": "d", "time": "then", "at": 9}
    assert found == [[[3], [], was], [[3, 6], [1, 5], was]]


def test_json_is_laid_out_without_changing_it(page: Page) -> None:
    """Digits, escapes and empty containers stay; what is no JSON is left alone."""
    text = r'{"a":[],"b":{"c":1.0,"d":"x\",{"},"e":12345678901234567890}'
    laid = run(
        page, "json", f"return [{json.dumps(text)}, '[1,', '1'].map(text => m.pretty(text));"
    )
    lines = [
        "{",
        '  "a": [],',
        '  "b": {',
        '    "c": 1.0,',
        r'    "d": "x\",{"',
        "  },",
        '  "e": 12345678901234567890',
        "}",
    ]
    assert laid == ["\n".join(lines), None, None]
