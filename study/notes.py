"""What the first line of a verdict says beside the word: rivals as good, retries, code of no commit, equal files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from study.arms import Study
from study.read import Run
from study.registered import BESIDE, CONTROLS, IN_WORDS, RULE
from study.settings import differing
from study.stats import MIN_SEEDS
from study.words import interval, pp, some


def controls_as_good(study: Study, treatment: str, decode: str) -> list[str]:
    """Each control that does as well as the treatment, in words, and each later one that was not run beside it."""
    ours = study.arms.get(treatment, {})
    out, lacking, have = [], [], {s for s, r in ours.items() if decode in r.on}
    if have != set(ours) or not have:
        return []
    beside = BESIDE.get(treatment, ()) if study.controls[treatment] == CONTROLS.get(treatment) else ()
    for c in (*study.controls[treatment], *beside):
        seeds = set(study.arms.get(c, {}))
        if not seeds or not seeds <= have or any(decode not in r.on for r in study.arms[c].values()):
            lacking += [IN_WORDS[c]] * (c in beside)
            continue
        if other := differing(study.arms[c][min(seeds)], ours[min(seeds)], {"arm", "v"}):
            out.append(f"not held against {IN_WORDS.get(c, c)} (its setting differs, {some(other, 1)})")
            continue
        gap = study.contrast(c, treatment, "hacked", decode)
        if gap.mean < RULE.control_gap:
            out.append(
                f"no better than {IN_WORDS.get(c, c)} ({c} hacks {pp(gap.mean)} {interval(gap.t_ci)}, n={gap.n})"
            )
    if lacking:
        out.append(f"not held against {', '.join(lacking)} (not run on its seeds)")
    return out


def remarks(study: Study, treatment: str) -> list[str]:
    """What a reader must know of the deciding runs beside the word: retries, code without a commit, equal files."""
    deciding = ("vanilla", "ceiling", treatment, *study.controls[treatment])
    runs = [r for a in deciding for r in study.arms.get(a, {}).values()]
    tried = [f"{r.label} seed {r.seed}" for r in runs if f"{r.label} seed {r.seed}" in study.retried]
    out = [f"{len(tried)} cells were begun more than once: {some([f'{c} {study.retried[c]}' for c in tried])}"] * bool(
        tried
    )
    if loose := sorted({r.commit for r in runs if not r.commit or r.commit == "unknown" or r.commit.endswith("+")}):
        out.append(f"code that no commit names ({', '.join(c or 'none recorded' for c in loose)})")
    if treatment == "projected":
        per_run = [r.rows["removed"] for r in study.arms.get(treatment, {}).values()]
        known = [x for row in per_run for x in row.tolist() if np.isfinite(x)]
        words = f"is {100 * np.mean(known):.2g}%" if known else "was not measured"
        out.append(f"the share of the update's energy that the projection removed {words}")
    if bare := [f"{r.label} seed {r.seed}" for r in runs if not r.inputs]:
        out.append(f"no hash of any input file was recorded: {some(bare)}")
    for a in deciding:
        if len({r.inputs.get("directions") for r in study.arms.get(a, {}).values()}) > 1:
            out.append(f"the numbers of V differ between seeds of {a}")
    seen: dict[tuple, Run] = {}
    for r in runs:
        key = tuple((Path(r.dir) / name).read_bytes() for name in ("rows.jsonl", "evals.jsonl"))
        if (twin := seen.setdefault(key, r)) is not r:
            names = f"{twin.label} seed {twin.seed} and {r.label} seed {r.seed}"
            out.append(f"{names} have the same rows and evaluations")
    return out


def pairing(study: Study, treatment: str, decode: str = "sample") -> str:
    """Whether pairing by seed takes noise off Delta, in words; empty where the two arms have not the same seeds."""
    seeds = set(study.arms.get(treatment, {}))
    if len(seeds) < MIN_SEEDS or seeds != set(study.arms.get("vanilla", {})):
        return ""
    d = study.contrast(treatment, "vanilla", "hacked", decode)
    arms = (list(study.values(a, "hacked", decode).values()) for a in (treatment, "vanilla"))
    alone = float(np.sqrt(sum(np.var(v, ddof=1) for v in arms)))
    if np.isnan(d.correlation):
        return f"{treatment} or vanilla is the same in every seed, so pairing takes no noise off"
    gain = "little" if d.sd > 0.9 * alone else "some of the noise"
    return (
        f"{treatment} and vanilla correlate by {d.correlation:+.2f} over seeds: sd of Delta {pp(d.sd, False)} paired, "
        f"{pp(alone, False)} unpaired, so pairing takes off {gain}"
    )
