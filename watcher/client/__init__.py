"""The library's face towards a service elsewhere: its changesets as an asynchronous iterator.

async with subscribe("http://127.0.0.1:8000") as stream:
    async for changeset in stream:
        for change in changeset.changes:
            print(change.op, change.table, change.key)
"""

from watcher.client.remote import RemoteWatch, Status, subscribe

__all__ = ["RemoteWatch", "Status", "subscribe"]
