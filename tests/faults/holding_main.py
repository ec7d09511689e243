"""A process that holds the log of a database, as a reader does that is far behind.

Takes the database, the descriptor of the note and for how many seconds at most; says whether it
holds the log, and ends with its standard input.
"""

from __future__ import annotations

import sys
from pathlib import Path

from watcher.sqlite.files import DatabaseFiles
from watcher.sqlite.hold import Hold
from watcher.sqlite.hold_note import HoldNote
from watcher.sqlite.options import HoldLimits


def main() -> None:
    """Holds the log."""
    files = DatabaseFiles(Path(sys.argv[1]))
    files.index.refresh()
    hold = Hold(files, HoldLimits(seconds=float(sys.argv[3])), HoldNote(int(sys.argv[2])))
    print("held" if hold.begin() else "not held", flush=True)
    sys.stdin.read()
    hold.close()
    files.close()


if __name__ == "__main__":
    main()
