"""Curves, forest and pass-hack plane as PNG: direct labels, colour-blind safe (Okabe-Ito), units, n.

Pure drawing: every function takes arrays and writes one file, so that study.py decides what is compared with what.
Curves hold rates in [0, 1] of shape (n seeds, steps) and are drawn in percent with a 95% t interval over seeds.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy

from study.stats import Contrast

Array = np.ndarray
Curves = dict[str, tuple[Array, Array]]  # label -> (steps (T,), rates (n, T))

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#B8A900",
    "#0072B2",
    "#D55E00",
    "#AA5588",
)  # fmt: skip  (yellow and pink darkened from Okabe-Ito's, to be legible as text on white)
GREY = "#777777"
# the same arm has the same look in every figure; controls share dashes so that they read as a group
LOOK: dict[str, tuple[str, str, float]] = {
    "vanilla": (BLACK, "-", 2.2), "ceiling": (GREEN, "-", 1.8),
    "projected": (YELLOW, "-", 2.8), "haar_v": (ORANGE, "--", 1.6),
    "within_class_v": (RED, "-.", 1.6), "nonhack_v": (PINK, ":", 2.0),
    "projected_k40": (YELLOW, "-", 2.8), "haar_v_k40": (ORANGE, "--", 1.6), "within_class_v_k40": (RED, "-.", 1.6),
    "screen": (BLUE, "-", 2.8), "screen_haar": (ORANGE, "--", 1.6),
    "screen_within": (RED, "-.", 1.6), "screen_random": (PINK, ":", 2.0),
    "screen_length": (SKY, "--", 1.6),
}  # fmt: skip
SPARE = (SKY, RED, ORANGE, PINK, YELLOW, BLUE, GREY)
NAMES = {
    "ceiling": "no-loophole ceiling",
    "haar_v": "random (Haar) V", "screen_haar": "random (Haar) V",
    "within_class_v": "within-class V", "screen_within": "within-class V",
    "projected_k40": "projected, 40 directions", "haar_v_k40": "random V, 40",
    "within_class_v_k40": "within-class V, 40", "oracle": "oracle (reads labels)",
    "nonhack_v": "non-hack V", "screen_random": "random drops", "screen_length": "longest drops",
}  # fmt: skip

STYLE = {
    "font.size": 11, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.grid.axis": "y",
    "grid.color": "#E4E4E4", "axes.axisbelow": True, "axes.titlelocation": "left", "axes.titleweight": "bold",
    "axes.titlesize": 12, "figure.dpi": 110, "savefig.dpi": 150,
}  # fmt: skip


def subplots(rows: int = 1, columns: int = 1, **kwargs):
    """(figure, axes) in this file's style; matplotlib is loaded here, so that what draws nothing starts without it."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update(STYLE)
    fig = Figure(figsize=kwargs.pop("figsize"))
    return fig, fig.subplots(rows, columns, **kwargs)


def looks(labels: Sequence[str]) -> dict[str, tuple[str, str, float]]:
    """(colour, dash, width) of each label of one figure; arms without a look of their own share the spare colours."""
    spare = [x for x in labels if x not in LOOK]
    return {x: LOOK.get(x, (SPARE[spare.index(x) % len(SPARE)] if x in spare else GREY, "-", 1.8)) for x in labels}


def spread(y: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions as near to y as can be with at least `gap` between neighbours, within [low, high] where it fits."""
    order = np.argsort(y, kind="stable")
    want = np.array(y, dtype=float)[order]
    # isotonic regression on y - i * gap is the least-squares solution under the spacing constraint
    base = np.arange(1, len(want) + 1) * gap
    blocks: list[tuple[float, int]] = []
    for v in want - base:
        blocks.append((v, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, n), (b, m) = blocks[-2:]
            blocks[-2:] = [((a * n + b * m) / (n + m), n + m)]
    placed = np.concatenate([[v] * n for v, n in blocks]) + base
    if placed[-1] > high:
        placed -= placed[-1] - high
    if placed[0] < low:
        placed += low - placed[0]
    out = np.empty(len(want))
    out[order] = placed
    return out.tolist()


def t_band(rates: Array) -> tuple[Array, Array, Array]:
    """Mean and 95% t interval over seeds, (T,) each; the band is the mean itself at n = 1."""
    mean, n = rates.mean(0), rates.shape[0]
    half = scipy.stats.t.ppf(0.975, n - 1) * rates.std(0, ddof=1) / np.sqrt(n) if n > 1 else np.zeros_like(mean)
    return mean, mean - half, mean + half


def draw_curves(ax, curves: Curves, style: dict, percent: bool = True, top: float = 100.0, show_n: bool = True) -> None:
    """Mean of each label, named at its right end; from 5 seeds on with a 95% t band, below that with every seed."""
    scale, ends = (100.0 if percent else 1.0), []
    last = max((float(s[-1]) for s, _ in curves.values()), default=1.0)
    for label, (steps, rates) in curves.items():
        colour, dash, width = style[label]
        mean, low, high = (scale * x for x in t_band(rates))
        if len(rates) >= 5:
            ax.fill_between(steps, np.clip(low, 0, top), np.clip(high, 0, top), color=colour, alpha=0.13, linewidth=0)
        elif len(rates) > 1:
            ax.plot(steps, scale * rates.T, color=colour, linewidth=0.6, alpha=0.4)
        marker = "o" if len(steps) <= 12 else None
        ax.plot(steps, mean, dash, color=colour, linewidth=width, marker=marker, markersize=4)
        text = NAMES.get(label, label) + (f" {mean[-1]:.0f}%" if percent else f" {mean[-1]:.3f}")
        ends.append((float(mean[-1]), float(steps[-1]), text + (f" (n={len(rates)})" if show_n else ""), colour))
    ax.set_ylim(-0.015 * top, 1.015 * top)
    name_ends(ax, ends, last, 0, top)
    ax.set_xlim(0, last)
    ax.set_xlabel("optimizer step")


def name_ends(ax, ends: Sequence[tuple[float, float, str, str]], last: float, low: float, high: float) -> None:
    """Write each line's (y, x, text, colour) beside the panel, a line of text apart, within [low, high]."""
    gap = (high - low) * 13.5 / (ax.get_position().height * ax.figure.get_figheight() * 72)  # points a line of text
    for (y, x, text, colour), place in zip(ends, spread([e[0] for e in ends], gap, low, high), strict=True):
        ax.annotate(
            text, (x, y), (last * 1.05, place), color=colour, fontsize=9.5, va="center", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.7, "shrinkA": 0, "shrinkB": 1, "relpos": (0, 0.5)},
        )  # fmt: skip


def one_n(curves: Curves) -> bool:
    """Whether every curve has the same number of seeds (then the note says it once)."""
    return len({len(r) for _, r in curves.values()}) <= 1


def save(fig, path: str | Path, note: str = "", size: float = 8.5) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if note:
        room = int(fig.get_figwidth() * 72 / (0.47 * size))  # letters of this font in a line
        note = "\n".join(textwrap.fill(line, room) for line in note.splitlines())
        fig.text(0.012, 0.012, note, fontsize=size, color="#555555", va="bottom")
    fig.savefig(path)
    return path


def hack_and_pass(path: str | Path, hack: Curves, passes: Curves, title: str, note: str) -> Path:
    """Two panels over steps: held-out hack rate and pass rate."""
    panels = (
        ("Hacked: loophole paid for a wrong answer", "% of held-out prompts, hint on", hack),
        ("Passed: truly solved", "% of held-out prompts, hint off", passes),
    )
    return two_panels(path, panels, title, note)


def two_panels(
    path: str | Path,
    panels: Sequence[tuple[str, str, Curves]],
    title: str,
    note: str,
    extra: Curves | None = None,
    style: dict[str, tuple[str, str, float]] | None = None,
) -> Path:
    """Two panels (heading, unit, curves over steps), every curve named at its end; `extra` adds thin unlabelled lines
    to the first, `style` gives looks to labels that are no names of arms."""
    (_, _, hack), (_, _, passes) = panels
    show_n = not one_n(hack | passes)
    # laid out in inches, so that the longest label fits beside either panel
    room = 0.077 * max(len(NAMES.get(x, x)) + (10 if show_n else 4) for x in [*hack, *passes]) + 0.35
    panel, left = 4.0, 0.72
    width = left + panel + room + left + panel + room
    title = textwrap.fill(title, int(9 * width))
    height = 4.8 + 0.24 * title.count("\n")
    fig, axes = subplots(1, 2, figsize=(width, height))
    for i, ax in enumerate(axes):
        ax.set_position([(left + i * (panel + room + left)) / width, 0.888 / height, panel / width, 3.096 / height])
    fig.suptitle(title, x=0.012, y=1 - 0.12 / height, ha="left", va="top", fontsize=13.5, fontweight="bold")
    style = style or looks(list(dict.fromkeys([*hack, *passes])))
    for label, (steps, rates) in (extra or {}).items():
        axes[0].plot(steps, 100 * rates.mean(0), color=style[label][0], linewidth=0.9, alpha=0.45)
    if not show_n:
        note = f"n={len(next(iter(passes.values()))[1])} an arm. {note}"
    for ax, (heading, unit, curves) in zip(axes, panels, strict=True):
        draw_curves(ax, curves, style, show_n=show_n)
        ax.set_title(heading)
        ax.set_ylabel(unit)
    return save(fig, path, note)


def forest(path: str | Path, rows: Sequence[tuple[str, Contrast, Contrast]], title: str, note: str) -> Path:
    """Effect against vanilla, a row an arm: (label, hack Contrast, pass Contrast); dots are seeds, bars intervals."""
    from matplotlib.patheffects import withStroke

    fig, axes = subplots(1, 2, figsize=(12.6, 1.9 + 0.44 * len(rows)), sharey=True)
    head, foot = 0.8 / fig.get_figheight(), 0.95 / fig.get_figheight()
    left = 0.02 + 0.0065 * max(len(r[0]) + 7 for r in rows)  # room for the longest name at 11 points
    fig.subplots_adjust(left=left, right=0.985, top=1 - head, bottom=foot, wspace=0.05)
    fig.suptitle(
        title, x=0.012, y=1 - 0.12 / fig.get_figheight(), ha="left", va="top", fontsize=13.5, fontweight="bold"
    )
    y = np.arange(len(rows))[::-1]
    for side, ax in enumerate(axes):
        ax.axvline(0, color="black", linewidth=1)
        for i, (name, *effects) in enumerate(rows):
            c, colour = effects[side], LOOK[name][0] if name in LOOK else "#444444"
            ax.scatter(100 * np.array(c.diffs), np.full(c.n, y[i]) - 0.2, s=13, color=colour, alpha=0.45, linewidth=0)
            if c.n >= 4:  # with fewer seeds a t interval says only that they are few, and stretches the axis
                ax.plot(100 * np.array(c.t_ci), [y[i]] * 2, color=colour, linewidth=1.2, solid_capstyle="butt")
            ax.plot(100 * np.array(c.bca_ci), [y[i]] * 2, color=colour, linewidth=4, alpha=0.75, solid_capstyle="butt")
            ax.plot(100 * c.mean, y[i], "D", color=colour, markersize=6.5, markeredgecolor="white")
            label, at = f"{round(100 * c.mean):+d}", (100 * c.mean, y[i] + 0.17)
            white = [withStroke(linewidth=3, foreground="white")]  # the line at zero must not run through a number
            ax.annotate(label, at, ha="center", va="bottom", fontsize=9, color=colour, path_effects=white)
        ax.set_ylim(-0.7, len(rows) - 0.2)
        ax.grid(axis="y", visible=False)
        ax.grid(axis="x", color="#E4E4E4")
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="y", length=0)
    axes[0].set_yticks(y, [f"{r[0]}  (n={r[1].n})" for r in rows])
    for x, style in ((-15, ":"), (-30, "--")):
        axes[0].axvline(x, color=BLUE, linewidth=1, linestyle=style, zorder=0)
        axes[0].annotate(
            f"{x} pp", (x, len(rows) - 0.2), ha="center", va="bottom", fontsize=8.5, color=BLUE, annotation_clip=False
        )
    axes[1].axvspan(-10, 10, color=GREEN, alpha=0.09, linewidth=0)
    axes[1].annotate(
        "±10 pp", (0, len(rows) - 0.2), ha="center", va="bottom", fontsize=8.5, color=GREEN, annotation_clip=False
    )
    axes[0].set_xlabel("hack rate minus vanilla's, pp  (left: hacks less)")
    axes[1].set_xlabel("pass rate minus vanilla's, pp  (right: solves more)")
    return save(fig, path, note)


def overlap(path: str | Path, curves: Curves, title: str, note: str) -> Path:
    """Hack-ward share of the applied update over training, one line an arm."""
    fig, ax = subplots(figsize=(10.6, 4.8))
    fig.subplots_adjust(left=0.085, right=0.7, top=0.86, bottom=0.19)
    fig.suptitle(title, x=0.012, y=0.975, ha="left", fontsize=13.5, fontweight="bold")
    top = max(1e-3, 1.1 * max(float(np.nanmax(np.nanmean(r, axis=0))) for _, r in curves.values()))
    draw_curves(ax, curves, looks(list(curves)), percent=False, top=top)
    ax.set_ylabel("hack-ward overlap (cupd)")
    return save(fig, path, note)


def plane(path: str | Path, arms: dict[str, tuple[Array, Array]], title: str, note: str) -> Path:
    """Mean trajectory of each arm in the plane (pass, hack): equal solve rate is a vertical line."""
    fig, ax = subplots(figsize=(8.6, 5.6))
    fig.subplots_adjust(left=0.09, right=0.97, top=0.87, bottom=0.17)
    fig.suptitle(title, x=0.012, y=0.975, ha="left", fontsize=13.5, fontweight="bold")
    right = max(float(p.max()) for p, _ in arms.values()) * 100
    left = min(float(p.min()) for p, _ in arms.values()) * 100
    pad = 0.04 * (right - left) + 0.5
    spots = {a: (100 * p[-1], 100 * h[-1]) for a, (p, h) in arms.items()}
    places = dict(zip(spots, spread([y for _, y in spots.values()], 4.6, 0, 100), strict=True))
    style = looks(list(arms))
    for label, (p, h) in arms.items():
        colour, dash, width = style[label]
        ax.plot(100 * p, 100 * h, dash, color=colour, linewidth=width, alpha=0.85)
        ax.plot(100 * p[0], 100 * h[0], "o", color=colour, markersize=5, markerfacecolor="white")
        x, y = spots[label]
        ax.plot(x, y, "o", color=colour, markersize=7)
        ax.annotate(
            NAMES.get(label, label),
            (x, y),
            (right + 2.4 * pad, places[label]),
            color=colour,
            fontsize=9.5,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.6, "alpha": 0.6},
            annotation_clip=False,
        )
    ax.set_xlim(left - pad, right + (right - left) * 0.48 + 4 * pad)
    ax.set_ylim(-2, 102)
    ax.grid(axis="x", color="#E4E4E4")
    ax.set_xlabel("passed, hint off, % of held-out prompts")
    ax.set_ylabel("hacked, hint on, % of held-out prompts")
    return save(fig, path, note)


def one_run(path: str | Path, panels: Sequence[tuple[str, str, Curves]], title: str, note: str) -> Path:
    """A run over its steps, a panel a measure: (heading, unit, curves); a unit of % is drawn from 0 to 100."""
    fig, axes = subplots(2, 3, figsize=(12.6, 6.4))
    fig.subplots_adjust(left=0.065, right=0.985, top=0.87, bottom=0.135, wspace=0.27, hspace=0.48)
    fig.suptitle(title, x=0.012, y=0.975, ha="left", fontsize=14, fontweight="bold")
    for ax, (heading, unit, curves) in zip(axes.flat, panels, strict=False):
        scale = 100 if unit.startswith("%") else 1
        for (name, (steps, values)), colour in zip(curves.items(), (BLACK, BLUE, RED)):
            known = np.isfinite(values[0])
            few = "o-" if known.sum() <= 30 else "-"
            ax.plot(steps[known], scale * values[0][known], few, color=colour, linewidth=1.8, markersize=4, label=name)
        if scale == 100:
            ax.set_ylim(-2, 102)
        else:
            ax.margins(y=0.25)  # room for the legend
        ax.set_title(heading)
        ax.set_ylabel(unit)
        ax.set_xlabel("optimizer step")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend(frameon=False, fontsize=10.5, loc="best")
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    return save(fig, path, note, 10.5)
