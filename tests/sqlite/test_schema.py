"""Which tables are watched, and how their rows are known."""

from __future__ import annotations

import pytest

from tests.sqlite.attached import attached, made
from watcher.changes import Table
from watcher.sqlite.names import quote
from watcher.sqlite.schema import Identity, Schema, TableSchema

ODD_NAMES = [
    "plain", "two words", 'a"b', "x]y", "a;drop", "", "select", "😀", "é", "$rowid", "a.b", "%s",
    "'", "`", "--", "/*", "n" * 2000, "a\nb", "SQLITE", "sqlit_x",
]  # fmt: skip


def schema(*scripts: str) -> Schema:
    with attached(new=made(*scripts)) as found:
        return found.schema("new")


def table(script: str, name: str = "t") -> TableSchema:
    return schema(script).tables[name]


KEYS = {
    "CREATE TABLE t(x)": ((), [("rowid",)]),
    "CREATE TABLE t(id INTEGER PRIMARY KEY, x)": (("id",), [("id",)]),
    "CREATE TABLE t(id INT NOT NULL PRIMARY KEY, x)": (("id",), [("id",)]),
    "CREATE TABLE t(id INT PRIMARY KEY, x)": (("id",), [("id",), ("rowid",)]),
    "CREATE TABLE t(id INTEGER PRIMARY KEY DESC, x)": (("id",), [("id",), ("rowid",)]),
    "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT)": (("id",), [("id",)]),
    "CREATE TABLE t(a, b, PRIMARY KEY(b, a))": (("b", "a"), [("b", "a"), ("rowid",)]),
    "CREATE TABLE t(a NOT NULL, b NOT NULL, PRIMARY KEY(b, a))": (("b", "a"), [("b", "a")]),
    "CREATE TABLE t(a, b NOT NULL, PRIMARY KEY(b, a))": (("b", "a"), [("b", "a"), ("rowid",)]),
    "CREATE TABLE t(k TEXT PRIMARY KEY) WITHOUT ROWID": (("k",), [("k",)]),
    "CREATE TABLE t(a, b, PRIMARY KEY(a, b)) WITHOUT ROWID": (("a", "b"), [("a", "b")]),
    "CREATE TABLE t(id INTEGER PRIMARY KEY) WITHOUT ROWID": (("id",), [("id",)]),
    "CREATE TABLE t(x UNIQUE NOT NULL)": ((), [("rowid",)]),
    "CREATE TABLE t(rowid)": ((), [("_rowid_",)]),
    "CREATE TABLE t(ROWID, _RowId_)": ((), [("oid",)]),
    "CREATE TABLE t(rowid, _rowid_, oid)": ((), []),
    "CREATE TABLE t(rowid, _rowid_, oid PRIMARY KEY)": (("oid",), []),
    "CREATE TABLE t(rowid, _rowid_, oid NOT NULL PRIMARY KEY)": (("oid",), [("oid",)]),
    "CREATE TABLE t(rowid, _rowid_, oid INTEGER PRIMARY KEY)": (("oid",), [("oid",)]),
}


@pytest.mark.parametrize("sql", KEYS)
def test_how_rows_are_known(sql: str) -> None:
    """By the declared key where it cannot be NULL, by it and the rowid where it can, or not."""
    found = table(sql)
    key, identities = KEYS[sql]
    assert found.key == key
    assert [identity.columns for identity in found.identities] == identities


def test_a_key_that_may_be_null_divides_the_rows() -> None:
    """Those without NULL are known by it, those with NULL by their rowid: all by one of them."""
    found = table("CREATE TABLE t(a TEXT COLLATE NOCASE, b, PRIMARY KEY(a, b))")
    assert found.identities == (
        Identity(("a", "b"), ("NOCASE", "BINARY"), ("a", "b"), with_null=False),
        Identity(("rowid",), ("BINARY",), ("a", "b"), with_null=True),
    )
    with attached() as two:
        two.db.execute(f"CREATE TABLE new.t{found.sql.partition('t')[2]}").fetchall()
        two.db.execute("INSERT INTO new.t VALUES(1,2),(1,NULL),(NULL,2),(NULL,NULL)").fetchall()
        counts = [
            two.db.execute(f"SELECT count(*) FROM new.t t WHERE {identity.condition('t')}").get
            for identity in found.identities
        ]
    assert counts == [1, 3]


@pytest.mark.parametrize(
    ("sql", "collations"),
    [
        ("CREATE TABLE t(k TEXT COLLATE NOCASE PRIMARY KEY)", ("NOCASE",)),
        ("CREATE TABLE t(k TEXT, PRIMARY KEY(k COLLATE RTRIM))", ("RTRIM",)),
        ("CREATE TABLE t(k TEXT COLLATE NOCASE, PRIMARY KEY(k COLLATE BINARY))", ("BINARY",)),
        ("CREATE TABLE t(k TEXT COLLATE NOCASE PRIMARY KEY) WITHOUT ROWID", ("NOCASE",)),
        ("CREATE TABLE t(a COLLATE RTRIM, b, PRIMARY KEY(b, a))", ("BINARY", "RTRIM")),
    ],
)
def test_keys_are_compared_as_their_index_compares(sql: str, collations: tuple[str, ...]) -> None:
    """The collation of the constraint counts, not that of the column."""
    assert table(sql).identities[0].collations == collations


def test_columns_are_told_as_declared() -> None:
    """Type, NOT NULL, default, place in the key, and whether they are computed."""
    found = table(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT NOT NULL DEFAULT 'x''y', b DEFAULT (1+1),"
        ' v AS (a || b), s INT GENERATED ALWAYS AS (b) STORED, "odd name" VARCHAR(10))'
    )
    assert [tuple(column) for column in found.columns] == [
        ("id", "INTEGER", False, None, 1, False, "BINARY"),
        ("a", "TEXT", True, "'x''y'", 0, False, "BINARY"),
        ("b", "", False, "1+1", 0, False, "BINARY"),
        ("v", "", False, None, 0, True, "BINARY"),
        ("s", "INT", False, None, 0, True, "BINARY"),
        ("odd name", "VARCHAR(10)", False, None, 0, False, "BINARY"),
    ]
    assert found.definition == Table("t", ("id",), ("id", "a", "b", "v", "s", "odd name"))


def test_the_kinds_of_tables_are_told_apart() -> None:
    """STRICT, WITHOUT ROWID, both, neither."""
    found = schema(
        "CREATE TABLE a(x INT); CREATE TABLE b(x INT) STRICT;"
        "CREATE TABLE c(x INT PRIMARY KEY) WITHOUT ROWID;"
        "CREATE TABLE d(x INT PRIMARY KEY) WITHOUT ROWID, STRICT"
    ).tables
    assert {name: (t.without_rowid, t.strict) for name, t in found.items()} == {
        "a": (False, False),
        "b": (False, True),
        "c": (True, False),
        "d": (True, True),
    }


def test_constraints_are_those_that_are_declared() -> None:
    """Each UNIQUE and the key, with collations; an index made later is none of them."""
    found = table(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE COLLATE NOCASE, b, c, UNIQUE(c, b));"
        "CREATE UNIQUE INDEX i ON t(b)"
    )
    assert found.unique == {
        (("id", "BINARY"),),
        (("a", "NOCASE"),),
        (("c", "BINARY"), ("b", "BINARY")),
    }


def test_only_ordinary_tables_are_watched() -> None:
    """Views, virtual tables with what they keep, and SQLite's own tables are left out."""
    found = schema(
        "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, x); INSERT INTO t(x) VALUES (1);"
        "CREATE VIEW v AS SELECT * FROM t;"
        "CREATE VIRTUAL TABLE f USING fts5(x); CREATE VIRTUAL TABLE r USING rtree(i, a, b);"
        "CREATE INDEX i ON t(x); ANALYZE;"
        "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END;"
    )
    assert found.tables.keys() == {"t"}
    assert found.objects.keys() == {("view", "v"), ("index", "i"), ("trigger", "g")}
    assert {found.objects[key].table for key in found.objects} == {"t", "v"}


def test_indexes_of_constraints_are_no_objects() -> None:
    """Nobody has made them by a statement of their own."""
    assert schema("CREATE TABLE t(a PRIMARY KEY, b UNIQUE)").objects == {}


@pytest.mark.parametrize("name", ODD_NAMES, ids=lambda name: repr(name)[:20])
def test_any_name_is_a_name(name: str) -> None:
    """Of a table, of a column and of an index, whatever characters it has."""
    found = schema(
        f"CREATE TABLE {quote(name)}({quote(name)} PRIMARY KEY, {quote(name + 'b')} UNIQUE);"
        f"CREATE INDEX {quote(name + 'i')} ON {quote(name)}({quote(name)})"
    )
    assert found.tables[name].definition == Table(name, (name,), (name, name + "b"))
    assert found.tables[name].unique == {((name, "BINARY"),), ((name + "b", "BINARY"),)}
    assert found.objects.keys() == {("index", name + "i")}


def test_each_database_has_its_own_schema() -> None:
    """Tables of the same name in both, and in the one that is scratch, are not mixed up."""
    old, new = made("CREATE TABLE t(a); CREATE TABLE scratch(b)"), made("CREATE TABLE t(c)")
    with attached(old, new) as two:
        assert [column.name for column in two.table("t", "old").columns] == ["a"]
        assert [column.name for column in two.table("t", "new").columns] == ["c"]
        assert [column.name for column in two.table("scratch", "old").columns] == ["b"]
        assert two.schema("new").tables.keys() == {"t"}


def test_a_table_may_be_called_like_a_function_of_pragma() -> None:
    """Such a table hides the function that lists tables, and must not hide all of them."""
    found = schema("CREATE TABLE pragma_table_list(schema, name); CREATE TABLE t(x)")
    assert found.tables.keys() == {"pragma_table_list", "t"}


def test_a_database_without_anything_has_an_empty_schema() -> None:
    """A file of no bytes, and one whose tables are all gone."""
    with attached() as found:
        assert found.schema("new") == Schema({}, {}, frozenset((1,)))
    assert schema("CREATE TABLE t(x); DROP TABLE t") == Schema({}, {}, frozenset((1,)))


def test_two_thousand_columns_are_read() -> None:
    """As many as SQLite allows."""
    found = table(f"CREATE TABLE t({','.join(f'c{n}' for n in range(2000))})")
    assert len(found.columns) == 2000
