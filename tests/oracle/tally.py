"""Counts what the machine has done, so that a run can say so."""

from __future__ import annotations

from collections import Counter

TALLY: Counter[str] = Counter()
FALLBACKS: Counter[str] = Counter()


def count_example(fallbacks: Counter[str]) -> None:
    """Counts one example, and how often its reader compared whole tables and why."""
    TALLY["examples"] += 1
    FALLBACKS.update(fallbacks)


def report() -> list[str]:
    """What there is to tell, a line each."""
    if not TALLY:
        return []
    lines = [", ".join(f"{name}: {count}" for name, count in TALLY.items())]
    reasons = ", ".join(f"{reason}: {count}" for reason, count in FALLBACKS.most_common())
    return [*lines, f"fell back to whole tables: {reasons or 'never'}"]
