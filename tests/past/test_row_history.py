"""The versions of one row, and the marks of the history."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import MakeDatabase
from tests.past.story import CLOCK, Story, play
from watcher import wire
from watcher.changes import Position, Value
from watcher.errors import BadFilter, HubClosed, PastUnavailable
from watcher.history import Limits
from watcher.past.marks import stretch
from watcher.past.row_history import RowHistory, Versions

T = "CREATE TABLE t(k INTEGER PRIMARY KEY, v);"


def versions(
    told_of: Story, key: dict[str, Value], *, limit: int = 100, before: str | None = None
) -> Versions:
    head = told_of.hub.head
    table = next(table for table in head.tables if table.name != "clock")
    row = RowHistory(told_of.hub.state_directory, head, table, key, still_open)
    return row.versions(None if before is None else Position.parse(before), limit)


def still_open() -> bool:
    return False


def said(found: Versions) -> list[tuple[str, Any, Any]]:
    """Operation, row before and row after of each version."""
    return [
        (v.change.op, *(wire.decode_json(bytes(raw)) for raw in (v.change.before, v.change.after)))
        for v in found.versions
    ]


def test_a_row_is_followed_to_its_birth(database: MakeDatabase) -> None:
    """All it was, newest first, with the position of each and through an earlier life."""
    path = database(sql=T + CLOCK)

    async def tell(told_of: Story) -> None:
        positions = [
            await told_of.after("INSERT INTO t VALUES (1, 'a'), (11, 'other')"),
            await told_of.after("UPDATE t SET v = 'b' WHERE k = 1"),
            await told_of.after("DELETE FROM t WHERE k = 1"),
            await told_of.after("INSERT INTO t VALUES (1, 'c')"),
        ]
        await told_of.after("UPDATE t SET k = 2 WHERE k = 11")
        found = versions(told_of, {"k": 1})
        assert said(found) == [
            ("insert", None, {"k": 1, "v": "c"}),
            ("delete", {"k": 1, "v": "b"}, None),
            ("update", {"k": 1, "v": "a"}, {"k": 1, "v": "b"}),
            ("insert", None, {"k": 1, "v": "a"}),
        ]
        assert [version.position for version in found.versions] == positions[::-1]
        assert [version.change.changed for version in found.versions] == [[], [], ["v"], []]
        assert {version.commits for version in found.versions} <= {1, None}
        assert (found.next, found.reaches) == (None, "birth")
        # A changed key is another row.
        assert [op for op, *_ in said(versions(told_of, {"k": 2}))] == ["insert"]
        assert [op for op, *_ in said(versions(told_of, {"k": 11}))] == ["delete", "insert"]
        nothing = versions(told_of, {"k": 99})
        assert (nothing.versions, nothing.next, nothing.reaches) == ([], None, "history")

    play(path, tell)


def test_versions_come_in_pages(database: MakeDatabase) -> None:
    """Each goes on where the one before ended; the last says that it is the last."""
    path = database(sql=T + CLOCK)

    async def tell(told_of: Story) -> None:
        await told_of.after("INSERT INTO t VALUES (1, 0)")
        for number in range(1, 8):
            await told_of.after(f"UPDATE t SET v = {number}")
        whole, pages, before = said(versions(told_of, {"k": 1})), [], None
        while True:
            page = versions(told_of, {"k": 1}, limit=3, before=before)
            pages.append(page)
            if page.next is None:
                break
            before = page.next
        assert [row for page in pages for row in said(page)] == whole
        assert [len(page.versions) for page in pages] == [3, 3, 2]
        assert [page.reaches for page in pages] == ["limit", "limit", "birth"]

    play(path, tell)


def test_a_row_is_followed_through_changes_of_the_table(database: MakeDatabase) -> None:
    """Other names, another form, and rows that came anew with it."""
    path = database(sql=T + CLOCK)

    async def tell(told_of: Story) -> None:
        await told_of.after("INSERT INTO t VALUES (1, 'a')")
        await told_of.after("ALTER TABLE t RENAME COLUMN k TO id", "UPDATE t SET v = 'b'")
        await told_of.after("ALTER TABLE t RENAME TO u", "UPDATE u SET v = 'c'")
        await told_of.after(
            "CREATE TABLE n(id INTEGER PRIMARY KEY, v TEXT NOT NULL)",
            "INSERT INTO n SELECT id, v FROM u UNION ALL SELECT 2, 'new'",
            "DROP TABLE u",
            "ALTER TABLE n RENAME TO u",
        )
        await told_of.after("UPDATE u SET v = 'd'")
        found = versions(told_of, {"id": 1})
        assert said(found) == [
            ("update", {"id": 1, "v": "c"}, {"id": 1, "v": "d"}),
            ("insert", None, {"id": 1, "v": "c"}),
            ("update", {"id": 1, "v": "b"}, {"id": 1, "v": "c"}),
            ("update", {"id": 1, "v": "a"}, {"id": 1, "v": "b"}),
            ("insert", None, {"k": 1, "v": "a"}),
        ]
        assert found.reaches == "birth"
        # This one came with all the others: nothing says that it was not there before.
        assert versions(told_of, {"id": 2}).reaches == "history"

    play(path, tell)


def test_rows_without_a_key_are_followed_by_their_rowid(database: MakeDatabase) -> None:
    """Also where the key may be NULL, and with values that JSON lacks."""
    path = database(sql="CREATE TABLE t(k PRIMARY KEY, v);" + CLOCK)

    async def tell(told_of: Story) -> None:
        await told_of.after("INSERT INTO t VALUES (NULL, 1), (x'00ff', 2), (9007199254740993, 3)")
        await told_of.after("UPDATE t SET v = v + 10")
        keys: list[dict[str, Value]] = [{"$rowid": 1}, {"k": b"\0\xff"}, {"k": 2**53 + 1}]
        for key in keys:
            assert [op for op, *_ in said(versions(told_of, key))] == ["update", "insert"]
        with pytest.raises(BadFilter):
            versions(told_of, {"rowid": 1})

    play(path, tell)


def test_a_large_commit_is_looked_through(database: MakeDatabase) -> None:
    """A row in the middle of many parts has the position of the whole changeset."""
    path = database(sql=T + CLOCK)

    async def tell(told_of: Story) -> None:
        at = await told_of.after(
            "WITH RECURSIVE i(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM i WHERE x<5000)"
            " INSERT INTO t SELECT x, x FROM i"
        )
        found = versions(told_of, {"k": 2500})
        assert [version.position for version in found.versions] == [at]

    play(path, tell)


def test_the_history_ends_before_the_birth(database: MakeDatabase) -> None:
    """What has fallen off is not told, and it is said that there was more."""
    path = database(sql=T + CLOCK)

    async def tell(told_of: Story) -> None:
        first = await told_of.after("INSERT INTO t VALUES (1, 0)")
        for number in range(1, 20):
            await told_of.after(f"UPDATE t SET v = {number}")
        found = versions(told_of, {"k": 1})
        assert 5 <= len(found.versions) <= 10
        assert (found.next, found.reaches) == (None, "history")
        gone = versions(told_of, {"k": 1}, before=first)
        assert (gone.versions, gone.reaches) == ([], "history")
        with pytest.raises(PastUnavailable):
            versions(told_of, {"k": 1}, before="zzz:5~0000")

    play(path, tell, limits=Limits(changesets=5))


def test_marks_are_spread_over_a_stretch(database: MakeDatabase) -> None:
    """All where they are few, else evenly and with the last; positions as in the stream."""
    path = database(sql=T + CLOCK)

    async def tell(told_of: Story) -> None:
        for number in range(10):
            await told_of.after(f"INSERT INTO t VALUES ({number}, 0)" if number % 3 == 0 else "")
        directory = told_of.hub.state_directory
        positions = [position for position, _ in told_of.moments]
        whole = stretch(directory, None, None, 100, None, still_open)
        begin = Position.parse(positions[0])
        assert (whole.changesets, whole.newest) == (10 + begin.offset, told_of.hub.head.position)
        after = stretch(directory, begin, None, 100, None, still_open)
        assert [str(mark.position) for mark, _ in after.marks] == positions[1:]
        assert [changes for _, changes in after.marks] == [2, 1, 1, 2, 1, 1, 2, 1, 1, 2]
        times = [mark.time for mark, _ in after.marks]
        assert times == sorted(times)
        assert (after.began, after.ended) == (times[0], times[-1])
        some = stretch(directory, begin, None, 4, None, still_open)
        assert [mark.position.offset - begin.offset for mark, _ in some.marks] == [2, 5, 7, 10]
        touching = stretch(directory, begin, Position.parse(positions[8]), 100, "t", still_open)
        assert [str(mark.position) for mark, _ in touching.marks] == positions[1:8:3]
        nothing = stretch(directory, begin, begin, 5, None, still_open)
        assert (nothing.changesets, nothing.began, nothing.marks) == (0, None, [])

    play(path, tell)


def test_looking_back_ends_with_the_service(database: MakeDatabase) -> None:
    """Or it would end no sooner than a long history has been looked through."""
    path = database(sql=T + CLOCK)

    async def tell(told_of: Story) -> None:
        await told_of.after("INSERT INTO t VALUES (1, 0)")
        for table in (None, "t"):
            with pytest.raises(HubClosed):
                stretch(told_of.hub.state_directory, None, None, 100, table, lambda: True)

    play(path, tell)


def test_large_versions_come_a_few_at_a_time(database: MakeDatabase) -> None:
    path = database(sql=T + CLOCK)

    async def tell(told_of: Story) -> None:
        await told_of.after("INSERT INTO t VALUES (1, '')")
        for number in range(10, 40):
            await told_of.after(f"UPDATE t SET v = printf('%.250000c', 'x') || {number}")
        first = versions(told_of, {"k": 1}, limit=100)
        assert (len(first.versions) < 15, first.reaches) == (True, "limit")
        pages = [first]
        while (before := pages[-1].next) is not None:
            pages.append(versions(told_of, {"k": 1}, limit=100, before=before))
        assert (sum(len(page.versions) for page in pages), pages[-1].reaches) == (31, "birth")

    play(path, tell)
