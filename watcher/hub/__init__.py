"""Fan-out of one database's changes to any number of subscribers."""

from watcher.hub.hub import Health, Hub, Rows
from watcher.hub.subscription import Subscription
from watcher.sqlite.channel import Status
from watcher.wire import Message

__all__ = ["Health", "Hub", "Message", "Rows", "Status", "Subscription"]
