"""Reads the cells of the pages a commit touched: which rows may be others now.

Cells are compared as bytes, which is exact where SQL's `=` and Python's `==` are not. Rows move
between pages, so what is missing on one page counts only if it is nowhere in the tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from watcher.sqlite.btree import (
    INDEX_INTERIOR,
    INDEX_LEAF,
    TABLE_LEAF,
    Malformed,
    cell_of,
    first_rowid,
    kind_of,
    leaf_cells,
    may_overflow,
    rowid_at,
    rowid_range,
    slices,
)
from watcher.sqlite.touched import Forcing, Side, Touched, Unattributed

# Up to so many pages are looked at together; more go in the order of their rowids.
_PAGES_AT_ONCE = 256
# Rows of WITHOUT ROWID tables have no such order without their collations.
_MOST_INDEX_PAGES = 20_000
_BEHIND_ALL = 1 << 63


class _Leaf(NamedTuple):
    """A leaf of a table in either state or in both.

    Args:
        first: the smallest rowid on it.
        page: its number.
        before: whether it is the table's in the state before.
        after: whether it is the table's in the state after.
    """

    first: int
    page: int
    before: bool
    after: bool


class Part(NamedTuple):
    """Rows that may differ.

    Args:
        rowids: in ascending order.
        heavy: those of them that do not fit on a page.
    """

    rowids: list[int]
    heavy: set[int]


def rowids(touched: Touched) -> Iterator[Part]:
    """Yields the rowids of all rows that may differ, in ascending order, in parts.

    Args:
        touched: what a commit did to a table that has rowids.

    Raises:
        Unattributed: a page is not what it should be.
    """
    try:
        leaves = sorted(_leaves(touched))
        forced = sorted(_forced(touched))
        # Rowids by cell, of what is in one state only so far, and rowids of whole leaves.
        gone: dict[bytes, int] = {}
        came: dict[bytes, int] = {}
        spans: list[range] = []
        for start in range(0, len(leaves), _PAGES_AT_ONCE):
            end = start + _PAGES_AT_ONCE
            for leaf in leaves[start:end]:
                span = _span(touched, leaf) if len(leaves) > _PAGES_AT_ONCE else None
                if span is None:
                    _add_differing(touched, leaf, gone, came)
                else:
                    spans.append(span)
            for cell in gone.keys() & came.keys():
                del gone[cell], came[cell]
            # Pages to come have no row before this one, but those behind it are not complete yet.
            limit = leaves[end].first if end < len(leaves) else _BEHIND_ALL
            part = _part(
                touched,
                [*_taken(gone, limit), *_taken(came, limit)],
                [rowid for rowid in forced if rowid < limit],
                [range(span.start, min(span.stop, limit)) for span in spans],
            )
            spans = [range(limit, span.stop) for span in spans if span.stop > limit]
            forced = [rowid for rowid in forced if rowid >= limit]
            yield part
        if forced:
            yield Part(forced, set(forced))
    except (Malformed, IndexError) as error:
        raise Unattributed("malformed page") from error


def _taken(cells: dict[bytes, int], limit: int) -> list[tuple[bytes, int]]:
    """Takes the cells out whose rowids lie before a limit."""
    if limit == _BEHIND_ALL:
        return list(cells.items())
    taken = [item for item in cells.items() if item[1] < limit]
    for cell, _ in taken:
        del cells[cell]
    return taken


def _span(touched: Touched, leaf: _Leaf) -> range | None:
    """The rowids of a leaf that is in one state only, where they can be told without its cells.

    Rows that only moved there are among them; they turn out to be the same.
    """
    if leaf.before and leaf.after:
        return None
    image = (touched.before if leaf.before else touched.after).read(leaf.page)
    if may_overflow(image, leaf.page, touched.layout):
        return None
    return rowid_range(image, leaf.page)


def _part(
    touched: Touched,
    cells: list[tuple[bytes, int]],
    forced: list[int],
    spans: Sequence[range],
) -> Part:
    layout = touched.layout
    most = min(layout.most_local(TABLE_LEAF), 0x7F)
    heavy = {
        rowid
        for cell, rowid in cells
        if cell[0] > most and cell_of(cell, TABLE_LEAF, layout).overflow
    }
    heavy.update(forced)
    rowids = heavy.union((rowid for _, rowid in cells), *spans)
    return Part(sorted(rowids), heavy)


def _add_differing(
    touched: Touched, leaf: _Leaf, gone: dict[bytes, int], came: dict[bytes, int]
) -> None:
    usable = touched.layout.usable
    old = leaf_cells(touched.before.read(leaf.page), leaf.page, usable) if leaf.before else []
    new = leaf_cells(touched.after.read(leaf.page), leaf.page, usable) if leaf.after else []
    gone.update(_differing(old, new))
    came.update(_differing(new, old))


def _differing(cells: list[bytes], others: list[bytes]) -> Iterable[tuple[bytes, int]]:
    known = frozenset(others)
    if known.isdisjoint(cells):
        return zip(cells, _rowids(cells), strict=True)
    return [(cell, rowid_at(cell, 0)) for cell in cells if cell not in known]


def _rowids(cells: list[bytes]) -> Iterable[int]:
    """The rowids of all cells of a leaf, which are in their order."""
    if not cells:
        return ()
    first, last = rowid_at(cells[0], 0), rowid_at(cells[-1], 0)
    if last - first == len(cells) - 1:
        return range(first, last + 1)
    return [rowid_at(cell, 0) for cell in cells]


def _leaves(touched: Touched) -> Iterator[_Leaf]:
    before, after = touched.before, touched.after
    pages = before.pages | after.pages
    # Looked at together, they need no order.
    is_ordered = len(pages) > _PAGES_AT_ONCE
    for page in pages:
        of_before, of_after = _is_leaf(before, page), _is_leaf(after, page)
        if not is_ordered:
            yield _Leaf(0, page, of_before, of_after)
            continue
        firsts = [
            first
            for side in (before, after)
            if page in side.pages and (first := _first(side, page)) is not None
        ]
        if firsts:
            yield _Leaf(min(firsts), page, of_before, of_after)


def _is_leaf(side: Side, page: int) -> bool:
    return page in side.pages and kind_of(side.read(page), page) == TABLE_LEAF


def _first(side: Side, page: int) -> int | None:
    return first_rowid(side.read(page), page) if _is_leaf(side, page) else None


def _forced(touched: Touched) -> set[int]:
    forcing = (*touched.before.forcing, *touched.after.forcing)
    return {rowid_at(cell, 0) for cell, kind in forcing if kind == TABLE_LEAF}


def index_cells(touched: Touched) -> tuple[list[Forcing], list[Forcing]]:
    """Finds the cells of a WITHOUT ROWID table that may be others now.

    Its rows are the entries of an index, on leaves and on interior pages alike.

    Args:
        touched: what a commit did to the table.

    Returns:
        Cells of the state before, and of the state after, each with the kind of its page.

    Raises:
        Unattributed: a page is not what it should be, or there are too many.
    """
    before, after = touched.before, touched.after
    if len(before.pages) + len(after.pages) > _MOST_INDEX_PAGES:
        raise Unattributed("many index pages")
    try:
        old, new = _index_slices(touched, before), _index_slices(touched, after)
    except (Malformed, IndexError) as error:
        raise Unattributed("malformed page") from error
    return (
        _distinct(old, new.keys(), before.forcing),
        _distinct(new, old.keys(), after.forcing),
    )


def _index_slices(touched: Touched, side: Side) -> dict[bytes, int]:
    """The record bytes of each cell, which are the same on a leaf and on an interior page."""
    found: dict[bytes, int] = {}
    for page in side.pages:
        image = side.read(page)
        kind = kind_of(image, page)
        if kind not in (INDEX_LEAF, INDEX_INTERIOR):
            raise Malformed(page)
        for cell in slices(image, page, touched.layout.usable):
            found[cell] = kind
    return found


def _distinct(
    cells: dict[bytes, int], others: Iterable[bytes], forcing: Iterable[Forcing]
) -> list[Forcing]:
    known = frozenset(others)
    found = {Forcing(cell, kind) for cell, kind in cells.items() if cell not in known}
    return [*found, *(set(forcing) - found)]
