"""What the service says of itself: that it lives, that changes get through, its figures."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.served import ROOT
from tests.web.service import Service, receive_until, run_service
from tests.web.test_socket import execute, wait_for
from tests.web.test_streams import events, get, page
from watcher.history import Limits
from watcher.web import service as service_module

Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


def figures(service: Service) -> Figures:
    """Every sample of a scrape by its name and labels other than the database's."""
    response = get(service, "/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    found: Figures = {}
    for family in text_string_to_metric_families(response.text):
        assert family.documentation
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("database") == "test.db"
            found[sample.name, frozenset(labels.items())] = sample.value
    return found


def value(found: Figures, name: str, **labels: str) -> float:
    return found[f"watcher_{name}", frozenset(labels.items())]


def documented() -> set[str]:
    """The metrics that the page on the protocol lists."""
    text = (ROOT / "docs" / "protocol.md").read_text()
    return {line.split("`")[1] for line in text.splitlines() if line.startswith("| `watcher_")}


def until(service: Service, condition: Callable[[Figures], bool]) -> Figures:
    """Scrapes until something is so."""
    scraped: list[Figures] = []

    def holds() -> bool:
        scraped.append(figures(service))
        return condition(scraped[-1])

    wait_for(holds)
    return scraped[-1]


def test_it_lives_and_is_ready(service: Service) -> None:
    assert get(service, "/livez").json() == {"status": "alive"}
    wait_for(lambda: get(service, "/readyz").status_code == 200)
    assert get(service, "/readyz").json() == {"status": "ready"}
    (found,) = get(service, "/databases").json()
    assert found == {"name": "test.db", "state": "ok", "position": page(service)["position"]}


def test_it_is_not_ready_while_the_file_cannot_be_watched(tmp_path: Path) -> None:
    """The answer names the database and its state; it lives all the same, and recovers."""
    with run_service(tmp_path) as service:
        wait_for(lambda: get(service, "/readyz").status_code == 200)
        away = service.database.rename(tmp_path / "away.db")
        wait_for(lambda: get(service, "/readyz").status_code == 503)
        response = get(service, "/readyz")
        assert response.json()["detail"].startswith("test.db: missing")
        assert response.headers["retry-after"] == "1"
        assert get(service, "/livez").status_code == 200
        until(service, lambda found: value(found, "up") == 0)
        away.rename(service.database)
        wait_for(lambda: get(service, "/readyz").status_code == 200)
        until(service, lambda found: value(found, "up") == 1)


def test_every_metric_is_documented_and_there(tmp_path: Path) -> None:
    with run_service(tmp_path, script="CREATE TABLE other(x);") as service:
        position = page(service)["position"]
        execute(service.database, "UPDATE items SET value = 'x' WHERE id = 1")
        page(service, since=position)
        page(service, since="zzzzzz:1~0000")
        names = {name for name, _ in figures(service)}
        of_histogram = {"_bucket", "_count", "_sum", "_created"}
        for suffix in of_histogram:
            names = {name.removesuffix(suffix) for name in names}
        assert names == documented()


def test_the_figures_are_what_happened(tmp_path: Path) -> None:
    """Known events, and the figures after them."""
    limits = Limits(changesets=50, bytes=1_000_000, seconds=3600)
    with run_service(tmp_path, watching={"limits": limits}) as service:
        start = page(service)["position"]
        before = figures(service)
        assert value(before, "changesets_total") == 0
        assert value(before, "history_changesets") == 0
        with service.websocket() as client, events(service) as stream:
            receive_until(client, "ready")
            stream.until("ready")
            found = until(service, lambda f: value(f, "connections", transport="websocket") == 1)
            assert value(found, "connections", transport="events") == 1
            for sql in ("UPDATE items SET value = 'x'", "DELETE FROM items WHERE id = 2"):
                # One after the other: both together would be one delivery.
                execute(service.database, sql)
                stream.until("changes")
                receive_until(client, "changes")
        found = until(service, lambda f: value(f, "connections", transport="websocket") == 0)
        assert value(found, "connections", transport="events") == 0
        assert value(found, "changesets_total") == 2
        assert value(found, "changes_total", table="items", op="update") == 2
        assert value(found, "changes_total", table="items", op="delete") == 1
        # Two changesets to two clients.
        assert value(found, "delivery_seconds_count") == 4
        assert 0 < value(found, "delivery_seconds_sum") < 40
        assert value(found, "delivery_seconds_bucket", le="+Inf") == 4
        assert value(found, "resumes_total") == 0
        page(service, since=start)
        page(service, since="zzzzzz:1~0000")
        found = figures(service)
        assert value(found, "resumes_total") == 1
        assert value(found, "resets_total", reason="unknown_epoch") == 1
        # What is resumed is old, and says nothing of how fast the service is.
        assert value(found, "delivery_seconds_count") == 4
        assert value(found, "slow_disconnects_total") == 0
        assert value(found, "up") == 1
        assert value(found, "lag_seconds") == 0
        assert value(found, "history_changesets") == 2
        assert 0 < value(found, "history_bytes") < 10_000
        assert 0 <= value(found, "history_seconds") < 60
        assert value(found, "history_limit", of="changesets") == 50
        assert value(found, "history_limit", of="bytes") == 1_000_000
        assert value(found, "history_limit", of="seconds") == 3600


def test_a_pipeline_that_stands_still_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known changes that do not get through for too long: said with the time it has been."""
    monkeypatch.setattr(service_module, "MAX_LAG", 0.0)
    with run_service(tmp_path) as service:
        wait_for(lambda: get(service, "/readyz").status_code == 200)
        # One that holds the history keeps the reader from writing what it has seen.
        holder = sqlite3.connect(tmp_path / "state" / "state.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        execute(service.database, "UPDATE items SET value = 'held' WHERE id = 1")
        wait_for(lambda: get(service, "/readyz").status_code == 503)
        assert "test.db: " in get(service, "/readyz").json()["detail"]
        holder.execute("ROLLBACK")
        holder.close()
        wait_for(lambda: get(service, "/readyz").status_code == 200)
