"""Power of the rule by simulation: the figures of docs/spec.md section 4."""

from __future__ import annotations

import itertools

import numpy as np
import scipy

from study.registered import RULE
from study.words import pp


def power(n: int = 8, sd: float = 0.15, draws: int = 2000) -> str:
    """Probability of each clause under normal seed effects: the figures of docs/spec.md section 4."""
    rng = np.random.default_rng(0)
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=n)))
    out = [f"n={n} seeds, sd of a paired difference {100 * sd:.0f} pp, {draws} draws"]
    for truth in (-0.30, -0.35, -0.40, -0.45):
        d = rng.normal(truth, sd, (draws, n))
        upper = d.mean(1) + scipy.stats.t.ppf(0.975, n - 1) * d.std(1, ddof=1) / np.sqrt(n)
        s1, s2 = d.mean(1) <= RULE.h1, upper < RULE.floor
        out.append(f"  truth {pp(truth)}: S1 {s1.mean():.2f}  S2 {s2.mean():.2f}  S1 and S2 {(s1 & s2).mean():.2f}")
    for gap in (0.10, 0.15, 0.20, 0.30):
        arm = rng.normal(0, sd / np.sqrt(2), (draws, 1, n))  # the controls share the treatment's noise
        d = rng.normal(gap, sd / np.sqrt(2), (draws, 3, n)) - arm
        p = np.sort((d @ signs.T >= d.sum(-1, keepdims=True) - 1e-12).mean(-1), axis=1)
        worst = np.maximum.accumulate(p * np.array([3, 2, 1]), axis=1).max(1)
        beaten = (worst < RULE.alpha) & (d.mean(-1).min(1) >= RULE.control_gap)
        out.append(f"  true gap to each of 3 controls {pp(gap)}: all beaten {beaten.mean():.2f}")
    for psd in (0.03, 0.05, 0.08, 0.10):
        d = rng.normal(0, psd, (draws, n))
        half = scipy.stats.t.ppf(1 - RULE.alpha, n - 1) * d.std(1, ddof=1) / np.sqrt(n)
        out.append(f"  pass equal, sd {pp(psd, False)}: S3 {(d.mean(1) - half > -RULE.pass_margin).mean():.2f}")
    for truth in (0.0, -0.30):
        d = rng.normal(truth, sd, (20000, RULE.futility_seeds)).mean(1)
        out.append(
            f"  look at n={RULE.futility_seeds}, truth {pp(truth)}: called futile {(d > RULE.futility).mean():.4f}"
        )
    return "\n".join(out)
