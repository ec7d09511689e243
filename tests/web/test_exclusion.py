"""Over the network what is excluded is not there, for those who may write too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.web.service import Service, receive_until, run_service, stored
from watcher.sqlite.exclusion import Exclusion


@contextmanager
def excluding(
    directory: Path, *names: str, tables: list[str] | None = None, script: str = ""
) -> Iterator[tuple[Service, httpx.Client]]:
    """A service that may write, and a client of it."""
    exclusion = Exclusion.of(tables=tables, exclude=names)
    with (
        run_service(
            directory, script=script, watching={"exclusion": exclusion}, allow_writes=True
        ) as service,
        httpx.Client(base_url=service.url, trust_env=False) as http,
    ):
        yield service, http


def test_an_answer_to_a_write_lacks_excluded_columns(tmp_path: Path) -> None:
    """They are written, but not shown, and neither are they to those who listen."""
    with excluding(tmp_path, "Items.NAME") as (service, http):
        with service.websocket("?snapshot=true") as client:
            receive_until(client, "ready")
            added = http.get("/add/hidden/on")
            assert added.json() == {"id": 3, "value": "on"}
            assert http.patch("/items/1", json={"value": "x"}).json() == {"id": 1, "value": "x"}
            assert (3, "hidden", "on") in stored(service.database)
            messages = receive_until(client, "changes")
        assert "hidden" not in json.dumps(messages)
        definition = {"name": "items", "key": ["id"], "columns": ["id", "value"]}
        counted = {"rows": {"count": 3, "exact": True}}
        assert http.get("/tables").json() == [definition | counted]
        declared = http.get("/tables/items/schema").json()
        assert [column["name"] for column in declared["columns"]] == ["id", "value"]
        assert "name" not in declared["sql"]
        assert declared["objects"] == []
        ordered = http.get("/tables/items/rows?order=name")
        assert ordered.status_code == 422
        assert "no column" in ordered.json()["detail"]
        rows = http.get("/tables/items/rows").json()["rows"]
        assert rows[0] == {"key": {"id": 1}, "row": {"id": 1, "value": "x"}}
        for path in ("/events?columns=name", "/events?where=name%3D'hidden'"):
            assert http.get(path).status_code in {400, 422}


@pytest.mark.parametrize("names", [["items"], ["ITEMS.id"], ["items.id", "items"]])
def test_an_excluded_table_is_not_written(tmp_path: Path, names: list[str]) -> None:
    """Nor one of whose rows the id is excluded, or which is not in the list of those allowed."""
    with excluding(tmp_path, *names) as (service, http):
        _refuses_all(service, http)


def test_a_table_that_is_not_allowed_is_not_written(tmp_path: Path) -> None:
    with excluding(tmp_path, tables=["other"]) as (service, http):
        _refuses_all(service, http)


def _refuses_all(service: Service, http: httpx.Client) -> None:
    before = stored(service.database)
    answers = [
        http.get("/add/a/b"),
        http.get("/update/1/b"),
        http.post("/items", json={"name": "a"}),
        http.patch("/items/1", json={"value": "b"}),
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert stored(service.database) == before
    assert http.get("/tables/items/rows").status_code == 404
    assert http.get("/tables").json() == []


SECRETIVE = """
CREATE TABLE audit(secret CHECK(secret <> 'no'));
CREATE TRIGGER log AFTER INSERT ON items BEGIN INSERT INTO audit VALUES (new.name); END;
"""


def test_a_refusal_does_not_name_what_is_excluded(tmp_path: Path) -> None:
    """SQLite's own words would."""
    with excluding(tmp_path, "audit", script=SECRETIVE) as (_, http):
        answer = http.get("/add/no/b")
        assert answer.status_code == 409
        assert answer.json() == {"detail": "The database refuses the write."}
        assert http.get("/add/yes/b").status_code == 200


VIEW = """
ALTER TABLE items RENAME TO vault;
CREATE VIEW items AS SELECT id, name, value FROM vault;
CREATE TRIGGER put INSTEAD OF UPDATE ON items BEGIN SELECT 1; END;
"""


def test_a_view_is_no_way_around(tmp_path: Path) -> None:
    """One that is called items may show any table."""
    with excluding(tmp_path, "vault", script=VIEW) as (_, http):
        answer = http.patch("/items/1", json={"value": "b"})
        assert answer.status_code == 409
        assert answer.json() == {"detail": "There is no ordinary table items."}
