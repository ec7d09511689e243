"""The rows of commits that change the schema or move pages, and of many commits in batches."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sqlite.located import KEYED, LARGE, ROWS, SMALL, Followed, followed
from tests.sqlite.trees import MANY, SHAPES, Shape


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Followed]:
    with followed(tmp_path, SMALL, ROWS) as found:
        yield found
        assert not found.engine.fallbacks


# Schema


def test_roots_that_move(tmp_path: Path) -> None:
    """Auto-vacuum puts the last root where a dropped one was; the rows of neither are told."""
    script = "".join(
        f"CREATE TABLE a{n}(id INTEGER PRIMARY KEY, x); INSERT INTO a{n} SELECT * FROM t;"
        for n in range(4)
    )
    with followed(tmp_path, Shape(512, auto_vacuum=1), ROWS, script) as found:
        roots = found.trees.roots
        assert found.run("DROP TABLE a0").total() == 0
        assert any(found.trees.roots[f"a{n}"] != roots[f"a{n}"] for n in (1, 2, 3))
        assert found.run("UPDATE a3 SET x='new' WHERE id%100=0").total() == 200
        told = found.run("DROP TABLE a1", "UPDATE a2 SET x='new' WHERE id=10", "DELETE FROM a3")
        assert told.total() == 2001
        assert not found.engine.fallbacks


def test_pages_that_move_in_an_auto_vacuum_database(tmp_path: Path) -> None:
    """Those at the end are moved to the gaps: leaves, interior pages and chains."""
    for shape in (Shape(512, auto_vacuum=1), Shape(1024, auto_vacuum=2)):
        directory = tmp_path / str(shape.page_size)
        directory.mkdir()
        with followed(directory, shape, ROWS, KEYED, LARGE) as found:
            count = found.trees.page_count
            assert found.run("DELETE FROM t WHERE id<12000").total() == 1199
            assert found.run("PRAGMA incremental_vacuum(40)").total() == 0
            assert found.run("UPDATE l SET x=zeroblob(1000)", "DELETE FROM k WHERE v%2").total() > 0
            assert found.run("PRAGMA incremental_vacuum").total() == 0
            assert found.trees.page_count < count
            assert found.run("UPDATE lk SET x=zeroblob(id) FROM l WHERE l.id=a").total() == 20
            assert not found.engine.fallbacks


@pytest.mark.parametrize("auto_vacuum", [0, 1])
def test_a_table_that_is_made_anew_in_one_commit(tmp_path: Path, auto_vacuum: int) -> None:
    """With the same columns and with others; the tables beside it are followed by their pages."""
    shape = Shape(512, auto_vacuum=auto_vacuum)
    with followed(tmp_path, shape, ROWS, KEYED, "CREATE TABLE last(x)") as found:
        again = "CREATE TABLE t(id INTEGER PRIMARY KEY, x)"
        found.run(
            "DROP TABLE t", again, "INSERT INTO t SELECT v, a FROM k", "DELETE FROM k WHERE v<9"
        )
        found.run("CREATE TABLE u AS SELECT * FROM t", "DROP TABLE t", again)
        found.run("DROP TABLE k", "CREATE TABLE k(x)", "INSERT INTO k SELECT id FROM u")
        assert found.run("UPDATE k SET x=-x WHERE rowid%100=0").total() > 0
        assert not found.engine.fallbacks


def test_schema_changes_leave_rows_to_their_pages(tmp_path: Path) -> None:
    """Indexes, views, and columns with a constant: only rows that were written are told."""
    with followed(tmp_path, SMALL, ROWS, KEYED) as found:
        assert (
            found.run("CREATE INDEX by_x ON t(x)", "UPDATE t SET x='one' WHERE id=10").total() == 1
        )
        assert found.run("CREATE VIEW v AS SELECT 1", "DELETE FROM t WHERE id>500").total() == 1950
        added = ("ALTER TABLE t ADD COLUMN y DEFAULT 7", "UPDATE t SET y=8 WHERE id=20")
        assert [op for op, *_ in found.run(*added)] == ["update"]
        assert found.run("ALTER TABLE k RENAME TO m", "DELETE FROM m WHERE v=5").total() == 1
        assert found.run("DROP INDEX by_x", "DROP VIEW v").total() == 0
        assert not found.engine.fallbacks


def test_all_pages_at_other_places(tmp_path: Path) -> None:
    """VACUUM writes every tree anew; the map is that of the new places."""
    with followed(tmp_path, Shape(1024), ROWS, KEYED, LARGE) as found:
        found.run("DELETE FROM t WHERE id%30", "DELETE FROM l WHERE id%2")
        assert found.run("VACUUM").total() == 0
        assert found.run("UPDATE t SET x='after'", "UPDATE lk SET x='after'").total() > 60
        assert not found.engine.fallbacks


def test_another_page_size_makes_a_comparison(rows: Followed) -> None:
    """No page has a counterpart then; afterwards pages tell again."""
    rows.db.execute("PRAGMA page_size=2048").fetchall()
    assert rows.run("VACUUM").total() == 0
    assert rows.run("UPDATE t SET x='after' WHERE id=10").total() == 1
    assert rows.engine.fallbacks == {"page size": 1}
    rows.engine.fallbacks.clear()


@pytest.mark.parametrize("size", [512, 4096])
def test_a_value_that_comes_back_to_pages_it_had(tmp_path: Path, size: int) -> None:
    """Nobody writes a page of it that has the same bytes; still it is known whose it is."""
    value = f"printf('%.{14 * size}c', 'L')"
    with followed(tmp_path, Shape(size), "CREATE TABLE b(id INTEGER PRIMARY KEY, x);") as found:
        found.run(f"INSERT INTO b VALUES (1, {value})")
        for key in range(1, 12):
            found.run("DELETE FROM b")
            found.run(f"INSERT INTO b VALUES ({key}, {value})")
            found.run(f"UPDATE b SET id={key + 1}")
            found.run(f"INSERT OR REPLACE INTO b VALUES ({key}, {value})")
            if key % 3 == 0:
                found.keep()
        found.run("UPDATE b SET x=x || 'M'")
        assert not found.engine.fallbacks


# Many commits

SOAK = (pytest.mark.soak, pytest.mark.timeout(300))

# The bytes are random, as those of real content are: a free page that comes to a chain of zeros
# with the bytes it had is not written, and then no page that was written points to the next one.
STATEMENTS = [
    "UPDATE t SET x=x||'{a}' WHERE id BETWEEN {b} AND {b}+{c}*20",
    "DELETE FROM t WHERE id BETWEEN {b} AND {b}+{c}*60",
    "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<{c}*3)"
    " INSERT OR IGNORE INTO t SELECT {b}+i, hex(randomblob({a}*2)) FROM n",
    "UPDATE k SET v=v+{a} WHERE v%{c}=0",
    "DELETE FROM k WHERE v%{c}=1",
    "INSERT OR REPLACE INTO k SELECT printf('%04d', id%3001) || hex(randomblob({a})), {b} FROM t"
    " WHERE id%{c}=2",
    "UPDATE l SET x=randomblob({b}) WHERE id%{c}=0",
    "UPDATE lk SET x=CAST(substr(x, 1, length(x)-1)||x'{a:02}' AS BLOB) WHERE a%{c}=1",
    "INSERT INTO l(x) VALUES (randomblob({b}*3))",
    "DELETE FROM l WHERE id%{c}=3",
    "INSERT OR REPLACE INTO lk SELECT id+{a}, x FROM l",
    "CREATE TABLE IF NOT EXISTS more{c}(x UNIQUE)",
    "DROP TABLE IF EXISTS more{c}",
    "CREATE INDEX IF NOT EXISTS i{c} ON t(x, {a})",
    "DROP INDEX IF EXISTS i{c}",
    "CREATE VIEW IF NOT EXISTS v{c} AS SELECT {a}",
    "PRAGMA cache_size={c}",
    "PRAGMA incremental_vacuum({c})",
]


@pytest.mark.parametrize("shape", [*SHAPES[:4], Shape(1024, auto_vacuum=1)], ids=str)
@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=SOAK) for n in (1, 2))])
def test_commits_in_batches(tmp_path: Path, shape: Shape, seed: int) -> None:
    """Whatever they do, kept one by one or many at once, none makes a comparison."""
    chance = random.Random(f"{seed}{shape}")
    with followed(tmp_path, shape, ROWS, KEYED, LARGE, MANY) as found:
        for _ in range(15):
            statements = [
                statement.format(
                    a=chance.randint(1, 80), b=chance.randint(1, 21_000), c=chance.randint(4, 30)
                )
                for statement in chance.choices(STATEMENTS, k=chance.choice([1, 1, 1, 4]))
            ]
            if chance.random() < 0.04:
                statements = ["VACUUM"]
            found.run(*statements)
            if chance.random() < 0.4:
                found.keep()
        assert not found.engine.fallbacks


def test_a_batch_that_is_given_up_is_read_again(rows: Followed) -> None:
    """What was learned from it is forgotten with it."""
    rows.run("UPDATE t SET x='kept' WHERE id=10")
    rows.keep()
    held = rows._contents
    for sql in ("DELETE FROM t WHERE id BETWEEN 2000 AND 9000", "UPDATE t SET x=zeroblob(300)"):
        rows.run(sql)
    rows.give_up()
    rows._contents = held
    assert rows.run("UPDATE t SET x='both' WHERE id=11000").total() == 2000
    rows.keep()
    assert rows.run("UPDATE t SET x='alone' WHERE id=11000").total() == 1
