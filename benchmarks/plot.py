"""The plot: how long a one-row change takes, by the number of rows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter

from benchmarks.figures import Figure, shown

_STYLE: dict[Any, Any] = {
    # The same figures give the same file; text stays text, readable on light and dark pages.
    "svg.hashsalt": "watcher",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_OURS = {"color": "#c2410c", "linewidth": 2.5, "zorder": 3}
_PEERS = {"linewidth": 1.2}
_COLOURS = ("#1d4ed8", "#0f766e", "#7c3aed", "#4b5563", "#a16207")

Curve = dict[int, float]


def plot(
    path: Path,
    latency: Iterable[Figure],
    work: Iterable[Figure],
    peers: Iterable[Figure],
) -> None:
    """Draws the curves as SVG; a curve that was not measured is left out.

    Args:
        path: the file.
        latency: from the commit to the changeset in `watch()`, and the seed way.
        work: of the reader alone.
        peers: one comparison by each, without the wait for it.
    """
    watched, seed = _latencies(latency)
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=(7.2, 5.4), layout="constrained")
        axes = canvas.add_subplot()
        _draw(axes, "watcher: commit to changeset in watch()", watched, _OURS | {"marker": "o"})
        own = _OURS | {"marker": "s", "linestyle": ":"}
        _draw(axes, "watcher: work of the reader", _curve(work), own)
        others = seed | _by_way(figure for figure in peers if figure.way != "watcher")
        for colour, (way, curve) in zip(_COLOURS, others.items(), strict=False):
            _draw(axes, way, curve, _PEERS | {"marker": ".", "color": colour})
        _label(axes)
        canvas.legend(loc="outside lower center", ncols=2, frameon=False)
        canvas.savefig(path, format="svg", metadata={"Date": None})


def _latencies(figures: Iterable[Figure]) -> tuple[Curve, dict[str, Curve]]:
    # The plot is about one journal mode, that of the other curves.
    ways = _by_way(figure for figure in figures if ", WAL, " in figure.what)
    return ways.pop("watcher", {}), ways


def _by_way(figures: Iterable[Figure]) -> dict[str, Curve]:
    ways: dict[str, Curve] = {}
    for figure in figures:
        if figure.rows is not None and figure.median is not None:
            ways.setdefault(figure.way, {})[figure.rows] = figure.median
    return ways


def _curve(figures: Iterable[Figure]) -> Curve:
    return _by_way(figures).get("watcher", {})


def _draw(axes: Axes, label: str, curve: Curve, style: dict[str, Any]) -> None:
    if curve:
        rows = sorted(curve)
        axes.plot(rows, [curve[number] for number in rows], label=label, **style)


def _label(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("rows in the table")
    axes.set_ylabel("median for a one-row change")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, "ms")))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.grid(visible=True, which="major", linewidth=0.4, alpha=0.5)
