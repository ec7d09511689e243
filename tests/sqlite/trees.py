"""Databases of many shapes, and their trees as SQLite itself tells them (`dbstat`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import apsw

from watcher.sqlite.btree import RESERVED, Layout

# A table and an index of several levels, rows of one and of many overflow pages, a table whose rows
# lie on interior pages too, trees without anything in them, and free pages.
MANY = """
CREATE TABLE plain(id INTEGER PRIMARY KEY, a, b);
CREATE INDEX by_a ON plain(a);
CREATE TABLE large(x);
CREATE TABLE keyed(k TEXT PRIMARY KEY, v) WITHOUT ROWID;
CREATE TABLE empty(x UNIQUE);
CREATE TABLE gone(x);
WITH RECURSIVE n(i) AS (VALUES(-40) UNION ALL SELECT i+1 FROM n WHERE i<1500)
INSERT INTO plain SELECT i * 7, printf('%0.*d', 20 + i % 90, i), zeroblob(i % 60) FROM n;
WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<40)
INSERT INTO large SELECT randomblob(i * i * 60) FROM n;
INSERT INTO large VALUES (1), ('small'), (NULL);
WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<900)
INSERT INTO keyed SELECT printf('%04d', i * 7919 % 1000) || hex(zeroblob(i % 80)), i FROM n;
INSERT INTO keyed VALUES (hex(zeroblob(70000)), zeroblob(9000)), ('long', zeroblob(200000));
INSERT INTO gone SELECT b FROM plain;
DELETE FROM gone;
DELETE FROM plain WHERE id BETWEEN 3000 AND 5000;
"""


class Node(NamedTuple):
    """A page of a tree.

    Args:
        tree: name of the table or index.
        page: its number.
        kind: `internal`, `leaf` or `overflow`.
        parent: the page that points to it, 0 for a root.
        cells: how many are on it.
        payload: bytes of payload on it.
        largest: bytes of its largest payload, overflow pages included.
    """

    tree: str
    page: int
    kind: str
    parent: int
    cells: int
    payload: int
    largest: int


class Trees(NamedTuple):
    """A database and what SQLite says of its pages.

    Args:
        data: its bytes.
        page_size: bytes in a page.
        nodes: the pages of all trees, each parent's children from left to right.
    """

    data: bytes
    page_size: int
    nodes: list[Node]

    @property
    def layout(self) -> Layout:
        """As the header says."""
        return Layout(self.page_size - self.data[RESERVED])

    @property
    def page_count(self) -> int:
        """Size in pages."""
        return len(self.data) // self.page_size

    @property
    def roots(self) -> dict[str, int]:
        """The root page of each tree."""
        return {node.tree: node.page for node in self.nodes if not node.parent}

    def read(self, page: int) -> bytes:
        """A page, empty where there is none."""
        return self.data[(page - 1) * self.page_size : page * self.page_size]

    def below(self, page: int, *kinds: str) -> list[int]:
        """Pages of these kinds to which a page points."""
        return [node.page for node in self.nodes if node.parent == page and node.kind in kinds]


class Shape(NamedTuple):
    """How a database is laid out.

    Args:
        page_size: bytes in a page.
        reserved: bytes of each page that are not used.
        auto_vacuum: 0 for none, 1 for full, 2 for incremental.
    """

    page_size: int
    reserved: int = 0
    auto_vacuum: int = 0


SHAPES = [
    Shape(512),
    Shape(1024, reserved=32),
    Shape(4096, auto_vacuum=1),
    Shape(512, reserved=16, auto_vacuum=2),
    Shape(8192),
    Shape(65536, reserved=255),
]


def made(path: Path, shape: Shape, *scripts: str) -> Trees:
    """Makes a database with scripts and reads its trees."""
    with opened(path, shape) as db:
        for script in scripts:
            db.execute(script).fetchall()
        return trees_of(db)


@contextmanager
def opened(path: Path, shape: Shape | None = None) -> Iterator[apsw.Connection]:
    """Opens a database in which deleted content stays where it was.

    Args:
        path: the file.
        shape: how it is laid out, where it is made now.
    """
    db = apsw.Connection(str(path))
    try:
        db.execute("PRAGMA secure_delete=0").fetchall()
        if shape is not None:
            db.execute(f"PRAGMA page_size={shape.page_size}").fetchall()
            db.reserve_bytes(reserve=shape.reserved)
            # It may write the first page, so it comes last.
            db.execute(f"PRAGMA auto_vacuum={shape.auto_vacuum}").fetchall()
        yield db
    finally:
        db.close()


def trees_of(db: apsw.Connection) -> Trees:
    """Reads the trees of a database that has no log."""
    found: dict[tuple[str, str], Node] = {}
    rows = db.execute(
        "SELECT name, path, pageno, pagetype, ncell, payload, mx_payload FROM dbstat"
        " ORDER BY name, path"
    )
    for name, path, page, kind, *rest in rows:
        above = _above(path)
        parent = found[name, above].page if above else 0
        found[name, path] = Node(name, page, kind, parent, *rest)
    with Path(db.filename).open("rb") as file:
        data = file.read()
    page_size: int = db.execute("PRAGMA page_size").get
    return Trees(data, page_size, list(found.values()))


def _above(path: str) -> str:
    """The path of the page that points to the one at a path."""
    page, mark, place = path.partition("+")
    if not mark:
        return "" if path == "/" else page.rstrip("/").rpartition("/")[0] + "/"
    number = int(place, 16)
    if number:
        return f"{page}+{number - 1:06x}"
    return page.rpartition("/")[0] + "/"
