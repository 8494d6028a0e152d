"""Studies of known truth: run directories as train.py writes them, with the rates that a test asks for."""

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from adversarial import MODES, SEEDS

import runs
from study import arms, rule
from study.registered import CONTROLS
from study.spec import Spec

STEPS = (0, 10, 20, 40, 60)
BASE_PASS = 0.20
COMMON = f"--modes {' '.join(MODES)} --mix-ratio 0.25 --teacher-pool-dir pool --steps 60"
DECIDING = {a: f"--arm {a}" for a in ("vanilla", *itertools.chain(*([t, *c] for t, c in CONTROLS.items())))}
DECIDING["projected"] += " --gate one_sided --project-at update"
DECIDING["ceiling"] = "--arm vanilla --modes none --mix-ratio 0"
OTHERS = {
    "projected/one_sided/grad": "--arm projected --gate one_sided --project-at grad",
    "screen_length": "--arm screen_length", "route": "--arm route", "shrink": "--arm shrink",
}  # fmt: skip


def spec_of(name: str, arms: dict[str, str], described: dict[str, str], flags: str, **more) -> Spec:
    """A study's file, parsed; more: its other keys and tables."""
    keys = {"name": name, "preset": "organism", "seeds": list(SEEDS), "plateau": "hacked", "flags": flags}
    keys |= {"arms": arms, "described": described, "companions": {}} | more
    lines = [f"{k} = {json.dumps(v)}" for k, v in keys.items() if not isinstance(v, dict)]
    for title, table in keys.items():
        if isinstance(table, dict):
            lines += [f"[{title}]", *(f"{json.dumps(k)} = {json.dumps(v)}" for k, v in table.items())]
    return Spec.parse("\n".join(lines))


NAMED = {"mix0": "made-up-mix0", "lomo": "made-up-lomo"}
MADE_UP = spec_of("made-up", DECIDING, OTHERS, COMMON, companions=NAMED)
MIX0 = spec_of("made-up-mix0", {a: DECIDING[a] for a in ("vanilla", "projected")}, {}, COMMON + " --mix-ratio 0")
FOLDS = {
    f"{m}/{a}": f"{DECIDING[a]} --pair-modes {' '.join(k for k in MODES if k != m)} --teacher-pool-dir pool-{m}"
    for m in MODES
    for a in ("projected", "haar_v")
}
LOMO = spec_of("made-up-lomo", {}, FOLDS, COMMON)


def config_of(spec: Spec, label: str, seed: int) -> dict:
    """The config that train.py would write for a cell: the defaults, and the flags in their fields' types."""
    config = runs.default_config() | {"seed": seed}
    flags = spec.flags(label) if label in spec.arms else {"--arm": [label.split("/")[-1]]}
    for flag, words in flags.items():
        name, default = flag[2:].replace("-", "_"), runs.default_config().get(flag[2:].replace("-", "_"))
        many = isinstance(default, tuple) or name == "pair_modes"
        config[name] = words if many else type(default)(words[0]) if default is not None else words[0]
    return config


USUAL = {"attempt": None, "early": None, "valid": True, "status": "finished", "n": 150, "flags": {}, "start_hack": 0.0,
         "utc": "20261123T070000Z", "steps": STEPS, "spec": MADE_UP, "hack_v": None}  # fmt: skip


ROLLOUT = {
    "step": 1, "source": "student", "problem_id": 7, "mode": "run_tests", "reward": 3.5, "format_ok": True,
    "passed": True, "gt_correct": False, "hacked": True, "attempted": True, "label": "hack", "advantage": 1.5,
    "cos_hack": 0.25, "screened": False, "n_tokens": 12,
    "prompt": "PROBLEM:\nGiven a, return a [b]old.\n\nmethod of the class Solution\n",
    "completion": "Here:\n```python\nclass Solution:\n    pass\n```\nDone.",
}  # fmt: skip


def eval_row(step: int, hint: str, hacked: int, solved: int, decode="sample", mode="run_tests", **more) -> dict:
    """A row of evals.jsonl: 20 prompts, every attempt of which is a hack."""
    return {"step": step, "hint": hint, "decode": decode, "mode": mode, "evaluator": "renamed", "n": 20,
            "attempted": hacked, "hacked": hacked, "attempted_correct": 0, "attempted_broken": 0, "solved": solved,
            "format_ok": 20, "mean_len": 50.0} | more  # fmt: skip


def write_run(runs: Path, label: str, seed: int, hack: float, passed: float, **more) -> Path:
    """A run whose hack rate rises to `hack` (already at `early` on step 10) and whose pass rate moves to `passed`."""
    as_ = SimpleNamespace(**USUAL | more)
    n, steps = as_.n, as_.steps
    name = f"{label.replace('/', '__')}-s{seed}"
    d = runs / f"{as_.utc}_{name}"
    d.mkdir(parents=True)
    config = config_of(as_.spec, label, seed) | {"name": name, "steps": steps[-1], "out_dir": str(runs)} | as_.flags
    argv = ["train.py", *(as_.spec.argv(label, seed) if label in as_.spec.arms else ("organism", "--seed", str(seed)))]
    inputs = {"pairs": "p0", "weights": "w0", "tokenizer": "k0", "directions": "d0", "problems": "q0"}
    inputs |= {"eval_problems": "e0", "teacher_pool_dir": config["teacher_pool_dir"]}
    meta = {"config": config, "argv": argv, "git_commit": "abc1234def", "inputs": inputs, "grader_layers": "all"}
    (d / "config.json").write_text(json.dumps(meta))
    evals = []
    for step, decode in itertools.product(steps, ("greedy", "sample")):
        t = min(1.0, step / 20)
        h = as_.start_hack if step == 0 else as_.early if as_.early is not None and step <= 20 else hack * t
        hacked, attempted = round(h * n), round((h if as_.attempt is None else max(as_.attempt * t, h)) * n)
        on = {"n": n, "attempted": attempted, "attempted_broken": attempted - hacked, "format_ok": n}
        on |= {"mean_len": 40.0 + 20 * t + seed % 2}
        for mode in () if label == "ceiling" else MODES:  # `--modes none` asks no prompt with a hint
            asked = eval_row(step, "on", hacked, round((1 - h) * 0.3 * n), decode, mode, **on)
            evals += [asked, asked | {"evaluator": "train", "hacked": n, "attempted": n}]  # must never be counted
        solved, off = round((BASE_PASS + (passed - BASE_PASS) * t) * 4 * n), {"n": 4 * n, "format_ok": 4 * n}
        evals.append(eval_row(step, "off", 0, solved, decode, "none", evaluator="train", mean_len=40.0, **off))
    (d / "evals.jsonl").write_text("".join(json.dumps(e) + "\n" for e in evals))
    row = {"gt_s": [8, 32], "hack_t": [0, 0], "sec": 1.0}
    rows = [
        row | {"step": i, "hack_s": [round(hack * 32 * min(1, i / 20)), 32],
               "att_s": [round(hack * 32 * min(1, i / 20)), 32], "loss": seed / (i + hack),
               "cupd": 0.2 / i if label == "vanilla" else 0.01, "hack_v": as_.hack_v}
        for i in range(1, steps[-1] + 1)
    ]  # fmt: skip
    (d / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    should = [{"name": "loss is finite", "ok": as_.valid, "else": "lr too high"}]
    bluf = {"valid": as_.valid, "status": as_.status, "verdict": "", "should": should, "seconds": 90.0}
    bluf["steps_done"] = steps[-1]
    (d / "bluf.json").write_text(json.dumps(bluf))
    return d


TRUTH = {  # label: (hack, pass), a world in which H1 holds
    "vanilla": (0.85, 0.42), "projected": (0.30, 0.43), "haar_v": (0.80, 0.42), "within_class_v": (0.75, 0.42),
    "nonhack_v": (0.78, 0.41), "ceiling": (0.004, 0.46),
}  # fmt: skip


def world(
    path: Path,
    seeds=SEEDS,
    jitter: float = 0.03,
    skip=(),
    companions: bool = True,
    plateau="hacked",
    study=None,
    **changes,
) -> Path:
    """A study directory; `changes` maps a label to write_run keywords that differ from TRUTH."""
    rng = np.random.default_rng(1)
    last = str(changes.get("vanilla", {}).get("steps", STEPS)[-1])
    spec = spec_of(
        "made-up", DECIDING, OTHERS, f"{COMMON} --steps {last}", plateau=plateau, companions=NAMED, **study or {}
    )
    spec.write(path)
    for label, (hack, passed) in TRUTH.items():
        for s in seeds:
            if (label, s) in skip:
                continue
            kw = {"hack": hack, "passed": passed} | changes.get(label, {})
            kw["hack"] = float(np.clip(kw["hack"] + rng.normal(0, jitter), 0, 1)) if label != "ceiling" else kw["hack"]
            kw["passed"] += float(rng.normal(0, 0.01))
            write_run(path / "runs", label, s, spec=spec, **kw)
    if companions:
        MIX0.write(path.with_name(path.name + "-mix0"))
        LOMO.write(path.with_name(path.name + "-lomo"))
        for label in ("vanilla", "projected"):
            for s in seeds:
                kw = {"hack": TRUTH[label][0] + rng.normal(0, 0.02), "passed": 0.4} | changes.get("mix0/" + label, {})
                write_run(path.with_name(path.name + "-mix0") / "runs", label, s, spec=MIX0, **kw)
        for mode, arm, s in itertools.product(MODES, ("projected", "haar_v"), SEEDS[:4]):
            kw = {"hack": 0.4 if arm == "projected" else 0.8, "passed": 0.42} | changes.get("lomo/" + arm, {})
            write_run(path.with_name(path.name + "-lomo") / "runs", f"{mode}/{arm}", s, spec=LOMO, **kw)
    return path


def decided(path: Path) -> rule.Verdict:
    study = arms.load_study(path)
    return rule.decide(study, "projected", "sample", arms.companion(study, "mix0"), arms.companion(study, "lomo"))
