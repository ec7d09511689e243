"""Fan-out of one database's changes to any number of subscribers."""

from watcher.hub.audience import Outlet
from watcher.hub.filters import ALL, ROW_OPS, Filter, ViewVoid
from watcher.hub.hub import Health, Hub, Rows
from watcher.hub.meter import BUCKETS, Meter
from watcher.hub.subscription import Subscription
from watcher.sqlite.channel import Status
from watcher.wire import Message

__all__ = [
    "ALL",
    "BUCKETS",
    "ROW_OPS",
    "Filter",
    "Health",
    "Hub",
    "Message",
    "Meter",
    "Outlet",
    "Rows",
    "Status",
    "Subscription",
    "ViewVoid",
]
