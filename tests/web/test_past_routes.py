"""What was, over plain HTTP: what is asked, what is answered, what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.web.service import Service, run_service, stored
from tests.web.test_socket import execute, wait_for
from watcher.hub import Hub
from watcher.web import create_app

TABLES = """
CREATE TABLE reals(r REAL PRIMARY KEY, v);
INSERT INTO reals VALUES (1.0, 'one'), (2.5, 'more');
CREATE TABLE "a/history"(k TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO "a/history" VALUES ('x');
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with run_service(tmp_path_factory.mktemp("past"), script=TABLES) as running:
        yield running


def position(http: httpx.Client) -> str:
    return str(http.get("/health").json()["position"])


def commit(service: Service, http: httpx.Client, sql: str) -> str:
    """Runs a statement and waits for it; the position before it."""
    before = position(http)
    execute(service.database, sql)
    wait_for(lambda: position(http) != before)
    return before


def get(http: httpx.Client, path: str, **parameters: Any) -> Any:
    answer = http.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_table_is_told_as_it_was(service: Service, http: httpx.Client) -> None:
    was = stored(service.database)
    at = commit(service, http, "UPDATE items SET value = 'changed', name = 'other'")
    page = get(http, "/tables/items/past", at=at, limit=1)
    assert page == {
        "position": at,
        "table": "items",
        "columns": ["id", "name", "value"],
        "rows": [{"key": {"id": 1}, "row": dict(zip(page["columns"], was[0], strict=True))}],
        "next": page["next"],
    }
    rest = get(http, "/tables/items/past", at=at, after=page["next"])
    assert [tuple(row["row"].values()) for row in rest["rows"]] == was[1:]
    assert rest["next"] is None
    begun = get(http, "/tables/items/past", **{"at": at, "from": '{"id":2}'})
    assert begun["rows"] == rest["rows"]


def test_the_history_tells_how_far_it_reaches(service: Service, http: httpx.Client) -> None:
    for number in range(4):
        commit(service, http, f"INSERT INTO items(name) VALUES ('history {number}')")
    whole = get(http, "/history")
    assert whole["newest"]["position"] == position(http) == whole["marks"][-1]["position"]
    assert whole["newest"]["time"] == whole["marks"][-1]["time"]
    assert whole["oldest"]["time"] == whole["marks"][0]["time"]
    assert whole["changesets"] == len(whole["marks"]) >= 4
    assert all(mark["changes"] >= 1 for mark in whole["marks"])
    begin, end = whole["marks"][-4]["position"], whole["marks"][-2]["position"]
    some = get(http, "/history", **{"from": begin, "to": end, "marks": 1})
    assert (some["changesets"], some["oldest"]["position"]) == (2, begin)
    assert some["marks"] == [whole["marks"][-2]]
    assert get(http, "/history", table="reals", **{"from": begin})["marks"] == []
    # The floor is a position like any other.
    get(http, "/tables/items/past", at=whole["oldest"]["position"])


def test_a_row_is_told_version_by_version(service: Service, http: httpx.Client) -> None:
    commit(service, http, "INSERT INTO items VALUES (77, 'first', NULL)")
    commit(service, http, "UPDATE items SET value = 'x' WHERE id = 77")
    found = get(http, "/tables/items/history", key='{"id": 77}', limit=1)
    (version,) = found["versions"]
    row = {"id": 77, "name": "first", "value": "x"}
    assert (version["op"], version["changed"], version["after"]) == ("update", ["value"], row)
    assert version["before"] == row | {"value": None}
    assert version["position"] == position(http)
    assert version["commits"] in (1, None)
    assert found["key"] == {"id": 77}
    assert (found["table"], found["reaches"]) == ("items", "limit")
    older = get(http, "/tables/items/history", key='{"id":77}', before=found["next"])
    assert [version["op"] for version in older["versions"]] == ["insert"]
    assert (older["next"], older["reaches"]) == (None, "birth")


@pytest.mark.parametrize("key", ['{"r":1.0}', '{"r":{"$real":"1.0"}}', '{"r":{"$real":"1"}}'])
def test_whole_reals_are_named_as_a_browser_can(
    service: Service, http: httpx.Client, key: str
) -> None:
    commit(service, http, "UPDATE reals SET v = v || '!'")
    found = get(http, "/tables/reals/history", key=key)
    assert found["versions"][0]["after"]["r"] == 1.0
    at = found["versions"][0]["position"]
    begun = get(http, "/tables/reals/past", **{"at": at, "from": key})
    assert begun["rows"][0]["key"] == {"r": 1.0}


def test_names_with_slashes_are_tables_too(service: Service, http: httpx.Client) -> None:
    at = commit(service, http, "DELETE FROM \"a/history\" WHERE k = 'x'")
    page = get(http, "/tables/a%2Fhistory/past", at=at)
    assert page["rows"] == [{"key": {"k": "x"}, "row": {"k": "x"}}]
    assert get(http, "/tables/a%2Fhistory/history", key='{"k":"x"}')["versions"]
    execute(service.database, "INSERT OR IGNORE INTO \"a/history\" VALUES ('x')")


@pytest.mark.parametrize(
    ("path", "parameters", "status"),
    [
        ("/tables/items/past", {}, 422),
        ("/tables/items/past", {"at": "x"}, 422),
        ("/tables/items/past", {"at": "HERE", "limit": 0}, 422),
        ("/tables/items/past", {"at": "HERE", "limit": 1001}, 422),
        ("/tables/items/past", {"at": "HERE", "after": "x"}, 422),
        ("/tables/items/past", {"at": "HERE", "after": "WzAsMSwyXQ"}, 422),
        ("/tables/items/past", {"at": "HERE", "after": "Wy0xLDFd"}, 422),
        ("/tables/items/past", {"at": "HERE", "from": "{}"}, 422),
        ("/tables/items/past", {"at": "HERE", "from": "["}, 422),
        ("/tables/items/past", {"at": "HERE", "from": '{"id":1}', "after": "WzAsMV0"}, 422),
        ("/tables/items/past", {"at": "HERE", "other": "1"}, 422),
        ("/tables/items/past", {"at": ["HERE", "HERE"]}, 422),
        ("/tables/items/past", {"at": "zzzzzz:1~0000"}, 410),
        ("/tables/items/past", {"at": "zzzzzz:1.0~0000"}, 422),
        ("/tables/nothing/past", {"at": "HERE"}, 404),
        ("/tables/nothing/history", {"key": '{"id":1}'}, 404),
        ("/tables/items/history", {}, 422),
        ("/tables/items/history", {"key": "1"}, 422),
        ("/tables/items/history", {"key": '{"id":[]}'}, 422),
        ("/tables/items/history", {"key": '{"id":{"$real":"x"}}'}, 422),
        ("/tables/items/history", {"key": '{"id":"\\ud800"}'}, 422),
        ("/tables/items/history", {"key": '{"name":1}'}, 422),
        ("/tables/items/history", {"key": '{"id":1}', "before": "x"}, 422),
        ("/tables/items/history", {"key": '{"id":1}', "before": "zzzzzz:1~0000"}, 410),
        ("/tables/items/history", {"key": '{"id":1}', "more": "1"}, 422),
        ("/history", {"marks": 0}, 422),
        ("/history", {"marks": 501}, 422),
        ("/history", {"from": "zzzzzz:1~0000"}, 410),
        ("/history", {"to": "x"}, 422),
        ("/history", {"until": "x"}, 422),
    ],
)
def test_what_cannot_be_told_is_a_sentence(
    http: httpx.Client, path: str, parameters: dict[str, Any], status: int
) -> None:
    here = position(http)
    asked = json.loads(json.dumps(parameters).replace("HERE", here))
    answer = http.get(path, params=asked)
    assert (answer.status_code, list(answer.json())) == (status, ["detail"]), answer.text
    assert "Traceback" not in answer.text


def test_a_table_that_has_changed_is_a_sentence(tmp_path: Path) -> None:
    with (
        run_service(tmp_path) as service,
        httpx.Client(base_url=service.url, trust_env=False) as http,
    ):
        at = commit(service, http, "ALTER TABLE items DROP COLUMN name")
        dropped = http.get("/tables/items/past", params={"at": at})
        assert (dropped.status_code, "'name' has been dropped" in dropped.text) == (409, True)
        before = commit(service, http, "CREATE TABLE late(x)")
        late = http.get("/tables/late/past", params={"at": before})
        assert (late.status_code, "no table 'late' then" in late.text) == (404, True)


def test_the_past_of_several_databases_is_apart(tmp_path: Path) -> None:
    """Each has its own below its name."""

    def make_app(hub: Hub) -> Any:
        return create_app({"first": hub})

    with (
        run_service(tmp_path, make_app=make_app) as service,
        httpx.Client(base_url=service.url, trust_env=False) as http,
    ):
        at = get(http, "/db/first/health")["position"]
        assert get(http, "/db/first/tables/items/past", at=at)["rows"]
        assert get(http, "/db/first/history")["newest"]["position"] == at
        assert http.get("/history").status_code == 404
