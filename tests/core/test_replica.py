"""A replica that is built from changesets alone: exact rows, its own rules untouched."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.values import VALUES
from tests.oracle.contents import contents
from watcher import ReplicaError, apply
from watcher.changes import (
    Change,
    ChangeSet,
    ColumnSource,
    InvalidText,
    LargeValue,
    Op,
    Position,
    ResetReason,
    Row,
    SchemaChange,
    Value,
)

NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
def replica() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


def commit(*changes: Change | SchemaChange) -> ChangeSet:
    return ChangeSet(Position("e", 1, "abcd"), NOW, 1, changes)


def content(*changes: Change | SchemaChange, reset: ResetReason | None = None) -> ChangeSet:
    return ChangeSet(None, None, None, changes, reset)


def made(sql: str, table: str = "t") -> SchemaChange:
    return SchemaChange(table, "table", table, None, sql)


def insert(key: Row, row: Row, table: str = "t") -> Change:
    return Change(Op.INSERT, table, key, None, row)


def delete(key: Row, row: Row, table: str = "t") -> Change:
    return Change(Op.DELETE, table, key, row, None)


def update(key: Row, before: Row, after: Row, table: str = "t") -> Change:
    return Change(Op.UPDATE, table, key, before, after)


def rows(connection: sqlite3.Connection, sql: str = "SELECT * FROM t") -> list[Any]:
    return connection.execute(sql).fetchall()


def names(connection: sqlite3.Connection, kind: str) -> list[str]:
    return [
        name
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type=? ORDER BY name", (kind,)
        )
    ]


def test_rows_come_change_and_go(replica: sqlite3.Connection) -> None:
    """Inserts, updates and deletes do to the replica what was done to the source."""
    apply(replica, commit(made("CREATE TABLE t(id INTEGER PRIMARY KEY, x)")))
    apply(
        replica,
        commit(insert({"id": 1}, {"id": 1, "x": "a"}), insert({"id": 2}, {"id": 2, "x": 0})),
    )
    assert rows(replica) == [(1, "a"), (2, 0)]
    apply(
        replica,
        commit(
            delete({"id": 2}, {"id": 2, "x": 0}),
            update({"id": 1}, {"id": 1, "x": "a"}, {"id": 1, "x": b"b"}),
        ),
    )
    assert rows(replica) == [(1, b"b")]


@settings(max_examples=60, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=5))
def test_every_value_arrives_exactly(values: list[Value]) -> None:
    """What is stored in the replica is identical to what the changeset carries."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as replica:
        apply(replica, commit(made("CREATE TABLE t(x)")))
        changes = [insert({"$rowid": n}, {"x": value}) for n, value in enumerate(values)]
        apply(replica, commit(*changes))
        stored = "SELECT typeof(x), CASE typeof(x) WHEN 'real' THEN x END, CAST(x AS BLOB) FROM t"
        assert list(map(_exact, rows(replica, stored))) == [_expected(value) for value in values]
        apply(replica, commit(*(delete(change.key, {"x": 0}) for change in changes)))
        assert rows(replica) == []


def _exact(row: tuple[str, float | None, bytes | None]) -> tuple[str, str | bytes | None]:
    kind, real, data = row
    return kind, data if real is None else real.hex()


def _expected(value: Value) -> tuple[str, str | bytes | None]:
    assert not isinstance(value, LargeValue)
    if value is None:
        return "null", None
    if isinstance(value, float):
        return "real", value.hex()
    if isinstance(value, int):
        return "integer", str(value).encode()
    if isinstance(value, InvalidText):
        return "text", value.data
    return ("text", value.encode()) if isinstance(value, str) else ("blob", value)


KEYS: list[Value] = [1, "1", b"1", 1.5, "a\0b", "é", b"", "", InvalidText(b"\xff"), 2**63 - 1]


@pytest.mark.parametrize("key", KEYS, ids=repr)
@pytest.mark.parametrize("tail", ["", " WITHOUT ROWID"])
def test_a_row_is_found_by_any_key(replica: sqlite3.Connection, key: Value, tail: str) -> None:
    """Whatever type its key has, just the row with that key is updated and deleted."""
    table = f"CREATE TABLE t(k PRIMARY KEY, x){tail}"
    apply(replica, commit(made(table)))
    apply(replica, commit(*(insert({"k": other}, {"k": other, "x": 0}) for other in KEYS)))
    apply(replica, commit(update({"k": key}, {"k": key, "x": 0}, {"k": key, "x": 1})))
    assert rows(replica, "SELECT sum(x), count(*) FROM t") == [(1, len(KEYS))]
    apply(replica, commit(delete({"k": key}, {"k": key, "x": 1})))
    assert rows(replica, "SELECT sum(x), count(*) FROM t") == [(0, len(KEYS) - 1)]


def test_two_rows_may_swap_a_unique_value(replica: sqlite3.Connection) -> None:
    """No order of single rows could do it; all old rows go before any new one comes."""
    apply(replica, commit(made("CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE)")))
    first: Row = {"id": 1, "u": "a"}
    second: Row = {"id": 2, "u": "b"}
    apply(replica, commit(insert({"id": 1}, first), insert({"id": 2}, second)))
    apply(
        replica,
        commit(
            update({"id": 1}, first, {"id": 1, "u": "b"}),
            update({"id": 2}, second, {"id": 2, "u": "a"}),
        ),
    )
    assert rows(replica) == [(1, "b"), (2, "a")]


def test_a_key_may_change_to_one_its_collation_calls_equal(replica: sqlite3.Connection) -> None:
    """'a' becomes 'A' under NOCASE: the old spelling goes, the new one comes."""
    apply(replica, commit(made("CREATE TABLE t(k TEXT COLLATE NOCASE PRIMARY KEY)")))
    apply(replica, commit(insert({"k": "a"}, {"k": "a"})))
    apply(replica, commit(delete({"k": "a"}, {"k": "a"}), insert({"k": "A"}, {"k": "A"})))
    assert rows(replica) == [("A",)]


def test_null_keys_are_known_by_rowid(replica: sqlite3.Connection) -> None:
    """Several rows with NULL in the key are told apart, and moved out of each other's way."""
    apply(replica, commit(made("CREATE TABLE t(k PRIMARY KEY, x)")))
    # The replica gives the first row a rowid of its own choosing, which is 1.
    apply(replica, commit(insert({"k": "a"}, {"k": "a", "x": 0})))
    apply(
        replica,
        commit(
            insert({"$rowid": 1}, {"k": None, "x": 1}), insert({"$rowid": 2}, {"k": None, "x": 2})
        ),
    )
    assert rows(replica, "SELECT k, x FROM t ORDER BY x") == [("a", 0), (None, 1), (None, 2)]
    apply(replica, commit(delete({"$rowid": 1}, {"k": None, "x": 1})))
    apply(replica, commit(update({"$rowid": 2}, {"k": None, "x": 2}, {"k": None, "x": 3})))
    assert rows(replica, "SELECT rowid, k, x FROM t WHERE k IS NULL") == [(2, None, 3)]
    assert rows(replica, "SELECT x FROM t WHERE k = 'a'") == [(0,)]


def test_a_row_known_by_key_is_never_taken_for_one_known_by_rowid(
    replica: sqlite3.Connection,
) -> None:
    """A rowid that the replica chose by itself says nothing: the keyed row stays."""
    apply(replica, commit(made("CREATE TABLE t(k PRIMARY KEY, x)")))
    apply(replica, commit(insert({"$rowid": 5}, {"k": None, "x": "null"})))
    apply(
        replica,
        commit(
            delete({"$rowid": 5}, {"k": None, "x": "null"}), insert({"k": "a"}, {"k": "a", "x": 1})
        ),
    )
    ((chosen,),) = rows(replica, "SELECT rowid FROM t")
    apply(
        replica,
        content(
            insert({"$rowid": chosen}, {"k": None, "x": 2}),
        ),
    )
    assert rows(replica, "SELECT k, x FROM t ORDER BY x") == [("a", 1), (None, 2)]


@pytest.mark.parametrize("hidden", ["rowid", "rowid, _rowid_", "oid, rowid"])
def test_rowids_are_reached_by_whatever_name_is_free(
    replica: sqlite3.Connection, hidden: str
) -> None:
    """Columns named like the rowid do not get in its way."""
    apply(replica, commit(made(f"CREATE TABLE t({hidden})")))
    row: Row = dict.fromkeys(hidden.split(", "), "x")
    apply(replica, commit(insert({"$rowid": 7}, row), insert({"$rowid": 9}, row)))
    apply(replica, commit(delete({"$rowid": 7}, row)))
    assert len(rows(replica)) == 1
    free = next(n for n in ("rowid", "_rowid_", "oid") if n not in row)
    assert rows(replica, f"SELECT {free} FROM t") == [(9,)]


def test_a_table_may_be_called_like_a_function_of_pragma(replica: sqlite3.Connection) -> None:
    """It hides the function that lists tables, by which layouts are read."""
    apply(replica, commit(made("CREATE TABLE pragma_table_list(name)", "pragma_table_list")))
    apply(replica, commit(made("CREATE TABLE t(id INTEGER PRIMARY KEY, x)")))
    apply(replica, commit(insert({"id": 1}, {"id": 1, "x": "a"})))
    assert rows(replica) == [(1, "a")]


def test_a_row_cannot_come_twice(replica: sqlite3.Connection) -> None:
    """Applying a changeset again is refused, with a key and without one, and changes nothing."""
    apply(replica, commit(made("CREATE TABLE t(x)"), made("CREATE TABLE u(k PRIMARY KEY)", "u")))
    once = (insert({"$rowid": 1}, {"x": "a"}), insert({"k": 1}, {"k": 1}, "u"))
    apply(replica, commit(*once))
    for change in once:
        with pytest.raises(ReplicaError):
            apply(replica, commit(change))
    assert (rows(replica), rows(replica, "SELECT * FROM u")) == ([("a",)], [(1,)])


OWN = """
CREATE TABLE log(what);
CREATE TABLE child(p REFERENCES t(id) ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TRIGGER i AFTER INSERT ON t BEGIN INSERT INTO log VALUES('i'); END;
CREATE TRIGGER u AFTER UPDATE ON t BEGIN INSERT INTO log VALUES('u'); END;
CREATE TRIGGER d BEFORE DELETE ON t BEGIN SELECT RAISE(ABORT, 'no'); END;
INSERT INTO child VALUES(1);
"""


def test_triggers_and_foreign_keys_rest_and_are_there_afterwards(
    replica: sqlite3.Connection,
) -> None:
    """The replica's own rules do not act while changes are applied, and act again after it."""
    replica.execute("PRAGMA foreign_keys=1")
    apply(replica, commit(made("CREATE TABLE t(id INTEGER PRIMARY KEY, x)")))
    apply(replica, commit(insert({"id": 1}, {"id": 1, "x": "a"})))
    replica.executescript(OWN)
    sql = rows(replica, "SELECT * FROM sqlite_schema WHERE type='trigger' ORDER BY name")
    apply(replica, commit(update({"id": 1}, {"id": 1, "x": "a"}, {"id": 1, "x": "b"})))
    apply(replica, commit(delete({"id": 1}, {"id": 1, "x": "b"})))
    apply(replica, commit(insert({"id": 2}, {"id": 2, "x": "c"})))
    assert rows(replica) == [(2, "c")]
    assert rows(replica, "SELECT * FROM log") == []
    assert rows(replica, "SELECT p FROM child") == [(1,)]
    assert sql == rows(replica, "SELECT * FROM sqlite_schema WHERE type='trigger' ORDER BY name")
    assert rows(replica, "PRAGMA foreign_keys") == [(1,)]
    replica.execute("INSERT INTO t VALUES(3, 'd')")
    assert rows(replica, "SELECT * FROM log") == [("i",)]
    with pytest.raises(sqlite3.IntegrityError):
        replica.execute("INSERT INTO child VALUES(77)")


@pytest.mark.parametrize(
    "pragma", ["foreign_keys", "ignore_check_constraints", "legacy_alter_table"]
)
@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("fits", [True, False])
def test_switches_are_as_before(
    replica: sqlite3.Connection, pragma: str, value: int, fits: bool
) -> None:
    """Whether a changeset is applied or refused, the connection's settings are what they were."""
    replica.execute(f"PRAGMA {pragma}={value}")
    if fits:
        apply(replica, commit(made("CREATE TABLE t(x)")))
    else:
        with pytest.raises(ReplicaError):
            apply(replica, commit(insert({"$rowid": 1}, {"x": 1})))
    assert rows(replica, f"PRAGMA {pragma}") == [(value,)]


def test_the_replica_may_make_rows_and_texts_as_it_likes(replica: sqlite3.Connection) -> None:
    """A row factory and a text factory of the application's own are left alone and not used."""
    factory = lambda _cursor, row: {"row": row}  # noqa: E731
    replica.row_factory, replica.text_factory = factory, bytes
    apply(replica, commit(made("CREATE TABLE t(id INTEGER PRIMARY KEY, x)")))
    apply(replica, commit(insert({"id": 1}, {"id": 1, "x": "a"})))
    assert rows(replica) == [{"row": (1, b"a")}]
    assert (replica.row_factory, replica.text_factory) == (factory, bytes)


@pytest.mark.parametrize(
    "change",
    [
        SchemaChange("t", "table", "t", "CREATE TABLE t(x)", None),
        SchemaChange(
            "n",
            "table",
            "n",
            "CREATE TABLE t(x)",
            "CREATE TABLE n(x)",
            renamed_from="t",
            columns=(ColumnSource("x", "x"),),
        ),
    ],
    ids=["dropped", "renamed"],
)
def test_a_trigger_goes_with_its_table(replica: sqlite3.Connection, change: SchemaChange) -> None:
    """Where the source drops or renames a table, the replica's trigger on it is no obstacle."""
    apply(replica, commit(made("CREATE TABLE t(x)"), made("CREATE TABLE o(x)", "o")))
    replica.execute("CREATE VIEW v AS SELECT x FROM o")
    for table, when in (("t", "AFTER"), ("o", "AFTER"), ("v", "INSTEAD OF")):
        replica.execute(f"CREATE TRIGGER on_{table} {when} INSERT ON {table} BEGIN SELECT 1; END")
    apply(replica, commit(change))
    assert names(replica, "trigger") == ["on_o", "on_v"]


def test_check_constraints_hold_for_the_source_and_need_no_second_look(
    replica: sqlite3.Connection,
) -> None:
    """A row the source stored under PRAGMA ignore_check_constraints is stored here too."""
    apply(replica, commit(made("CREATE TABLE t(x CHECK(x > 0))")))
    apply(replica, commit(insert({"$rowid": 1}, {"x": -1})))
    assert rows(replica) == [(-1,)]


def test_generated_columns_are_computed_not_stored(replica: sqlite3.Connection) -> None:
    """A row names its generated columns too; the replica computes them itself."""
    apply(
        replica,
        commit(
            made("CREATE TABLE t(id INTEGER PRIMARY KEY, v AS (id * 2), x, s AS (x || '!') STORED)")
        ),
    )
    row: Row = {"id": 1, "v": 2, "x": "a", "s": "a!"}
    apply(replica, commit(insert({"id": 1}, row)))
    apply(replica, commit(update({"id": 1}, row, {"id": 1, "v": 2, "x": "b", "s": "b!"})))
    assert rows(replica) == [(1, 2, "b", "b!")]


def changed_table(
    table: str,
    after: str,
    *columns: tuple[str, str | None],
    default: Value = None,
    renamed_from: str | None = None,
) -> SchemaChange:
    sources = tuple(ColumnSource(name, source, default) for name, source in columns)
    return SchemaChange(
        table, "table", table, "…", after, renamed_from=renamed_from, columns=sources
    )


def test_columns_are_renamed_added_and_dropped_with_their_rows(
    replica: sqlite3.Connection,
) -> None:
    """Held rows take the new columns, the default included, without coming again."""
    apply(replica, commit(made("CREATE TABLE t(a, b TEXT)")))
    apply(replica, commit(insert({"$rowid": 5}, {"a": 1, "b": "x"})))
    wider = "CREATE TABLE t(c, b TEXT, d DEFAULT 'n')"
    apply(
        replica, commit(changed_table("t", wider, ("c", "a"), ("b", "b"), ("d", None), default="n"))
    )
    assert rows(replica, "SELECT rowid, c, b, d FROM t") == [(5, 1, "x", "n")]
    apply(replica, commit(changed_table("t", "CREATE TABLE t(d)", ("d", "d"))))
    assert rows(replica, "SELECT rowid, * FROM t") == [(5, "n")]
    assert names(replica, "table") == ["t"]


@pytest.mark.parametrize("default", [None, 1.0, b"\0", "é", InvalidText(b"\xff")], ids=repr)
def test_a_new_column_holds_the_default_in_every_old_row(
    replica: sqlite3.Connection, default: Value
) -> None:
    """The default arrives as the value it is."""
    apply(replica, commit(made("CREATE TABLE t(a)"), insert({"$rowid": 1}, {"a": 1})))
    change = changed_table("t", "CREATE TABLE t(a, b)", ("a", "a"), ("b", None), default=default)
    apply(replica, commit(change))
    stored = "SELECT typeof(b), CASE typeof(b) WHEN 'real' THEN b END, CAST(b AS BLOB) FROM t"
    assert list(map(_exact, rows(replica, stored))) == [_expected(default)]


def test_a_renamed_table_keeps_its_rows_and_what_follows_applies(
    replica: sqlite3.Connection,
) -> None:
    """Rows carry over under the new name, rowids included, and change within the same changeset."""
    apply(replica, commit(made("CREATE TABLE old(x)", "old")))
    apply(
        replica,
        commit(insert({"$rowid": 3}, {"x": 1}, "old"), insert({"$rowid": 4}, {"x": 2}, "old")),
    )
    renamed = changed_table("new", "CREATE TABLE new(y)", ("y", "x"), renamed_from="old")
    apply(replica, commit(renamed, delete({"$rowid": 3}, {"y": 1}, "new")))
    assert rows(replica, "SELECT rowid, y FROM new") == [(4, 2)]
    assert names(replica, "table") == ["new"]


def test_a_rename_by_case_alone_keeps_the_rows(replica: sqlite3.Connection) -> None:
    """`t` becomes `T`: the same name to SQLite, another to a client."""
    apply(replica, commit(made("CREATE TABLE t(x)"), insert({"$rowid": 1}, {"x": 1})))
    apply(replica, commit(changed_table("T", "CREATE TABLE T(x)", ("x", "x"), renamed_from="t")))
    assert (names(replica, "table"), rows(replica)) == (["T"], [(1,)])


def test_a_table_whose_rows_are_void_comes_anew(replica: sqlite3.Connection) -> None:
    """Without `columns` the held rows go, and those of the changeset are all there is."""
    apply(replica, commit(made("CREATE TABLE t(x)"), insert({"$rowid": 1}, {"x": 1})))
    anew = SchemaChange("t", "table", "t", "…", "CREATE TABLE t(x INT PRIMARY KEY, y)")
    apply(replica, commit(anew, insert({"x": 5}, {"x": 5, "y": 6})))
    assert rows(replica) == [(5, 6)]


def test_other_objects_concern_no_rows(replica: sqlite3.Connection) -> None:
    """Indexes, views and triggers of the source are not made."""
    apply(replica, commit(made("CREATE TABLE t(x)")))
    apply(
        replica,
        commit(
            SchemaChange("t", "index", "i", None, "CREATE INDEX i ON t(x)"),
            SchemaChange(
                "t", "trigger", "r", None, "CREATE TRIGGER r INSERT ON t BEGIN SELECT 1; END"
            ),
            SchemaChange("v", "view", "v", None, "CREATE VIEW v AS SELECT 1"),
        ),
    )
    assert names(replica, "table") == ["t"]
    assert names(replica, "index") + names(replica, "trigger") + names(replica, "view") == []


def test_a_reset_empties_the_replica(replica: sqlite3.Connection) -> None:
    """Every table goes, triggers and references notwithstanding; the content comes after it."""
    apply(replica, commit(made("CREATE TABLE t(id INTEGER PRIMARY KEY, x)")))
    apply(replica, commit(insert({"id": 1}, {"id": 1, "x": "a"})))
    replica.executescript(OWN)
    replica.execute("CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT)")
    replica.execute("INSERT INTO counted DEFAULT VALUES")
    apply(
        replica,
        content(
            made("CREATE TABLE t(y)"),
            insert({"$rowid": 1}, {"y": 1}),
            reset=ResetReason.POSITION_EXPIRED,
        ),
    )
    assert contents(replica).keys() == {"t"}
    assert rows(replica) == [(1,)]


def test_content_may_bring_a_row_more_than_once(replica: sqlite3.Connection) -> None:
    """Until the content is complete a row comes with its table and as a change, in any order."""
    apply(
        replica, content(made("CREATE TABLE t(id INTEGER PRIMARY KEY, x)"), reset=ResetReason.START)
    )
    apply(replica, content(update({"id": 2}, {"id": 2, "x": 0}, {"id": 2, "x": 1})))
    apply(replica, content(delete({"id": 3}, {"id": 3, "x": 0})))
    apply(
        replica, content(insert({"id": 1}, {"id": 1, "x": 0}), insert({"id": 2}, {"id": 2, "x": 1}))
    )
    apply(replica, content(insert({"id": 1}, {"id": 1, "x": 7})))
    assert rows(replica) == [(1, 7), (2, 1)]


def test_an_open_transaction_is_an_error(replica: sqlite3.Connection) -> None:
    """The application's own transaction is neither committed nor joined."""
    apply(replica, commit(made("CREATE TABLE t(x)")))
    replica.execute("BEGIN")
    replica.execute("INSERT INTO t VALUES(1)")
    with pytest.raises(ReplicaError):
        apply(replica, commit(insert({"$rowid": 9}, {"x": 9})))
    assert replica.in_transaction
    replica.execute("ROLLBACK")
    assert rows(replica) == []


def test_a_connection_that_opens_transactions_by_itself_will_do() -> None:
    """The default mode of Python's sqlite3 is as good as autocommit."""
    with closing(sqlite3.connect(":memory:")) as replica:
        apply(replica, commit(made("CREATE TABLE t(x)"), insert({"$rowid": 1}, {"x": 1})))
        assert not replica.in_transaction
        assert rows(replica) == [(1,)]


MISFITS = {
    "no such table": [insert({"$rowid": 1}, {"x": 1}, "nowhere")],
    "no such column": [insert({"$rowid": 8}, {"z": 1, "id": 9})],
    "taken key": [insert({"id": 1}, {"id": 1, "x": "other"})],
    "taken unique value": [insert({"id": 5}, {"id": 5, "x": "a"})],
    "not null": [insert({"id": 5}, {"id": 5, "x": None})],
    "value not fetched": [insert({"id": 5}, {"id": 5, "x": LargeValue("text", 300_000, "00")})],
    "bad sql": [made("CREATE TABLE broken(")],
}


@pytest.mark.parametrize("misfit", MISFITS.values(), ids=MISFITS)
def test_what_does_not_fit_leaves_the_replica_as_it_was(
    replica: sqlite3.Connection, misfit: list[Change | SchemaChange]
) -> None:
    """A changeset that fails, however late, is undone whole: rows, tables, triggers, settings."""
    apply(replica, commit(made("CREATE TABLE t(id INTEGER PRIMARY KEY, x UNIQUE NOT NULL)")))
    apply(
        replica,
        commit(insert({"id": 1}, {"id": 1, "x": "a"}), insert({"id": 2}, {"id": 2, "x": "b"})),
    )
    replica.executescript(OWN)
    before = list(replica.iterdump())
    with pytest.raises(ReplicaError):
        apply(
            replica,
            commit(
                changed_table(
                    "t2",
                    "CREATE TABLE t2(id INTEGER PRIMARY KEY, x)",
                    ("id", "id"),
                    ("x", "x"),
                    renamed_from="log",
                ),
                *misfit,
                delete({"id": 2}, {"id": 2, "x": "b"}),
                insert({"id": 7}, {"id": 7, "x": "z"}),
            ),
        )
    assert list(replica.iterdump()) == before
    assert not replica.in_transaction


def test_a_replica_that_cannot_be_written_is_as_it_was(tmp_path: Path) -> None:
    """While another program reads or writes it it is refused; afterwards the same applies."""
    path = tmp_path / "replica.db"
    with (
        closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as replica,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        replica.execute("PRAGMA foreign_keys=1")
        apply(replica, commit(made("CREATE TABLE t(x)"), insert({"$rowid": 1}, {"x": 1})))
        change = commit(insert({"$rowid": 2}, {"x": 2}))
        for begin in ("BEGIN", "BEGIN IMMEDIATE"):
            other.execute(begin)
            assert rows(other) == [(1,)]
            with pytest.raises(ReplicaError):
                apply(replica, change)
            assert not replica.in_transaction
            assert rows(replica, "PRAGMA foreign_keys") == [(1,)]
            other.execute("ROLLBACK")
        apply(replica, change)
        assert rows(other) == [(1,), (2,)]
