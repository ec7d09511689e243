"""What the tests of views share: a service over a database that another process writes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import Write
from tests.web.service import Service, run_service

_MARKER = "CREATE TABLE marker(n INTEGER); INSERT INTO marker VALUES (0);"
_WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
"""


@contextmanager
def watching(tmp_path: Path, script: str, **options: Any) -> Iterator[tuple[Service, httpx.Client]]:
    """Serves a database made by a script, and a table `marker` beside."""
    with (
        run_service(tmp_path, script=script + _MARKER, **options) as service,
        httpx.Client(base_url=service.url, trust_env=False, timeout=30) as http,
    ):
        yield service, http


def reached(http: httpx.Client, path: Path, write: Write, sql: str) -> str:
    """Writes, and waits until it has been seen; returns the position of a state with it."""
    write(path, f"{sql}; UPDATE marker SET n = n + 1;")
    with closing(sqlite3.connect(path)) as connection:
        ((number,),) = connection.execute("SELECT n FROM marker")
    while True:
        page = http.get("/tables/marker/rows").json()
        if page["rows"][0]["row"]["n"] == number:
            return str(page["position"])


@contextmanager
def writing(path: Path, loop: str) -> Iterator[None]:
    """Another process that writes until the end of the block.

    Args:
        path: the database.
        loop: Python that writes through `connection` and does not end.
    """
    with subprocess.Popen([sys.executable, "-c", _WRITER + loop, str(path)]) as process:
        try:
            yield
            assert process.poll() is None, "the writer ended"
        finally:
            process.kill()
