"""What the shadow tests kill: takes one step as the reader does, and stands still at one stage."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.sqlite.states import states
from watcher.changes import Change, Op
from watcher.history import HistoryWriter, Limits
from watcher.sqlite.shadow import Shadow

STAGES = (
    "before the pages",
    "half of the pages",
    "before the note",
    "inside the transaction",
    "after the note",
    "half of the shadow",
    "before the size",
    "after the shadow",
    "next step begun",
)


def stand_still(stage: str, wanted: str) -> None:
    """Says that a stage is reached and waits for the end, if it is the one that is wanted."""
    if stage == wanted:
        print(stage, flush=True)
        sys.stdin.read()


class _Watched(Shadow):
    stage = ""
    left = 3

    def put(self, page: int, image: bytes) -> None:
        super().put(page, image)
        self.left -= 1
        if self.left == 0:
            stand_still("half of the shadow", self.stage)

    def resize(self, page_count: int) -> None:
        stand_still("before the size", self.stage)
        super().resize(page_count)


def main() -> None:
    """Takes one step from the state in the directory to that of a database."""
    directory, database, wanted = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    history = HistoryWriter(directory, Limits())
    with states(directory) as found:
        shadow = _Watched(directory)
        shadow.stage = wanted
        stand_still("before the pages", wanted)
        found.put(database)
        if wanted == "half of the pages":
            pending, pages = found.pending, found.pending.fresh_pages()
            images = [(page, pending.read_after(page)) for page in pages[: len(pages) // 2]]
            pending.begin(pending.page_size)
            for page, image in images:
                pending.put(page, image)
        stand_still("half of the pages", wanted)
        found.pending.settle()
        stand_still("before the note", wanted)
        with history.transaction():
            history.append(1, iter([Change(Op.DELETE, "t", {"$rowid": 1}, {"x": 1}, None)]))
            history.remember("pending", found.pending.note())
            stand_still("inside the transaction", wanted)
        stand_still("after the note", wanted)
        shadow.apply(found.pending)
        stand_still("after the shadow", wanted)
        found.pending.begin(512)
        found.pending.page_count = 1
        found.pending.put(1, b"x" * 512)
        stand_still("next step begun", wanted)


if __name__ == "__main__":
    main()
