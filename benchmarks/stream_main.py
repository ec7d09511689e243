"""A program that watches a database with `watch()` and notes when each changeset came.

`python -m benchmarks.stream_main PATH STATE` says `ready` once it watches. Each request then names
a number of changes; the answer, when so many have come or the time is over, is the list of all
changesets since the last one: time of arrival in nanoseconds of the monotonic clock, number of
commits, and the new values of the rows.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from watcher import Change, ChangeSet, watch

Arrived = tuple[int, ChangeSet]


async def main() -> None:
    """Answers until the input ends."""
    arrived: list[Arrived] = []
    more = asyncio.Event()
    async with watch(sys.argv[1], state=sys.argv[2]) as stream:

        async def follow() -> None:
            async for changeset in stream:
                # Noted as it comes, looked at when the writing is over.
                arrived.append((time.monotonic_ns(), changeset))
                more.set()

        following = asyncio.create_task(follow())
        _print("ready")
        while line := await asyncio.to_thread(sys.stdin.readline):
            request = json.loads(line)
            await _wait(arrived, more, request["changes"], request["seconds"])
            _print([_described(at, changeset) for at, changeset in arrived])
            arrived.clear()
        following.cancel()


async def _wait(arrived: list[Arrived], more: asyncio.Event, changes: int, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            counted = came = 0
            while came < changes:
                more.clear()
                came += sum(len(changeset.changes) for _, changeset in arrived[counted:])
                counted = len(arrived)
                if came < changes:
                    await more.wait()
    except TimeoutError:
        return


def _described(at: int, changeset: ChangeSet) -> tuple[int, int | None, list[object]]:
    after = (change.after for change in changeset.changes if isinstance(change, Change))
    return at, changeset.commits, [row["value"] for row in after if row is not None]


def _print(answer: object) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
