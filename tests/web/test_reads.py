"""Health, tables, rows, values and files over plain HTTP."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp

from tests.web.service import Service, receive_until, run_service
from watcher.hub import Hub
from watcher.sqlite import supervisor
from watcher.web import create_app


def test_health_tells_state_position_lag_and_clients(service: Service, http: httpx.Client) -> None:
    health = http.get("/health").json()
    assert health["state"] == "ok"
    assert isinstance(health["detail"], str)
    assert health["position"]
    assert health["lag"] >= 0
    assert health["database"] == "test.db"
    with service.websocket() as client:
        receive_until(client, "ready")
        assert http.get("/health").json()["clients"] == health["clients"] + 1


def test_tables_are_described_as_in_hello(http: httpx.Client) -> None:
    definition = {"name": "items", "key": ["id"], "columns": ["id", "name", "value"]}
    assert http.get("/tables").json() == [definition | {"rows": {"count": 2, "exact": True}}]


def test_rows_come_page_by_page_with_their_position(http: httpx.Client) -> None:
    first = http.get("/tables/items/rows", params={"limit": 1}).json()
    row = {"id": 1, "name": "Test", "value": "123"}
    assert first["rows"] == [{"key": {"id": 1}, "row": row}]
    assert first["table"] == "items"
    assert first["position"]
    second = http.get("/tables/items/rows", params={"after": first["next"]}).json()
    assert [each["key"] for each in second["rows"]] == [{"id": 2}]
    assert second["next"] is None


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/tables/nothing/rows", 404),
        ("/tables//rows", 404),
        ("/tables/%FF/rows", 404),
        ("/tables/a%2Fb/rows", 404),
        ("/tables/items/rows?limit=0", 422),
        ("/tables/items/rows?limit=1001", 422),
        ("/tables/items/rows?limit=-1", 422),
        ("/tables/items/rows?limit=x", 422),
        ("/tables/items/rows?after=x", 422),
        ("/values/x", 404),
        ("/values/" + "0" * 64, 404),
        ("/values/" + "0" * 65, 404),
        ("/values/..%2F..%2Fetc%2Fpasswd", 404),
        ("/nothing", 404),
        ("/static/nothing.js", 404),
        ("/static/", 404),
        ("/static/..%2Fserver.py", 404),
        ("/static/%2e%2e/server.py", 404),
        ("/static/%2Fetc%2Fpasswd", 404),
        ("/static/a%00b", 404),
        ("/ws", 404),
        ("/redoc", 404),
    ],
)
def test_what_is_not_there_is_a_sentence(http: httpx.Client, path: str, status: int) -> None:
    answer = http.get(path)
    assert answer.status_code == status
    assert list(answer.json()) == ["detail"]
    assert "Traceback" not in answer.text


def test_another_method_is_a_sentence(http: httpx.Client) -> None:
    answer = http.delete("/health")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"
    assert answer.json() == {"detail": "This address has no such method."}


def test_a_large_value_is_a_download(tmp_path: Path) -> None:
    script = "INSERT INTO items VALUES (3, 'big', '<script>' || printf('%.*c', 300000, 'x'));"
    with (
        run_service(tmp_path, script=script) as service,
        httpx.Client(base_url=service.url, trust_env=False) as http,
    ):
        row = http.get("/tables/items/rows").json()["rows"][2]["row"]
        large = row["value"]["$large"]
        answer = http.get(f"/values/{large['sha256']}")
    assert answer.status_code == 200
    assert answer.content == b"<script>" + b"x" * 300_000
    assert len(answer.content) == large["bytes"]
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_the_page_and_its_files_are_served(http: httpx.Client) -> None:
    page = http.get("/")
    assert page.status_code == 200
    assert "Waiting for DB updates" in page.text
    for name in ("page.js", "style/page.css"):
        answer = http.get(f"/static/{name}")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-cache"


def test_the_interface_is_described(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    expected = {"/health", "/tables", "/tables/{name}/rows", "/values/{sha256}", "/items"}
    expected |= {"/tables/{name}/schema"}
    expected |= {"/add/{name}/{value}", "/update/{item_id}/{new_value}", "/items/{item_id}"}
    expected |= {"/events", "/changes", "/snapshot"}
    expected |= {"/history", "/tables/{name}/history", "/tables/{name}/past"}
    expected |= {"/livez", "/readyz", "/metrics", "/databases"}
    assert set(document["paths"]) == expected
    for path in document["paths"].values():
        for operation in path.values():
            assert operation["summary"]
            assert operation["responses"]


def test_the_description_page_needs_no_other_server(http: httpx.Client) -> None:
    page = http.get("/docs")
    assert page.status_code == 200
    assert "//" not in page.text
    assert "static/docs.js" in page.text
    script = http.get("/static/docs.js").text
    assert "http://" not in script
    assert "https://" not in script
    assert "innerHTML" not in script


def test_it_can_be_mounted_in_an_application_of_ones_own(tmp_path: Path) -> None:
    def make_app(hub: Hub) -> ASGIApp:
        outer = FastAPI()
        outer.mount("/live", create_app(hub, allow_writes=True))
        return outer

    with (
        run_service(tmp_path, make_app=make_app, root="/live") as service,
        httpx.Client(base_url=service.url, trust_env=False) as http,
    ):
        assert "Waiting for DB updates" in http.get("/").text
        assert http.get("/static/page.js").status_code == 200
        assert http.get("/health").json()["state"] == "ok"
        assert http.get("/add/a/b%2Fc").json()["value"] == "b/c"
        assert http.get("/health", headers={"host": "evil.example"}).status_code == 421
        assert http.get("/openapi.json").json()["servers"] == [{"url": "/live"}]
        with service.websocket() as client:
            assert receive_until(client, "ready")


def test_a_mounted_application_signs_visitors_in_below_its_mount_point(tmp_path: Path) -> None:
    def make_app(hub: Hub) -> ASGIApp:
        outer = FastAPI()
        outer.mount("/live", create_app(hub, token="a token"))
        return outer

    with (
        run_service(tmp_path, make_app=make_app, root="/live") as service,
        httpx.Client(base_url=service.url, trust_env=False) as http,
    ):
        assert 'action="/live/login"' in http.get("/", headers={"accept": "text/html"}).text
        answer = http.post("/login", data={"token": "a token"})
        assert answer.headers["location"] == "/live/"
        assert "Path=/live/" in answer.headers["set-cookie"]
        assert http.get("/health").status_code == 200


def test_rows_that_the_reader_does_not_give_in_time_are_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_ANSWER_SECONDS", 0.2)
    hubs: list[Hub] = []

    def make_app(hub: Hub) -> ASGIApp:
        hubs.append(hub)
        return create_app(hub)

    with (
        run_service(tmp_path, make_app=make_app) as service,
        httpx.Client(base_url=service.url, trust_env=False) as http,
    ):
        reader = hubs[0].reader_pid
        assert reader is not None
        os.kill(reader, signal.SIGSTOP)
        answer = http.get("/tables/items/rows")
        os.kill(reader, signal.SIGCONT)
        assert answer.status_code == 503
        assert "gives no answer" in answer.json()["detail"]
        assert answer.headers["retry-after"] == "1"
        assert http.get("/tables/items/rows").status_code == 200
