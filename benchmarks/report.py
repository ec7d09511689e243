"""What becomes of figures: a file for each benchmark, a table, a place in the README."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
import msgspec

from benchmarks.extent import Extent
from benchmarks.figures import Figure, shown
from benchmarks.processes import processors

MARKS = ("<!-- bench: filled by make bench -->", "<!-- /bench -->")


class Results(msgspec.Struct):
    """The file of a benchmark.

    Args:
        measured: date and time.
        machine: what it was measured on.
        extent: how much was measured.
        medians: of the figures, in their order; for a reader, since it follows from them.
        figures: all of them.
    """

    measured: str
    machine: dict[str, str]
    extent: dict[str, Any]
    medians: list[float | None]
    figures: list[Figure]


def save(directory: Path, name: str, figures: Sequence[Figure], extent: Extent) -> None:
    """Writes the figures of a benchmark to `name.json`, with what they were measured on."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    medians = [figure.median for figure in figures]
    results = Results(now, _machine(), asdict(extent), medians, list(figures))
    directory.mkdir(parents=True, exist_ok=True)
    content = msgspec.json.format(msgspec.json.encode(results), indent=1)
    _replace(directory / f"{name}.json", content.decode() + "\n")


def _machine() -> dict[str, str]:
    return {
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "processors": str(processors()),
        "python": platform.python_version(),
        "sqlite_of_the_writer": sqlite3.sqlite_version,
        "sqlite_of_the_reader": apsw.sqlite_lib_version(),
    }


def load(directory: Path, name: str) -> list[Figure]:
    """Reads the figures of a benchmark as they were saved last; none if it never ran."""
    path = directory / f"{name}.json"
    if not path.exists():
        return []
    return msgspec.json.decode(path.read_bytes(), type=Results).figures


def table(figures: Iterable[Figure]) -> str:
    """Sets figures as a Markdown table."""
    lines = ["| what | | median | ratio | | target |", "|---|---|---:|---|---|---|"]
    return "\n".join([*lines, *map(_line, figures)])


def _line(figure: Figure) -> str:
    median = "" if figure.median is None else shown(figure.median, figure.unit)
    times = ""
    if figure.ratio is not None:
        times = f"x {shown(figure.ratio, '')} of {figure.against}"
    cells = (figure.what, figure.way, median, times, figure.detail, figure.target)
    return f"| {' | '.join(cells)} |"


def fill(readme: Path, content: str) -> None:
    """Puts a table between the marks of a file.

    Raises:
        SystemExit: it has no such place.
    """
    text = readme.read_text()
    start, end = MARKS
    before, _, rest = text.partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{readme} has no place marked {start}")
    _replace(readme, f"{before}{start}\n{content}\n{end}{after}")


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.tmp")
    draft.write_text(text)
    draft.replace(path)
