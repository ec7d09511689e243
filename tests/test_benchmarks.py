"""Each benchmark runs and finds figures; how good they are is not a matter of tests."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS
from benchmarks.databases import Databases, databases
from benchmarks.extent import Extent
from benchmarks.figures import Figure, missing, percentile, ratio, shown
from benchmarks.plot import plot
from benchmarks.report import MARKS, fill, load, save, table

TINY = Extent(
    runs=1,
    sizes=(100, 1_000),
    base=1_000,
    peers_most=1_000,
    python_most=100,
    edits=3,
    large=2_000,
    bulk=1_500,
    update=1_500,
    burst=100,
    busy=20,
    pairs=2,
    pair_commits=100,
    idle_seconds=0.2,
    clients=5,
    messages=3,
    joined=50,
    idle_clients=50,
    stuck=2,
    readers=3,
    resumed=200,
    page_seconds=0.5,
)
# The least a figure can be, by its unit. A message may come before the writer is told of its
# commit, and a writer that is watched may happen to be faster.
LEAST = {"ms": -10.0, "%": -100.0, "": 0.0, "MB": 1.0, "MB/s": 1.0, "GB/s": 0.001}
# The only ones that a machine, or a size, may lack the means for.
MAY_BE_MISSING = {"sqldiff", "all rows read and compared in Python"}


@pytest.fixture
def made() -> Iterator[Databases]:
    with databases() as made:
        yield made


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_yields_plausible_figures(name: str, made: Databases) -> None:
    """Every line has a figure for each run, or the reason why not; ratios fit the figures."""
    figures = BENCHMARKS[name](made, TINY)
    ways = {figure.way for figure in figures}
    assert any(way.startswith("watcher") for way in ways)
    # Alone, a figure says little: another size, a peer or a control stands beside it.
    assert len(figures) > 1
    for figure in figures:
        if figure.way in MAY_BE_MISSING and not figure.runs:
            assert figure.detail.startswith("not measured: ")
        else:
            assert min(figure.runs) >= LEAST.get(figure.unit, 1.0), figure
        # What is counted is not of the benchmark's own making.
        assert figure.way != "unwatched" or figure.runs == (0.0,), figure
        assert figure.ratio is None or figure.against, figure
    lines = table(figures).splitlines()
    assert len(lines) == len(figures) + 2
    assert {line.count("|") for line in lines} == {7}


def test_a_pause_in_one_run_does_not_move_the_ratio() -> None:
    """The ratio is taken run by run, so what meets both sides in one run cancels out."""
    assert ratio([2.0, 20.0, 2.2], [1.0, 10.0, 1.0]) == 2.0
    assert ratio([], [1.0]) is None


def test_percentiles_are_values_that_were_measured() -> None:
    """The 99th percentile of 100 values is the second largest, the median of three the middle."""
    assert percentile(list(range(1, 101)), 0.99) == 99
    assert percentile([3, 1, 2], 0.5) == statistics.median([1, 2, 3])


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.2468, "ms", "0.247 ms"),
        (3, "ms", "3 ms"),
        (12_345.6, "ms", "12.3 s"),
        (250_000.4, "rows/s", "250,000 rows/s"),
        (20_000.0, "", "20,000"),
    ],
)
def test_figures_are_written_for_people(value: float, unit: str, text: str) -> None:
    """Three digits that mean something, and thousands apart."""
    assert shown(value, unit) == text


def test_a_reason_stays_on_its_line() -> None:
    """Whatever an error says, the table keeps its rows and columns, and a length for people."""
    lines = table([missing("work", "watcher", "ms", "a | b\n" * 100)]).splitlines()
    assert len(lines) == 3
    assert lines[2].count("|") == 7
    assert len(lines[2]) < 200


def test_saved_figures_come_back(tmp_path: Path) -> None:
    """What a later run of other benchmarks reads is what an earlier one wrote."""
    figures = [
        Figure("work", "watcher", "ms", (1.0, 3.0), 1.5, "a peer", "p99 4 ms", rows=10),
        missing("work", "sqldiff", "ms", "it is not installed"),
    ]
    save(tmp_path, "work", figures, TINY)
    assert load(tmp_path, "work") == figures
    assert load(tmp_path, "latency") == []


def test_the_table_goes_between_the_marks_and_nowhere_else(tmp_path: Path) -> None:
    """Filling twice leaves one table, and all other text as it was."""
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    for content in ("| first |", "| second |"):
        fill(readme, content)
    assert readme.read_text() == f"before\n{MARKS[0]}\n| second |\n{MARKS[1]}\nafter\n"
    readme.write_text("no place")
    with pytest.raises(SystemExit):
        fill(readme, "| third |")


def test_the_plot_has_a_curve_for_each_way(tmp_path: Path) -> None:
    """The SVG names the watcher and every peer that was measured, and draws the same again."""
    sizes = (1_000, 10_000)
    latency = [Figure("x, WAL, y", "watcher", "ms", (1.0,), rows=rows) for rows in sizes]
    work = [Figure("x", "watcher", "ms", (0.3,), rows=rows) for rows in sizes]
    peers = [Figure("x", "sqldiff", "ms", (rows / 10,), rows=rows) for rows in sizes]
    peers.append(missing("x", "SQL EXCEPT", "ms", "no time", rows=1_000))
    for name in ("one.svg", "two.svg"):
        plot(tmp_path / name, latency, work, peers)
    drawn = (tmp_path / "one.svg").read_text()
    assert drawn == (tmp_path / "two.svg").read_text()
    assert "watcher: commit to changeset" in drawn
    assert "sqldiff" in drawn
    assert "EXCEPT" not in drawn
