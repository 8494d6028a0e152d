"""Rates, intervals and lists as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from study.stats import Contrast

ARMS = {  # for who has never seen the project
    "vanilla": "plain GRPO",
    "projected": "without the hack directions",
    "haar_v": "without random directions",
    "within_class_v": "without within-class directions",
    "nonhack_v": "without honest directions",
    "screen": "without hack-ward rollouts",
}


def arm_words(arm: str) -> str:
    """An arm in plain words, or its name."""
    return ARMS.get(arm, arm)


def listed(words: Iterable[str]) -> str:
    """a, b and c"""
    *head, last = words
    return f"{', '.join(head)} and {last}" if head else last


def pp(x: float, sign: bool = True) -> str:
    """A rate as percentage points."""
    return "n/a" if np.isnan(x) else f"{100 * x:+.1f} pp" if sign else f"{100 * x:.1f}%"


def interval(ci: tuple[float, float], sign: bool = True) -> str:
    return (
        "[n/a]"
        if np.isnan(ci[0])
        else f"[{100 * ci[0]:{'+' if sign else ''}.1f}, {100 * ci[1]:{'+' if sign else ''}.1f}]"
    )


def both(c: Contrast) -> str:
    """Both 95% intervals of a contrast in percentage points."""
    return f"BCa {interval(c.bca_ci)}, t {interval(c.t_ci)}"


def share(ci: tuple[float, float]) -> str:
    return "[n/a]" if np.isnan(ci[0]) else f"[{ci[0]:.2f}, {ci[1]:.2f}]"


def some(found: Sequence[str], limit: int = 3) -> str:
    return "; ".join(found[:limit]) + (f" and {len(found) - limit} more" if len(found) > limit else "")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(r) + " |" for r in rows])


def wait_words(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
