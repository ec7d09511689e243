"""The rows of a commit, found from its pages: each claim of docs/engine.md by itself."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sqlite.located import KEYED, LARGE, NUMBERS, ROWS, SMALL, Followed, followed, has, pages
from watcher.sqlite.candidates import Part
from watcher.sqlite.row_changes import _runs


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Followed]:
    with followed(tmp_path, SMALL, ROWS) as found:
        yield found
        assert not found.engine.fallbacks


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[Followed]:
    with followed(tmp_path, SMALL, KEYED) as found:
        yield found
        assert not found.engine.fallbacks


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Followed]:
    with followed(tmp_path, SMALL, LARGE) as found:
        yield found
        assert not found.engine.fallbacks


# 1. Ownership is proven, not believed


@pytest.mark.parametrize("seed", range(4))
def test_1_a_wrong_map_never_makes_a_wrong_row(tmp_path: Path, seed: int) -> None:
    """Hints that say anything at all cost a comparison and a new map, and nothing else."""
    chance = random.Random(seed)
    with followed(tmp_path, SMALL, ROWS, KEYED, LARGE) as found:
        found.run("UPDATE t SET x='first' WHERE id=10")
        found.keep()
        count = found.trees.page_count
        for page in range(count):
            if chance.random() < 0.7:
                found.pointers.point(page, chance.randrange(count))
        found.give_up()
        for number in range(3):
            found.run(
                f"UPDATE t SET x='{number}' WHERE id%700=0",
                f"DELETE FROM k WHERE v%50={number}",
                f"UPDATE l SET x=zeroblob(5000+{number})",
            )
            found.keep()
        assert set(found.engine.fallbacks) <= {"page of no tree"}
        # Made anew, it is right again.
        before = sum(found.engine.fallbacks.values())
        found.run("UPDATE t SET x='last' WHERE id%700=0", "UPDATE lk SET x='last'")
        assert sum(found.engine.fallbacks.values()) == before


def test_1_the_parent_is_found_among_the_pages_written(rows: Followed) -> None:
    """New pages, of which the map knows nothing, hang on pages of the same commit."""
    rows.run("UPDATE t SET x='first' WHERE id=10")
    count = rows.trees.page_count
    found = rows.run(f"{NUMBERS.format(900)} INSERT INTO t SELECT i*10+5, zeroblob(90) FROM n")
    assert found.total() == 900
    assert rows.trees.page_count > count + 100


# 2. Every changed page is accounted for


def test_2_a_page_of_no_tree_makes_a_comparison(tmp_path: Path) -> None:
    """Pages that nothing points to were written: the rows of all tables are right even so."""
    with followed(
        tmp_path, SMALL, ROWS, "CREATE TABLE lost(x); INSERT INTO lost VALUES(1)"
    ) as found:
        root = found.trees.roots["lost"]
        found.run(
            "PRAGMA writable_schema=1; DELETE FROM sqlite_schema WHERE name='lost';"
            "PRAGMA writable_schema=RESET"
        )
        assert not found.engine.fallbacks
        found.db.execute("UPDATE t SET x='new' WHERE id=500").fetchall()
        with Path(found.db.filename).open("r+b") as file:
            file.seek(root * 512 - 5)
            file.write(b"other")
        assert found.look().total() == 1
        assert found.engine.fallbacks == {"page of no tree": 1}
        assert found.run("UPDATE t SET x='newer' WHERE id=500").total() == 1
        assert found.engine.fallbacks == {"page of no tree": 1}


def test_2_free_pages_and_the_pages_of_the_list_are_accounted_for(rows: Followed) -> None:
    """The list grows over several trunks, shrinks, and its pages come to other trees."""
    for sql in (
        "DELETE FROM t WHERE id > 2000",
        f"CREATE TABLE u(x); {NUMBERS.format(300)} INSERT INTO u SELECT zeroblob(400) FROM n",
        "DELETE FROM u WHERE rowid%3",
        "DROP TABLE u",
        f"{NUMBERS.format(500)} INSERT INTO t SELECT i*10+3, zeroblob(i) FROM n",
    ):
        rows.run("SAVEPOINT s", *sql.split(";"), "RELEASE s")


def test_2_free_pages_that_become_what_they_were(tmp_path: Path) -> None:
    """A tree is made again on the pages it had; what they point to comes to it all the same."""
    index = "CREATE INDEX by_x ON t(x, 58)"
    with followed(tmp_path, SMALL, ROWS, index, "DROP INDEX by_x") as found:
        for number in range(4):
            assert found.run(f"UPDATE t SET x={number} WHERE id=20000").total() == 1
            assert found.run(index, f"UPDATE t SET x={number}+9 WHERE id=40").total() == 1
            assert found.run(f"UPDATE t SET x=x||'{number}' WHERE id%130=0").total() > 100
            assert found.run("DROP INDEX by_x").total() == 0
        assert not found.engine.fallbacks


def test_2_pages_of_other_trees_are_nobodys_business(tmp_path: Path) -> None:
    """Indexes and tables that are not watched own their pages; no row is read for them."""
    index = "CREATE INDEX by_x ON t(x); CREATE TABLE other(x)"
    with followed(tmp_path, SMALL, ROWS, index) as found:
        assert found.run("INSERT INTO other VALUES (1)").total() == 1
        assert found.located.get("t", []) == []
        assert found.run("REINDEX by_x").total() == 0
        assert found.run("ANALYZE").total() == 0
        assert not found.engine.fallbacks


# 3. Pages that changed trees unwritten


def test_3_deleted_rows_on_pages_that_were_not_written(rows: Followed) -> None:
    """Whole leaves leave the tree with all their bytes."""
    found = rows.run("DELETE FROM t WHERE id BETWEEN 3000 AND 15000")
    assert found.total() == 1201
    assert len(rows.left_unwritten("t")) > 100


def test_3_deleted_rows_below_interior_pages_that_left(rows: Followed) -> None:
    """Nobody writes an interior page that is freed with all its leaves."""
    interior = has("t", rows, "internal")
    rows.run("DELETE FROM t WHERE id > 50")
    assert rows.left_unwritten("t") & interior


def test_3_all_rows_at_once(rows: Followed) -> None:
    """DELETE without WHERE frees all pages but the root and writes none of them."""
    assert rows.run("DELETE FROM t").total() == 2000
    assert len(rows.left_unwritten("t")) > 100
    assert rows.run("INSERT INTO t VALUES (1, 1)").total() == 1


def test_3_all_rows_at_once_without_rowid(keyed: Followed) -> None:
    """The same for a table whose rows lie on interior pages too."""
    assert keyed.run("DELETE FROM k").total() == 1500
    assert len(keyed.left_unwritten("k")) > 100


def test_3_a_root_that_grows_and_shrinks(tmp_path: Path) -> None:
    """Rows go down from the root when it becomes an interior page, and back up to it."""
    with followed(tmp_path, SMALL, "CREATE TABLE t(id INTEGER PRIMARY KEY, x)") as found:
        depths = set()
        for sql in (
            "INSERT INTO t VALUES (1, zeroblob(100)), (2, zeroblob(100))",
            f"{NUMBERS.format(10)} INSERT INTO t SELECT i+2, zeroblob(100) FROM n",
            f"{NUMBERS.format(400)} INSERT INTO t SELECT i+20, zeroblob(100) FROM n",
            "DELETE FROM t WHERE id BETWEEN 5 AND 400",
            "DELETE FROM t WHERE id > 3",
            f"{NUMBERS.format(900)} INSERT INTO t SELECT i+20, zeroblob(100) FROM n",
            "DELETE FROM t WHERE id <> 500",
        ):
            assert found.run(sql).total() > 0
            depths.add(len(has("t", found, "internal")))
        assert len(depths) >= 4
        assert not found.engine.fallbacks


def test_3_pages_that_come_back_unwritten(rows: Followed) -> None:
    """Children that are handed to a new parent are in the tree before and after."""
    interior = has("t", rows, "internal")
    found = rows.run(f"{NUMBERS.format(40)} INSERT INTO t SELECT i+20000, zeroblob(400) FROM n")
    assert found.total() == 40
    assert has("t", rows, "internal") - interior
    assert min(rows.located["t"]) > 19_000


@pytest.mark.parametrize("schema", [False, True], ids=["alone", "with a view"])
@pytest.mark.parametrize("seed", [0, 8, 4, 11])
def test_3_pages_that_were_written_and_then_freed(
    rows: Followed, seed: int, *, schema: bool
) -> None:
    """With little memory a page goes to the file with rows before the same commit frees it."""
    rows.db.execute("PRAGMA cache_size=4").fetchall()
    chance = random.Random(seed)
    for number in range(6):
        start, width = chance.randint(1, 1900) * 10, chance.randint(3, 40) * 10
        rows.run(
            f"CREATE VIEW v{number} AS SELECT 1" if schema else "SELECT 1",
            "UPDATE t SET x=replace(x, '0', '1')"
            f" WHERE id BETWEEN {start - 2000} AND {start + 2000}",
            f"DELETE FROM t WHERE id BETWEEN {start} AND {start + width}",
        )
        if chance.random() < 0.5:
            rows.keep()


# 4. Cells are compared as a set


def test_4_rows_that_moved_are_not_read(rows: Followed) -> None:
    """A row that makes its neighbours move to other pages is the one that is read."""
    found = rows.run("UPDATE t SET x=zeroblob(440) WHERE id IN (5000, 5010, 5020)")
    assert found.total() == 3
    leaves = [page for page in rows.written if page in has("t", rows, "leaf")]
    assert len(leaves) >= 4
    # Bytes behind a cell may be others without the cell being another one.
    assert len(rows.located.get("t", [])) <= 3 + len(leaves) * 2


def test_4_a_commit_of_many_pages_tells_each_row_once(rows: Followed) -> None:
    """More than are looked at together, every row of them changed and moved."""
    assert len(has("t", rows, "leaf")) > 100
    assert rows.run("UPDATE t SET x=zeroblob(200+id%90)").total() == 2000
    assert len(has("t", rows, "leaf")) > 512
    found = rows.located.get("t", [])
    assert found == sorted(set(found))
    assert (
        rows.run("DELETE FROM t WHERE id%30=0", "UPDATE t SET x=x||1 WHERE id%40=0").total() > 900
    )
    found = rows.located.get("t", [])
    assert found == sorted(set(found))


def test_4_rows_with_negative_numbers_are_in_order(rows: Followed) -> None:
    """Rowids are compared as numbers, over several parts."""
    wide = "INSERT INTO t SELECT (i-350)*4611686018427387, zeroblob(300) FROM n"
    assert rows.run(f"{NUMBERS.format(700)} {wide}").total() == 700
    assert rows.run("UPDATE t SET x=zeroblob(299) WHERE id%10").total() > 500
    found = rows.located.get("t", [])
    assert found == sorted(set(found))


def test_4_a_row_that_was_written_and_is_the_same_is_not_told(rows: Followed) -> None:
    """Deleted and inserted again, and changed there and back."""
    assert rows.run("DELETE FROM t WHERE id=70", "INSERT INTO t SELECT 70, '0000007'").total() == 0
    assert (
        rows.run("UPDATE t SET x=x||'!'", "UPDATE t SET x=substr(x, 1, length(x)-1)").total() == 0
    )


# 5. Overflow pages


@pytest.mark.parametrize("place", [600, 3000, 6999])
def test_5_a_value_overwritten_in_place(large: Followed, place: int) -> None:
    """Incremental writing to a blob writes the overflow page alone."""
    with large.db.blob_open("main", "l", "x", 10, True) as blob:
        blob.seek(place)
        blob.write(b"!")
    found = large.look()
    assert [(op, table) for op, table, *_ in found] == [("update", "l")]
    overflow = has("l", large, "overflow")
    assert large.written <= overflow | {1}


def test_5_a_value_overwritten_in_place_without_rowid(tmp_path: Path) -> None:
    """A row that takes its old pages again differs in one of them alone."""
    table = "CREATE TABLE one(a PRIMARY KEY, x) WITHOUT ROWID; CREATE TABLE gone(x)"
    fill = "INSERT INTO gone VALUES (zeroblob(5000)); INSERT INTO one VALUES (1, zeroblob(7000))"
    with followed(tmp_path, SMALL, table, fill, "DELETE FROM gone") as found:
        told = found.run("UPDATE one SET x=CAST(zeroblob(6999) || x'01' AS BLOB)")
        assert [op for op, *_ in told] == ["update"]
        assert found.written <= has("one", found, "overflow") | {1}
        assert not found.engine.fallbacks


def test_5_overflow_pages_that_go_and_come(large: Followed) -> None:
    """Chains become longer and shorter, go, and are used by other rows and tables."""
    for sql in (
        "UPDATE l SET x=zeroblob(id*300)",
        "UPDATE l SET x='short' WHERE id%2",
        "UPDATE lk SET x=zeroblob(9000) WHERE a%2",
        "DELETE FROM lk WHERE a%3=0",
        "INSERT INTO l SELECT a+100, x FROM lk",
        "UPDATE l SET x=hex(x)",
    ):
        assert large.run(sql).total() > 0


def test_5_rows_that_overflow_are_read_alone(large: Followed) -> None:
    """Those that do in either state are known as such, all of them and no others."""
    assert large.run("UPDATE l SET x=randomblob(5) WHERE id<8", "DELETE FROM l WHERE id=9") != {}
    assert large.heavy["l"] == {*range(1, 8), 9}
    assert large.run("UPDATE l SET x=randomblob(9) WHERE id<6").total() == 5
    assert large.heavy["l"] == set()
    assert large.run("UPDATE l SET x=randomblob(900) WHERE id=3").total() == 1
    assert large.heavy["l"] == {3}


def test_5_runs_of_rows_are_bounded() -> None:
    """Rows with successive numbers are read together, large ones each by itself."""
    runs = list(_runs(Part([1, 2, 3, 4, 5, 9], {3, 5})))
    assert runs == [[1, 2], [3], [4], [5], [9]]
    runs = list(_runs(Part(list(range(1000)), set())))
    assert [n for run in runs for n in run] == list(range(1000))
    assert max(map(len, runs)) == 250


# 6. The partner of a row


PARTNERS = """
CREATE TABLE named(name TEXT NOT NULL PRIMARY KEY, x);
CREATE TABLE nameless(x);
CREATE TABLE maybe(name TEXT PRIMARY KEY, x);
WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<300)
INSERT INTO named SELECT 'n' || i, i FROM n;
INSERT INTO nameless SELECT x FROM named;
INSERT INTO maybe SELECT nullif(name, 'n' || (x/5*5)), x FROM named;
DELETE FROM named WHERE x%7=0;
DELETE FROM nameless WHERE x%7=0;
DELETE FROM maybe WHERE x%7=0;
"""


def test_6_vacuum_renumbers_rows_without_a_key_alone(tmp_path: Path) -> None:
    """They are deletes and inserts; those of tables with a key are silent."""
    with followed(tmp_path, SMALL, PARTNERS) as found:
        told = found.run("VACUUM")
        assert {table for _, table, *_ in told} == {"nameless"}
        assert not found.engine.fallbacks


def test_6_a_row_keeps_its_key_at_another_rowid(tmp_path: Path) -> None:
    """It is silent where its values are the same, and an update where they are not."""
    with followed(tmp_path, SMALL, PARTNERS) as found:
        assert found.run("UPDATE named SET rowid=rowid+1000").total() == 0
        told = found.run("UPDATE named SET rowid=rowid-1000, x=x+1 WHERE x<20")
        assert {op for op, *_ in told} == {"update"}
        assert found.run("UPDATE maybe SET rowid=-rowid").total() > 0
        assert not found.engine.fallbacks


def test_6_keys_that_change_places(tmp_path: Path) -> None:
    """Two rows swap their keys, one takes the key of a deleted one, one loses its key."""
    with followed(tmp_path, SMALL, PARTNERS) as found:
        for table in ("named", "maybe"):
            found.run(
                f"UPDATE {table} SET name='other' WHERE x=1",
                f"UPDATE {table} SET name='n1' WHERE x=2",
                f"UPDATE {table} SET name='n2' WHERE x=1",
                f"DELETE FROM {table} WHERE x=3",
                f"UPDATE {table} SET name='n3' WHERE x=4",
            )
        found.run("UPDATE maybe SET name=NULL WHERE x<20")
        found.run("UPDATE maybe SET name='n' || x WHERE x BETWEEN 10 AND 30")
        assert not found.engine.fallbacks


# WITHOUT ROWID


def test_rows_on_interior_pages(keyed: Followed) -> None:
    """They are changed, deleted, replaced by others from below, and moved down again."""
    for sql in (
        "UPDATE k SET v=-v",
        "DELETE FROM k WHERE v%3=0",
        "UPDATE k SET v=v+1 WHERE v%5=0",
        f"{NUMBERS.format(200)} INSERT INTO k SELECT printf('%04d', i*15) || 'new', i FROM n",
        "UPDATE k SET a=a || 'longer' WHERE v%11=0",
        "DELETE FROM k WHERE a < '1500'",
    ):
        assert keyed.run(sql).total() > 0
        assert pages(keyed.trees, "k") & keyed.written
