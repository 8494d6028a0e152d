"""One setting for all but the arm's own method: what differs between runs, from their configs and input hashes."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Sequence, Set

from command import files
from study.arms import Study
from study.read import Run, arm_name
from study.spec import Spec

# where and how a run is executed, not what it computes
SAME_ANYWAY = {"seed", "name", "out_dir", "resume", "device", "grader_workers", "gpu_wait", "sampler", "ckpt_every"}
SAME_ANYWAY |= {"log_with", "rebuild"}
METHOD = {"arm", "gate", "unsigned", "overshoot", "project_at", "preserve_magnitude", "clean_rank", "penalty", "v"}
METHOD |= {"strength"}
METHOD_PREFIXES = ("screen_", "adv_", "refresh_", "route_")  # with METHOD: what a treatment may have beside vanilla
TEACHER = {"mix_ratio", "teacher_pool_dir", "teacher_off_step"}
CEILING = {"modes", *TEACHER}  # a ceiling is vanilla without loopholes, and a hacking teacher is not paid there


def is_method(name: str) -> bool:
    return name in METHOD or name.startswith(METHOD_PREFIXES)


def differing(a: Run, b: Run, allowed: Callable[[str], bool] | Set[str] = frozenset()) -> list[str]:
    """Config fields and input files in which run a differs from run b, but for the allowed ones and SAME_ANYWAY.

    A field that a config lacks has its default (`read_run`). An input that only one of them names differs, but for the
    teacher pool of a run that mixes none in. The numbers of V are compared within a seed: on a GPU another extraction
    differs in its last bits.
    """
    free = allowed if callable(allowed) else allowed.__contains__
    who = f"{a.label} seed {a.seed}", f"{b.label} seed {b.seed}"
    fields = (k for k in sorted({*a.config, *b.config} - SAME_ANYWAY) if not free(k))
    found = [
        f"{who[0]}: {k} is {a.config.get(k)!r}, in {who[1]} {b.config.get(k)!r}"
        for k in fields
        if a.config.get(k) != b.config.get(k)
    ]
    for k in sorted({*a.inputs, *b.inputs}):
        teacher = k == "teacher_pool_dir" and not (a.config.get("mix_ratio") and b.config.get("mix_ratio"))
        other_v = k == "directions" and a.seed != b.seed
        if a.inputs.get(k) != b.inputs.get(k) and not teacher and not other_v and not free(k):
            found.append(f"{who[0]}: input {k} is {a.inputs.get(k)}, in {who[1]} {b.inputs.get(k)}")
    return found


def same_value(value: object, words: list[str]) -> bool:
    """Whether a config's value is what a flag's words on the command line mean."""
    if isinstance(value, list):
        return [str(v) for v in value] == words
    if not words:
        return value is True
    if isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):
            return float(words[0]) == float(value)
    return str(value) == words[0]


def contradicts(run: Run, spec: Spec) -> list[str]:
    """Where a run is not what study.toml says of its arm."""
    who = f"{run.label} seed {run.seed}"
    if run.label not in spec.arms:
        return [f"{who}: study.toml has no such arm"]
    out = []
    for flag, words in spec.flags(run.label).items():
        name, want = flag[2:].replace("-", "_"), words
        value = run.config.get(name)
        if name not in run.config and name.startswith("no_"):
            value, want = not run.config.get(name[3:]), []
        if not same_value(value, want):
            out.append(f"{who}: {name} is {value!r}, by study.toml {' '.join(words) or True!r}")
    return out


def setting_differences(study: Study) -> list[str]:
    """Settings that differ where they must not: within an arm, or between arms outside an arm's own flags."""
    found, reference = [], None
    for label, runs in sorted(study.arms.items(), key=lambda kv: kv[0] != "vanilla"):
        first = runs[min(runs)]
        for s in sorted(runs):
            found += differing(runs[s], first)
            found += contradicts(runs[s], study.spec) if study.spec else []
        reference = reference or first
        own = study.spec.own_fields(label) | study.spec.own_fields(reference.label) if study.spec else set()
        found += differing(first, reference, own | {"arm", "v"})
    return found


def code_differs(commits: set[str]) -> str:
    """Why runs of these commits are not of one code; empty where they are, by git where there are several."""
    if len(commits) < 2:
        return ""
    names = ", ".join(sorted(c or "none" for c in commits))
    first, *rest = sorted(commits)
    for other in rest:
        command = ["git", "-C", str(files.ROOT), "diff", "--quiet", first, other, "--", "*.py", "data"]
        try:
            code = 2 if "+" in first + other else subprocess.run(command, capture_output=True).returncode
        except FileNotFoundError:
            code = 2
        if code:
            return f"runs of commits {names}, " + ("whose code differs" if code == 1 else "which git cannot compare")
    return ""


def across_arms(study: Study, treatment: str, controls: Sequence[str]) -> list[str]:
    """V3: what differs between deciding arms beyond the method; study holds those arms alone."""
    spec, found = study.defined(), []
    for label, runs in study.arms.items():
        arm = arm_name(runs[min(runs)].config)
        want = "vanilla" if label in ("vanilla", "ceiling") else label.rpartition("/")[2]
        if arm != want:
            found.append(f"{label}: its config says arm {arm!r}")
        for s in sorted(runs):
            found += contradicts(runs[s], spec)
            found += differing(runs[s], runs[min(runs)])
    first = {a: runs[min(runs)] for a, runs in study.arms.items()}
    if "ceiling" in first and first["ceiling"].config.get("modes") != ["none"]:
        found.append("ceiling: it meets loopholes, its modes are not none")
    for label, run in first.items():
        if label in controls:
            for s in sorted(study.arms[label]):
                found += differing(study.arms[label][s], study.arms[treatment][s], {"arm", "v"})
        elif label != "vanilla" and "vanilla" in first:
            of_ceiling = label == "ceiling"
            allowed = CEILING.__contains__ if of_ceiling else lambda k: is_method(k) or k in ("v_hack", "directions")
            found += differing(run, first["vanilla"], allowed)
    seeds = sorted(set().union(*(set(runs) for runs in study.arms.values())))
    for s in seeds:
        here = {a: runs[s].place for a, runs in study.arms.items() if s in runs}
        for k in ("device", "grader_layers", "versions"):
            values = {a: str(p.get(k)).partition(":")[0] if k == "device" else str(p.get(k)) for a, p in here.items()}
            if len(set(values.values())) > 1:
                found.append(f"seed {s}: {k} is " + ", ".join(f"{v} in {a}" for a, v in values.items()))
    if code := code_differs({r.commit for runs in study.arms.values() for r in runs.values()}):
        found.append(code)
    return list(dict.fromkeys(found))
