"""Finds the rows a commit may have changed, from the pages it changed.

The recipe is `Locator.locate`. Why no row is missed is argued in `docs/engine.md`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from watcher.sqlite.btree import (
    FIRST_PAGE_START,
    LARGEST_ROOT,
    RESERVED,
    Layout,
    Malformed,
    ReadPage,
    is_interior,
    is_special,
    kind_of,
    next_overflow,
    pointed_to,
)
from watcher.sqlite.freelist import CorruptFreeList, walk_free_list
from watcher.sqlite.ownership import Nodes, Ownership
from watcher.sqlite.pointer_map import PointerMap, build
from watcher.sqlite.shadow import Pending
from watcher.sqlite.touched import Forcing, Side, Touched, Unattributed, add_moved

# More than these are compared as whole tables: what is remembered of each page takes memory.
MOST_PAGES = 300_000
_MOST_PARENTS = 16
# After so many right hints for a chain the rest is not looked at; a wrong one costs a comparison.
_MOST_KNOWN = 32
_COOKIE = slice(40, 44)


@dataclass(slots=True)
class _State:
    """One state, while the changed pages are looked at."""

    read: ReadPage
    page_count: int
    ownership: Ownership
    nodes: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    forcing: defaultdict[int, list[Forcing]] = field(default_factory=lambda: defaultdict(list))
    nobodys: set[int] = field(default_factory=set)
    _pointed: dict[int, set[int]] = field(default_factory=dict)

    def pointed_to(self, page: int, layout: Layout) -> set[int]:
        found = self._pointed.get(page)
        if found is None:
            found = self._pointed[page] = pointed_to(self.read(page), page, layout)
        return found

    def assume(self, page: int, other: _State) -> None:
        """Takes over whose a page is from another state."""
        self.ownership.assume(page, other.ownership.owner(page))

    def take(self, page: int) -> None:
        owner = self.ownership.owner(page)
        if owner is None:
            self.nobodys.add(page)
        elif owner.cell is None:
            self.nodes[owner.root].add(page)
        else:
            self.forcing[owner.root].append(Forcing(owner.cell, owner.kind))


class Locator:
    """Finds what a commit touched; keeps the pointer map in step.

    Args:
        pending: the states before and after the commit.
        pointers: where pages were pointed to from, as of the state before.
    """

    def __init__(self, pending: Pending, pointers: PointerMap) -> None:
        self._pending = pending
        self._pointers = pointers
        # Interior pages known to be in trees of the state before.
        self._nodes = Nodes()
        # Who points to whom by the commit at hand, and by those settled but not kept yet.
        self._hints: dict[int, int] = {}
        self._settled_hints: dict[int, int] = {}
        self._roots: frozenset[int] = frozenset()
        self._roots_after: frozenset[int] = frozenset()
        self._schema_touched = False
        self._nodes_after: Nodes | None = None
        self._changed: list[int] = []
        self._before: Ownership | None = None
        self._is_built = False
        # Whether it is the map of a state that was kept.
        self._is_kept = True

    @property
    def is_trusted(self) -> bool:
        """Whether the map is that of the state kept last."""
        return self._is_built

    def trust(self) -> None:
        """Takes the map as it is for that of the state before."""
        self._is_built = True

    def distrust(self) -> None:
        """Has the map built anew when it is needed next."""
        self.forget()
        self._is_built = False

    def look(self, roots: Iterable[int]) -> bool:
        """Looks at the changed pages as they were.

        Args:
            roots: root pages of all trees of the state before.

        Returns:
            Whether the schema may have changed.

        Raises:
            Unattributed: there are too many pages, or their size changed.
        """
        pending = self._pending
        if pending.page_size != pending.page_size_before or not pending.page_count_before:
            raise Unattributed("page size")
        pages = pending.fresh_pages()
        if len(pages) > MOST_PAGES:
            raise Unattributed("many pages")
        before, after = pending.read_before, pending.read_after
        if before(1)[RESERVED] != after(1)[RESERVED]:
            raise Unattributed("page size")
        self._changed = [page for page in pages if before(page) != after(page)]
        self._roots = roots = frozenset(roots)
        layout = self._layout(before(1))
        if not self._is_built:
            self._settled_hints = {}
            self._is_kept = False
            build(self._pointers, before, roots, layout)
            self._is_built, self._nodes = True, Nodes()
        self._before = Ownership(before, self._parents, roots, layout, self._nodes)
        self._schema_touched = self._touches_schema(self._before)
        return self._schema_touched

    def _layout(self, first_page: bytes) -> Layout:
        return Layout(len(first_page) - first_page[RESERVED])

    def _parents(self, page: int) -> Sequence[int]:
        return (self._parent(page),)

    def _parent(self, page: int) -> int:
        parent = self._settled_hints.get(page)
        return self._pointers.parent(page) if parent is None else parent

    def _touches_schema(self, ownership: Ownership) -> bool:
        for page in self._changed:
            if page == 1:
                if _schema_part(self._pending.read_before(1)) != _schema_part(
                    self._pending.read_after(1)
                ):
                    return True
            elif page <= self._pending.page_count_before:
                owner = ownership.owner(page)
                if owner is not None and owner.root == 1:
                    return True
        return False

    def locate(
        self, roots: Iterable[int], tables: Mapping[int, tuple[str, int]]
    ) -> dict[str, Touched]:
        """Finds which tables the changed pages belong to; `look` comes first.

        Args:
            roots: root pages of all trees of the state after.
            tables: for the root page of each table wanted its name, and its root page after.

        Raises:
            Unattributed: a page is neither of a tree nor free.
        """
        # 1. What each changed page was part of, and what it is part of now.
        self._roots_after = frozenset(roots)
        before, after = self._states(self._roots_after)
        # 2. A page that is part of nothing must be free, or the rows on it are lost to us.
        self._require_free(before)
        self._require_free(after)
        # 3. Pages that came to a tree or left it, though nobody wrote them.
        layout = self._layout(after.read(1))
        found: dict[str, Touched] = {}
        try:
            for root, (name, new_root) in self._concerned(before, after, tables):
                touched = self._touched(before, after, root, new_root, layout)
                if touched is not None:
                    found[name] = touched
            # 4. Who points to whom in the state after.
            self._note_pointers(before, after, layout)
        except (Malformed, IndexError) as error:
            raise Unattributed("malformed page") from error
        return found

    def _concerned(
        self, before: _State, after: _State, tables: Mapping[int, tuple[str, int]]
    ) -> list[tuple[int, tuple[str, int]]]:
        if self._roots == self._roots_after and not self._schema_touched:
            trees = (
                before.nodes.keys()
                | after.nodes.keys()
                | before.forcing.keys()
                | after.forcing.keys()
            )
            return [(root, tables[root]) for root in trees if root in tables]
        return list(tables.items())

    def _states(self, roots: frozenset[int]) -> tuple[_State, _State]:
        pending = self._pending
        assert self._before is not None
        before = _State(pending.read_before, pending.page_count_before, self._before)
        # First, so that no interior page above a changed one is unknown when the shape is compared.
        for page in self._changed:
            if page <= before.page_count:
                before.take(page)
        adopted: dict[int, list[int]] = {}

        def parents(page: int) -> Sequence[int]:
            return (*adopted.get(page, ()), self._parent(page))

        layout = self._layout(pending.read_after(1))
        nodes = Nodes()
        ownership = Ownership(pending.read_after, parents, roots, layout, nodes)
        after = _State(pending.read_after, pending.page_count, ownership)
        adopted.update(self._adopted(before, after, layout))
        if not adopted and self._has_same_shape(roots):
            ownership.knows(self._nodes)
        else:
            self._nodes_after = nodes
        for page in self._changed:
            if self._nodes_after is None and self._stays(before, page):
                after.assume(page, before)
            after.take(page)
        return before, after

    def _stays(self, before: _State, page: int) -> bool:
        """Tells whether a leaf is still one where no interior page has changed."""
        old, new = before.read(page), self._pending.read_after(page)
        return len(old) > 0 and _is_node(before, page) and kind_of(old, page) == kind_of(new, page)

    def _has_same_shape(self, roots: frozenset[int]) -> bool:
        """Tells whether no interior page has changed, so that what is known of them still holds."""
        if roots != self._roots or not self._nodes.roots.keys().isdisjoint(self._changed):
            return False
        read = self._pending.read_before
        return not any(is_interior(read(page), page) for page in roots.intersection(self._changed))

    def _adopted(self, before: _State, after: _State, layout: Layout) -> dict[int, list[int]]:
        """Pages that changed pages point to now and did not before, as far as that may be."""
        adopted: dict[int, list[int]] = {}
        for page in self._changed:
            found = after.pointed_to(page, layout)
            if found:
                # What a page of no tree pointed to counted for nothing.
                if page <= before.page_count and _is_node(before, page):
                    found = found - before.pointed_to(page, layout)
                for below in found:
                    adopted.setdefault(below, []).append(page)
                    self._adopt_chain(before, after, below, adopted)
            following = next_overflow(after.read(page))
            # One of them is right; that so many look like it by chance is no chance.
            if (
                1 < following <= after.page_count
                and len(adopted.get(following, ())) < _MOST_PARENTS
            ):
                adopted.setdefault(following, []).append(page)
                self._adopt_chain(before, after, following, adopted)
        return adopted

    def _adopt_chain(
        self, before: _State, after: _State, page: int, adopted: dict[int, list[int]]
    ) -> None:
        for following, above in self._unwritten_chain(before, after, page):
            adopted.setdefault(following, []).append(above)

    def _unwritten_chain(
        self, before: _State, after: _State, page: int
    ) -> Iterator[tuple[int, int]]:
        """Follows a chain of overflow pages as far as nobody wrote them and hints may be missing.

        A page that was free can be used again with the bytes it has, where a value comes back.

        Yields:
            A page that follows, and the one it follows.
        """
        seen: set[int] = set()
        known = 0
        while page not in seen and 1 < page <= after.page_count and known < _MOST_KNOWN:
            if before.read(page) != after.read(page):
                return
            seen.add(page)
            following = next_overflow(after.read(page))
            if not 1 < following <= after.page_count:
                return
            if self._parent(following) == page:
                known += 1
            else:
                known = 0
                yield following, page
            page = following

    def _require_free(self, state: _State) -> None:
        first = state.read(1)
        wanted = {page for page in state.nobodys if not is_special(page, first)}
        if not wanted:
            return
        try:
            for trunk, leaves in walk_free_list(state.read, first, state.page_count):
                wanted.discard(trunk)
                wanted.difference_update(leaves)
                if not wanted:
                    return
        except CorruptFreeList:
            raise Unattributed("corrupt free list") from None
        raise Unattributed("page of no tree")

    def _touched(
        self, before: _State, after: _State, root: int, new_root: int, layout: Layout
    ) -> Touched | None:
        old, new = set(before.nodes.get(root, ())), set(after.nodes.get(new_root, ()))
        if root != new_root:
            old.add(root)
            new.add(new_root)
        forcing = before.forcing.get(root, ()), after.forcing.get(new_root, ())
        if not old and not new and not any(forcing):
            return None
        add_moved(old, before.read, new, after.read, MOST_PAGES)
        return Touched(
            layout, Side(before.read, old, forcing[0]), Side(after.read, new, forcing[1])
        )

    def _note_pointers(self, before: _State, after: _State, layout: Layout) -> None:
        self._hints = {}
        for page in self._changed:
            owner = after.ownership.owner(page) if page <= after.page_count else None
            if owner is None:
                continue
            if owner.cell is not None:
                following = next_overflow(after.read(page))
                self._hints[following] = page
                self._hints.update(self._unwritten_chain(before, after, following))
            else:
                self._note_node(before, after, page, layout)
        # In a damaged file a number can be anything.
        beyond = [page for page in self._hints if not 0 < page <= after.page_count]
        for page in beyond:
            del self._hints[page]

    def _note_node(self, before: _State, after: _State, page: int, layout: Layout) -> None:
        below = after.pointed_to(page, layout)
        if below and _is_node(before, page):
            below = below - before.pointed_to(page, layout)
        for child in below:
            self._hints[child] = page
            # An unwritten page that was free has the bytes of former times, and so have the hints.
            if not _is_node(before, child) and before.read(child) == after.read(child):
                stale = pointed_to(after.read(child), child, layout)
                self._hints.update(dict.fromkeys(stale, child))
                self._hints.update(self._unwritten_chain(before, after, child))

    def settle(self) -> None:
        """Goes on from the state after; called when the pending pages have been settled."""
        self._settled_hints.update(self._hints)
        if self._nodes_after is not None:
            self._nodes = self._nodes_after
        self._hints, self._changed = {}, []
        self._before = self._nodes_after = None

    def keep(self) -> None:
        """Keeps what has been settled; called when it is in the history."""
        for page, parent in self._settled_hints.items():
            self._pointers.point(page, parent)
        self._settled_hints, self._is_kept = {}, True

    def forget(self) -> None:
        """Goes back to what was kept last."""
        # A map that was built in the middle of a batch is that of no state that was kept.
        self._is_built = self._is_built and self._is_kept
        self._settled_hints, self._hints, self._changed = {}, {}, []
        self._nodes = Nodes()
        self._before = self._nodes_after = None


def _schema_part(first_page: bytes) -> tuple[bytes, ...]:
    return (
        first_page[FIRST_PAGE_START:],
        first_page[_COOKIE],
        (first_page[LARGEST_ROOT] != b"\0\0\0\0" and b"1") or b"0",
        first_page[RESERVED : RESERVED + 1],
    )


def _is_node(state: _State, page: int) -> bool:
    owner = state.ownership.owner(page)
    return owner is not None and owner.cell is None
