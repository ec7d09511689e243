"""How long after a commit its message reaches a WebSocket client; `make bench`.

A writer, another process with the sqlite3 module, commits one-row updates one after the other and
notes when each COMMIT returned. A client of a real server notes when the message with that value
came. Both read the same monotonic clock. A negative figure means that the message came before the
writer itself was told of its commit.

Beside it, in the same run and on files of the same make, runs a control: a process that reads all
tables every so many milliseconds and compares them in Python. It reports through a pipe, which is
a shorter way than a WebSocket and counts in its favour.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "latency.json"
WAIT_SECONDS = 30.0
MARKS = ("<!-- latency: filled by make bench -->", "<!-- /latency -->")

# Commits what comes in as the new value of a row, answers with the time at which COMMIT returned.
WRITER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
for line in sys.stdin:
    row, value = line.split()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE items SET value = ? WHERE id = ?", (value, int(row)))
    connection.execute("COMMIT")
    print(time.monotonic_ns(), flush=True)
"""

# Reads everything every so many seconds and reports each new value that it finds.
CONTROL = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type='table'")]
def read():
    return {name: {row[0]: row for row in connection.execute(f'SELECT * FROM "{name}"')}
            for name in names}
old = read()
print("ready", flush=True)
while True:
    time.sleep(float(sys.argv[2]))
    new = read()
    for name in names:
        for key, row in new[name].items():
            if row != old[name].get(key):
                print(row[-1], flush=True)
    old = new
"""

# Waits until a value is reported and gives the time at which it came.
Await = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured of one way to watch one kind of file.

    Args:
        way: `watcher` or the control.
        mode: the journal mode.
        rows: rows in the table.
        edits: commits measured, over all runs.
        medians: median of each run, in milliseconds.
        median: median over all commits, in milliseconds.
        p95: 95th percentile over all commits, in milliseconds.
        worst: the slowest commit, in milliseconds.
    """

    way: str
    mode: str
    rows: int
    edits: int
    medians: list[float]
    median: float
    p95: float
    worst: float


def main() -> None:
    """Measures, prints a table, writes the figures as JSON."""
    options = _options()
    ways = {"watcher": _watched, f"control, every {options.interval:g} ms": _controlled(options)}
    found: dict[tuple[str, str, int], list[list[float]]] = {}
    for _ in range(options.runs):
        # In turn within each run, so that what else the machine does meets all of them.
        for rows in options.rows:
            for mode in ("wal", "delete"):
                for way, watching in ways.items():
                    run = found.setdefault((way, mode, rows), [])
                    run.append(_measure(watching, mode, rows, options.edits))
    figures = [_figure(*key, runs) for key, runs in found.items()]
    table = _table(figures)
    print(table)
    _save(figures, options)
    if options.readme is not None:
        _fill(options.readme, table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--edits", type=int, default=50, help="commits in each run")
    parser.add_argument("--rows", type=int, nargs="+", default=[100, 10_000])
    parser.add_argument("--interval", type=float, default=50, help="of the control, milliseconds")
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--readme", type=Path, help="a file whose marked place takes the table")
    return parser.parse_args()


def _measure(
    watching: Callable[[Path], contextlib.AbstractContextManager[Await]],
    mode: str,
    rows: int,
    edits: int,
) -> list[float]:
    """Gives the milliseconds from commit to report of each edit."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "app.db")
        _make(path, mode, rows)
        with watching(path) as reported, _process([WRITER, str(path)]) as writer:
            return [_edit(writer, reported, f"v{n}", rows) for n in range(edits)]


def _edit(writer: subprocess.Popen[str], reported: Await, value: str, rows: int) -> float:
    # Edits at a steady beat would fall in step with the control's.
    time.sleep(random.uniform(0.01, 0.06))
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdin.write(f"{random.randint(1, rows)} {value}\n")
    writer.stdin.flush()
    came = reported(value)
    return (came - int(writer.stdout.readline())) / 1e6


def _make(path: Path, mode: str, rows: int) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("BEGIN")
        connection.execute(
            "CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT NOT NULL, value TEXT)"
        )
        names = ((f"name {n}", "-" * 40) for n in range(rows))
        connection.executemany("INSERT INTO items(name, value) VALUES (?, ?)", names)
        connection.execute("COMMIT")


@contextlib.contextmanager
def _watched(path: Path) -> Iterator[Await]:
    """The server with one WebSocket client."""
    command = [str(ROOT / "server.py"), "--port", "0", "--state", str(path.with_name("state"))]
    with _process([*command, str(path)], script=True) as server:
        address = re.search(r"http://(\S+)", _line(server.stdout))
        assert address is not None
        with connect(f"ws://{address[1]}/ws", proxy=None, max_size=None) as client:
            while all(message["type"] != "ready" for message in json.loads(client.recv())):
                pass

            def reported(value: str) -> int:
                needle = f'"value":"{value}"'
                while True:
                    frame = client.recv(timeout=WAIT_SECONDS)
                    came = time.monotonic_ns()
                    if needle in str(frame):
                        return came

            yield reported


def _controlled(
    options: argparse.Namespace,
) -> Callable[[Path], contextlib.AbstractContextManager[Await]]:
    @contextlib.contextmanager
    def control(path: Path) -> Iterator[Await]:
        with _process([CONTROL, str(path), str(options.interval / 1000)]) as process:
            assert _line(process.stdout) == "ready\n"

            def reported(value: str) -> int:
                while True:
                    line = _line(process.stdout)
                    came = time.monotonic_ns()
                    if line.strip() == value:
                        return came

            yield reported

    return control


@contextlib.contextmanager
def _process(arguments: list[str], *, script: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Runs Python in another process, ended when the block is left."""
    command = [sys.executable, *([] if script else ["-c"]), *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def _line(stream: IO[str] | None) -> str:
    assert stream is not None
    line = stream.readline()
    if not line:
        raise RuntimeError("a measured process ended too early")
    return line


def _figure(way: str, mode: str, rows: int, runs: list[list[float]]) -> Figure:
    every = sorted(latency for run in runs for latency in run)
    return Figure(
        way,
        mode,
        rows,
        edits=len(every),
        medians=[round(statistics.median(run), 3) for run in runs],
        median=round(statistics.median(every), 3),
        p95=round(every[int(len(every) * 0.95)], 3),
        worst=round(every[-1], 3),
    )


def _table(figures: list[Figure]) -> str:
    lines = [
        "| rows | journal | | median | p95 | worst | median of the watcher |",
        "|---:|---|---|---:|---:|---:|---:|",
    ]
    watched = {(f.mode, f.rows): f.median for f in figures if f.way == "watcher"}
    for f in figures:
        times = " | ".join(f"{t:.1f} ms" for t in (f.median, f.p95, f.worst))
        ratio = f.median / watched[f.mode, f.rows]
        lines.append(f"| {f.rows:,} | {f.mode.upper()} | {f.way} | {times} | x {ratio:.1f} |")
    return "\n".join(lines)


def _save(figures: list[Figure], options: argparse.Namespace) -> None:
    content: dict[str, Any] = {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "sqlite_of_the_writer": sqlite3.sqlite_version,
        "system": platform.system(),
        "processors": os.cpu_count(),
        "runs": options.runs,
        "figures": [asdict(figure) for figure in figures],
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    draft = options.output.with_suffix(".tmp")
    draft.write_text(json.dumps(content, indent=2) + "\n")
    draft.replace(options.output)


def _fill(readme: Path, table: str) -> None:
    text = readme.read_text()
    start, end = MARKS
    before, _, rest = text.partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{readme} has no place marked {start}")
    readme.write_text(f"{before}{start}\n{table}\n{end}{after}")


if __name__ == "__main__":
    main()
