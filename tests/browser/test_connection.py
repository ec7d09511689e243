"""What an open page does when the server or the database goes away, and when it comes back."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import expect

from tests.browser.watched import Watch, Watched, run_shell
from tests.served import reader_of

TOKEN = "correct-horse-battery"

# Runs client.js by itself: what it says of its connection until it is closed for good.
CLIENT = """since => new Promise(async done => {
  const { connect } = await import("./static/client.js");
  const states = [];
  connect({ since, onConnection: state => {
    states.push(state);
    if (state.state === "closed") done(states);
  }});
})"""

# The same until it is live, with the reasons of resets.
RESETS = """since => new Promise(async done => {
  const { connect } = await import("./static/client.js");
  const resets = [];
  const connection = connect({
    since,
    onReset: message => resets.push(message.reason),
    onReady: message => { connection.close(); done(resets); },
  });
})"""


def test_a_restart_loses_nothing(watch: Watch) -> None:
    """The page comes back by itself and shows the edits made before, meanwhile and after, once."""
    watched = watch()
    page = watched.page
    watched.edit("UPDATE items SET value = 'before';")
    watched.expect_changes("1 change")

    watched.served.stop()
    expect(page.locator("#connection")).to_have_text(re.compile(r"Retrying in \d+ s"))
    expect(page.get_by_role("button", name="Try now")).to_be_visible()
    watched.edit("UPDATE items SET value = 'meanwhile';")
    watched.served.restart()

    watched.expect_changes("2 changes")
    watched.expect_live()
    watched.edit("UPDATE items SET value = 'after';")
    watched.expect_changes("3 changes")
    expect(page.locator("ins .value")).to_have_text(["after", "meanwhile", "before"])
    expect(page.locator("del .value")).to_have_text(["meanwhile", "before", "123"])
    expect(page.locator(".notice")).to_have_count(0)


def test_schema_changes_are_explained_after_a_restart(watch: Watch) -> None:
    """What happened to a table meanwhile is told as it was, not as the table is now."""
    watched = watch(setup="CREATE TABLE notes(id INTEGER PRIMARY KEY, body, mark);")
    watched.served.stop()
    watched.edit("ALTER TABLE notes DROP COLUMN mark;")
    watched.served.restart()
    expect(watched.newest.locator(".schema")).to_contain_text("Column mark was dropped.")


def test_a_silent_connection_is_replaced(watch: Watch) -> None:
    """A socket that says nothing for over 40 s is given up; the next one resumes."""
    watched = watch(clock=True)
    watched.edit("UPDATE items SET value = 'before';")
    watched.expect_changes("1 change")
    position = watched.position()
    assert len(watched.sockets) == 1

    watched.page.clock.fast_forward(50_000)

    expect(watched.page.locator("#connection")).to_have_text("Live")
    watched.edit("UPDATE items SET value = 'after';")
    watched.expect_changes("2 changes")
    assert len(watched.sockets) == 2
    assert parse_qs(urlsplit(watched.sockets[1]).query) == {"since": [position]}


def test_a_refusal_is_final(watch: Watch) -> None:
    """After a close code of 4500 and above the client says why and does not come back."""
    watched = watch()
    states = watched.page.evaluate(CLIENT, "nonsense")
    assert [state["state"] for state in states] == ["connecting", "closed"]
    assert states[-1]["code"] == 4502
    assert "nonsense" in states[-1]["reason"]
    assert states[-1]["signIn"] is False


def test_an_unknown_position_is_a_reset(watch: Watch) -> None:
    """A client with a position of another history is told so before it is live."""
    watched = watch()
    assert watched.page.evaluate(RESETS, "0000:5~0000") == ["unknown_epoch"]


def test_a_lost_history_is_told(watch: Watch) -> None:
    """Where the server comes back without its state, the page says that something is missing."""
    watched = watch()
    watched.edit("UPDATE items SET value = 'before';")
    watched.expect_changes("1 change")

    watched.served.stop()
    shutil.rmtree(watched.served.state)
    watched.served.restart()

    notice = watched.page.locator(".notice")
    expect(notice).to_contain_text("The watcher has begun a new history.")
    watched.edit("UPDATE items SET value = 'after';")
    watched.expect_changes("2 changes")


def test_a_database_of_another_kind_in_its_place_is_told(watch: Watch, tmp_path: Path) -> None:
    """Text in another encoding cannot be compared: the page goes on with the tables of now."""
    watched = watch()
    # What the page asks of the tables of before, in the moment of the change.
    watched.refusals |= {404}
    other = tmp_path / "other.db"
    years = 'CREATE TABLE years("2", "1"); INSERT INTO years VALUES (0, 0);'
    run_shell(watched.shell, other, f"PRAGMA encoding='UTF-16le'; {years}")
    other.replace(watched.served.database)

    notice = watched.page.locator(".notice")
    expect(notice).to_contain_text("was replaced by a file that cannot be compared")
    watched.edit('UPDATE years SET "1" = 1, "2" = 2;')
    # In the order of the table, which a page that had missed it could not know.
    expect(watched.newest.locator("dt")).to_have_text(["2", "1"])


def test_a_missing_database_is_told(watch: Watch) -> None:
    """While the file is away the page says so; it is live again when the file is back."""
    watched = watch()
    database = watched.served.database
    away = database.with_suffix(".away")

    database.rename(away)
    banner = watched.page.locator("#banner")
    expect(banner).to_contain_text("The database file is missing.")
    expect(watched.page.locator("#connection")).to_have_text("Missing")

    away.rename(database)
    expect(banner).to_be_hidden()
    watched.expect_live()
    expect(watched.page.locator("#feed > li")).to_have_count(0)


def _advance_until_told(watched: Watched, reader: int) -> None:
    """Lets the reader go on for moments, until the page shows how far it is."""
    told = re.compile(r"First copy \d+ %")
    # It must be connected again before the copy is done.
    expect(watched.page.locator("#connection")).to_have_text(re.compile("Starting|First copy"))
    for _ in range(100):
        with suppress(AssertionError):
            expect(watched.page.locator("#connection")).to_have_text(told, timeout=200)
            return
        os.kill(reader, signal.SIGCONT)
        time.sleep(0.03)
        os.kill(reader, signal.SIGSTOP)
    raise AssertionError("no progress was shown")


def test_how_far_the_first_copy_is_is_told(watch: Watch) -> None:
    """The page says what part is done, and that it is live when all of it is."""
    # 300 MB take a while.
    rows = "WITH RECURSIVE n(i) AS (VALUES(2) UNION ALL SELECT i+1 FROM n WHERE i<3000) "
    watched = watch(setup=f"{rows} INSERT INTO items SELECT i, 'n', zeroblob(100000) FROM n;")
    watched.refusals |= {503}  # there are no rows to be had meanwhile
    served = watched.served
    # Rows are asked for before they can be had.
    watched.refusals.add(503)
    served.stop()
    shutil.rmtree(served.state)
    served.restart()
    reader = reader_of(served.process)
    os.kill(reader, signal.SIGSTOP)
    try:
        _advance_until_told(watched, reader)
        banner = watched.page.locator("#banner")
        expect(banner).to_contain_text("The database is being read for the first time.")
    finally:
        os.kill(reader, signal.SIGCONT)
    watched.expect_live()
    expect(banner).to_be_hidden()
    (served.state / "shadow.db").unlink()


def test_the_page_leads_to_the_sign_in(watch: Watch) -> None:
    """With a token the page asks for it, works, and leads back there when the cookie is gone."""
    watched = watch("--token", TOKEN, live=False)
    page = watched.page
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Open").click()
    watched.expect_live()

    page.context.clear_cookies()
    watched.served.restart()
    link = page.get_by_role("link", name="Sign in")
    expect(link).to_be_visible()
    expect(page.locator("#connection")).to_have_text("Closed")
    link.click()
    expect(page.get_by_label("Token")).to_be_visible()

    # Chromium's own remark on each answer that asked for the token.
    assert watched.complaints
    while watched.complaints:
        assert "401 (Unauthorized)" in watched.complaints.pop()


def test_the_panel_tells_all_of_the_connection(watch: Watch) -> None:
    """State, position, latency and clients stand behind the pill; Escape closes it."""
    watched = watch()
    page = watched.page
    pill = page.locator("#connection")
    expect(page.locator("#latency-line")).to_be_hidden()
    # Without the server's clock nothing can be measured.
    pill.click()
    expect(page.locator("#panel-clients")).to_have_text("1 client at the service")
    page.keyboard.press("Escape")
    watched.edit("UPDATE items SET value = 'measured';")
    expect(page.locator("#latency")).to_have_text(re.compile(r"^[\d.]+ m?s · last [\d.]+ m?s$"))
    pill.click()
    panel = page.get_by_role("dialog", name="Connection")
    expect(pill).to_have_attribute("aria-expanded", "true")
    expect(panel).to_contain_text("Live: what is shown is the present.")
    expect(panel.locator("#panel-database")).to_have_text("all is well")
    expect(panel.locator("#panel-latency")).to_have_text(re.compile(r"^[\d.]+ m?s$"))
    expect(panel.locator("#panel-clients")).to_have_text("1 client at the service")
    expect(panel.locator("#panel-position")).to_have_text(watched.position())
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(pill).to_have_attribute("aria-expanded", "false")


def test_what_a_break_has_cost_is_told(watch: Watch) -> None:
    """After a break the page says how many changes it has caught up, and after how long."""
    watched = watch()
    page = watched.page
    watched.served.stop()
    expect(page.locator("#connection")).to_have_text(re.compile("Retrying"))
    watched.edit("INSERT INTO items VALUES (2, 'a', 1), (3, 'b', 2);")
    watched.served.restart()
    watched.expect_live()
    expect(page.locator("#event-line")).to_have_text(
        re.compile(r"^2 changes caught up after [\d.]+ m?s offline\.$")
    )
    watched.served.restart()
    expect(page.locator("#event-line")).to_have_text(re.compile("^Nothing was missed in"))
    page.locator("#connection").click()
    expect(page.locator("#panel-events li")).to_have_count(2)


def test_a_reset_is_explained(watch: Watch) -> None:
    """Why the stream began anew stands in the panel, in words."""
    watched = watch()
    watched.edit("UPDATE items SET value = 'before';")
    watched.expect_changes("1 change")
    watched.served.stop()
    shutil.rmtree(watched.served.state)
    watched.served.restart()
    watched.page.locator("#connection").click()
    events = watched.page.locator("#panel-events")
    expect(events).to_contain_text("The watcher has begun a new history.")


def test_clocks_that_differ_are_set_right(watch: Watch) -> None:
    """The way of a change is measured by the server's clock, whatever this machine's says."""
    outcome = watch().page.evaluate(
        """async () => {
          const { Clock } = await import("./static/model/clock.js");
          const at = (ms) => new Date(ms).toISOString();
          const clock = new Clock();
          const before = [clock.known, clock.server(1000)];
          clock.learn(at(10_005), 10_000, 10_020);
          const same = clock.server(50);
          clock.learn(at(3_610_010), 10_000, 10_020);
          const ahead = clock.server(0);
          clock.learn(at(99_999), 10_000, 10_900);
          clock.learn("nonsense", 10_000, 10_001);
          return [...before, same, ahead, clock.server(0), clock.known];
        }"""
    )
    assert outcome == [False, 1000, 50, 3_600_000, 3_600_000, True]
