"""Prints the changes of a service: `python examples/follow.py http://127.0.0.1:8000`."""

import asyncio
import sys

from watcher.client import subscribe


async def main(url: str) -> None:
    async with subscribe(url, snapshot=True) as stream:
        async for changeset in stream:
            for change in changeset.changes:
                print(change.op, change.table, getattr(change, "key", ""), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
