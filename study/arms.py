"""A study's folder -> its arms, one run a seed, and what is derived from their curves.

The seed is the unit: only same-seed differences are formed, unequal seed sets are refused, and runs that ended invalid
are listed and counted, never dropped in silence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from command import files
from study.read import DECODES, Run, read_run
from study.registered import CONTROLS, RULE
from study.runner import troubled_cells
from study.spec import Spec
from study.stats import NO_INTERVAL, Contrast, ratio_interval

Array = np.ndarray


@dataclass
class Study:
    """All runs of a study: `arms[label][seed]` holds the one run that counts, the rest is listed."""

    name: str
    dir: str
    arms: dict[str, dict[int, Run]]
    invalid: list[Run]
    unfinished: list[Run]
    superseded: list[Run]
    spec: Spec | None = None  # of its study.toml
    twice: list[Run] = field(default_factory=list)  # valid runs of a cell that has another valid one
    retried: dict[str, str] = field(default_factory=dict)  # cell -> how often it was begun, and how that ended

    def of(self, labels: Iterable[str]) -> Study:
        """The same study with these arms alone."""
        return replace(self, arms={a: self.arms[a] for a in labels if self.arms.get(a)})

    def defined(self) -> Spec:
        """Its definition; ValueError where it has none."""
        if self.spec is None:
            raise ValueError(
                f"{self.dir}/study.toml: not there, and a study is judged by its own definition alone: "
                "copy the file that its runs were made by"
            )
        return self.spec

    def decodes(self) -> list[str]:
        """T=1, which decides, and greedy where a run has it."""
        runs = [r for by_seed in self.arms.values() for r in by_seed.values()]
        return [d for d in DECODES if d == "sample" or any(d in side for r in runs for side in (r.on, r.off))]

    @property
    def controls(self) -> dict[str, tuple[str, ...]]:
        """Treatment -> the arms that it must beat."""
        return self.spec.controls if self.spec else CONTROLS

    def values(self, label: str, metric: str, decode: str, seeds: Iterable[int] | None = None) -> dict[int, float]:
        """{seed: end rate} of one arm, on the given seeds (every one of them must be there)."""
        runs = self.arms.get(label, {})
        wanted = sorted(runs) if seeds is None else sorted(seeds)
        if missing := [s for s in wanted if s not in runs]:
            raise ValueError(f"arm {label!r} has no valid run for seeds {missing}")
        return {s: runs[s].end(metric, decode) for s in wanted}

    def contrast(self, a: str, b: str, metric: str, decode: str) -> Contrast:
        """a - b on exactly the seeds of arm a (b must have them all)."""
        seeds = self.arms[a]
        return Contrast.of(self.values(a, metric, decode), self.values(b, metric, decode, seeds), f"{a} - {b}")


def load_study(path: str | Path) -> Study:
    """Read a study's folder: study.toml and runs. Of several finished runs of one cell the newest valid one is shown;
    two valid ones void the study, and every attempt is listed."""
    path = files.find(path)
    runs_dir = path / "runs"
    if not runs_dir.is_dir():
        raise FileNotFoundError(f"{runs_dir}: no runs here; `python -m study run FILE.toml` makes them")
    spec = Spec.read(path / "study.toml") if (path / "study.toml").is_file() else None
    study = Study(spec.name if spec else path.resolve().name, str(path), {}, [], [], [], spec)
    cells: dict[tuple[str, int], list[Run]] = {}
    for d in sorted(p.parent for p in runs_dir.glob("*/config.json")):  # <utc>_ prefix: sorted by time
        run = read_run(d)
        cells.setdefault((run.label, run.seed), []).append(run)
    for (label, seed), runs in cells.items():
        finished = [r for r in runs if r.status == "finished"]
        if len(runs) > 1:
            ends = ", ".join(("valid" if r.valid else "invalid") if r in finished else r.status for r in runs)
            study.retried[f"{label} seed {seed}"] = f"has {len(runs)} runs, {ends}"
        if not finished:
            study.unfinished += runs
            continue
        *old, last = finished
        study.superseded += old
        study.twice += [r for r in old if r.valid and last.valid]
        if last.valid:
            study.arms.setdefault(label, {})[seed] = last
        else:
            study.invalid.append(last)
    study.retried = troubled_cells(path) | study.retried
    done = {f"{label} seed {seed}" for label, by_seed in study.arms.items() for seed in by_seed}
    study.retried = {cell: words for cell, words in study.retried.items() if cell in done}
    return study


def companion(study: Study, kind: str) -> Study | None:
    """The mix0 or lomo study that this one's study.toml names: the folder beside it whose study.toml has that name."""
    name, home = study.defined().companions.get(kind), Path(study.dir).resolve().parent
    specs = [f for f in sorted(home.glob("*/study.toml")) if name and (f.parent / "runs").is_dir()]
    found = [f.parent for f in specs if Spec.read(f).name == name]
    if len(found) > 1:
        raise ValueError(f"{found[0]} and {found[1]} are both the study {name!r}; one of them must go elsewhere")
    return load_study(found[0]) if found else None


def plateau_step(study: Study, decode: str, label: str = "vanilla") -> int:
    """First evaluated step at which an arm's mean curve, of the study's `plateau`, reaches 90% of its final height."""
    steps, mean = mean_curve(study, label, study.defined().plateau, decode)
    return int(steps[np.flatnonzero(mean >= RULE.plateau_share * mean[-1])[0]])


def stack_curves(study: Study, label: str, metric: str, decode: str) -> tuple[Array, Array]:
    """(steps (T,), rates (n, T)) over the steps that every seed of an arm evaluated."""
    curves = [r.curve(metric, decode) for _, r in sorted(study.arms[label].items())]
    common = sorted(set.intersection(*(set(s.tolist()) for s, _ in curves)))
    return np.array(common), np.array([[dict(zip(s.tolist(), v, strict=True))[c] for c in common] for s, v in curves])


def mean_curve(study: Study, label: str, metric: str, decode: str) -> tuple[Array, Array]:
    steps, rates = stack_curves(study, label, metric, decode)
    return steps, rates.mean(0)


def step_to(run: Run, decode: str, level: float = 0.5) -> int | None:
    """First evaluated step with hack rate >= level; None when the run never gets there (censored)."""
    steps, rates = run.curve("hacked", decode)
    hit = np.flatnonzero(rates >= level)
    return int(steps[hit[0]]) if hit.size else None


def mean_height(run: Run, decode: str) -> float:
    """Area under the hack curve divided by its length in steps: the mean hack rate of the whole training."""
    steps, rates = run.curve("hacked", decode)
    return float(np.trapezoid(rates, steps) / (steps[-1] - steps[0])) if steps[-1] > steps[0] else float(rates[-1])


def matched_hack(run: Run, other: Run, decode: str) -> float | None:
    """hack(run, end) - hack(other, its latest checkpoint with a pass rate within 5 pp of run's end); None: no match."""
    target = run.end("pass", decode)
    steps, passes = other.curve("pass", decode)
    hack = dict(zip(*(x.tolist() for x in other.curve("hacked", decode)), strict=True))
    near = [s for s, p in zip(steps.tolist(), passes, strict=True) if abs(p - target) <= RULE.match and s in hack]
    return run.end("hacked", decode) - hack[near[-1]] if near else None


def retained_gain(study: Study, label: str, decode: str) -> tuple[float, tuple[float, float]]:
    """(pass - base) / (ceiling - base), means over the arm's seeds, with Fieller's interval; nan without a ceiling."""
    seeds = set(study.arms[label])
    if not seeds <= set(study.arms.get("ceiling", {})) or not seeds <= set(study.arms.get("vanilla", {})):
        return float("nan"), NO_INTERVAL
    base = np.array([study.arms["vanilla"][s].start("pass", decode) for s in sorted(seeds)])
    top = np.array(list(study.values("ceiling", "pass", decode, seeds).values())) - base
    own = np.array(list(study.values(label, "pass", decode).values())) - base
    gain = float(own.mean() / top.mean()) if abs(top.mean()) > 1e-9 else float("nan")
    return gain, ratio_interval(own, top)


def needed(label: str, run: Run) -> list[tuple[dict, str]]:
    """The evaluations an arm's endpoint rests on; the ceiling, trained without any loophole, is only asked to solve."""
    off = (run.off, "hint off")
    return [off] if label == "ceiling" else [(run.on, "hint on, evaluator renamed"), off]
