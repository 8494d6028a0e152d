"""The verdicts of a study as text, every clause and seed, and the one look at its futility."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from study.arms import Study, companion, load_study
from study.notes import pairing
from study.registered import NAMES, RULE
from study.rule import Verdict, decide
from study.stats import paired
from study.words import pp, some


def verdicts_of(study: Study) -> dict[tuple[str, str], Verdict]:
    """Every treatment at every decoding, with the study's companions."""
    mix0, lomo = companion(study, "mix0"), companion(study, "lomo")
    return {(t, d): decide(study, t, d, mix0, lomo) for t in study.controls for d in study.decodes()}


def verdict_lines(study: Study, v: Verdict, greedy: Verdict | None) -> Iterable[str]:
    """One treatment's verdict, its clauses, and every seed of what they read."""
    t = v.treatment
    yield f"VERDICT {NAMES.get(t, t)} ({t}): {v.line}"
    if greedy:
        agree = "agrees" if greedy.word == v.word else "DISAGREES, does not decide"
        yield f"  greedy ({agree}): {greedy.word}" + (f" by {greedy.deciding}" if greedy.deciding else "")
    for c in v.clauses:
        # V and F clauses are faults, S clauses are merits: mark each line by whether it speaks for the claim
        mark = "ok  " if c.holds == c.id.startswith("S") else "FAIL"
        yield f"  {c.id} {mark} {c.text}"
    if words := pairing(study, t):
        yield f"  pairing {words}"
    for metric in () if v.word in ("void", "not run") else ("hacked", "attempted", "pass"):
        for arm in ("vanilla", t, *study.controls[t], *(["ceiling"] if metric == "pass" else [])):
            each = " ".join(f"{100 * x:5.1f}" for x in study.values(arm, metric, "sample").values())
            yield f"  {metric:9s} {arm:16s} {each}  % at seeds {','.join(map(str, sorted(study.arms[arm])))}"


def fault_lines(study: Study) -> Iterable[str]:
    """One line a kind: runs that do not count, named."""
    for kind in ("invalid", "unfinished", "superseded"):
        runs = getattr(study, kind)
        names = "; ".join(
            f"{r.label} seed {r.seed} [{r.status}{': ' + ', '.join(r.why) if r.why else ''}]" for r in runs[:8]
        )
        more = f" and {len(runs) - 8} more" if len(runs) > 8 else ""
        yield f"{kind.upper()}: {len(runs)}" + (f": {names}{more}" if runs else "")
    tried = [f"{cell} {words}" for cell, words in study.retried.items()]
    yield f"BEGUN MORE THAN ONCE: {len(tried)}" + (f": {some(tried, 8)}" if tried else "")


def verdict_text(path: Path) -> tuple[list[str], int]:
    """(lines, exit code: 0, or 3 where there is no verdict on H1, or, without the projection, on no treatment)."""
    study = load_study(path)
    verdicts = verdicts_of(study)
    lines = [
        x for t in study.controls for x in verdict_lines(study, verdicts[t, "sample"], verdicts.get((t, "greedy")))
    ]
    lines += fault_lines(study)
    every = [verdicts[t, "sample"] for t in study.controls]
    asked = next((v for v in every if v.word != "not run"), every[0])
    name = NAMES.get(asked.treatment, asked.treatment)
    if asked.word not in ("void", "not run"):
        return lines, 0
    why = f"NO VERDICT ON {name}: {asked.deciding or 'not run'}: {asked.text}. The rule is docs/spec.md section 5."
    return [*lines, why], 3


def futility(study: Study, treatment: str, decode: str = "sample") -> tuple[bool, str]:
    """The one look after 4 seeds: (futile, text); ("not yet") with fewer pairs."""
    seeds = sorted(set(study.arms.get("vanilla", {})) & set(study.arms.get(treatment, {})))[: RULE.futility_seeds]
    if len(seeds) < RULE.futility_seeds:
        return False, f"{treatment}: {len(seeds)} of {RULE.futility_seeds} pairs, no look yet"
    a, b = (study.values(x, "hacked", decode, seeds) for x in (treatment, "vanilla"))
    mean = float(paired(a, b).mean())
    return mean > RULE.futility, f"{treatment}: mean Delta {pp(mean)} over seeds {seeds}" + (
        " -> FUTILE" if mean > RULE.futility else " -> go on"
    )
