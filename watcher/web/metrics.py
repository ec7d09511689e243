"""The figures of a service in the format of Prometheus, made when they are asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from watcher.history import Size
from watcher.hub import BUCKETS, Hub, Meter

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


async def exposition(hubs: Mapping[str, Hub]) -> bytes:
    """Makes the text that a scrape gets.

    Args:
        hubs: the watched databases by their names.
    """
    held = dict(hubs)
    # It looks at every part of the history, which is not for the event loop.
    sizes = {name: await asyncio.to_thread(hub.history_size) for name, hub in held.items()}
    registry = CollectorRegistry()
    registry.register(_Figures(held, sizes))
    return generate_latest(registry)


class _Figures(Collector):
    """The figures of this moment.

    Args:
        hubs: the watched databases.
        sizes: how much history each of them keeps, None where there is none yet.
    """

    def __init__(self, hubs: Mapping[str, Hub], sizes: Mapping[str, Size | None]) -> None:
        self._hubs = hubs
        self._sizes = sizes

    def collect(self) -> Iterator[Metric]:
        """Yields every family."""
        yield from self._flow()
        yield from self._delivery()
        yield from self._history()

    def _flow(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("watcher_up", "Whether the file is read.", labels=["database"])
        lag = GaugeMetricFamily(
            "watcher_lag_seconds",
            "For how long there have been changes in the file that are not in the history.",
            labels=["database"],
        )
        changesets = CounterMetricFamily(
            "watcher_changesets", "Changesets taken in since the start.", labels=["database"]
        )
        changes = CounterMetricFamily(
            "watcher_changes",
            "Changes taken in since the start.",
            labels=["database", "table", "op"],
        )
        for name, hub in self._hubs.items():
            health = hub.health()
            up.add_metric([name], float(health.status.state in {"ok", "partial"}))
            lag.add_metric([name], health.lag)
            changesets.add_metric([name], hub.meter.changesets)
            for (table, op), count in hub.meter.changes.items():
                changes.add_metric([name, table, op], count)
        yield from (up, lag, changesets, changes)

    def _delivery(self) -> Iterator[Metric]:
        connections = GaugeMetricFamily(
            "watcher_connections", "Clients connected now.", labels=["database", "transport"]
        )
        resumes = CounterMetricFamily(
            "watcher_resumes", "Clients that went on from a position.", labels=["database"]
        )
        resets = CounterMetricFamily(
            "watcher_resets", "Clients whose content was void.", labels=["database", "reason"]
        )
        slow = CounterMetricFamily(
            "watcher_slow_disconnects", "Clients closed for making no room.", labels=["database"]
        )
        latency = HistogramMetricFamily(
            "watcher_delivery_seconds",
            "From the sight of a commit until it is written to the socket of a client.",
            labels=["database"],
        )
        for name, hub in self._hubs.items():
            for transport, count in hub.meter.connections.items():
                connections.add_metric([name, transport], count)
            resumes.add_metric([name], hub.meter.resumes)
            for reason, count in hub.meter.resets.items():
                resets.add_metric([name, reason], count)
            slow.add_metric([name], hub.meter.slow)
            latency.add_metric([name], _cumulative(hub.meter), hub.meter.latency_sum)
        yield from (connections, resumes, resets, slow, latency)

    def _history(self) -> Iterator[Metric]:
        figures = {
            "changesets": GaugeMetricFamily(
                "watcher_history_changesets", "Changesets that are kept.", labels=["database"]
            ),
            "bytes": GaugeMetricFamily(
                "watcher_history_bytes", "Size of what is kept.", labels=["database"]
            ),
            "seconds": GaugeMetricFamily(
                "watcher_history_seconds", "Age of the oldest that is kept.", labels=["database"]
            ),
        }
        limits = GaugeMetricFamily(
            "watcher_history_limit", "How much is kept at most.", labels=["database", "of"]
        )
        for name, hub in self._hubs.items():
            size = self._sizes[name]
            if size is not None:
                figures["changesets"].add_metric([name], size.changesets)
                figures["bytes"].add_metric([name], size.bytes)
                age = 0.0 if size.oldest is None else max(0.0, time.time() - size.oldest)
                figures["seconds"].add_metric([name], age)
            limits.add_metric([name, "changesets"], hub.limits.changesets)
            limits.add_metric([name, "bytes"], hub.limits.bytes)
            limits.add_metric([name, "seconds"], hub.limits.seconds)
        yield from figures.values()
        yield limits


def _cumulative(meter: Meter) -> list[tuple[str, float]]:
    """The buckets as Prometheus has them: each with all that were faster."""
    total, buckets = 0.0, []
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), meter.latencies, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets
