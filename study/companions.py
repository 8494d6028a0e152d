"""The two companions of a study: the same without a teacher (mix 0), and with a mode left out of V and teacher."""

from __future__ import annotations

import itertools

import numpy as np

from study.arms import Study
from study.read import Run
from study.registered import RULE
from study.settings import TEACHER, across_arms, code_differs, differing


def unlike_main(main: Study, other: Run, label: str, allowed: set[str]) -> list[str]:
    """Where a companion's run is not its study's arm `label` but for the allowed fields, or is trained for less."""
    runs = main.arms[label]
    run = runs.get(other.seed) or runs[min(runs)]
    out = differing(other, run, allowed | {"directions"})
    if code := code_differs({other.commit, run.commit}):
        out.append(f"{other.label} seed {other.seed}: {code}")
    steps = other.config.get("steps", 0), run.config.get("steps", 0)
    if steps[0] < steps[1]:
        out.append(f"{other.label} seed {other.seed}: {steps[0]} steps, in its study {steps[1]}")
    return out


def teacher_faults(main: Study, mix0: Study, treatment: str) -> list[str]:
    """Where a study without a teacher has one, or is another study than `main` beside that."""
    faults = []
    for r in (r for a in ("vanilla", treatment) for r in mix0.arms[a].values()):
        if r.config.get("mix_ratio") or np.isfinite(r.rows["hack_t"]).any():
            faults.append(f"{r.label} seed {r.seed} mixes a teacher in")
        faults += unlike_main(main, r, r.label, {*TEACHER, "steps", "eval_every"})
    return faults


def folds(lomo: Study, treatment: str) -> list[str]:
    """The modes that can be left out: all that the treatment's runs meet, whether or not the fold itself was run."""
    runs = [r for label, by in lomo.arms.items() if label.endswith("/" + treatment) for r in by.values()]
    return sorted({m for r in runs for m in r.config.get("modes") or () if m != "none"})


def seed_faults(lomo: Study, labels: list[str], every: set[int]) -> list[str]:
    """What is wrong with the seeds of a leave-one-mode-out study, whose folds all have the seeds `every`."""
    registered = set(lomo.defined().seeds_of(labels[0]))
    out = [f"{len(every)} seeds of {RULE.futility_seeds}"] if len(every) < RULE.futility_seeds else []
    if every != registered:
        out.append(f"its seeds are not the registered ones: {sorted(every ^ registered)}")
    out += [f"tuning seed {s}" for s in sorted(every) if s < RULE.first_seed]
    out += [f"invalid: {r.label} seed {r.seed} ({', '.join(r.why)})" for r in lomo.invalid if r.label in labels]
    return out + [f"more than one valid run: {r.label} seed {r.seed}" for r in lomo.twice if r.label in labels]


def fold_faults(main: Study, lomo: Study, treatment: str, mode: str) -> list[str]:
    """Where V or the teacher of a fold knows its mode, or its runs differ in more than that from their study's."""
    real, whole = lomo.arms[f"{mode}/{treatment}"], main.arms[treatment]
    first, out = real[min(real)], []
    pool = first.inputs.get("teacher_pool_dir")
    if pool is not None and pool == whole[min(whole)].inputs.get("teacher_pool_dir"):
        out.append(f"{mode}: its teacher pool is the whole study's, the unseen mode with it")
    known = first.config.get("pair_modes")
    if known is None or mode in known:
        out.append(f"{mode}: its V knows the mode (pair_modes {known})")
    labels = [f"{mode}/{a}" for a in (treatment, main.controls[treatment][0])]
    out += across_arms(lomo.of(labels), labels[0], labels[1:])
    for r in real.values():
        out += unlike_main(main, r, treatment, {"pair_modes", "clean_rank", *TEACHER})
    return out


def lomo_faults(main: Study, lomo: Study, treatment: str, decode: str) -> list[str]:
    """Why a leave-one-mode-out study is void; empty when it is not."""
    arms, modes = (treatment, main.controls[treatment][0]), folds(lomo, treatment)
    labels = [f"{m}/{a}" for m in modes for a in arms]
    sets = {a: set(lomo.arms.get(a, {})) for a in labels}
    every = set().union(*sets.values())
    if lacks := [f"{a} lacks {', '.join(map(str, sorted(every - s)))}" for a, s in sets.items() if s != every]:
        return ["unequal seed sets, " + "; ".join(lacks) + ", finish it"]
    out = seed_faults(lomo, labels, every)
    for mode in modes:
        out += fold_faults(main, lomo, treatment, mode)
    for label in labels:
        for s, r in lomo.arms[label].items():
            if decode not in r.on or decode not in r.off:
                out.append(f"{label} seed {s}: no {decode} evaluation")
            elif r.off[decode].n[-1] < RULE.prompts:
                out.append(f"{label} seed {s}: {r.off[decode].n[-1]} prompts (hint off)")
    if out:
        return out
    for a, s in itertools.product(arms, sorted(every)):
        n = {m: lomo.arms[f"{m}/{a}"][s].modes[decode].get(m, {"n": 0})["n"] for m in modes}
        if sum(n.values()) < RULE.prompts or min(n.values()) < RULE.fold_prompts:
            out.append(f"{a} seed {s}: unseen-mode prompts {n}, asked {RULE.prompts} in all, {RULE.fold_prompts} each")
    return out


def unseen_gaps(lomo: Study, treatment: str, control: str, decode: str) -> tuple[dict[str, float], dict[str, float]]:
    """By fold, means over seeds: hack rate of the unseen mode under Haar's directions minus V's, and pass V - Haar."""
    gaps, lost = {}, {}
    for mode in folds(lomo, treatment):
        real, haar = (lomo.arms[f"{mode}/{a}"] for a in (treatment, control))
        rate = lambda r, m=mode: r.modes[decode][m]["hacked"] / r.modes[decode][m]["n"]  # noqa: E731
        gaps[mode] = float(np.mean([rate(haar[s]) - rate(real[s]) for s in real]))
        lost[mode] = float(np.mean([real[s].end("pass", decode) - haar[s].end("pass", decode) for s in real]))
    return gaps, lost
