"""What of a schema is left when tables and columns are excluded."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import apsw
import pytest

from tests.served import ROOT
from watcher.sqlite.exclusion import Exclusion
from watcher.sqlite.schema import Schema
from watcher.sqlite.watched_schema import KEY_EXCLUDED, read_watched


def watched(script: str, *names: str, tables: list[str] | None = None) -> Schema:
    """Reads the schema a script makes, without what has these names."""
    with closing(apsw.Connection(":memory:")) as db:
        db.execute(script).fetchall()
        return read_watched(db, "main", Exclusion.of(tables=tables, exclude=names))


def statement(script: str, *names: str, tables: list[str] | None = None) -> str:
    """What is told of the statement that made the table `t`."""
    return watched(script, *names, tables=tables).tables["t"].statement


def test_nothing_else_reads_a_schema() -> None:
    """So nothing can forget the exclusion."""
    readers = {
        path.name
        for path in (ROOT / "watcher").rglob("*.py")
        if re.search(r"\bread_schema\(", path.read_text())
    }
    # `declared.py` reads what a statement says that was sent already.
    assert readers == {"schema.py", "watched_schema.py", "declared.py"}


def test_names_are_compared_as_sqlite_does() -> None:
    """ASCII has no case, other letters have."""
    exclusion = Exclusion.of(exclude=["Items.Secret", "VAULT", "Ä"])
    assert exclusion.hides_column("ITEMS", "sECRET")
    assert exclusion.hides_table("vault")
    assert exclusion.hides_column("vault", "anything")
    assert exclusion.hides_table("Ä")
    assert not exclusion.hides_table("ä")
    assert not exclusion.hides_table("items")


def test_a_name_with_a_dot_excludes_whatever_it_can_mean() -> None:
    """Too much is better than too little."""
    script = "CREATE TABLE 'a.b'(x); CREATE TABLE a(b, c); CREATE TABLE 'a.b.c'(d)"
    found = watched(script, "a.b")
    assert {name: len(table.columns) for name, table in found.tables.items()} == {
        "a": 1,
        "a.b.c": 1,
    }
    found = watched("CREATE TABLE 'x.y'(z, w)", "x.y.z")
    assert found.tables["x.y"].definition.columns == ("w",)


def test_an_excluded_column_is_in_nothing() -> None:
    """Not in what is selected, declared or told, and its tree is known all the same."""
    script = (
        "CREATE TABLE t(id INTEGER PRIMARY KEY, name VARCHAR(9) NOT NULL COLLATE NOCASE,"
        " secret TEXT DEFAULT 'x' UNIQUE, size REAL, g AS (secret || 'x'), UNIQUE(name, secret))"
    )
    schema = watched(script, "T.SECRET")
    table = schema.tables["t"]
    assert [column.name for column in table.columns] == ["id", "name", "size", "g"]
    assert table.definition.columns == ("id", "name", "size", "g")
    assert set(table.declared) == {"id", "name", "size", "g"}
    assert table.unique == {(("id", "BINARY"),)}
    assert table.statement == (
        'CREATE TABLE "t"("id" INT, "name" TEXT COLLATE NOCASE, "size" REAL, "g",'
        ' PRIMARY KEY("id"))'
    )
    assert schema.roots == watched(script).roots


@pytest.mark.parametrize("key", ["id INTEGER PRIMARY KEY", "id TEXT PRIMARY KEY", "id UNIQUE"])
def test_a_key_cannot_be_excluded_without_its_table(key: str) -> None:
    """A column that is merely unique can."""
    table = watched(f"CREATE TABLE t({key}, a)", "t.id").tables["t"]
    is_key = "PRIMARY" in key
    assert table.obstacle == (KEY_EXCLUDED if is_key else "")
    assert bool(table.identities) != is_key
    assert '"id"' not in table.statement


@pytest.mark.parametrize(
    ("column", "names", "tables"),
    [
        ("a REFERENCES vault", ["vault"], None),
        ("a REFERENCES [Vault]", ["vault"], None),
        ('a REFERENCES "va""ult"', ['va"ult'], None),
        ("a CHECK(a <> 'vault')", ["vault"], None),
        ("a -- as in the vault\n", ["vault"], None),
        ("a REFERENCES items(secret)", ["items.secret"], None),
        ("a REFERENCES vault", [], ["t"]),
    ],
)
def test_a_statement_that_names_what_is_excluded_is_not_told(
    column: str, names: list[str], tables: list[str] | None
) -> None:
    """A plain one takes its place."""
    script = f"CREATE TABLE t({column})"
    assert statement(script, *names, tables=tables) == 'CREATE TABLE "t"("a")'


def test_other_statements_are_told_as_they_are() -> None:
    """Also where another table has an excluded column of the same name."""
    script = "CREATE TABLE t(secret NOT NULL, vaults, my_vault)"
    assert statement(script, "items.secret", "vault") == script
    assert statement(script, tables=["T"]) == script


def test_a_statement_stays_when_an_excluded_column_comes_and_goes() -> None:
    """Or its coming and going would be told."""
    with_it = statement("CREATE TABLE t(a INT, secret DEFAULT 'x')", "t.secret")
    assert with_it == statement("CREATE TABLE t(a INT)", "t.secret")


OBJECTS = """
CREATE TABLE t(a, secret); CREATE TABLE vault(code); CREATE TABLE other(secret);
CREATE INDEX i1 ON t(a); CREATE INDEX i2 ON t(secret); CREATE INDEX i3 ON t(a) WHERE Secret > 1;
CREATE INDEX i4 ON vault(code); CREATE INDEX i5 ON other(secret);
CREATE VIEW v1 AS SELECT a FROM t; CREATE VIEW v2 AS SELECT * FROM "Vault";
CREATE VIEW v3 AS SELECT secret FROM t;
CREATE TRIGGER g1 AFTER INSERT ON t BEGIN SELECT 1; END;
CREATE TRIGGER g2 AFTER INSERT ON t BEGIN DELETE FROM vault; END;
CREATE TRIGGER g3 AFTER INSERT ON vault BEGIN SELECT 1; END;
"""


def test_objects_that_name_what_is_excluded_are_not_told() -> None:
    """An index can only speak of its own table; of views, an allow list leaves none."""
    found = watched(OBJECTS, "vault", "t.secret").objects
    assert sorted(name for _, name in found) == ["g1", "i1", "i5", "v1"]
    found = watched(OBJECTS, tables=["t"]).objects
    assert sorted(name for _, name in found) == ["i1", "i2", "i3"]


def test_what_is_told_takes_every_row() -> None:
    """A reduced statement is one SQLite accepts, whatever the names."""
    script = 'CREATE TABLE "t""x"("a b" INT, "c.d" TEXT, "e""f" REAL, PRIMARY KEY("a b", "c.d"))'
    table = watched(script, 't"x.e"f').tables['t"x']
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute(table.statement)
        columns = [row[1] for row in db.execute('PRAGMA table_info("t""x")')]
    assert columns == ["a b", "c.d"]
