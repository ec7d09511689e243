"""What is asked of a table besides its stream: rows by their number, and how it was before."""

from watcher.view.index import MAX_ROWS, TooLarge
from watcher.view.order import Wanted
from watcher.view.ordering import MAX_LIMIT, Building, Ordering, Window
from watcher.view.orderings import Orderings

__all__ = [
    "MAX_LIMIT",
    "MAX_ROWS",
    "Building",
    "Ordering",
    "Orderings",
    "TooLarge",
    "Wanted",
    "Window",
]
