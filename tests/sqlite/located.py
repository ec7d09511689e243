"""Commits as the engine sees them, held against two other ways to tell what they did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw

from tests.sqlite.states import States, states
from tests.sqlite.test_compare import exact
from tests.sqlite.trees import Shape, Trees, opened, trees_of
from watcher.changes import Change, Op, Row, RowBatch, SchemaChange, Value
from watcher.sqlite.candidates import Part, rowids
from watcher.sqlite.commit_reader import CommitReader
from watcher.sqlite.exclusion import NOTHING
from watcher.sqlite.fileformat import parse_header
from watcher.sqlite.locate import Locator
from watcher.sqlite.names import quote
from watcher.sqlite.plan import Planned
from watcher.sqlite.pointer_map import PointerMap
from watcher.sqlite.schema import Schema
from watcher.sqlite.touched import Touched, Unattributed
from watcher.sqlite.whole_file import put_page

SMALL = Shape(512)
NUMBERS = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<{})"
ROWS = (
    "CREATE TABLE t(id INTEGER PRIMARY KEY, x);"
    f"{NUMBERS.format(2000)} INSERT INTO t SELECT i*10, printf('%0*d', i%70, i) FROM n"
)
KEYED = (
    "CREATE TABLE k(a TEXT PRIMARY KEY, v) WITHOUT ROWID;"
    f"{NUMBERS.format(1500)} INSERT INTO k"
    " SELECT printf('%04d', i*7919%3001) || hex(zeroblob(40)), i FROM n"
)
LARGE = (
    "CREATE TABLE l(id INTEGER PRIMARY KEY, x); CREATE TABLE lk(a PRIMARY KEY, x) WITHOUT ROWID;"
    f"{NUMBERS.format(20)} INSERT INTO l SELECT i, randomblob(i*700) FROM n;"
    "INSERT INTO lk SELECT * FROM l"
)

# Operation, table, key, row before and row after, in a form in which equal means the same.
Told = tuple[str, str, Any, Any, Any]
Contents = dict[str, dict[Any, Any]]


class Followed:
    """A database and an engine that is told of each of its commits.

    Args:
        db: writes it; nothing else does.
        states: the state directory.
        pointers: the engine's pointer map.
    """

    def __init__(self, db: apsw.Connection, states: States, pointers: PointerMap) -> None:
        self.db = db
        self.pointers = pointers
        self.pending = states.pending
        self._shadow = states.shadow
        self._path = Path(db.filename)
        self.locator = Locator(states.pending, pointers)
        self.engine = CommitReader(states.versions, self.locator, NOTHING, whole=False)
        self._contents = contents(db)
        self.trees = trees_of(db)
        # Of the last commit: pages that were written, the trees before, and the rowids located.
        self.written: set[int] = set()
        self.before = self.trees
        self.located: dict[str, list[int]] = {}
        # Those of them that do not fit on a page.
        self.heavy: dict[str, set[int]] = {}

    def run(self, *statements: str) -> Counter[Told]:
        """Runs statements as one commit; returns what the engine says of it.

        It is what the comparison of whole tables says, and what the rows themselves do.
        """
        script = (
            statements[0] if len(statements) == 1 else ";".join(["BEGIN", *statements, "COMMIT"])
        )
        self.db.execute(script).fetchall()
        return self.look()

    def _read(self, *, whole: bool) -> tuple[Planned, Counter[Told], dict[str, list[Part]]]:
        with self.engine.read({}, {}, retry=False, whole=whole) as (planned, touched):
            said = Counter(told(planned.changes(touched)))
            assert said == Counter(told(planned.changes(None)))
            return planned, said, _located(touched or {}, planned.watched)

    def look(self) -> Counter[Told]:
        """The same for a commit that was made in another way."""
        self.put()
        try:
            planned, said, parts = self._read(whole=False)
        except Unattributed as error:
            # As the reader does: the same commit once more, in another way.
            self.engine.fallbacks[error.reason] += 1
            planned, said, parts = self._read(whole=True)
        self.located = {
            name: [n for part in found for n in part.rowids] for name, found in parts.items()
        }
        self.heavy = {
            name: {n for part in found for n in part.heavy} for name, found in parts.items()
        }
        after = contents(self.db)
        if planned.is_lasting:
            assert said == expected(self._contents, after)
        self._contents = after
        self.before, self.trees = self.trees, trees_of(self.db)
        self.pending.settle()
        self.engine.settle()
        return said

    def put(self) -> None:
        """Puts the pages that differ from the state before."""
        data = self._path.read_bytes()
        header = parse_header(data[:100])
        count = len(data) // header.page_size
        before = [self.pending.read_before(page) for page in range(1, count + 1)]
        self.pending.begin(header.page_size)
        self.pending.page_count = count
        for page, old in enumerate(before, 1):
            image = data[(page - 1) * header.page_size : page * header.page_size]
            if image != old:
                put_page(self.pending, page, image, count)
        self.written = set(self.pending.fresh_pages())

    def keep(self) -> None:
        """Ends a batch of commits: they are in the history, and the shadow moves on."""
        self._shadow.apply(self.pending)
        self.locator.keep()

    def give_up(self) -> None:
        """Forgets the commits since the last `keep`."""
        self.pending.drop()
        self.engine.forget()

    def left_unwritten(self, tree: str) -> set[int]:
        """B-tree pages that left a tree by the last commit and were not written."""
        return pages(self.before, tree) - pages(self.trees, tree) - self.written


@contextmanager
def followed(directory: Path, shape: Shape, *scripts: str) -> Iterator[Followed]:
    """Makes a database and begins to follow it.

    Args:
        directory: for the database and the state directory.
        shape: how the database is laid out.
        scripts: what is in it at the beginning.
    """
    state = directory / "state"
    state.mkdir()
    with (
        opened(directory / "app.db", shape) as db,
        states(state) as found,
        closing(PointerMap(state)) as pointers,
    ):
        for script in scripts:
            db.execute(script).fetchall()
        found.advance(Path(db.filename))
        yield Followed(db, found, pointers)


def _located(touched: dict[str, Touched], schema: Schema) -> dict[str, list[Part]]:
    return {
        name: list(rowids(found))
        for name, found in touched.items()
        if not schema.tables[name].without_rowid
    }


def pages(trees: Trees, tree: str) -> set[int]:
    """The b-tree pages of a tree."""
    return {node.page for node in trees.nodes if node.tree == tree and node.kind != "overflow"}


def has(tree: str, found: Followed, *kinds: str) -> set[int]:
    """Pages of these kinds that a tree has now."""
    return {n.page for n in found.trees.nodes if n.tree == tree and n.kind in kinds}


def told(changes: Iterable[Change | RowBatch | SchemaChange]) -> Iterator[Told]:
    """Row changes in a form in which equal means the same; those of the schema are left out."""
    for change in changes:
        if isinstance(change, RowBatch):
            yield from map(_told, _unpacked(change))
        elif isinstance(change, Change):
            yield _told(change)


def _told(change: Change) -> Told:
    key, before, after = map(_row, (change.key, change.before, change.after))
    return change.op.value, change.table, key, before, after


def _row(row: Row | None) -> Any:
    return None if row is None else tuple((name, exact(value)) for name, value in row.items())


def _unpacked(batch: RowBatch) -> Iterator[Change]:
    for before, after in batch.pairs:
        old, new = (
            None if row is None else dict(zip(batch.names, row[:-1], strict=True))
            for row in (before, after)
        )
        row, held = (after, new) if new is not None else (before, old)
        assert row is not None
        assert held is not None
        key = {name: held[name] for name in batch.key} or {"$rowid": row[-1]}
        op = Op.INSERT if old is None else Op.DELETE if new is None else Op.UPDATE
        yield Change(op, batch.table, key, old, new)


def contents(db: apsw.Connection) -> Contents:
    """The rows of all tables by what they are known by."""
    found: Contents = {}
    tables: Any = db.execute(
        "SELECT name, wr FROM pragma_table_list WHERE schema='main' AND type='table'"
        " AND name NOT LIKE 'sqlite_%'"
    )
    for name, without_rowid in tables.fetchall():
        info: list[Any] = db.execute(f"PRAGMA table_info({quote(name)})").fetchall()
        columns = [row[1] for row in info]
        key = [row[1] for row in sorted(info, key=lambda row: row[5]) if row[5]]
        rowid = "0" if without_rowid else "rowid"
        held = found[name] = {}
        read: Any = db.execute(f"SELECT {rowid}, * FROM {quote(name)}")
        for number, *values in read:
            row: dict[str, Value] = dict(zip(columns, values, strict=True))
            known = {column: row[column] for column in key}
            if not known or None in known.values():
                known = {"$rowid": number}
            held[_row(known)] = _row(row)
    return found


def expected(before: Contents, after: Contents) -> Counter[Told]:
    """What became of the rows, told from all of them."""
    found: Counter[Told] = Counter()
    for table in before.keys() & after.keys():
        old, new = before[table], after[table]
        for key in old.keys() | new.keys():
            was, is_ = old.get(key), new.get(key)
            if was != is_:
                op = "insert" if was is None else "delete" if is_ is None else "update"
                found[op, table, key, was, is_] += 1
    return found
