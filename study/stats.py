"""Statistics with the seed as the unit: exact sign-flip p, BCa, t and Fieller intervals, Holm, TOST, paired contrasts.

d is always one number a seed, shape (n,); nothing here knows about runs or files.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # loads scipy.stats, which takes a second, where it is first used

Array = np.ndarray

Numbers = Sequence[float] | np.ndarray


def paired(a: dict[int, float], b: dict[int, float], what: str = "") -> Array:
    """Same-seed differences a[s] - b[s], shape (n,), in seed order; ValueError unless both have the same seeds."""
    if set(a) != set(b):
        only_a, only_b = sorted(set(a) - set(b)), sorted(set(b) - set(a))
        raise ValueError(f"unequal seed sets{' for ' + what if what else ''}: only left {only_a}, only right {only_b}")
    return np.array([a[s] - b[s] for s in sorted(a)], dtype=float)


def sign_flip_p(d: Numbers, side: str = "less") -> float:
    """Exact permutation p of the mean under all 2^n sign patterns; side less | greater | two-sided; >= 2^-n."""
    d = np.asarray(d, dtype=float)
    if d.ndim != 1 or not 1 <= d.size <= 20:
        raise ValueError(f"sign_flip_p wants 1 to 20 differences, one a seed; got shape {d.shape}")
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=d.size)))  # (2^n, n)
    sums, seen, eps = signs @ d, d.sum(), 1e-12 * max(1.0, float(np.abs(d).sum()))
    if side == "less":
        return float((sums <= seen + eps).mean())
    if side == "greater":
        return float((sums >= seen - eps).mean())
    if side == "two-sided":
        return float((np.abs(sums) >= abs(seen) - eps).mean())
    raise ValueError(f"side {side!r}: choose less, greater or two-sided")


MIN_SEEDS = 5  # fewer give no interval: over four seeds a 95% BCa interval covers 70 to 79%
NO_INTERVAL = (float("nan"), float("nan"))


def t_interval(d: Numbers, level: float = 0.95) -> tuple[float, float]:
    """Student interval of the mean over seeds; (nan, nan) below five seeds."""
    d = np.asarray(d, dtype=float)
    if d.size < MIN_SEEDS:
        return NO_INTERVAL
    half = scipy.stats.t.ppf(0.5 + level / 2, d.size - 1) * d.std(ddof=1) / np.sqrt(d.size)
    return (float(d.mean() - half), float(d.mean() + half))


def bca_interval(d: Numbers, level: float = 0.95, resamples: int = 9999) -> tuple[float, float]:
    """Bias-corrected accelerated bootstrap interval of the mean over seeds; (nan, nan) below five seeds.

    The generator is fixed, so tables rebuild. Over eight seeds it covers 86 to 89% where it says 95: read the t
    interval beside it.
    """
    d = np.asarray(d, dtype=float)
    if d.size < MIN_SEEDS:
        return NO_INTERVAL
    if np.ptp(d) < 1e-12:  # identical seeds: the bootstrap distribution is a point
        return (float(d.mean()), float(d.mean()))
    ci = scipy.stats.bootstrap(
        (d,), np.mean, confidence_level=level, n_resamples=resamples, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    return (float(ci.low), float(ci.high))


def ratio_interval(x: Numbers, y: Numbers, level: float = 0.95) -> tuple[float, float]:
    """Interval of mean(x) / mean(y) over paired seeds by Fieller's theorem (Fieller 1954, J. R. Stat. Soc. B 16:175).

    It holds the ratios r whose per-seed x - r y has a mean that a t test does not tell from 0. (nan, nan) below five
    seeds, and where mean(y) is itself not told from 0, since the set of such r is then unbounded.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.size < MIN_SEEDS or x.size != y.size:
        return NO_INTERVAL
    c = scipy.stats.t.ppf(0.5 + level / 2, x.size - 1) ** 2 / x.size
    (vx, vxy), (_, vy) = np.cov(x, y, ddof=1)
    a = y.mean() ** 2 - c * vy
    b = x.mean() * y.mean() - c * vxy
    root = b**2 - a * (x.mean() ** 2 - c * vx)
    if a <= 0:
        return NO_INTERVAL
    half = float(np.sqrt(max(root, 0.0)))
    return (float((b - half) / a), float((b + half) / a))


def holm(p: dict[str, float]) -> dict[str, float]:
    """Holm's step-down adjusted p-values: max over j <= i of (m - j) p_(j), capped at 1."""
    out, running = {}, 0.0
    for i, (name, value) in enumerate(sorted(p.items(), key=lambda kv: kv[1])):
        running = max(running, min(1.0, (len(p) - i) * value))
        out[name] = running
    return out


def tost(d: Numbers, margin: float) -> tuple[float, float]:
    """Two one-sided t tests of |mean| < margin: p of (mean > -margin, mean < +margin); equivalent if max < alpha."""
    d = np.asarray(d, dtype=float)
    if d.size < 2:
        return (float("nan"), float("nan"))
    se = d.std(ddof=1) / np.sqrt(d.size)
    if se < 1e-12:
        return (0.0 if d.mean() > -margin else 1.0, 0.0 if d.mean() < margin else 1.0)
    lower = scipy.stats.t.sf((d.mean() + margin) / se, d.size - 1)
    upper = scipy.stats.t.cdf((d.mean() - margin) / se, d.size - 1)
    return (float(lower), float(upper))


def fisher(k1: int, n1: int, k2: int, n2: int) -> float:
    """Fisher's exact two-sided p for k1 of n1 against k2 of n2 (breakouts)."""
    return float(scipy.stats.fisher_exact([[k1, n1 - k1], [k2, n2 - k2]])[1])


@dataclass(frozen=True)
class Contrast:
    """A paired difference over seeds, in rate units: mean, both 95% intervals, exact p."""

    seeds: tuple[int, ...]
    diffs: tuple[float, ...]
    mean: float
    sd: float
    t_ci: tuple[float, float]
    bca_ci: tuple[float, float]
    p_less: float
    p_greater: float
    correlation: float  # of the two arms over seeds: what pairing can take off the noise; nan where an arm is constant

    @classmethod
    def of(cls, a: dict[int, float], b: dict[int, float], what: str = "") -> Contrast:
        d = paired(a, b, what)
        if d.size == 0:
            raise ValueError(f"no seed in common{' for ' + what if what else ''}")
        sd = float(d.std(ddof=1)) if d.size > 1 else float("nan")
        x, y = (np.array([v[s] for s in sorted(v)], dtype=float) for v in (a, b))
        varies = d.size > 2 and min(np.ptp(x), np.ptp(y)) > 1e-12
        return cls(
            tuple(sorted(a)),
            tuple(map(float, d)),
            float(d.mean()),
            sd,
            t_interval(d),
            bca_interval(d),
            sign_flip_p(d, "less"),
            sign_flip_p(d, "greater"),
            float(np.corrcoef(x, y)[0, 1]) if varies else float("nan"),
        )

    @property
    def n(self) -> int:
        return len(self.diffs)

    @property
    def upper(self) -> float:
        """The less favourable upper end of the two intervals; nan below five seeds."""
        return max(self.t_ci[1], self.bca_ci[1])
