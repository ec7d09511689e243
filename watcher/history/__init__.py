"""The durable, bounded log of changesets, in `state.db` of a state directory.

One process writes (the reader process), any number read. A changeset, the position it leads to and
what the writer must remember with it are one transaction, so that no crash of a process can
separate them.

The file is not synced for each changeset: when the whole machine stops unclean the epoch ends,
which costs clients a reset and never a wrong row.
"""

from watcher.history.head import Declared, Entry, Head, sequence, short_hash
from watcher.history.reader import Found, HistoryReader, Mark, Size
from watcher.history.writer import PART_BYTES, HistoryWriter, Limits

__all__ = [
    "PART_BYTES",
    "Declared",
    "Entry",
    "Found",
    "Head",
    "HistoryReader",
    "HistoryWriter",
    "Limits",
    "Mark",
    "Size",
    "sequence",
    "short_hash",
]
