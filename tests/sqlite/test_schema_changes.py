"""How one schema became another: what is told, and which rows carry over."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle.contents import contents
from tests.sqlite.attached import attached, made
from tests.sqlite.test_schema import ODD_NAMES
from watcher import apply
from watcher.changes import (
    Change,
    ChangeSet,
    ColumnSource,
    InvalidText,
    Op,
    Position,
    SchemaChange,
    Table,
    Value,
)
from watcher.sqlite.compare import compare, insert_all
from watcher.sqlite.names import quote
from watcher.sqlite.schema_changes import Plan, plan_changes, table_made


def plan(old: str, new: str, *, void: Iterable[str] = ()) -> Plan:
    """What `new`, run after `old`, is told as."""
    with attached(made(old), made(old, new)) as two:
        return plan_changes(two.db, two.schema("old"), two.schema("new"), frozenset(void))


def all_changes(old: str, new: str) -> list[Change | SchemaChange]:
    """The whole changeset: what is told of the schema, then of the rows."""
    with attached(made(old), made(old, new)) as two:
        found = plan_changes(two.db, two.schema("old"), two.schema("new"), frozenset())
        changes: list[Change | SchemaChange] = [*found.changes]
        for pair in found.compare:
            changes += compare(two.rows, pair)
        for table in found.insert:
            changes += insert_all(two.rows, table)
        return changes


def arrives(old: str, new: str) -> list[Change | SchemaChange]:
    """Checks that a replica of the first state becomes the second; returns the changes."""
    changes = all_changes(old, new)
    with (
        closing(sqlite3.connect(":memory:", isolation_level=None)) as replica,
        closing(sqlite3.connect(":memory:", isolation_level=None)) as source,
    ):
        for found in (all_changes("", old), changes):
            now = datetime.now(UTC)
            apply(replica, ChangeSet(Position("e", 1, "abcd"), now, 1, tuple(found)))
        source.executescript(old)
        source.executescript(new)
        assert contents(replica) == contents(source)
    return changes


def rows(changes: list[Change | SchemaChange]) -> list[Op]:
    return [change.op for change in changes if isinstance(change, Change)]


START = "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b); INSERT INTO t VALUES(1,'x',2),(5,'y',6)"
COLUMNS = ("id", "a", "b")


def carried(*pairs: tuple[str, str]) -> tuple[ColumnSource, ...]:
    return tuple(ColumnSource(name, source) for name, source in pairs)


SAME = carried(*((name, name) for name in COLUMNS))


def test_a_new_table_is_empty_and_its_rows_follow() -> None:
    """Its definition, and an insert for each row."""
    sql = 'CREATE TABLE "n n"(x, y PRIMARY KEY)'
    (change, *others) = arrives(START, f'{sql}; INSERT INTO "n n" VALUES (1, 2)')
    table = Table("n n", ("y",), ("x", "y"))
    assert change == SchemaChange("n n", "table", "n n", None, sql, definition=table)
    assert rows(others) == [Op.INSERT]


def test_a_table_that_is_gone_goes_with_its_rows() -> None:
    """One message, no deletes."""
    (change,) = arrives(START, "DROP TABLE t")
    sql = START.partition(";")[0]
    assert change == SchemaChange("t", "table", "t", sql, None)


def test_where_nothing_is_different_nothing_is_told() -> None:
    """Neither for the same schema nor for one that was made and dropped again."""
    for new in ("", "CREATE TABLE n(x); DROP TABLE n", "CREATE INDEX i ON t(a); DROP INDEX i"):
        assert arrives(START, new) == []


def test_rows_come_after_all_of_the_schema() -> None:
    """Whatever the order of the tables."""
    changes = arrives(
        START + "; CREATE TABLE z(x); INSERT INTO z VALUES(1)",
        "CREATE TABLE m(x); INSERT INTO m VALUES(1); DELETE FROM t; DELETE FROM z;"
        "CREATE VIEW v AS SELECT 1; ALTER TABLE z ADD COLUMN y",
    )
    kinds = [isinstance(change, SchemaChange) for change in changes]
    assert kinds == sorted(kinds, reverse=True)


@pytest.mark.fault("D19")
@pytest.mark.parametrize(
    ("sql", "columns", "definition"),
    [
        (
            "ALTER TABLE t ADD COLUMN c",
            (*SAME, ColumnSource("c", None)),
            Table("t", ("id",), (*COLUMNS, "c")),
        ),
        (
            "ALTER TABLE t ADD COLUMN c INT NOT NULL DEFAULT '7'",
            (*SAME, ColumnSource("c", None, 7)),
            Table("t", ("id",), (*COLUMNS, "c")),
        ),
        (
            "ALTER TABLE t DROP COLUMN a",
            carried(("id", "id"), ("b", "b")),
            Table("t", ("id",), ("id", "b")),
        ),
        (
            "ALTER TABLE t RENAME COLUMN a TO c",
            carried(("id", "id"), ("c", "a"), ("b", "b")),
            Table("t", ("id",), ("id", "c", "b")),
        ),
        (
            "ALTER TABLE t RENAME COLUMN id TO c",
            carried(("c", "id"), ("a", "a"), ("b", "b")),
            Table("t", ("c",), ("c", "a", "b")),
        ),
    ],
)
def test_a_changed_table_takes_its_rows_along(
    sql: str, columns: tuple[ColumnSource, ...], definition: Table
) -> None:
    """ADD, DROP and RENAME COLUMN are one message, and no row comes again."""
    (change,) = arrives(START, sql)
    assert isinstance(change, SchemaChange)
    assert (change.columns, change.definition) == (columns, definition)
    assert change.renamed_from is None
    assert change.before == START.partition(";")[0]
    assert change.after not in (None, change.before)


def test_what_a_guess_does_not_express_follows_as_rows() -> None:
    """Rows that changed in the same commit as their table."""
    (change, *others) = arrives(
        START,
        "ALTER TABLE t ADD COLUMN c DEFAULT 1; UPDATE t SET c=2, a='z' WHERE id=1;"
        "DELETE FROM t WHERE id=5; INSERT INTO t VALUES (7, 'n', NULL, NULL)",
    )
    assert isinstance(change, SchemaChange)
    assert change.columns is not None
    assert rows(others) == [Op.DELETE, Op.UPDATE, Op.INSERT]


def test_a_renamed_table_takes_its_rows_along() -> None:
    """By one message that names what it was called before."""
    (change,) = arrives(START, "ALTER TABLE t RENAME TO other")
    assert isinstance(change, SchemaChange)
    assert (change.table, change.name, change.renamed_from) == ("other", "other", "t")
    assert change.columns == SAME


def test_a_rename_by_case_alone_is_a_rename() -> None:
    """`t` and `T` are one table to SQLite and two names to a client."""
    (change,) = arrives(START, "ALTER TABLE t RENAME TO u; ALTER TABLE u RENAME TO T")
    assert isinstance(change, SchemaChange)
    assert (change.table, change.renamed_from, change.columns) == ("T", "t", SAME)


@pytest.mark.fault("D19")
def test_names_may_be_passed_on() -> None:
    """A name goes to another table, two tables swap their names: the rows are right."""
    arrives(START, "ALTER TABLE t RENAME TO old; CREATE TABLE t(x); INSERT INTO t VALUES (1)")
    arrives(
        START + "; CREATE TABLE u(z PRIMARY KEY); INSERT INTO u VALUES ('only')",
        "ALTER TABLE t RENAME TO w; ALTER TABLE u RENAME TO t; ALTER TABLE w RENAME TO u",
    )
    arrives(
        START + "; CREATE TABLE u(id INTEGER PRIMARY KEY, a TEXT, b); INSERT INTO u VALUES(1,2,3)",
        "ALTER TABLE t RENAME TO w; ALTER TABLE u RENAME TO t; ALTER TABLE w RENAME TO u",
    )
    arrives(START, "DROP TABLE t; CREATE TABLE n(x); INSERT INTO n VALUES (1)")


@pytest.mark.parametrize(
    "new",
    [
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, b)",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT NOT NULL, b)",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT UNIQUE, b)",
        "CREATE TABLE t(id INT PRIMARY KEY, a TEXT, b)",
        "CREATE TABLE t(id INTEGER, a TEXT PRIMARY KEY, b)",
        "CREATE TABLE t(id INTEGER, a TEXT, b)",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b) WITHOUT ROWID",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b AS (a))",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b, c NOT NULL)",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b ANY) STRICT",
        "CREATE TABLE t(x)",
    ],
)
def test_rows_that_do_not_fit_the_new_table_come_anew(new: str) -> None:
    """Another type, constraint, key or kind: the rows held are void."""
    fits = "" if "NOT NULL" in new or "x" in new else "INSERT INTO t(id, a) VALUES (1, '3')"
    (change, *others) = arrives(START, f"DROP TABLE t; {new}; {fits}")
    assert isinstance(change, SchemaChange)
    assert change.columns is None
    assert (change.before, change.after) == (START.partition(";")[0], new)
    assert rows(others) == [Op.INSERT] * bool(fits)


def test_a_table_made_anew_with_the_same_columns_keeps_its_rows() -> None:
    """DROP and CREATE in one commit: only what is different in the end comes as rows."""
    changes = arrives(
        START,
        "DROP TABLE t; CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b);"
        "INSERT INTO t VALUES (1, 'x', 2), (6, 'n', 0)",
    )
    assert rows(changes) == [Op.DELETE, Op.INSERT]


def test_tables_whose_rows_are_void_come_anew() -> None:
    """What could not be read before is not held by anyone as it is."""
    found = plan(START, "", void=["t"])
    assert [change.columns for change in found.changes] == [None]
    assert [change.after for change in found.changes] == [START.partition(";")[0]]
    assert (found.compare, [table.name for table in found.insert]) == ((), ["t"])


# Defaults


@pytest.mark.parametrize(
    ("rest", "value"),
    [
        ("", None),
        ("DEFAULT NULL", None),
        ("DEFAULT 1", 1),
        ("REAL DEFAULT 1", 1.0),
        ("TEXT DEFAULT 1", "1"),
        ("INT DEFAULT '7'", 7),
        ("INT DEFAULT 'x'", "x"),
        ("DEFAULT 'it''s -- no /* comment'", "it's -- no /* comment"),
        ('DEFAULT "quoted"', "quoted"),
        ("DEFAULT -5", -5),
        ("DEFAULT +9223372036854775807", 2**63 - 1),
        ("BLOB DEFAULT x'00ff'", b"\0\xff"),
        ("DEFAULT TRUE", 1),
        ("VARCHAR(10) COLLATE NOCASE DEFAULT 'é😀'", "é😀"),
        ('"odd type" DEFAULT 3', 3),
        ("DEFAULT 1e300", 1e300),
        ("DEFAULT ''", ""),
    ],
)
def test_old_rows_hold_the_default_of_a_new_column(rest: str, value: Value) -> None:
    """Converted as the column's type converts it; the rows need not come again."""
    (change,) = arrives(START, f"ALTER TABLE t ADD COLUMN c {rest}")
    assert isinstance(change, SchemaChange)
    assert change.columns is not None
    assert repr(change.columns[-1]) == repr(ColumnSource("c", None, value))


def test_a_default_that_cannot_be_told_follows_as_rows() -> None:
    """Text that is not valid UTF-8: the guess is NULL, the rows bring what they hold."""
    bad = "DEFAULT (CAST(x'ff' AS TEXT))"
    old = "CREATE TABLE t(id INTEGER PRIMARY KEY, c DEFAULT 1)"
    new = f"DROP TABLE t; CREATE TABLE t(id INTEGER PRIMARY KEY, c DEFAULT 1, d {bad});"
    changes = all_changes(
        f"{old}; INSERT INTO t VALUES(1, 1)", f"{new}; INSERT INTO t(id) VALUES(1)"
    )
    schema, update = changes
    assert isinstance(schema, SchemaChange)
    assert schema.columns is not None
    assert schema.columns[-1].default is None
    assert isinstance(update, Change)
    assert update.changed == ("d",)
    assert update.after == {"id": 1, "c": 1, "d": InvalidText(b"\xff")}


# Generated columns


@pytest.mark.parametrize("kind", ["VIRTUAL", "STORED"])
def test_generated_columns_are_told_and_computed(kind: str) -> None:
    """They are there in each row, change with what they are computed from, and come and go."""
    old = f"CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, g AS (a * 2) {kind});"
    old += "INSERT INTO t(id, a) VALUES (1, 2), (2, 3)"
    (update,) = arrives(old, "UPDATE t SET a=9 WHERE id=1")
    assert isinstance(update, Change)
    assert (update.changed, update.after) == (("a", "g"), {"id": 1, "a": 9, "g": 18})
    arrives(old, "ALTER TABLE t DROP COLUMN g")
    arrives(old, "ALTER TABLE t RENAME COLUMN a TO b")
    arrives(old, "ALTER TABLE t ADD COLUMN v AS (id || a)")


def test_a_generated_column_that_is_computed_otherwise_changes_its_rows() -> None:
    """The statement is another one: each row is compared with what it holds now."""
    changes = arrives(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, g AS (id + 1)); INSERT INTO t VALUES (1), (2)",
        "DROP TABLE t; CREATE TABLE t(id INTEGER PRIMARY KEY, g AS (id + 2));"
        "INSERT INTO t VALUES (1), (2)",
    )
    assert rows(changes) == [Op.UPDATE, Op.UPDATE]


# Kinds and names


@pytest.mark.parametrize("kind", ["STRICT", "WITHOUT ROWID", "STRICT, WITHOUT ROWID"])
def test_other_kinds_of_tables_change_alike(kind: str) -> None:
    """STRICT and WITHOUT ROWID tables carry their rows over too."""
    old = f"CREATE TABLE t(k TEXT NOT NULL PRIMARY KEY, v INT) {kind};"
    old += "INSERT INTO t VALUES ('a', 1), ('b', 2)"
    for new in (
        "ALTER TABLE t ADD COLUMN n TEXT DEFAULT 'd'",
        "ALTER TABLE t RENAME COLUMN v TO w",
        "ALTER TABLE t RENAME COLUMN k TO l",
        "ALTER TABLE t RENAME TO u",
        "ALTER TABLE t DROP COLUMN v",
    ):
        (change,) = arrives(old, new)
        assert isinstance(change, SchemaChange)
        assert change.columns is not None


@pytest.mark.parametrize(
    "name", [name for name in ODD_NAMES if not name.startswith("sqli")], ids=lambda n: repr(n)[:20]
)
def test_any_name_may_change_into_any_other(name: str) -> None:
    """Tables and columns with odd names are made, renamed, changed and dropped."""
    old = f"CREATE TABLE {quote(name)}({quote(name)} PRIMARY KEY); "
    old += f"INSERT INTO {quote(name)} VALUES (1)"
    assert len(arrives("", old)) == 2
    assert len(arrives(old, f"DROP TABLE {quote(name)}")) == 1
    assert len(arrives(old, f"ALTER TABLE {quote(name)} ADD COLUMN {quote(name + '2')}")) == 1
    assert len(arrives(old, f"UPDATE {quote(name)} SET {quote(name)} = 2")) == 2
    if name:
        # SQLite cannot rename a table or column without a name, nor to such a name.
        assert len(arrives(old, f"ALTER TABLE {quote(name)} RENAME TO {quote(name + 'n')}")) == 1
        arrives(
            old, f"ALTER TABLE {quote(name)} RENAME COLUMN {quote(name)} TO {quote(name[::-1])}"
        )


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE t(x -- a comment, with (brackets\n, y /* and 'another */ TEXT)",
        "CREATE TABLE [t]([x], `y`, 'z')",
        "CREATE TABLE t(x CHECK(x <> ')'), y DEFAULT (1 + (2)), CHECK (x <> '(' ))",
        'CREATE TABLE IF NOT EXISTS t AS SELECT 1 AS x, \'a\' AS "y""z"',
        "CREATE TABLE main.t(x REFERENCES other(y) ON DELETE CASCADE, CONSTRAINT c UNIQUE(x))",
        "/* first */ CREATE /* then */ TABLE\n\tt\n(x)",
    ],
)
def test_any_way_to_write_it_makes_the_table(sql: str) -> None:
    """Comments, quotes and brackets of all kinds: the replica makes the same table of it."""
    (change, *_) = arrives("", f"{sql}; INSERT INTO t(x) VALUES (5)")
    assert isinstance(change, SchemaChange)
    assert change.definition is not None
    assert change.definition.columns[0] == "x"
    arrives(f"{sql}; INSERT INTO t(x) VALUES (5)", "ALTER TABLE t ADD COLUMN more DEFAULT 1")


# Other objects


def test_indexes_views_and_triggers_are_told() -> None:
    """Made, changed and dropped; they concern no rows."""
    view = "CREATE VIEW v AS SELECT a FROM t"
    index = "CREATE UNIQUE INDEX i ON t(a)"
    trigger = "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END"
    objects = f"{view}; {index}; {trigger}"
    assert arrives(START, objects) == [
        SchemaChange("t", "index", "i", None, index),
        SchemaChange("t", "trigger", "g", None, trigger),
        SchemaChange("v", "view", "v", None, view),
    ]
    assert arrives(f"{START}; {objects}", "DROP VIEW v; DROP INDEX i; CREATE INDEX i ON t(b)") == [
        SchemaChange("t", "index", "i", index, "CREATE INDEX i ON t(b)"),
        SchemaChange("v", "view", "v", view, None),
    ]


# At random

_TABLES = st.sampled_from(["t", "u", "T", "w"])
_NAMES = st.sampled_from(["a", "b", "c", "id", "A", "x y"])
_STATEMENTS = st.one_of(
    st.builds("ALTER TABLE {} RENAME TO {}".format, _TABLES, _TABLES),
    st.builds(
        "ALTER TABLE {} ADD COLUMN '{}' {}".format,
        _TABLES,
        _NAMES,
        st.sampled_from(["", "INT DEFAULT '7'", "TEXT NOT NULL DEFAULT 'd'", "AS (1) VIRTUAL"]),
    ),
    st.builds("ALTER TABLE {} DROP COLUMN '{}'".format, _TABLES, _NAMES),
    st.builds("ALTER TABLE {} RENAME COLUMN '{}' TO '{}'".format, _TABLES, _NAMES, _NAMES),
    st.builds("DROP TABLE {}".format, _TABLES),
    st.builds(
        "CREATE TABLE {}({})".format,
        _TABLES,
        st.sampled_from(["a, b", "id INTEGER PRIMARY KEY, a", "a PRIMARY KEY, b UNIQUE", "b, a"]),
    ),
    st.builds("INSERT INTO {} DEFAULT VALUES".format, _TABLES),
    st.builds("INSERT INTO {}(a) VALUES ({})".format, _TABLES, st.integers(0, 9)),
    st.builds("UPDATE {} SET {} = {}".format, _TABLES, st.just("a"), st.integers(0, 9)),
    st.builds("DELETE FROM {} WHERE a > {}".format, _TABLES, st.integers(0, 9)),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(_STATEMENTS, max_size=8), st.lists(_STATEMENTS, min_size=1, max_size=8))
def test_whatever_became_of_the_tables_the_replica_follows(
    first: list[str], second: list[str]
) -> None:
    """Any statements on a few tables, those that SQLite refuses left out."""
    accepted: list[list[str]] = [[], []]
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.executescript(START)
        for found, statements in zip(accepted, (first, second), strict=True):
            for sql in statements:
                try:
                    db.execute(sql)
                except sqlite3.Error:
                    continue
                found.append(sql)
    arrives(f"{START}; {'; '.join(accepted[0])}", "; ".join(accepted[1]))


def test_a_table_made_says_all_that_a_client_needs() -> None:
    """As it is told to those who get the content."""
    with attached(new=made(START)) as two:
        change = table_made(two.table("t"))
    assert change == SchemaChange(
        "t", "table", "t", None, START.partition(";")[0], definition=Table("t", ("id",), COLUMNS)
    )
