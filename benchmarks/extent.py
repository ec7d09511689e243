"""How much is measured: rows, commits and runs of all benchmarks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Extent:
    """The sizes of one run of the command.

    Args:
        runs: how often each figure is measured.
        sizes: rows of the tables for the curves, the smallest first.
        base: rows of the table that the others are compared with; one of `sizes`.
        peers_most: rows of the largest table that is compared whole, by any peer.
        python_most: rows of the largest table that is held and compared in Python.
        edits: one-row commits in each run, where the cost of one is measured.
        large: rows of the large database; 10 million of 100 bytes are about 1 GB.
        bulk: rows inserted in one commit.
        update: rows updated in one commit.
        burst: commits at full speed.
        busy: commits without patience in each journal mode.
        pairs: how often the writer is timed unwatched and watched.
        pair_commits: commits in each of these.
        idle_seconds: how long nothing is done.
        clients: WebSocket clients that all get everything.
        messages: commits that each are a message of its own to all of them.
        joined: commits at full speed that are brought to all of them.
        idle_clients: WebSocket clients that get nothing.
        stuck: clients that never read.
        readers: clients that read beside them.
        resumed: changesets that a client gets which was away.
        page_seconds: how long the frames of the page are timed.
    """

    runs: int
    sizes: tuple[int, ...]
    base: int
    peers_most: int
    python_most: int
    edits: int
    large: int
    bulk: int
    update: int
    burst: int
    busy: int
    pairs: int
    pair_commits: int
    idle_seconds: float
    clients: int
    messages: int
    joined: int
    idle_clients: int
    stuck: int
    readers: int
    resumed: int
    page_seconds: float


FULL = Extent(
    runs=5,
    sizes=(1_000, 10_000, 100_000, 1_000_000, 10_000_000),
    base=10_000,
    peers_most=10_000_000,
    python_most=1_000_000,
    edits=200,
    large=10_000_000,
    bulk=1_000_000,
    update=5_000_000,
    burst=20_000,
    busy=5_000,
    pairs=9,
    pair_commits=10_000,
    idle_seconds=20.0,
    clients=1_000,
    messages=200,
    joined=5_000,
    idle_clients=5_000,
    stuck=200,
    readers=100,
    resumed=100_000,
    page_seconds=8.0,
)

QUICK = Extent(
    runs=3,
    sizes=(1_000, 10_000, 100_000),
    base=10_000,
    peers_most=100_000,
    python_most=100_000,
    edits=30,
    large=1_000_000,
    bulk=50_000,
    update=50_000,
    burst=2_000,
    busy=500,
    pairs=7,
    pair_commits=1_000,
    idle_seconds=3.0,
    clients=1_000,
    messages=20,
    joined=500,
    idle_clients=500,
    stuck=200,
    readers=100,
    resumed=10_000,
    page_seconds=4.0,
)
