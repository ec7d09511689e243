"""Views of a database beside its stream: rows by number, and how it was."""

from watcher.view.counts import Counts
from watcher.view.index import MAX_ROWS, TooLarge
from watcher.view.order import Wanted
from watcher.view.ordering import MAX_LIMIT, Building, Ordering, Window
from watcher.view.orderings import Orderings

__all__ = [
    "MAX_LIMIT",
    "MAX_ROWS",
    "Building",
    "Counts",
    "Ordering",
    "Orderings",
    "TooLarge",
    "Wanted",
    "Window",
]
