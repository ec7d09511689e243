"""What a watched file, or a client, may bring: values, names, schemas and paths of all kinds."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.conftest import MakeDatabase, StartServer
from tests.faults.client import Client
from tests.oracle.contents import contents_of_file
from tests.served import ROOT
from tests.web.service import Service, receive_until, run_service
from tests.web.test_socket import execute, wait_for
from watcher.changes import Change, InvalidText, Op, ResetReason, Table
from watcher.history import HistoryReader, HistoryWriter, Limits, sequence
from watcher.hub import Meter
from watcher.wire import decode_value

VALUES = """
CREATE TABLE odd(id INTEGER PRIMARY KEY, v);
INSERT INTO odd(v) VALUES (CAST(x'61ff00' AS TEXT)), (CAST(x'' AS TEXT)), (x''), (NULL),
  ('a' || char(0) || 'b'), (9e999), (-9e999), (-0.0), (1.0), (1), (9007199254740993),
  (-9223372036854775808), (x'00ff'), ('</script>'), ('{"$int":"1"}'), (char(0x202e)),
  (CAST(x'eda080' AS TEXT));
"""


def exact(value: Any) -> Any:
    """A value with its type, and the sign of zero."""
    return type(value).__name__, repr(value)


@pytest.mark.fault("H1")
def test_every_value_arrives_exactly_on_every_way(tmp_path: Path) -> None:
    """Content, stream, rows: nothing is dropped, nothing is changed, nothing fails."""
    with run_service(tmp_path, script=VALUES) as service:
        with closing(sqlite3.connect(service.database)) as db:
            db.text_factory = _text
            wanted = [exact(value) for (value,) in db.execute("SELECT v FROM odd ORDER BY id")]
        with service.websocket("?snapshot=true&tables=odd") as client:
            content = receive_until(client, "ready")
            execute(service.database, "UPDATE odd SET id = id + 1000")
            streamed = receive_until(client, "changes")
        rows = httpx.get(f"{service.url}/tables/odd/rows", trust_env=False).json()["rows"]
        lines = httpx.get(f"{service.url}/snapshot?tables=odd", trust_env=False).text
        told = [json.loads(line) for line in lines.splitlines()]
    for messages in (content, streamed, told):
        found = {
            change["key"]["id"]: exact(decode_value(change["after"]["v"]))
            for message in messages
            for change in message.get("changes", ())
            if change["op"] == "insert"
        }
        assert [found[key] for key in sorted(found)] == wanted
    assert [exact(decode_value(row["row"]["v"])) for row in rows] == wanted


def _text(data: bytes) -> str | InvalidText:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return InvalidText(data)


NAMES = ['a"b', "x]y", "a;drop table items", "", "é😀", "n" * 2000, "a,b", "a.b", "$rowid", "%41"]


@pytest.mark.fault("H2")
def test_tables_and_columns_may_have_any_name(tmp_path: Path) -> None:
    """In content, stream, filters and addresses."""
    quoted = {name: '"' + name.replace('"', '""') + '"' for name in NAMES}
    script = "".join(
        f"CREATE TABLE {text}({text} INTEGER PRIMARY KEY, v); INSERT INTO {text} VALUES (1, 'x');"
        for text in quoted.values()
    )
    with run_service(tmp_path, script=script) as service, httpx.Client(trust_env=False) as http:
        for name, text in quoted.items():
            where = quote(f"{text} = 1")
            query = f"?tables={quote(name)}&where={where}"
            content = http.get(f"{service.url}/snapshot{query}")
            assert content.status_code == 200, content.text
            messages = [json.loads(line) for line in content.text.splitlines()]
            assert [table["name"] for table in messages[0]["tables"]] == [name]
            rows = [c for m in messages for c in m.get("changes", ()) if c["op"] == "insert"]
            assert [row["after"] for row in rows] == [{name: 1, "v": "x"}]
            since = quote(messages[-1]["position"])
            execute(service.database, f"UPDATE {text} SET v = 'y'")
            polled = http.get(f"{service.url}/changes{query}&since={since}", timeout=30).json()
            (change,) = [change for m in polled["messages"] for change in m["changes"]]
            assert (change["table"], change["after"]) == (name, {name: 1, "v": "y"})
            if name:
                found = http.get(f"{service.url}/tables/{quote(name, safe='')}/rows")
                assert found.json()["rows"] == [{"key": {name: 1}, "row": {name: 1, "v": "y"}}]


@pytest.mark.fault("H2")
@pytest.mark.parametrize("name", ["a?mode=memory.db", "%41.db", "a#b.db", "two words.db", "é;.db"])
def test_a_file_of_any_name_is_the_one_that_is_watched(
    name: str, database: MakeDatabase, serve: StartServer
) -> None:
    """It is opened as a path, never as a URI; no other file is made beside it."""
    path = database(name)
    before = {file.name for file in path.parent.iterdir() if file.is_file()}
    served = serve(path)
    with Client() as client:
        client.connect(served.url)
        client.receive_until_equal(contents_of_file(path))
    served.stop()
    assert {file.name for file in path.parent.iterdir() if file.is_file()} == before


CRAFTED = {
    "view": "CREATE VIEW v AS WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM i)"
    " SELECT * FROM i;",
    "view of itself": "CREATE VIEW v AS SELECT * FROM w; CREATE VIEW w AS SELECT * FROM v;",
    "default": "CREATE TABLE d(x DEFAULT (load_extension('x')));",
    "check": "CREATE TABLE d(x CHECK(x IN (1, 2) OR length(hex(zeroblob(1000000))) > x));",
    "index": "CREATE TABLE d(x); CREATE INDEX i ON d(abs(x)) WHERE length(x) > 1;",
    "trigger": "CREATE TABLE d(x); CREATE TRIGGER t AFTER INSERT ON d BEGIN"
    " INSERT INTO d WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM i)"
    " SELECT x FROM i; END;",
    "generated": "CREATE TABLE d(x, y AS (printf('%.*c', x, 'y')));"
    " INSERT INTO d(x) VALUES (20000000);",
    "huge": "CREATE TABLE d(x); INSERT INTO d(x) VALUES (900000000);"
    " ALTER TABLE d ADD COLUMN y AS (printf('%.*c', x, 'y'));",
    "large schema": "".join(f"CREATE TABLE d{n}(x, y DEFAULT 'n');" for n in range(400)),
}


@pytest.mark.fault("H4")
@pytest.mark.parametrize("what", CRAFTED)
def test_a_crafted_schema_neither_hangs_nor_hides_other_tables(what: str, tmp_path: Path) -> None:
    """Nothing of it is run; what else there is is told in time."""
    with run_service(tmp_path, script=CRAFTED[what]) as service:
        wait_for(lambda: state(service) in {"ok", "partial"})
        # A value larger than any its file could hold is not made.
        assert what != "huge" or state(service) == "partial"
        with service.websocket("?tables=items") as client:
            receive_until(client, "ready")
            began = time.monotonic()
            execute(service.database, "UPDATE items SET value = 'told' WHERE id = 1")
            (change,) = receive_until(client, "changes")[-1]["changes"]
        assert change["after"]["value"] == "told"
        assert time.monotonic() - began < 5


def state(service: Service) -> str:
    return str(httpx.get(f"{service.url}/health", trust_env=False).json()["state"])


@pytest.mark.fault("H9")
@pytest.mark.parametrize(
    "path",
    [
        "/static/../pyproject.toml",
        "/static/%2e%2e/pyproject.toml",
        "/static/..%2fpyproject.toml",
        "/static/%2e%2e%2f%2e%2e%2fetc/passwd",
        "/static//etc/passwd",
        "/static/..%5cpyproject.toml",
        "/static/%00",
        "/static/" + "a" * 5000,
        "/static/",
        "/static/.",
    ],
)
def test_files_come_from_the_folder_of_the_page_alone(service: Service, path: str) -> None:
    """Whatever the path is written like; also where a link leads out of it."""
    request = f"GET {path} HTTP/1.1\r\nHost: {service.host}\r\nConnection: close\r\n\r\n"
    status, answer = service.raw(request.encode())
    assert status in {400, 404}
    assert b"Traceback" not in answer
    assert (ROOT / "pyproject.toml").read_bytes()[:40] not in answer


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with run_service(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.mark.fault("P7")
@pytest.mark.parametrize("jumps", [[0, -3600, 7200, -86400], [0, 86400 * 365, -86400 * 365]])
def test_a_clock_that_jumps_changes_no_order(
    jumps: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changesets are ordered by their offsets; the time in them is what the clock said."""
    now = time.time()
    (tmp_path / "state").mkdir()
    with closing(HistoryWriter(tmp_path / "state", Limits())) as writer:
        with writer.transaction():
            writer.start_epoch(ResetReason.START, [Table("items", ("id",), ("id",))])
        for number, jump in enumerate(jumps):
            monkeypatch.setattr(time, "time", lambda jump=jump: now + jump)
            change = Change(Op.INSERT, "items", {"id": number}, None, {"id": number})
            with writer.transaction():
                writer.append(1, iter([change]))
    reader = HistoryReader(tmp_path / "state")
    head = reader.head()
    entries = reader.read(head.epoch, sequence(0, None), 1 << 20)
    assert entries is not None
    assert [entry.position.offset for entry in entries] == list(range(1, len(jumps) + 1))
    assert [round(entry.time - now) for entry in entries] == jumps
    reader.close()


@pytest.mark.fault("P7")
def test_a_clock_that_is_set_back_makes_no_negative_latency() -> None:
    meter = Meter()
    meter.delivered(datetime.now(UTC).timestamp() + 3600)
    assert (meter.latencies[0], meter.latency_sum) == (1, 0.0)
