"""What the benchmarks find out: figures with the ratio to what was measured beside them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_REASON_LENGTH = 120


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Args:
        what: what was measured, without the unit.
        way: `watcher`, or the peer or control.
        unit: of the figures: `ms`, `MB`, `rows/s` and so on.
        runs: one figure for each run; empty where it could not be measured.
        ratio: to what `against` names, in the same run; None where there is none.
        against: what the ratio compares with.
        detail: what else is worth a word: a percentile, the share of processor time, or why it
            could not be measured.
        target: what is aimed at.
        rows: rows of the table, where the figure is one point of a curve.
        brief: whether it belongs in a short table.
        more: further numbers, for the file.
    """

    what: str
    way: str
    unit: str
    runs: tuple[float, ...]
    ratio: float | None = None
    against: str = ""
    detail: str = ""
    target: str = ""
    rows: int | None = None
    brief: bool = True
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float | None:
        """Over the runs; None where nothing could be measured."""
        return statistics.median(self.runs) if self.runs else None


def missing(what: str, way: str, unit: str, why: str, *, rows: int | None = None) -> Figure:
    """A line that says why there is no figure, in a sentence that fits into a table."""
    reason = " ".join(why.split()).replace("|", "/")
    if len(reason) > _REASON_LENGTH:
        reason = f"{reason[:_REASON_LENGTH]}…"
    return Figure(what, way, unit, (), detail=f"not measured: {reason}", rows=rows)


def ratio(figures: Sequence[float], control: Sequence[float]) -> float | None:
    """Compares run by run, so that what else the machine does meets both sides alike.

    Args:
        figures: one for each run.
        control: what was measured beside each of them.

    Returns:
        The median of the ratios; None where a side is missing or the control is zero.
    """
    ratios = [a / b for a, b in zip(figures, control, strict=False) if b]
    return statistics.median(ratios) if ratios else None


def percentile(values: Sequence[float], share: float) -> float:
    """Gives the smallest value that `share` of all (0 to 1) do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def count(number: int) -> str:
    """Writes a number of rows for a reader: `10,000`."""
    return f"{number:,}"


def shown(value: float, unit: str) -> str:
    """Writes a figure with its unit, to three digits that mean something."""
    if unit == "ms" and value >= 1000:
        value, unit = value / 1000, "s"
    if float(value).is_integer() or abs(value) >= 100:
        digits = f"{value:,.0f}"
    else:
        digits = f"{value:.3g}"
    return f"{digits} {unit}".rstrip()
