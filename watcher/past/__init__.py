"""What the history says of the past: its reach, the versions of a row, a table as it was."""

from watcher.past.marks import MOST, Counted, stretch
from watcher.past.named_key import named_key
from watcher.past.row_history import RowHistory, Version
from watcher.past.tables import Past

__all__ = ["MOST", "Counted", "Past", "RowHistory", "Version", "named_key", "stretch"]
