"""What the machine may have written, as strategies for the operations of `session.Session`."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.oracle.events import Hearing
from tests.oracle.test_oracle import COLUMN_RESTS, NAMES, SCHEMAS, VALUES

# Small pages more often: a tree of some depth fits into few bytes.
PAGE_SIZES = (512, 512, 512, 1024, 1024, 2048, 4096, 4096, 8192, 16384, 32768, 65536)
MODES = ("wal", "delete", "wal", "truncate", "persist", "wal", "memory", "off")

# The first is made with each database, so that there is always something to write to.
TABLES = (
    "CREATE TABLE a(id INTEGER PRIMARY KEY, x, y TEXT)",
    "CREATE TABLE b(x, y)",
    "CREATE TABLE c(k TEXT PRIMARY KEY, v)",
    "CREATE TABLE w(k BLOB PRIMARY KEY, v, w) WITHOUT ROWID",
    *(sql for sql in SCHEMAS[3:] if not sql.startswith("CREATE TABLE g(")),
    # Not `x || 'z'`: how a blob becomes text depends on the encoding, and a replica has its own.
    "CREATE TABLE g(id INTEGER PRIMARY KEY, x INT, y AS (typeof(x)),"
    " z AS (CASE typeof(x) WHEN 'integer' THEN x + 1 ELSE 'z' END) STORED)",
    "CREATE TABLE r(a INT, b TEXT COLLATE NOCASE, c, PRIMARY KEY(b DESC, a)) WITHOUT ROWID",
    "CREATE TABLE s(id INTEGER PRIMARY KEY, t TEXT, b BLOB, a ANY) STRICT",
    "CREATE TABLE u(x UNIQUE, y COLLATE RTRIM, UNIQUE(y, x) ON CONFLICT REPLACE)",
    "CREATE TABLE p(id INTEGER PRIMARY KEY, x)",
    "CREATE TABLE q(id INTEGER PRIMARY KEY, y REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE)",
    "CREATE VIRTUAL TABLE t USING fts5(x)",
)

_TABLE = st.integers(0, 9)
_COLUMN = st.integers(0, 4)
_PLACE = st.integers(0, 15)
_COUNT = st.sampled_from([1, 1, 1, 2, 7, 40, 1000])
_VERB = st.sampled_from(["IGNORE", "REPLACE", "ABORT"])
_QUARTERS = st.sampled_from([0, 1, 2, 3, 4, 5, 9, 17, 50])
_LONG = st.tuples(_QUARTERS, st.sampled_from(["L", b"\0\1", "é", "zero", b"\xff"])).map(
    lambda pair: {"quarters": list(pair)}
)
_VALUE = st.one_of(VALUES, VALUES, _LONG)

_ROWS = st.one_of(
    st.tuples(st.just("insert"), _TABLE, st.lists(_VALUE, min_size=1, max_size=3), _VERB),
    st.tuples(st.just("upsert"), _TABLE, st.lists(_VALUE, min_size=1, max_size=3), _COLUMN),
    st.tuples(
        st.just("fill"),
        _TABLE,
        st.sampled_from([0, 1, 30, 1000, -400, 2**40]),
        st.sampled_from([1, 3, 30, 200, 200, 1500]),
        st.sampled_from([0, 0, 0, 1, 4, 9]),
    ),
    st.tuples(st.just("change"), _TABLE, _PLACE, _COUNT, _COLUMN, _VALUE, _VERB),
    st.tuples(st.just("change"), _TABLE, _PLACE, _COUNT, _COLUMN, _VALUE, _VERB),
    st.tuples(
        st.just("overwrite"), _TABLE, _PLACE, _COLUMN, st.sampled_from(["Z", "q", "é", "\0"])
    ),
    st.tuples(
        st.just("blob"), _TABLE, _PLACE, _COLUMN, st.sampled_from([b"##", b"\xff\xfe", b"z" * 3000])
    ),
    st.tuples(st.just("remove"), _TABLE, _PLACE, _COUNT),
    st.tuples(st.just("remove"), _TABLE, _PLACE, _COUNT),
    st.tuples(
        st.just("move_keys"), _TABLE, _PLACE, _COUNT, st.sampled_from([1, -1, 100, 2**33]), _VERB
    ),
    st.tuples(st.just("copy"), _TABLE, _TABLE),
    st.tuples(st.just("empty"), _TABLE),
)

_OBJECT = st.sampled_from(["o1", "o2", "o3"])
_SCHEMA = st.one_of(
    st.tuples(st.just("sql"), st.sampled_from(TABLES)),
    st.tuples(st.just("sql"), st.sampled_from([
        "CREATE TABLE made AS SELECT * FROM a", "CREATE VIEW v AS SELECT * FROM a",
        "DROP VIEW v", "INSERT INTO t VALUES ('some words to find')", "DROP TABLE t", "REINDEX",
        "ANALYZE",
    ])),
    st.tuples(st.just("add_column"), _TABLE, NAMES, COLUMN_RESTS),
    st.tuples(st.just("drop_column"), _TABLE, _COLUMN),
    st.tuples(st.just("rename_column"), _TABLE, _COLUMN, NAMES),
    st.tuples(st.just("rename_table"), _TABLE, NAMES),
    st.tuples(st.just("drop_table"), _TABLE),
    st.tuples(st.just("again"), _TABLE, st.sampled_from([0, 2, 60])),
    st.tuples(st.just("twin"), _TABLE, NAMES),
    st.tuples(st.just("index"), _TABLE, _COLUMN, _OBJECT, st.sampled_from(["", "UNIQUE"])),
    _OBJECT.map(lambda name: ("sql", f"DROP INDEX {name}")),
    st.tuples(st.just("required"), _TABLE, _COLUMN, st.sampled_from(["SET", "DROP"])),
    st.tuples(st.just("trigger"), _TABLE, _TABLE, _OBJECT),
    _OBJECT.map(lambda name: ("sql", f"DROP TRIGGER {name}")),
)  # fmt: skip

SETTINGS = st.sampled_from([
    "cache_size=1", "cache_size=10", "cache_size=-2000", "secure_delete=on", "secure_delete=off",
    "secure_delete=fast", "wal_autocheckpoint=3", "wal_autocheckpoint=0", "journal_size_limit=0",
    "journal_size_limit=20000", "user_version=7", "application_id=9", "foreign_keys=on",
    "recursive_triggers=on", "mmap_size=1000000", "incremental_vacuum", "incremental_vacuum(2)",
]).map(lambda text: ("sql", f"PRAGMA {text}"))  # fmt: skip

CHECKPOINT = st.sampled_from(["PASSIVE", "FULL", "RESTART", "TRUNCATE"]).map(
    lambda kind: ("sql", f"PRAGMA wal_checkpoint({kind})")
)
FILE = st.one_of(
    st.just(("sql", "VACUUM")),
    CHECKPOINT,
    st.sampled_from(MODES).map(lambda mode: ("journal", mode)),
    st.sampled_from(PAGE_SIZES).map(lambda size: ("page_size", size)),
    st.integers(0, 2).map(lambda kind: ("auto_vacuum", kind)),
    st.sampled_from([0, 4, 32]).map(lambda size: ("reserve", size)),
    st.just(("reconnect",)),
    st.just(("close",)),
)


@st.composite
def rows(draw: st.DrawFn) -> Any:
    """An operation on rows, under a name of its own: Hypothesis shows no more than that."""
    return draw(_ROWS)


@st.composite
def schema_change(draw: st.DrawFn) -> Any:
    """An operation on the schema."""
    return draw(_SCHEMA)


ROWS, SCHEMA = rows(), schema_change()

# Number of a connection: two in each of two processes.
CONNECTION = st.integers(0, 3)
BEGIN = st.sampled_from(["BEGIN", "BEGIN IMMEDIATE", "SAVEPOINT s"])
END = st.sampled_from(["COMMIT", "COMMIT", "ROLLBACK", "ROLLBACK TO s", "RELEASE s"])
PARTLY = st.sampled_from(["SAVEPOINT n", "SAVEPOINT n", "RELEASE n", "ROLLBACK TO n"]).map(
    lambda s: ("sql", s)
)
IN_TRANSACTION = st.lists(st.one_of(ROWS, ROWS, ROWS, ROWS, SCHEMA, PARTLY), min_size=1, max_size=5)


class Beginning(NamedTuple):
    """How a database is made, and how it is looked at.

    Args:
        mode: the journal mode.
        page_size: bytes in a page.
        encoding: of text.
        auto_vacuum: 0 none, 1 full, 2 incremental.
        reserve: bytes reserved in each page.
        operations: what is in it at first.
        keep: whether the connection of the fresh reads stays open.
        hearing: when readers hear of file events.
    """

    mode: str
    page_size: int
    encoding: str
    auto_vacuum: int
    reserve: int
    operations: list[Any]
    keep: bool
    hearing: Hearing

    @property
    def pragmas(self) -> list[str]:
        """How it is made."""
        return [
            f"page_size={self.page_size}",
            f"encoding='{self.encoding}'",
            f"auto_vacuum={self.auto_vacuum}",
        ]


_FIRST_ROWS = st.tuples(
    st.just("fill"),
    _TABLE,
    st.sampled_from([0, 1, 30]),
    st.sampled_from([3, 40, 300]),
    st.sampled_from([0, 0, 1, 4, 9]),
)


@st.composite
def _first_operations(draw: st.DrawFn) -> list[Any]:
    tables = draw(st.lists(st.sampled_from(TABLES[1:]), max_size=4, unique=True))
    made = [("sql", sql) for sql in (TABLES[0], *tables)]
    return made + draw(st.lists(_FIRST_ROWS, min_size=1, max_size=5))


BEGINNINGS = st.builds(
    Beginning,
    mode=st.sampled_from(MODES[:-1]),
    page_size=st.sampled_from(PAGE_SIZES),
    encoding=st.sampled_from(["UTF-8", "UTF-8", "UTF-16le", "UTF-16be"]),
    auto_vacuum=st.sampled_from([0, 0, 1, 2]),
    reserve=st.sampled_from([0, 0, 0, 4, 32]),
    operations=_first_operations(),
    keep=st.booleans(),
    hearing=st.sampled_from([*[Hearing.LATE] * 3, *[Hearing.PROMPT] * 4, Hearing.NEVER]),
)
