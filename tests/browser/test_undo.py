"""The SQL the page makes of changes: run by the `sqlite3` shell it repeats them, or undoes them."""

from __future__ import annotations

import math
import random
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
        steps = [self._step() for _ in range(self._chance.randint(1, 12))]
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
            lambda: f"INSERT OR REPLACE INTO plain VALUES({row()}, {value()}, {value()}, "
            f"{value()}, {value()}, {value()}, {value()})",
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
            lambda: "UPDATE uniq SET u = -u",
            lambda: "UPDATE uniq SET u = 13 + u; UPDATE uniq SET u = 26 - u",
            lambda: f"UPDATE OR IGNORE uniq SET w = {few}, z = upper(z) WHERE id < {row()}",
            lambda: f"INSERT OR REPLACE INTO made(id, a) VALUES({row()}, {row()})",
            lambda: f"UPDATE made SET a = a + 1 WHERE id < {row()}",
            lambda: f"DELETE FROM made WHERE id = {row()}",
            lambda: f"INSERT OR REPLACE INTO strict_one VALUES({row()}, {value()}, {row()})",
            lambda: "UPDATE strict_one SET v = iif(v = 1, 1.0, 1)",
            lambda: f"INSERT OR IGNORE INTO parent VALUES({row()}, {value()}); "
            "INSERT INTO child(p) SELECT max(id) FROM parent",
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
    return f"{type(value).__name__} {value!r}" if len(repr(value)) < 5_000 else str(hash(repr(value)))


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


@pytest.mark.parametrize("seed", range(3))
def test_random_changes_are_undone(watch: Watch, write: Write, seed: int) -> None:
    """Undone, a file is as it was before, types included; repeated on a copy, as it is after."""
    watched = watch(setup=KINDS)
    allow_clipboard(watched)
    database, shell = watched.served.database, watched.shell
    page = watched.page
    writer = Writer(random.Random(seed))
    for number in range(1, 9):
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
def test_literals_are_exact(literals: Callable[[list[bytes]], list[str]], values: list[Any]) -> None:
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
