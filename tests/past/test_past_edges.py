"""Where the past is hard to tell: keys, renamings, values, and a history that comes and goes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from itertools import zip_longest
from typing import Any

import pytest

from tests.conftest import MakeDatabase
from tests.core.listener import until
from tests.past.oracle import told
from tests.past.story import CLOCK, Story, play
from watcher.errors import BadFilter, ReaderStopped, UnknownTable
from watcher.history import Limits
from watcher.past import tables as past_module
from watcher.past.tables import Past
from watcher.sqlite.exclusion import Exclusion

KEYS = {
    "another case": (
        "CREATE TABLE t(k TEXT COLLATE NOCASE PRIMARY KEY, v)",
        "INSERT INTO t VALUES ('b', 1), ('C', 2), ('a', 3), ('D', 4)",
        "UPDATE t SET k = upper(k), v = v + 1",
        "DELETE FROM t WHERE k IN ('A', 'c')",
    ),
    "a collation of the key": (
        "CREATE TABLE t(k TEXT, v, PRIMARY KEY(k COLLATE NOCASE))",
        "INSERT INTO t VALUES ('b', 1), ('C', 2), ('a', 3), ('D', 4), ('é', 5), ('É', 6)",
        "DELETE FROM t WHERE k > 'a'",
        "INSERT INTO t VALUES ('B', 1), ('e', 2)",
    ),
    "spaces at the end": (
        "CREATE TABLE t(k TEXT COLLATE RTRIM PRIMARY KEY, v)",
        "INSERT INTO t VALUES ('b  ', 1), ('c', 2), ('a ', 3)",
        "UPDATE t SET k = rtrim(k) || '   '",
        "DELETE FROM t WHERE v = 2",
    ),
    "nulls in the key": (
        "CREATE TABLE t(k PRIMARY KEY, v)",
        "INSERT INTO t VALUES (NULL, 1), (2, 2), (NULL, 3), (1, 4), ('1', 5), (x'31', 6)",
        "UPDATE t SET k = v + 10 WHERE k IS NULL",
        "UPDATE t SET k = NULL WHERE v % 2 = 0",
        "DELETE FROM t WHERE v > 3",
    ),
    "all types in a key": (
        "CREATE TABLE t(k PRIMARY KEY, v) WITHOUT ROWID",
        "INSERT INTO t VALUES (1.5, 1), (1, 2), ('a', 3), (x'00', 4), (9007199254740993, 5),"
        " (9e999, 6), (-0.0, 7), ('', 8), (x'', 9), (CAST(x'61ff' AS TEXT), 10)",
        "UPDATE t SET k = 1.0 WHERE k = 1",
        "DELETE FROM t WHERE v % 2 = 1",
        "INSERT INTO t VALUES (1, 'one'), (CAST(x'61fe' AS TEXT), 11), (CAST(x'60ff' AS TEXT), 12)"
        " ON CONFLICT DO NOTHING",
        "DELETE FROM t",
    ),
    "several columns": (
        "CREATE TABLE t(a TEXT COLLATE NOCASE, b, c, PRIMARY KEY(b, a)) WITHOUT ROWID",
        "INSERT INTO t VALUES ('x', 1, 1), ('Y', 1, 2), ('y', 2, 3), ('Z', 1, 4)",
        "UPDATE t SET b = b + 1 WHERE c > 2",
        "DELETE FROM t WHERE c IN (1, 3)",
    ),
    "rowids": (
        "CREATE TABLE t(v, w)",
        "INSERT INTO t VALUES ('a', 1), ('a', 1), ('b', 2), ('c', 3)",
        "DELETE FROM t WHERE rowid = 2",
        "UPDATE t SET rowid = rowid + 10 WHERE v = 'b'",
        "INSERT INTO t(rowid, v) VALUES (-7, 'first'), (9007199254740993, 'last')",
    ),
    "large keys": (
        "CREATE TABLE t(k TEXT PRIMARY KEY, v)",
        "INSERT INTO t VALUES (hex(zeroblob(140000)), 1), ('1', 2), ('0', 3)",
        "UPDATE t SET v = v + 1",
        "DELETE FROM t WHERE length(k) > 3",
    ),
    "large values": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v)",
        "INSERT INTO t VALUES (1, zeroblob(300000)), (2, hex(zeroblob(150000))), (3, 'x')",
        "UPDATE t SET v = v || 'x' WHERE k = 2",
        "DELETE FROM t WHERE k = 1",
    ),
    "names of all kinds": (
        'CREATE TABLE t("$rowid" TEXT PRIMARY KEY, "a""b", "", "key", "table", "é\U0001f600")',
        "INSERT INTO t VALUES ('x', 1, 2, 3, 4, 5), ('y', 1, 2, 3, 4, 5)",
        'UPDATE t SET "key" = \'","key":{"$rowid":"y"},\'',
        "DELETE FROM t",
    ),
    "generated columns": (
        "CREATE TABLE t(k INT GENERATED ALWAYS AS (v * 2) STORED, v INTEGER PRIMARY KEY,"
        " w AS (v || 'x') VIRTUAL)",
        "INSERT INTO t(v) VALUES (1), (2), (3)",
        "UPDATE t SET v = v + 10 WHERE v > 1",
    ),
    "many rows at once": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v)",
        "WITH RECURSIVE i(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM i WHERE x<3500)"
        " INSERT INTO t SELECT x, 'v' || x FROM i",
        "UPDATE t SET v = v || '!'",
        "DELETE FROM t WHERE k % 7",
    ),
}


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le"])
def test_rows_are_told_in_the_order_of_their_keys(encoding: str, database: MakeDatabase) -> None:
    """Whatever the keys are, and however texts are stored."""
    cases = dict(KEYS)
    if encoding != "UTF-8":
        # Text that is not valid is another one there.
        del cases["all types in a key"]
    tables = {f"t{n}": [_of(f"t{n}", sql) for sql in case] for n, case in enumerate(cases.values())}
    made = ";".join(statements[0] for statements in tables.values())
    path = database(sql=f"PRAGMA encoding='{encoding}'; {made}; {CLOCK}")

    async def tell(told_of: Story) -> None:
        for statements in zip_longest(*(commits[1:] for commits in tables.values())):
            await told_of.after(*filter(None, statements))
        for name, case in zip(tables, cases, strict=True):
            await told_of.compare(name, 900 if case == "many rows at once" else 2)

    play(path, tell)


def _of(table: str, sql: str) -> str:
    return re.sub(r"\bt\b", table, sql)


def test_texts_beyond_the_first_plane_sort_as_they_are_stored(database: MakeDatabase) -> None:
    """In UTF-16 the order of texts is another than in UTF-8."""
    path = database(
        sql=f"PRAGMA encoding='UTF-16le'; CREATE TABLE t(k TEXT PRIMARY KEY, v); {CLOCK}"
    )

    async def tell(told_of: Story) -> None:
        letters = ["\ufb01", "\U0001f600", "a", "\u0100", "b", "\u0201"]
        values = ", ".join(f"('{letter}', 1)" for letter in letters)
        await told_of.after(f"INSERT INTO t VALUES {values}")
        await told_of.after("DELETE FROM t WHERE k IN ('a', '\ufb01', '\u0100')")
        await told_of.compare("t", 1)

    play(path, tell)


def test_a_table_is_followed_to_its_former_names(database: MakeDatabase) -> None:
    """Renamed tables and columns are told under the names they had; their old names are gone."""
    path = database(sql=f"CREATE TABLE t(k INTEGER PRIMARY KEY, v); {CLOCK}")

    async def tell(told_of: Story) -> None:
        first = await told_of.after("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
        await told_of.after(
            "ALTER TABLE t RENAME COLUMN v TO w", "UPDATE t SET w = 'c' WHERE k = 1"
        )
        await told_of.after("ALTER TABLE t ADD COLUMN x DEFAULT 7", "ALTER TABLE t RENAME TO u")
        await told_of.after("ALTER TABLE u RENAME COLUMN k TO key", "DELETE FROM u WHERE key = 2")
        for position, tables in told_of.moments:
            was = tables.get("t") or tables["u"]
            assert await told(told_of.past, "u", position, 1) == (was.columns, was.rows)
        with pytest.raises(UnknownTable):
            await told_of.past.page("t", first)

    play(path, tell)


def test_what_is_not_known_is_not_guessed(database: MakeDatabase) -> None:
    """Columns that were dropped, tables that were made anew, tables that were not there."""
    path = database(sql=f"CREATE TABLE t(k INTEGER PRIMARY KEY, v, w); {CLOCK}")

    async def tell(told_of: Story) -> None:
        full = await told_of.after("INSERT INTO t VALUES (1, 'a', 'b')")
        dropped = await told_of.after("ALTER TABLE t DROP COLUMN w")
        assert await told_of.why_not("t", full) == "changed"
        assert (await told_of.past.page("t", dropped)).columns == ("k", "v")
        await told_of.after("DROP TABLE t")
        between = told_of.moments[-1][0]
        with pytest.raises(UnknownTable):
            await told_of.past.page("t", dropped)
        anew = await told_of.after("CREATE TABLE t(k INTEGER PRIMARY KEY, v)")
        assert await told_of.why_not("t", between) == "no_table"
        assert await told_of.why_not("t", dropped) == "changed"
        assert (await told_of.past.page("t", anew)).rows == []

    play(path, tell)


def test_a_table_can_be_begun_with_a_row(database: MakeDatabase) -> None:
    """With a key that was there, one that was not, and one that is no key of the table."""
    path = database(sql=f"CREATE TABLE t(k INTEGER PRIMARY KEY, v); {CLOCK}")

    async def keys(told_of: Story, at: str, key: Any) -> list[bytes]:
        return [bytes(row.key) for row in (await told_of.past.page("t", at, begin=key)).rows]

    async def tell(told_of: Story) -> None:
        at = await told_of.after("INSERT INTO t VALUES (1, 1), (3, 3), (5, 5)")
        await told_of.after("DELETE FROM t WHERE k = 3", "INSERT INTO t VALUES (4, 4)")
        assert await keys(told_of, at, {"k": 3}) == [b'{"k":3}', b'{"k":5}']
        assert await keys(told_of, at, {"k": 5}) == [b'{"k":5}']
        assert await keys(told_of, at, {"k": 4}) == [b'{"k":5}']
        assert await keys(told_of, at, {"k": 6}) == []
        with pytest.raises(BadFilter):
            await keys(told_of, at, {"x": 3})

    play(path, tell)


def test_a_position_falls_off_the_history(database: MakeDatabase) -> None:
    """Then it is told no more, unless somebody has been looking at it all the time."""
    path = database(sql=f"CREATE TABLE t(k INTEGER PRIMARY KEY, v); {CLOCK}")

    async def tell(told_of: Story) -> None:
        at = await told_of.after("INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)")
        was = told_of.moments[-1][1]["t"]
        page = await told_of.past.page("t", at, limit=1)
        for number in range(40):
            await told_of.after(f"UPDATE t SET v = {number}")
            rest = await told_of.past.page("t", at, after=page.next, limit=2)
            assert [(bytes(row.key), bytes(row.row)) for row in rest.rows] == was.rows[1:]
        assert told_of.hub.head.floor > 2
        told_of.past, known = Past(told_of.hub), told_of.past
        assert await told_of.why_not("t", at) == "expired"
        # Nobody looked for so long that what came in between is gone.
        for number in range(20):
            await told_of.after(f"UPDATE t SET v = -{number}")
        told_of.past = known
        assert await told_of.why_not("t", at) == "expired"
        position, tables = told_of.moments[-3]
        assert (await told(known, "t", position, 2))[1] == tables["t"].rows

    play(path, tell, limits=Limits(changesets=10))


def test_another_epoch_is_another_past(database: MakeDatabase) -> None:
    """A history that begins anew has no past with the one before."""
    path = database(sql=f"CREATE TABLE t(k INTEGER PRIMARY KEY, v); {CLOCK}")

    async def tell(told_of: Story) -> None:
        at, hub = told_of.moments[-1][0], told_of.hub
        epoch = hub.head.epoch
        assert (await told_of.past.page("t", at)).rows == []
        (hub.state_directory / "shadow.db").write_bytes(b"")
        assert hub.reader_pid is not None
        os.kill(hub.reader_pid, signal.SIGKILL)
        await until(hub, lambda: hub.head.epoch not in ("", epoch) and hub.status.state == "ok")
        assert await told_of.why_not("t", at) == "expired"
        await told_of.after("INSERT INTO t VALUES (1, 1)")
        position, tables = told_of.moments[-1]
        assert (await told(told_of.past, "t", position, 2))[1] == tables["t"].rows
        # Nor has an offset of this history one in that.
        assert await told_of.why_not("t", position.replace(hub.head.epoch, epoch)) == "expired"

    play(path, tell)


def test_a_reader_that_is_killed_is_waited_for(database: MakeDatabase) -> None:
    """Meanwhile the past is not told; afterwards the next page fits those before."""
    path = database(sql=f"CREATE TABLE t(k INTEGER PRIMARY KEY, v); {CLOCK}")

    async def tell(told_of: Story) -> None:
        at = await told_of.after("INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)")
        was = told_of.moments[-1][1]["t"]
        page = await told_of.past.page("t", at, limit=1)
        hub = told_of.hub
        assert hub.reader_pid is not None
        os.kill(hub.reader_pid, signal.SIGKILL)
        await until(hub, lambda: hub.status.state != "ok")
        with pytest.raises(ReaderStopped):
            await told_of.past.page("t", at, after=page.next)
        await until(hub, lambda: hub.head.epoch and hub.status.state == "ok")
        await told_of.after("DELETE FROM t")
        page = await told_of.past.page("t", at, after=page.next)
        assert [(bytes(row.key), bytes(row.row)) for row in page.rows] == was.rows[1:]

    play(path, tell)


def test_versions_are_kept_of_a_few_tables_and_for_a_while(
    database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are asked for at once; each is told right all the same."""
    monkeypatch.setattr(past_module, "KEPT_SECONDS", 0.2)
    count = 8
    made = "".join(f"CREATE TABLE t{n}(k INTEGER PRIMARY KEY, v);" for n in range(count))
    path = database(sql=made + CLOCK)

    async def tell(told_of: Story) -> None:
        await told_of.after(*(f"INSERT INTO t{n} VALUES (1, {n}), (2, 0)" for n in range(count)))
        at, tables = told_of.moments[-1]
        await told_of.after(*(f"DELETE FROM t{n}" for n in range(count)))
        names = [f"t{n}" for n in range(count)] * 2
        found = await asyncio.gather(*(told(told_of.past, name, at, 1) for name in names))
        assert [rows for _, rows in found] == [tables[name].rows for name in names]
        assert 1 <= told_of.past.kept <= past_module.KEPT
        while told_of.past.kept:
            await told_of.after()

    play(path, tell)


def test_what_is_excluded_was_never_there(database: MakeDatabase) -> None:
    """Neither in the rows nor among the columns."""
    path = database(sql=f"CREATE TABLE t(k TEXT PRIMARY KEY, secret, v); {CLOCK}")

    async def tell(told_of: Story) -> None:
        at = await told_of.after("INSERT INTO t VALUES ('a', 'hidden', 1), ('b', 'hidden', 2)")
        await told_of.after(
            "UPDATE t SET secret = 'gone', v = v + 1", "DELETE FROM t WHERE k = 'b'"
        )
        page = await told_of.past.page("t", at)
        assert page.columns == ("k", "v")
        assert [bytes(row.row) for row in page.rows] == [b'{"k":"a","v":1}', b'{"k":"b","v":2}']

    play(path, tell, exclusion=Exclusion.of(exclude=["t.secret"]))
