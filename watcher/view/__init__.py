"""Views of tables beside the stream: how many rows there are, and rows by their number."""

from watcher.view.counts import Counts
from watcher.view.index import MAX_ROWS, OrderLost, TooLarge
from watcher.view.order import Wanted
from watcher.view.ordering import MAX_LIMIT, Building, Ordering, Window
from watcher.view.orderings import Orderings

__all__ = [
    "MAX_LIMIT",
    "MAX_ROWS",
    "Building",
    "Counts",
    "OrderLost",
    "Ordering",
    "Orderings",
    "TooLarge",
    "Wanted",
    "Window",
]
