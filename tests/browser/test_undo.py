"""The SQL the page makes of changes: run by the `sqlite3` shell it repeats them, or undoes them."""

from __future__ import annotations

import json
import math
import random
import re
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Locator, Page, expect

from tests.browser.watched import Watch, Watched, run_shell
from tests.conftest import Write
from watcher import wire

KINDS = """
CREATE TABLE marks(n INTEGER PRIMARY KEY);
CREATE TABLE plain(id INTEGER PRIMARY KEY, a TEXT, b, c REAL, d INT, e NUMERIC, f BLOB);
CREATE TABLE "we""ird 't"(x TEXT COLLATE NOCASE PRIMARY KEY, "col ""q" TEXT, "a]b" INT);
CREATE TABLE shadowed(rowid TEXT, v);
CREATE TABLE pair(a INT, b TEXT, v, PRIMARY KEY(b, a)) WITHOUT ROWID;
CREATE TABLE uniq(id INTEGER PRIMARY KEY, u UNIQUE, w, z TEXT);
CREATE UNIQUE INDEX by_two ON uniq(w, z COLLATE NOCASE);
CREATE TABLE made(id INTEGER PRIMARY KEY, a INT, s AS (a * 2) STORED, t TEXT AS (a || 'x'));
CREATE TABLE strict_one(id INTEGER PRIMARY KEY, v ANY, n INT) STRICT;
CREATE TABLE parent(id INTEGER PRIMARY KEY, n);
CREATE TABLE child(id INTEGER PRIMARY KEY, p REFERENCES parent(id) ON DELETE RESTRICT);
"""

TEXTS = (
    "",
    "it's",
    'a "b"',
    "line\r\nline\n\ttab",
    "nul\0in\0it",
    "Ünï €",
    "\ufeffmark",
    "-- no comment; /*",
    "x" * 3_000,
)
REALS = (0.1, -0.0, 1.0, 1e16, 1e300, 5e-324, -2.5e-310, 0.1 + 0.2, math.inf, -math.inf, math.pi)
INTEGERS = (0, 1, -1, 2**53, 2**63 - 1, -(2**63), 10**15)


class Invalid(bytes):
    """Bytes stored as TEXT although they are not UTF-8."""


def literal(value: object) -> str:
    """A value as the writer of the tests says it, in another way than the page does."""
    match value:
        case None:
            return "NULL"
        case Invalid():
            return f"CAST(x'{value.hex()}' AS TEXT)"
        case bytes():
            return f"x'{value.hex()}'"
        case str():
            return f"CAST(x'{value.encode().hex()}' AS TEXT)"
        case float() if math.isinf(value):
            return "9e999" if value > 0 else "-9e999"
        case _:
            return repr(value)


class Writer:
    """Makes random transactions over all kinds of tables.

    Args:
        chance: where they come from.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._marks = 0

    def transaction(self) -> str:
        """The statements of one transaction, which changes at least one row."""
        self._marks += 1
        steps = [self._step() for _ in range(self._chance.randint(5, 25))]
        return f"BEGIN; INSERT INTO marks VALUES({self._marks}); {'; '.join(steps)}; COMMIT;"

    def _value(self) -> str:
        chance = self._chance
        kinds: tuple[Callable[[], object], ...] = (
            lambda: None,
            lambda: chance.choice(TEXTS),
            lambda: chance.choice(REALS),
            lambda: chance.choice(INTEGERS),
            lambda: struct.unpack("<d", struct.pack("<Q", chance.getrandbits(62)))[0],
            lambda: chance.randbytes(chance.randint(0, 40)),
            lambda: Invalid(b"a\xff" + chance.randbytes(2)),
        )
        return literal(chance.choice(kinds)())

    def _row(self) -> int:
        return self._chance.randint(1, 12)

    def _step(self) -> str:
        chance, row, value = self._chance, self._row, self._value
        few = literal(chance.choice([1, 2, "a", "A", "b", None, 1.0]))
        steps: tuple[Callable[[], str], ...] = (
            lambda: (
                f"INSERT OR REPLACE INTO plain VALUES({row()}, {value()}, {value()}, "
                f"{value()}, {value()}, {value()}, {value()})"
            ),
            lambda: f"UPDATE plain SET b = {value()}, c = {value()}, e = {value()} WHERE id > 6",
            lambda: f"UPDATE plain SET f = zeroblob(300000), a = NULL WHERE id = {row()}",
            lambda: f"DELETE FROM plain WHERE id = {row()}",
            lambda: f"""INSERT OR IGNORE INTO "we""ird 't" VALUES({few}, {value()}, 1)""",
            lambda: f"""UPDATE "we""ird 't" SET x = upper(x), "col ""q" = {value()}""",
            lambda: f"""DELETE FROM "we""ird 't" WHERE x = {few}""",
            lambda: f"INSERT INTO shadowed VALUES({value()}, {value()})",
            lambda: f"UPDATE shadowed SET v = {value()} WHERE _rowid_ % 3 = {row() % 3}",
            lambda: f"DELETE FROM shadowed WHERE _rowid_ % 5 = {row() % 5}",
            lambda: f"INSERT OR REPLACE INTO pair VALUES({row()}, 'k{row()}', {value()})",
            lambda: f"UPDATE OR IGNORE pair SET a = a + 1, v = {value()} WHERE a < {row()}",
            lambda: f"DELETE FROM pair WHERE a = {row()}",
            lambda: f"INSERT OR REPLACE INTO uniq VALUES({row()}, {row()}, {few}, 'z{row()}')",
            lambda: "UPDATE OR IGNORE uniq SET u = -u",
            lambda: "UPDATE OR IGNORE uniq SET u = 13 + u; UPDATE OR IGNORE uniq SET u = 26 - u",
            lambda: f"UPDATE OR IGNORE uniq SET w = {few}, z = upper(z) WHERE id < {row()}",
            lambda: f"INSERT OR REPLACE INTO made(id, a) VALUES({row()}, {row()})",
            lambda: f"UPDATE made SET a = a + 1 WHERE id < {row()}",
            lambda: f"DELETE FROM made WHERE id = {row()}",
            lambda: f"INSERT OR REPLACE INTO strict_one VALUES({row()}, {value()}, {row()})",
            lambda: "UPDATE strict_one SET v = iif(v = 1, 1.0, 1)",
            lambda: (
                f"INSERT OR IGNORE INTO parent VALUES({row()}, {value()}); "
                "INSERT INTO child(p) SELECT max(id) FROM parent"
            ),
            lambda: "DELETE FROM child; DELETE FROM parent",
        )
        return chance.choice(steps)()


def content(path: Path) -> dict[str, list[list[str]]]:
    """Every visible value of a file by type and exact bytes, and its schema."""
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        names = connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
        found = {"": [[name.decode(), (sql or b"").decode()] for name, sql in names]}
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        for (name,) in tables.fetchall():
            quoted = '"' + name.decode().replace('"', '""') + '"'
            rowid = "_rowid_, " if name == b"shadowed" else ""
            rows = connection.execute(f"SELECT {rowid}* FROM {quoted}").fetchall()
            found[name.decode()] = sorted([exact(value) for value in row] for row in rows)
    return found


def exact(value: object) -> str:
    """A value such that no two that differ look alike; texts come as bytes."""
    if isinstance(value, float):
        return f"real {struct.pack('>d', value).hex()}"
    return (
        f"{type(value).__name__} {value!r}" if len(repr(value)) < 5_000 else str(hash(repr(value)))
    )


def typed_content(path: Path) -> dict[str, Any]:
    """The content with what `bytes` alone cannot tell: whether they are TEXT or BLOB."""
    found: dict[str, Any] = content(path)
    with closing(sqlite3.connect(path)) as connection:
        for name in [name for name in found if name]:
            quoted = '"' + name.replace('"', '""') + '"'
            info = connection.execute(f"PRAGMA table_xinfo({quoted})").fetchall()
            columns = ['"' + row[1].replace('"', '""') + '"' for row in info]
            kinds = ", ".join(f"typeof({column})" for column in columns)
            found[f"types of {name}"] = sorted(connection.execute(f"SELECT {kinds} FROM {quoted}"))
    return found


def copied(database: Path, name: str) -> Path:
    """A copy of the file as it is now."""
    copy = database.with_name(name)
    copy.unlink(missing_ok=True)
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def choose(page: Page, button: Locator, item: str) -> str:
    """Opens a menu, chooses to copy, and gives what is in the clipboard then."""
    page.evaluate("document.querySelector('.toast')?.remove()")
    button.click()
    page.get_by_role("menuitem", name=item, exact=True).click()
    expect(page.locator(".toast")).to_have_text("Copied.")
    return str(page.evaluate("navigator.clipboard.readText()"))


def undo_of(watched: Watched, change: Locator | None = None) -> str:
    """The SQL that undoes the newest changeset, or one change of it."""
    place = (change or watched.newest.locator(".head")).locator(".dots")
    return choose(watched.page, place, "Copy SQL that undoes it")


def repeat_of(watched: Watched) -> str:
    """The SQL that makes the newest changeset once more."""
    return choose(watched.page, watched.newest.locator(".head .dots"), "Copy as SQL")


def allow_clipboard(watched: Watched) -> None:
    """Lets the page, and the test, at the clipboard."""
    watched.page.context.grant_permissions(["clipboard-read", "clipboard-write"])


@pytest.mark.parametrize("seed", range(2))
def test_random_changes_are_undone(watch: Watch, write: Write, seed: int) -> None:
    """Undone, a file is as it was before, types included; repeated on a copy, as it is after."""
    watched = watch(setup=KINDS)
    allow_clipboard(watched)
    database, shell = watched.served.database, watched.shell
    page = watched.page
    writer = Writer(random.Random(seed))
    for number in range(1, 5):
        earlier = copied(database, "before.db")
        before = typed_content(earlier)
        write(database, writer.transaction())
        marks = watched.newest.locator(".change").filter(has=page.get_by_text("marks", exact=True))
        expect(marks.locator(".key .value")).to_have_text(str(number))
        after = typed_content(database)

        undo, repeat = undo_of(watched), repeat_of(watched)
        run_shell(shell, earlier, repeat)
        assert typed_content(earlier) == after, repeat
        undone = copied(database, "after.db")
        run_shell(shell, undone, undo)
        assert typed_content(undone) == before, undo


SCHEMA_STEPS = (
    "CREATE TABLE fresh(a, b); INSERT INTO fresh VALUES(1, 2)",
    "CREATE INDEX by_value ON items(value); CREATE VIEW few AS SELECT id FROM items",
    "ALTER TABLE items RENAME COLUMN value TO price; UPDATE items SET price = 7",
    "ALTER TABLE items ADD COLUMN more TEXT DEFAULT 'm'; UPDATE items SET more = 'x', name = 'y'",
    "CREATE TRIGGER follow AFTER INSERT ON items BEGIN SELECT 1; END",
    "DROP VIEW few; DROP INDEX by_value; DROP TRIGGER follow",
    "ALTER TABLE fresh RENAME TO older; UPDATE older SET b = 3",
)


def test_schema_changes_are_undone(watch: Watch) -> None:
    """What was created is dropped, what was renamed gets its name back, and rows are as before."""
    watched = watch()
    allow_clipboard(watched)
    database = watched.served.database
    for number, step in enumerate(SCHEMA_STEPS, 1):
        earlier = copied(database, "before.db")
        before = unquoted(typed_content(earlier))
        watched.edit(f"BEGIN; {step}; COMMIT;")
        expect(watched.page.locator("#feed > .changeset")).to_have_count(number)
        after = unquoted(typed_content(database))

        undo, repeat = undo_of(watched), repeat_of(watched)
        run_shell(watched.shell, earlier, repeat)
        assert unquoted(typed_content(earlier)) == after, repeat
        undone = copied(database, "after.db")
        run_shell(watched.shell, undone, undo)
        assert unquoted(typed_content(undone)) == before, undo


def unquoted(found: dict[str, Any]) -> dict[str, Any]:
    """The same without quotes in the schema: renaming puts names into them."""
    schema = [[name, sql.replace('"', "")] for name, sql in found[""]]
    return {**found, "": schema}


def test_what_cannot_be_undone_is_said(watch: Watch) -> None:
    """A dropped table comes back empty, and a comment says why."""
    watched = watch(setup="CREATE TABLE notes(body);")
    allow_clipboard(watched)
    watched.edit("INSERT INTO notes VALUES('gone');")
    watched.expect_changes("1 change")
    watched.edit("DROP TABLE notes;")
    expect(watched.newest).to_contain_text("was dropped")

    undo = undo_of(watched)
    assert '-- The rows that table "notes" had cannot be brought back by this.' in undo
    run_shell(watched.shell, watched.served.database, undo)
    assert content(watched.served.database)["notes"] == []


def test_what_came_later_stays(watch: Watch) -> None:
    """To undo a change leaves rows alone that were changed again; swapped values come back."""
    watched = watch(
        setup="CREATE TABLE seats(id INTEGER PRIMARY KEY, who TEXT UNIQUE, n);"
        "INSERT INTO seats VALUES(1, 'a', 0), (2, 'b', 0), (3, 'c', 0), (5, 'e', 0), (6, 'f', 0);"
    )
    allow_clipboard(watched)
    watched.edit(
        "BEGIN; UPDATE seats SET who = 'x' WHERE id = 1; UPDATE seats SET who = 'a' WHERE id = 2;"
        "UPDATE seats SET who = 'b' WHERE id = 1; UPDATE seats SET n = 1 WHERE id = 3;"
        "UPDATE seats SET who = 'y' WHERE id = 5; UPDATE seats SET who = 'e' WHERE id = 6;"
        "UPDATE seats SET who = 'f' WHERE id = 5; INSERT INTO seats VALUES(4, 'd', 0); COMMIT;"
    )
    watched.expect_changes("6 changes")
    undo = undo_of(watched)
    watched.edit("UPDATE seats SET n = 2 WHERE id = 3; UPDATE seats SET n = 9 WHERE id = 4;")
    watched.edit("DELETE FROM seats WHERE id = 5;")

    run_shell(watched.shell, watched.served.database, undo)

    with closing(sqlite3.connect(watched.served.database)) as connection:
        rows = connection.execute("SELECT * FROM seats ORDER BY id").fetchall()
    assert rows == [(1, "a", 0), (2, "b", 0), (3, "c", 2), (4, "d", 9), (6, "f", 0)]


def test_large_changesets_and_single_changes_are_undone(watch: Watch) -> None:
    """A changeset is undone with all its changes, not only those shown; one change, alone."""
    watched = watch()
    allow_clipboard(watched)
    watched.edit(
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i <= 2500) "
        "INSERT INTO items SELECT i, 'n', i FROM n;"
    )
    watched.expect_changes("2,500 changes")
    everything, one = undo_of(watched), undo_of(watched, watched.newest.locator(".change").first)

    assert everything.count("DELETE FROM") == 2_500
    assert one.count("DELETE FROM") == 1
    run_shell(watched.shell, watched.served.database, one + everything)
    assert len(content(watched.served.database)["items"]) == 1


def test_changes_are_copied_as_json(watch: Watch) -> None:
    """JSON is as on the wire: a real that is whole stays one."""
    watched = watch()
    allow_clipboard(watched)
    watched.edit("UPDATE items SET value = 2.0;")
    watched.expect_changes("1 change")

    copied_text = choose(watched.page, watched.newest.locator(".head .dots"), "Copy as JSON")

    changeset = json.loads(copied_text)
    assert [change["after"]["value"] for change in changeset["changes"]] == [2.0]
    assert isinstance(changeset["changes"][0]["after"]["value"], float)
    assert changeset["whole"] is True
    assert changeset["position"] == watched.position()


def test_without_a_clipboard_the_text_is_shown(watch: Watch) -> None:
    """Where the browser does not let the page copy, the text is there, selected."""
    watched = watch()
    page = watched.page
    page.evaluate(
        "navigator.clipboard.writeText = () => Promise.reject(new Error('no'));"
        "document.execCommand = () => false"
    )
    watched.edit("DELETE FROM items;")
    watched.expect_changes("1 change")
    watched.newest.locator(".head .dots").click()
    page.get_by_role("menuitem", name="Copy SQL that undoes it").click()

    field = page.get_by_role("textbox", name="Text to copy")
    expect(field).to_have_value(re.compile('INSERT INTO "items"'))
    expect(field).to_be_focused()
    assert page.evaluate("getSelection().toString()").startswith("-- Undoes")


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    values=st.lists(
        st.none()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False)
        | st.text(st.characters(exclude_categories=["Cs"]))
        | st.binary(),
        min_size=20,
        max_size=200,
    )
)
def test_literals_are_exact(
    literals: Callable[[list[bytes]], list[str]], values: list[Any]
) -> None:
    """Each value is, as SQL, the same value of the same type."""
    written = literals([wire.encode_json(wire.encode_value(value)) for value in values])
    with closing(sqlite3.connect(":memory:")) as connection:
        for value, sql in zip(values, written, strict=True):
            (read,) = connection.execute(f"SELECT {sql}").fetchone()
            assert type(read) is type(value), sql
            assert read == value, sql
            if isinstance(value, float):
                assert struct.pack("<d", read) == struct.pack("<d", value), sql


@pytest.fixture
def literals(watch: Watch) -> Callable[[list[bytes]], list[str]]:
    """Has the page write values of the wire as SQL."""
    page = watch().page
    script = """async frames => {
        const { parse } = await import("./static/api.js");
        const { literal } = await import("./static/model/literals.js");
        return frames.map(frame => literal(parse(`[${frame}]`)[0]));
    }"""
    return lambda frames: list(page.evaluate(script, [frame.decode() for frame in frames]))
