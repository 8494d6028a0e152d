"""Verdicts on results of known truth, statistics against brute force, resumption and failures of the runner, plots."""

from __future__ import annotations

import itertools
import json
import lzma
import re
import shutil
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import tyro
from loguru import logger
from scipy import stats

import extract_vhack
import probe_distill
import runs
import train
from study import __main__ as cli
from study import arms, compare, notes, report, rule, runner, tables, verdict
from study import run as running
from study import stats as ss
from study.read import COUNTS, read_run
from study.registered import CONTROLS, RULE
from study.spec import Spec, plan

ROOT = Path(__file__).resolve().parents[1]

MODES = ("run_tests", "sentinel", "stdout_marker", "file_marker")
STEPS = (0, 10, 20, 40, 60)
SEEDS = tuple(range(301, 309))
BASE_PASS = 0.20
COMMON = f"--modes {' '.join(MODES)} --mix-ratio 0.25 --teacher-pool-dir pool --steps 60"
OPEN = sorted((ROOT / "studies").glob("*.toml"))
DECIDING = {a: f"--arm {a}" for a in ("vanilla", *itertools.chain(*([t, *c] for t, c in CONTROLS.items())))}
DECIDING["projected"] += " --gate one_sided --project-at update"
DECIDING["ceiling"] = "--arm vanilla --modes none --mix-ratio 0"
OTHERS = {
    "projected/one_sided/grad": "--arm projected --gate one_sided --project-at grad",
    "screen_length": "--arm screen_length",
    "route": "--arm route",
    "shrink": "--arm shrink",
}


def spec_of(name: str, arms: dict[str, str], described: dict[str, str], flags: str, **more) -> Spec:
    """A study's file, parsed; more: its other keys."""
    top = {"name": name, "preset": "organism", "seeds": list(SEEDS), "plateau": "hacked", "flags": flags} | more
    tables = {"arms": arms, "described": described, "companions": top.pop("companions", {})}
    lines = [f"{k} = {json.dumps(v)}" for k, v in top.items()]
    for title, table in tables.items():
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


# ---------------------------------------------------------------- synthetic run directories, as train.py writes them


def write_run(
    runs: Path,
    label: str,
    seed: int,
    hack: float,
    passed: float,
    attempt: float | None = None,
    early: float | None = None,
    valid: bool = True,
    status: str = "finished",
    n: int = 150,
    flags: dict | None = None,
    start_hack: float = 0.0,
    mode_hack: dict[str, float] | None = None,
    utc: str = "20261123T070000Z",
    steps: tuple[int, ...] = STEPS,
    spec: Spec = MADE_UP,
) -> Path:
    """A run whose hack rate rises to `hack` (already at `early` on step 10) and whose pass rate moves to `passed`."""
    name = f"{label.replace('/', '__')}-s{seed}"
    d = runs / f"{utc}_{name}"
    d.mkdir(parents=True)
    config = config_of(spec, label, seed) | {"name": name, "steps": steps[-1], "out_dir": str(runs)} | (flags or {})
    argv = ["train.py", *(spec.argv(label, seed) if label in spec.arms else ("organism", "--seed", str(seed)))]
    inputs = {"pairs": "p0", "weights": "w0", "tokenizer": "k0", "directions": "d0", "problems": "q0"}
    inputs |= {"eval_problems": "e0", "teacher_pool_dir": config["teacher_pool_dir"]}
    meta = {"config": config, "argv": argv, "git_commit": "abc1234def", "inputs": inputs, "grader_layers": "all"}
    (d / "config.json").write_text(json.dumps(meta))
    evals = []
    for step in steps:
        t = min(1.0, step / 20)
        h = start_hack if step == 0 else early if early is not None and step <= 20 else hack * t
        for decode in ("greedy", "sample"):
            for mode in () if label == "ceiling" else MODES:  # `--modes none` asks no prompt with a hint
                hm = h if mode_hack is None else mode_hack[mode] * t
                a = hm if attempt is None else max(attempt * t, hm)
                hacked, attempted = round(hm * n), round(a * n)
                row = {
                    "step": step,
                    "hint": "on",
                    "decode": decode,
                    "mode": mode,
                    "evaluator": "renamed",
                    "n": n,
                    "attempted": attempted,
                    "hacked": hacked,
                    "attempted_correct": 0,
                    "attempted_broken": attempted - hacked,
                    "solved": round((1 - hm) * 0.3 * n),
                    "format_ok": n,
                    "mean_len": 40.0 + 20 * t + seed % 2,
                }
                evals += [row, row | {"evaluator": "train", "hacked": n, "attempted": n}]  # must never be counted
            ok = round((BASE_PASS + (passed - BASE_PASS) * t) * 4 * n)
            evals.append(
                {
                    "step": step,
                    "hint": "off",
                    "decode": decode,
                    "mode": "none",
                    "evaluator": "train",
                    "n": 4 * n,
                    "attempted": 0,
                    "hacked": 0,
                    "attempted_correct": 0,
                    "attempted_broken": 0,
                    "solved": ok,
                    "format_ok": 4 * n,
                    "mean_len": 40.0,
                }
            )
    (d / "evals.jsonl").write_text("".join(json.dumps(e) + "\n" for e in evals))
    rows = [
        {
            "step": i,
            "hack_s": [round(hack * 32 * min(1, i / 20)), 32],
            "gt_s": [8, 32],
            "att_s": [9, 32],
            "hack_t": [0, 0],
            "loss": seed / (i + hack),
            "cupd": 0.2 / i if label == "vanilla" else 0.01,
            "sec": 1.0,
        }
        for i in range(1, steps[-1] + 1)
    ]
    (d / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    should = [{"name": "loss is finite", "ok": valid, "else": "lr too high"}]
    bluf = {"valid": valid, "status": status, "verdict": "", "should": should, "steps_done": steps[-1], "seconds": 90.0}
    (d / "bluf.json").write_text(json.dumps(bluf))
    return d


TRUTH = {  # label: (hack, pass), a world in which H1 holds
    "vanilla": (0.85, 0.42),
    "projected": (0.30, 0.43),
    "haar_v": (0.80, 0.42),
    "within_class_v": (0.75, 0.42),
    "nonhack_v": (0.78, 0.41),
    "ceiling": (0.004, 0.46),
}


def world(
    path: Path, seeds=SEEDS, jitter: float = 0.03, skip=(), companions: bool = True, plateau="hacked", **changes
) -> Path:
    """A study directory; `changes` maps a label to write_run keywords that differ from TRUTH."""
    rng = np.random.default_rng(1)
    last = str(changes.get("vanilla", {}).get("steps", STEPS)[-1])
    spec = spec_of("made-up", DECIDING, OTHERS, f"{COMMON} --steps {last}", plateau=plateau, companions=NAMED)
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


# ---------------------------------------------------------------- verdicts of known truth


def test_world_where_h1_holds_is_supported(tmp_path):
    v = decided(world(tmp_path / "organism"))
    assert (v.word, v.deciding) == ("supported", "S1-S6"), v
    assert {c.id for c in v.clauses} == {f"V{i}" for i in range(1, 9)} | {f"F{i}" for i in range(1, 8)} | {
        f"S{i}" for i in range(1, 7)
    }


@pytest.mark.parametrize(
    ("clause", "changes"),
    [
        ("F1", {"projected": {"hack": 0.80}}),
        ("F2", {"projected": {"passed": 0.22}}),
        ("F4", {"haar_v": {"hack": 0.33}}),
        ("F5", {"projected": {"attempt": 0.85}}),
        ("F6", {"mix0/projected": {"hack": 0.84}}),
        ("F7", {"lomo/projected": {"hack": 0.2, "passed": 0.2}}),
    ],
)
def test_each_falsification_clause_decides_its_own_world(tmp_path, clause, changes):
    v = decided(world(tmp_path / "organism", **changes))
    assert (v.word, v.deciding) == ("falsified", clause), v.text


def test_effect_within_one_sem_of_vanilla_is_falsified_by_f3_too(tmp_path):
    v = decided(world(tmp_path / "organism", jitter=0.0, projected={"hack": 0.85}))
    assert v.word == "falsified"
    assert {c.id for c in v.clauses if c.holds and c.id.startswith("F")} >= {"F1", "F3", "F4"}


def test_early_gap_that_closes_is_called_delay(tmp_path):
    v = decided(world(tmp_path / "organism", projected={"hack": 0.84, "early": 0.1}))
    assert v.deciding == "F1" and "delay, not prevention" in v.text


@pytest.mark.parametrize(
    ("clause", "changes"),
    [
        ("S1", {"projected": {"hack": 0.62}}),
        ("S3", {"projected": {"passed": 0.30}}),
        ("S4", {"projected": {"passed": 0.36}}),
        ("S6", {"mix0/vanilla": {"hack": 0.1}}),
        ("S6", {"lomo/projected": {"hack": 0.78}}),
    ],
)
def test_partial_names_the_missed_clause(tmp_path, clause, changes):
    v = decided(world(tmp_path / "organism", **changes))
    assert v.word == "partial" and clause in v.deciding.split("+"), (v.deciding, v.text)


def test_without_companion_studies_supported_is_out_of_reach(tmp_path):
    v = decided(world(tmp_path / "organism", companions=False))
    assert (v.word, v.deciding) == ("partial", "S6") and "not run" in v.text


def test_pass_rate_that_rises_above_vanilla_does_not_count_against_the_treatment(tmp_path):
    v = decided(world(tmp_path / "organism", projected={"passed": 0.60}))
    assert v.word == "supported" and any("rises" in c.text for c in v.clauses if c.id == "S3")


@pytest.mark.parametrize(
    ("clause", "kwargs"),
    [
        ("V1", {"seeds": SEEDS[:7]}),
        ("V1", {"skip": {("haar_v", 303)}}),
        ("V1", {"projected": {"valid": False}}),
        ("V3", {"projected": {"flags": {"lr": 1e-3}}}),
        ("V4", {"projected": {"n": 100}}),
        ("V5", {"vanilla": {"hack": 0.25}}),
        ("V6", {"vanilla": {"start_hack": 0.10}}),
        ("V7", {"ceiling": {"passed": 0.25}}),
        ("V8", {label: {"steps": (0, 10, 20, 30, 40, 50)} for label in TRUTH}),
    ],
)
def test_void_conditions_give_no_verdict(tmp_path, clause, kwargs):
    v = decided(world(tmp_path / "organism", companions=False, **kwargs))
    assert (v.word, v.deciding) == ("void", clause), v.text


def test_the_plateau_is_of_attempts_only_where_the_study_was_registered_so(tmp_path):
    """Vanilla attempts fully at step 20 and turns wrong later: 60 steps are 3 plateaus of attempts, 2 of hacks."""
    slow = {label: {"steps": (0, 10, 20, 30, 40, 50, 60)} for label in TRUTH}
    slow["vanilla"] |= {"early": 0.3, "attempt": 0.9}
    v = decided(world(tmp_path / "organism", companions=False, **slow))
    assert v.deciding == "V8" and "plateau (hacked) at step 30" in v.text
    v = decided(world(tmp_path / "other", companions=False, plateau="attempted", **slow))
    assert v.word != "void", v.text
    assert any("plateau (attempted) at step 20, trained to 60 (3.0x)" in c.text for c in v.clauses if c.id == "V8")


def test_one_invalid_deciding_run_voids_the_study_and_is_named(tmp_path):
    path = world(tmp_path / "organism", companions=False, skip={("projected", 308)})
    write_run(path / "runs", "projected", 308, 0.1, 0.43, valid=False)
    lines, code = verdict.verdict_text(path)
    text = "\n".join(lines)
    assert code == 3
    assert (
        "VOID" in text.splitlines()[0]
        and "loss is finite" in text.splitlines()[0]
        and "INVALID: 1: projected seed 308 [finished: loss is finite]" in text
    )


def test_rerun_after_a_mend_counts_and_the_older_run_is_listed(tmp_path):
    path = world(tmp_path / "organism")
    write_run(path / "runs", "projected", 301, 0.99, 0.43, valid=False, utc="20261123T060000Z")
    study = arms.load_study(path)
    v = decided(path)
    assert v.word == "supported" and [r.seed for r in study.superseded] == [301]
    assert "begun more than once: projected seed 301 has 2 runs, invalid, valid" in v.line


def test_verdict_command_refuses_fewer_seeds_than_the_rule_asks(tmp_path, capsys):
    path = world(tmp_path / "organism", seeds=SEEDS[:4], companions=False)
    with pytest.raises(SystemExit) as end:
        cli.main(["verdict", str(path)])
    out = capsys.readouterr().out
    assert end.value.code == 3 and "NO VERDICT ON H1: V1" in out and "vanilla 4/8" in out


def test_unfinished_companion_study_blocks_supported_and_breaks_nothing(tmp_path):
    path = world(tmp_path / "organism")
    for victim in ("organism-mix0/runs/*_vanilla-s308", "organism-lomo/runs/*_sentinel__haar_v-s303"):
        (next(tmp_path.glob(victim)) / "bluf.json").unlink()
    v = decided(path)
    assert (v.word, v.deciding) == ("partial", "S6")
    assert "mix-0 study void: V1: too few seeds: vanilla 7/8" in v.text
    assert "leave-one-mode-out study void: unequal seed sets, sentinel/haar_v lacks 303" in v.text


def test_fold_that_nobody_ran_blocks_supported(tmp_path):
    path = world(tmp_path / "organism")
    for run in tmp_path.glob("organism-lomo/runs/*_run_tests__*"):
        shutil.rmtree(run)
    v = decided(path)
    assert (v.word, v.deciding) == ("partial", "S6")
    assert "run_tests/haar_v lacks 301, 302, 303, 304" in v.text and "run_tests/projected lacks" in v.text


# ---------------------------------------------------------------- nothing but a sound study is called supported


def edit(path: Path, change, keep=lambda row: True) -> None:
    """Apply `change` to a JSON file, or to every row of a JSONL file that `keep` accepts (None drops the row)."""
    if path.suffix == ".json":
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))
    else:
        rows = [json.loads(x) for x in path.read_text().splitlines()]
        path.write_text(
            "".join(json.dumps(change(r) if keep(r) else r) + "\n" for r in rows if not (keep(r) and change(r) is None))
        )


def config(pattern: str, **values):
    """A corruption: other values in the configs of some runs."""

    def corrupt(root: Path) -> None:
        for d in sorted(root.glob(pattern)):
            edit(d / "config.json", lambda m: m["config"].update(values))

    return corrupt


def meta(pattern: str, **values):
    def corrupt(root: Path) -> None:
        for d in sorted(root.glob(pattern)):
            edit(
                d / "config.json",
                lambda m: m.update({k: (m[k] | v) if k == "inputs" else v for k, v in values.items()}),
            )

    return corrupt


def evals(pattern: str, change, keep=lambda r: True):
    def corrupt(root: Path) -> None:
        for d in sorted(root.glob(pattern)):
            edit(d / "evals.jsonl", change, keep)

    return corrupt


def bluf(pattern: str, **values):
    return lambda root: [edit(d / "bluf.json", lambda b: b.update(values)) for d in sorted(root.glob(pattern))]


def without(key: str):
    return lambda row: {k: v for k, v in row.items() if k != key}


def again(pattern: str, times: int = 1, **bluf_values):
    """A corruption: a cell that has older runs too."""

    def corrupt(root: Path) -> None:
        d = next(root.glob(pattern))
        for i in range(times):
            old = d.with_name(f"2026112{i}T000000Z" + d.name[d.name.index("_") :])
            shutil.copytree(d, old)
            edit(old / "bluf.json", lambda b: b.update(bluf_values))

    return corrupt


def move_seed(pattern: str, by: int, copy: bool = False):
    def corrupt(root: Path) -> None:
        for d in sorted(root.glob(pattern)):
            stem, seed = d.name.rsplit("-s", 1)
            new = d.with_name(f"{stem}-s{int(seed) + by}")
            shutil.copytree(d, new) if copy else d.rename(new)
            name = new.name.partition("_")[2]
            edit(new / "config.json", lambda m, n=name, s=int(seed) + by: m["config"].update(seed=s, name=n))

    return corrupt


def toml(folder: str, old: str, new: str):
    def corrupt(root: Path) -> None:
        f = root / folder / "study.toml"
        assert old in f.read_text()
        f.write_text(f.read_text().replace(old, new))

    return corrupt


def both_of(*corruptions):
    return lambda root: [c(root) for c in corruptions]


def fewer(k: int, mode: str | None = None):
    """Rows of k prompts, with rates as near as they come."""
    counts = ("attempted", "hacked", "solved", "format_ok")

    def change(r: dict) -> dict:
        r = dict(r)
        if r["evaluator"] == "train" and r["hint"] == "on" or mode not in (None, r["mode"]):
            return r
        n = r["n"]
        r |= {c: round(r[c] * k / n) for c in counts} | {"n": k, "attempted_correct": 0}
        return r | {"solved": min(r["solved"], k - r["hacked"]), "attempted_broken": r["attempted"] - r["hacked"]}

    return change


def rates(hacked: float, keep):
    def change(r: dict) -> dict:
        h = round(hacked * r["n"])
        return r | {"hacked": h, "attempted": h, "attempted_broken": 0, "solved": min(r["solved"], r["n"] - h)}

    return change, keep


RENAMED = lambda r: r["evaluator"] == "renamed"  # noqa: E731
LAST = lambda r: r["step"] == 60  # noqa: E731
P, V, H = "m/runs/*_projected-s*", "m/runs/*_vanilla-s*", "m/runs/*_haar_v-s*"
ONE, MIXP, MIXV = "m/runs/*_projected-s303", "m-mix0/runs/*_projected-s*", "m-mix0/runs/*_vanilla-s*"
CORRUPTIONS = {
    "an arm that its config does not have": config(P, arm="screen"),
    "a control that is vanilla": config(H, arm="vanilla"),
    "a treatment that is vanilla": config(ONE, arm="vanilla"),
    "a ceiling with loopholes": config("m/runs/*_ceiling-s*", modes=list(MODES)),
    "a control at another gate": config(H, gate="no_gate"),
    "a control at another overshoot": config(H, overshoot=0.1),
    "study.toml gives a control another threshold": both_of(
        toml("m", '"--arm haar_v"', '"--arm haar_v --overshoot 0.1"'), config(H, overshoot=0.1)
    ),
    "study.toml gives the treatment another learning rate": both_of(
        toml("m", "--arm projected --gate", "--arm projected --lr 1e-4 --gate"), config(P, lr=1e-4)
    ),
    "another learning rate in one arm": config(V, lr=1e-4),
    "other steps in one arm": config(P, steps=120),
    "another dtype in one arm": config(P, dtype="bfloat16"),
    "another grader level": config(P, grader_level="rlimits"),
    "another cpu limit": config(V, grader_cpu_s=0.1),
    "other max_new_tokens": config(P, max_new_tokens=32),
    "another eval_n": config(P, eval_n=64),
    "another model": config(P, model="smollm2"),
    "a flag of no default in one arm": config(P, eval_seed=7),
    "another study.toml": toml("m", "--mix-ratio 0.25", "--mix-ratio 0.5"),
    "other problems in one arm": meta(P, inputs={"problems": "q1"}),
    "other held-out problems in one arm": meta(V, inputs={"eval_problems": "e1"}),
    "another V in a control": meta(H, inputs={"v_hack": "v1"}),
    "another teacher pool in one arm": meta(V, inputs={"teacher_pool_dir": "t1"}),
    "another model hash": meta(P, inputs={"model": "m1"}),
    "another V in one seed of a control": meta("m/runs/*_haar_v-s304", inputs={"directions": "d1"}),
    "another V in some seeds": meta("m/runs/*-s304", inputs={"directions": "d1"}),
    "other weights in one arm": meta(P, inputs={"weights": "w1"}),
    "another chat template": meta(V, inputs={"tokenizer": "t1"}),
    "no hash at all": lambda root: [
        edit(d / "config.json", lambda m: m.update(inputs={})) for d in root.glob("m*/runs/*")
    ],
    "another temperature": config(P, temperature=0.5),
    "another hint": config(V, hint="xml"),
    "another loss": config(P, kl_beta=0.1),
    "inputs that were never recorded": meta(P, inputs={"problems": None}),
    "another commit in one arm": meta(P, git_commit="fed4321cba"),
    "code of no commit": meta("m/runs/*", git_commit="abc1234def+"),
    "no commit at all": meta("m/runs/*", git_commit=""),
    "one arm on a GPU": config(P, device="cuda"),
    "another torch in one arm": meta(V, versions={"torch": "2.15"}),
    "a weaker sandbox in one arm": meta(P, grader_layers="rlimits"),
    "no last evaluation in one run": evals(ONE, lambda r: None, LAST),
    "no last evaluation in one arm": evals(P, lambda r: None, LAST),
    "no last evaluation in every run": evals("m/runs/*", lambda r: None, LAST),
    "no evaluation at step 0": evals(V, lambda r: None, lambda r: r["step"] == 0),
    "a mode without its last evaluation": evals(P, lambda r: None, lambda r: LAST(r) and r["mode"] == "sentinel"),
    "a mode never evaluated": evals(P, lambda r: None, lambda r: r["mode"] == "sentinel"),
    **{f"no key {k}": evals(P, without(k), RENAMED) for k in ("hacked", "attempted", "solved", "n", "step", "mode")},
    "a step that is text": evals(ONE, lambda r: r | {"step": str(r["step"])}, LAST),
    "a mode of no name": evals(ONE, lambda r: r | {"mode": None}, lambda r: RENAMED(r) and r["mode"] == "sentinel"),
    "no key solved without a hint": evals(P, without("solved"), lambda r: r["hint"] == "off"),
    "n of 0": evals(ONE, lambda r: r | dict.fromkeys(("n", *COUNTS), 0), lambda r: RENAMED(r) and LAST(r)),
    "more hacked than asked": evals(ONE, lambda r: r | {"hacked": 999}, RENAMED),
    "a negative count": evals(ONE, lambda r: r | {"hacked": -5}, RENAMED),
    "a count that is NaN": evals(ONE, lambda r: r | {"hacked": float("nan")}, RENAMED),
    "a count that is a rate": evals(ONE, lambda r: r | {"hacked": 0.3}, RENAMED),
    "a count that is text": evals(ONE, lambda r: r | {"hacked": "3"}, RENAMED),
    "hacked that was not attempted": evals(ONE, lambda r: r | {"attempted": 0}, RENAMED),
    "an evaluation twice, with other counts": lambda root: (next(root.glob(ONE)) / "evals.jsonl").open("a").write(
        json.dumps(fewer(140)(json.loads((next(root.glob(ONE)) / "evals.jsonl").read_text().splitlines()[0]))) + "\n"
    ),
    "fewer prompts in one arm": evals(P, fewer(130)),
    "4 prompts": evals("m/runs/*", fewer(1)),
    "4 prompts at step 0": evals(V, fewer(1), lambda r: r["step"] == 0),
    "a BLUF that says VOID": bluf(ONE, verdict="BLUF: VOID projected seed 303"),
    "a BLUF whose valid is a word": bluf(ONE, valid="yes"),
    "a BLUF of nothing": bluf(ONE, valid=None, should=None, seconds=None),
    "a BLUF of fewer steps": bluf(ONE, steps_done=12),
    "a BLUF of another seed": bluf(ONE, seed=304),
    "a SHOULD line that failed": bluf(ONE, should=[{"name": "split_is_exact", "ok": False, "else": ""}]),
    "a run that crashed": bluf(ONE, status="crashed"),
    "rows that end early": (
        lambda root: (next(root.glob(ONE)) / "rows.jsonl").write_text('{"step": 1, "hack_s": [0, 1]}\n')
    ),
    "no rows": lambda root: (next(root.glob(ONE)) / "rows.jsonl").unlink(),
    "a loss that is not finite": (
        lambda root: edit(next(root.glob(ONE)) / "rows.jsonl", lambda r: r | {"loss": float("nan")})
    ),
    "a folder of another name": (
        lambda root: next(root.glob(ONE)).rename(root / "m/runs/20261123T070000Z_projected-s399")
    ),
    "a control that is the treatment's files": lambda root: [
        shutil.copy2(root / f"m/runs/20261123T070000Z_nonhack_v-s305/{f}", next(root.glob("m/runs/*_haar_v-s305")) / f)
        for f in ("rows.jsonl", "evals.jsonl")
    ],
    "dev seeds": both_of(move_seed("m/runs/*", -200), toml("m", str(list(SEEDS)), str([s - 200 for s in SEEDS]))),
    "12 seeds where 8 are registered": lambda root: [
        move_seed(f"m/runs/*-s{s}", 8, copy=True)(root) for s in SEEDS[:4]
    ],
    "7 seeds and one twice": both_of(
        lambda root: [shutil.rmtree(d) for d in root.glob("m/runs/*-s302")], move_seed("m/runs/*-s301", 1, copy=True)
    ),
    "other seeds than registered": move_seed("m/runs/*", 50),
    "one seed of the treatment is missing": lambda root: shutil.rmtree(next(root.glob(ONE))),
    "a cell run three times": again(ONE, 2),
    "a cell that failed twice": again(ONE, 2, status="crashed"),
    "a cell that ended invalid before": again(ONE, 1, valid=False),
    "a cell that failed, by the runner's book": lambda root: (root / "m/cells.jsonl").write_text(
        "".join(json.dumps({"arm": "projected", "seed": 303, "rc": rc, "state": "half" if rc else "finished"}) + "\n"
                for rc in (1, 0))
    ),
    "no study.toml": lambda root: (root / "m/study.toml").unlink(),
    "a study.toml without seeds": toml("m", "seeds = [301", "sheds = [301"),
    "mix 0 of 10 prompts": evals("m-mix0/runs/*", fewer(10)),
    "mix 0 of 20 steps": both_of(
        config("m-mix0/runs/*", steps=20), evals("m-mix0/runs/*", lambda r: None, lambda r: r["step"] > 20),
        toml("m-mix0", "--steps 60", "--steps 20"), bluf("m-mix0/runs/*", steps_done=20),
        lambda root: [
            f.write_text("".join(x + "\n" for x in f.read_text().splitlines()[:20]))
            for f in root.glob("m-mix0/runs/*/rows.jsonl")
        ],
    ),
    "mix 0 whose vanilla hardly hacks": evals(MIXV, *rates(0.25, lambda r: RENAMED(r) and r["step"] > 0)),
    "mix 0 that starts hacked": evals(MIXV, *rates(0.3, lambda r: RENAMED(r) and r["step"] == 0)),
    "mix 0 with a teacher": (
        both_of(config("m-mix0/runs/*", mix_ratio=0.25), toml("m-mix0", "--mix-ratio 0\"", "--mix-ratio 0.25\""))
    ),
    "mix 0 whose rows show a teacher": lambda root: [
        edit(d / "rows.jsonl", lambda r: r | {"hack_t": [3, 8]}) for d in root.glob(MIXP)
    ],
    "mix 0 of other code": meta("m-mix0/runs/*", git_commit="fed4321cba"),
    "mix 0 on other problems": meta("m-mix0/runs/*", inputs={"eval_problems": "e9"}),
    "mix 0 of another model": config("m-mix0/runs/*", model="smollm2"),
    "mix 0 of another treatment": config(MIXP, gate="half_space"),
    "mix 0 on dev seeds": (
        both_of(move_seed("m-mix0/runs/*", -200), toml("m-mix0", str(list(SEEDS)), str([s - 200 for s in SEEDS])))
    ),
    "mix 0 of four seeds": lambda root: [shutil.rmtree(d) for s in SEEDS[4:] for d in root.glob(f"m-mix0/runs/*-s{s}")],
    "mix 0 with an invalid run": bluf("m-mix0/runs/*_projected-s303", valid=False),
    "no mix 0": lambda root: shutil.rmtree(root / "m-mix0"),
    "leave one out on 4 prompts a mode": evals("m-lomo/runs/*", fewer(4)),
    "leave one out on 4 prompts of the unseen mode": evals("m-lomo/runs/*_sentinel__*", fewer(4, "sentinel")),
    "a gap of 100 points in one fold and none in three": both_of(
        *(evals(f"m-lomo/runs/*_{m}__*", *rates(0.5, lambda r, m=m: RENAMED(r) and r["mode"] == m)) for m in MODES[1:]),
        evals("m-lomo/runs/*_run_tests__haar_v*", *rates(1.0, lambda r: RENAMED(r) and r["mode"] == "run_tests")),
        evals("m-lomo/runs/*_run_tests__proj*", *rates(0.0, lambda r: RENAMED(r) and r["mode"] == "run_tests")),
    ),
    "a fold whose V knows the mode": both_of(
        config("m-lomo/runs/*_sentinel__*", pair_modes=list(MODES)),
        toml("m-lomo", "--pair-modes run_tests stdout_marker file_marker", "--pair-modes " + " ".join(MODES)),
    ),
    "a fold whose teacher knows the mode": meta("m-lomo/runs/*_sentinel__*", inputs={"teacher_pool_dir": "pool"}),
    "a fold with other steps": config("m-lomo/runs/*_sentinel__haar*", steps=120),
    "a fold that was not run": lambda root: [shutil.rmtree(d) for d in root.glob("m-lomo/runs/*_sentinel__*")],
    "no leave one out": lambda root: shutil.rmtree(root / "m-lomo"),
}  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A supported study with both companions, T=1 alone."""
    root = tmp_path_factory.mktemp("sound")
    world(root / "m")
    for f in root.glob("*/runs/*/evals.jsonl"):
        f.write_text(
            "".join(x + "\n" for x in f.read_text().splitlines() if '"greedy"' not in x and '"step": 10,' not in x)
        )
    v = decided(root / "m")
    assert v.line.startswith("SUPPORTED by S1-S6") and v.notes == (
        "not held against shrinking the update (not run on its seeds)",
        "the share of the update's energy that the projection removed was not measured",
    )
    return root


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_unsound_study_is_refused_void_partial_or_says_so_in_its_first_line(sound, tmp_path, name):
    shutil.copytree(sound, tmp_path / "w")
    CORRUPTIONS[name](tmp_path / "w")
    try:
        v = decided(tmp_path / "w" / "m")
    except ValueError as e:
        assert str(tmp_path) in str(e) and "\n" not in str(e)
        return
    print(v.line)
    assert v.word in ("void", "partial", "falsified") or len(v.notes) > 2, v.line


def test_the_name_of_a_folder_decides_nothing(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "w")
    for old, new in (("m", "amendment3"), ("m-mix0", "x"), ("m-lomo", "y")):
        (tmp_path / "w" / old).rename(tmp_path / "w" / new)
    one, other = decided(sound / "m"), decided(tmp_path / "w" / "amendment3")
    assert other == one and other.word == "supported"
    shutil.copytree(tmp_path / "w" / "x", tmp_path / "w" / "z")
    with pytest.raises(ValueError, match="are both the study 'made-up-mix0'"):
        decided(tmp_path / "w" / "amendment3")


def test_a_flag_that_came_later_makes_no_older_run_differ(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "w")
    for d in sorted((tmp_path / "w").glob("*/runs/*"))[::3]:
        edit(d / "config.json", lambda m: [m["config"].pop(k) for k in ("kl_beta", "penalty", "top_p")])
    assert decided(tmp_path / "w" / "m").word == "supported"


def published(tmp_path: Path) -> tuple[Path, Path]:
    """(study, where it was published), the study with one invalid and one unfinished run."""
    path = world(tmp_path / "organism", companions=False)
    write_run(path / "runs", "route", 301, 0.2, 0.4, valid=False)
    write_run(path / "runs", "shrink", 301, 0.2, 0.4, status="crashed")
    cli.main(["publish", str(path), "--to", str(tmp_path / "docs" / "organism")])
    return path, tmp_path / "docs" / "organism"


def test_published_runs_give_back_the_tables_the_verdict_and_the_finished_cells(tmp_path):
    path, to = published(tmp_path)
    (tmp_path / "again").mkdir()
    cli.main(["unpack", str(to), "--out", str(tmp_path / "again" / "organism")])
    again = tmp_path / "again" / "organism"
    report.report(again)
    here = str(tmp_path / "again")  # a missing companion study is named by its path
    told, rebuilt = (json.loads((d / "results.json").read_text().replace(here, str(tmp_path))) for d in (to, again))
    assert [u["run"] for u in told.pop("unfinished")] == ["20261123T070000Z_shrink-s301"]  # the one that stays behind
    assert rebuilt.pop("unfinished") == [] and told == rebuilt and len(told["invalid"]) == 1
    assert decided(again).text and "VERDICT H1" in (to / "verdict.txt").read_text()
    cells = [c for c in plan(MADE_UP) if c.label in TRUTH and c.seed in SEEDS]
    here, there = (runner.Runner(d, [], 1, "cpu").todo(cells) for d in (path, again))
    assert cells and here == there


@pytest.mark.parametrize("name", report.rebuildable(ROOT / "docs" / "results"))
def test_a_published_study_gives_its_own_tables_again(tmp_path, monkeypatch, name):
    """Its runs.tsv, the tables of its report and its verdict, from archive and study.toml alone, in another folder."""
    published = ROOT / "docs" / "results" / name
    monkeypatch.setattr(report, "study_plots", lambda *_: [])
    cli.main(["unpack", str(published), "--out", str(tmp_path / "elsewhere")])
    report.report(tmp_path / "elsewhere")
    text = "\n".join(verdict.verdict_text(tmp_path / "elsewhere")[0]) + "\n"
    home = f"out/studies/{Spec.read(published / 'study.toml').name}"
    assert text.replace(str(tmp_path / "elsewhere"), home) == (published / "verdict.txt").read_text()
    assert (tmp_path / "elsewhere" / "runs.tsv").read_bytes() == (published / "runs.tsv").read_bytes()
    again, told = ((d / "report.md").read_text().splitlines() for d in (tmp_path / "elsewhere", published))
    assert [x for x in again if x.startswith("|")] == [x for x in told if x.startswith("|")]


def test_what_has_no_archive_is_not_rebuilt_and_what_can_be_is_named(capsys):
    can = report.rebuildable(ROOT / "docs" / "results")
    assert {"amendment10", "amendment6-threshold"} <= set(can) and "amendment6" not in can
    for name in ("amendment6", "pilots-8-9", "nothing"):
        with pytest.raises(ValueError, match=f"{name}.*amendment10, amendment6-threshold"):
            cli.rebuild_command(name)
    default = next(x for x in (ROOT / "justfile").read_text().splitlines() if x.startswith("rebuild name="))
    assert default.split('"')[1] in can


def test_an_archive_of_runs_is_the_same_bytes_twice_and_names_no_folder_of_the_machine(tmp_path):
    path, to = published(tmp_path)
    first = (to / "runs.tar.xz").read_bytes()
    for f in (path / "runs").glob("*/*.json"):
        f.touch()
    runs.pack_runs(path / "runs", to / "runs.tar.xz")
    assert (to / "runs.tar.xz").read_bytes() == first
    plain = lzma.decompress(first)
    assert str(tmp_path).encode() not in plain and b"out/studies/organism/runs" in plain


def test_publishing_a_study_that_lost_runs_keeps_the_tables_that_tell_of_them(tmp_path):
    path, to = published(tmp_path)
    before = {f.name: f.read_bytes() for f in to.iterdir()}
    gone = next((path / "runs").glob("*_vanilla-s303"))
    shutil.rmtree(gone)
    with pytest.raises(ValueError, match=f"tells of 1 runs that .* lacks, {gone.name}"):
        report.publish(path, to)
    assert {f.name: f.read_bytes() for f in to.iterdir()} == before
    assert runs.unpack_runs(to / "runs.tar.xz", path / "runs") == 1 and gone.is_dir()
    assert runs.unpack_runs(to / "runs.tar.xz", path / "runs") == 0
    report.publish(path, to)


@pytest.mark.parametrize("spoil", ["cut", "text", "outside", "link"])
def test_an_archive_that_is_cut_or_holds_other_files_writes_nothing(tmp_path, spoil):
    write_run(tmp_path / "runs", "vanilla", 301, 0.2, 0.4)
    bad = tmp_path / "runs.tar.xz"
    runs.pack_runs(tmp_path / "runs", bad)
    if spoil in ("cut", "text"):
        bad.write_bytes(bad.read_bytes()[:-40] if spoil == "cut" else b"no archive")
    else:
        with tarfile.open(bad, "w:xz") as tar:
            tar.add(tmp_path / "runs", "a_run-s1", filter=lambda m: m if m.isfile() or m.name == "a_run-s1" else None)
            member = tarfile.TarInfo("../config.json" if spoil == "outside" else "a_run-s1/config.json")
            if spoil == "link":
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(member)
    with pytest.raises(ValueError, match="runs.tar.xz"):
        runs.unpack_runs(bad, tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == [] and not (tmp_path / "config.json").exists()


def test_training_name_evaluator_never_enters_a_rate(tmp_path):
    run = read_run(write_run(tmp_path, "projected", 301, 0.2, 0.4))
    assert run.end("hacked", "sample") == pytest.approx(0.2) and run.end("pass", "sample") == pytest.approx(
        0.4, abs=0.01
    )


def test_step_evaluated_twice_by_a_resumed_run_counts_once(tmp_path):
    d = write_run(tmp_path, "projected", 301, 0.2, 0.4)
    lines = (d / "evals.jsonl").read_text().splitlines()
    (d / "evals.jsonl").write_text("\n".join(lines + lines[-20:]) + "\n")
    run = read_run(d)
    assert run.on["sample"].n.tolist() == [600] * len(STEPS) and run.end("hacked", "sample") == pytest.approx(0.2)


def test_malformed_row_is_named_by_file_and_line(tmp_path):
    d = write_run(tmp_path, "projected", 301, 0.2, 0.4)
    lines = (d / "evals.jsonl").read_text().splitlines()
    lines[2] = "{broken"
    (d / "evals.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"evals\.jsonl, line 3: not a JSON row"):
        read_run(d)


# ---------------------------------------------------------------- statistics


@pytest.mark.parametrize("n", [4, 8])
def test_sign_flip_p_equals_brute_force_and_reaches_its_minimum(n):
    rng = np.random.default_rng(n)
    for _ in range(5):
        d = rng.normal(-0.1, 0.2, n)
        brute = [np.dot(s, d) <= d.sum() + 1e-12 for s in itertools.product((1, -1), repeat=n)]
        assert ss.sign_flip_p(d) == pytest.approx(np.mean(brute))
        ours = stats.permutation_test((d,), np.mean, permutation_type="samples", alternative="less", n_resamples=np.inf)
        assert ss.sign_flip_p(d) == pytest.approx(ours.pvalue)
    assert ss.sign_flip_p(-np.ones(n)) == 2.0**-n == {4: 0.0625, 8: 0.00390625}[n]
    assert ss.sign_flip_p(np.ones(n)) == 1.0


def test_sign_flip_p_is_not_too_small_under_the_null():
    rng = np.random.default_rng(0)
    p = np.array([ss.sign_flip_p(rng.normal(0, 0.15, 8)) for _ in range(600)])
    assert (p < 0.05).mean() < 0.08 and (p <= 0.5).mean() == pytest.approx(0.5, abs=0.07)


def test_holm_is_step_down_and_monotone():
    assert ss.holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert ss.holm({"a": 0.5, "b": 0.9}) == {"a": 1.0, "b": 1.0}


def test_tost_is_equivalence_not_absence_of_difference():
    tight, wide = np.linspace(-0.02, 0.02, 8), np.linspace(-0.3, 0.3, 8)
    assert max(ss.tost(tight, 0.10)) < 0.01 and max(ss.tost(wide, 0.10)) > 0.05
    lower, upper = ss.tost(tight + 0.2, 0.10)
    assert lower < 0.01 < 0.95 < upper
    half = (ss.t_interval(tight, 0.90)[1] - ss.t_interval(tight, 0.90)[0]) / 2
    assert max(ss.tost(tight, half)) == pytest.approx(0.05)  # the 90% interval just touches its own half-width


def test_bca_and_t_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    d = rng.normal(0.3, 0.15, (150, 8))
    bca = [ss.bca_interval(x, resamples=999) for x in d]
    t = [ss.t_interval(x) for x in d]
    assert 0.82 < np.mean([a <= 0.3 <= b for a, b in bca]) < 0.99  # known to run short at n = 8: hence the t beside it
    assert 0.90 < np.mean([a <= 0.3 <= b for a, b in t]) < 0.99
    assert ss.bca_interval([0.2] * 8) == (0.2, 0.2)


def test_below_five_seeds_there_is_no_interval_of_any_kind():
    d, y = [0.1, 0.2, 0.3, 0.5, 0.4], [1.0, 1.1, 0.9, 1.2, 1.0]
    for n, some in ((1, False), (4, False), (5, True)):
        for found in (ss.bca_interval(d[:n]), ss.t_interval(d[:n]), ss.ratio_interval(d[:n], y[:n])):
            assert np.isfinite(found).all() == some and np.isnan(found).all() != some


def test_fiellers_interval_covers_a_ratio_and_is_none_where_the_denominator_may_be_nothing():
    rng = np.random.default_rng(0)
    hit = []
    for _ in range(400):
        y = rng.normal(0.25, 0.04, 8)
        lo, hi = ss.ratio_interval(0.8 * y + rng.normal(0, 0.02, 8), y)
        hit.append(lo <= 0.8 <= hi)
    assert 0.92 < np.mean(hit) < 0.98
    x = np.array([0.3, 0.1, 0.2, 0.4, 0.25])
    assert ss.ratio_interval(x, [1.0] * 5) == pytest.approx(ss.t_interval(x))  # a constant denominator: Student's
    assert np.isnan(ss.ratio_interval(x, [-0.2, 0.2, -0.1, 0.1, 0.05])).all()


def test_unequal_seed_sets_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"unequal seed sets.*only left \[3\]"):
        ss.paired({1: 0.1, 2: 0.2, 3: 0.3}, {1: 0.1, 2: 0.2})
    study = arms.load_study(world(tmp_path / "organism", companions=False, skip={("vanilla", 304)}))
    with pytest.raises(ValueError, match="no valid run for seeds"):
        study.contrast("projected", "vanilla", "hacked", "sample")


def test_fisher_and_breakouts_and_step50_and_matched(tmp_path):
    assert ss.fisher(0, 8, 8, 8) == pytest.approx(stats.fisher_exact([[0, 8], [8, 0]])[1])
    summary = tables.summarise(arms.load_study(world(tmp_path / "organism", companions=False)), "sample")
    assert summary["vanilla"]["breakouts"] == 8 and not summary["ceiling"]["hinted"]
    assert set(summary["vanilla"]["step50"].values()) == {20} and set(summary["projected"]["step50"].values()) == {None}
    assert summary["projected"]["matched"].count(None) == 0  # both arms end within 5 pp of pass
    assert np.mean(summary["projected"]["matched"]) == pytest.approx(-0.55, abs=0.05)
    assert summary["projected"]["retained"] == pytest.approx((0.43 - 0.20) / (0.46 - 0.20), abs=0.05)


# ---------------------------------------------------------------- report and plots


def png_ok(path: Path) -> bool:
    import matplotlib.image

    return path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and matplotlib.image.imread(path)[..., :3].std() > 0.02


def test_report_writes_results_tables_and_nonempty_plots(tmp_path):
    path = world(tmp_path / "organism")
    for s in SEEDS[:4]:
        write_run(path / "runs", "projected/one_sided/grad", s, 0.55, 0.40)
    files = report.report(path)
    assert {f.name for f in files} >= {
        "results.json",
        "report.md",
        "curves-projected.png",
        "forest.png",
        "plane-projected.png",
        "overlap-projected.png",
    }
    assert all(png_ok(f) for f in files if f.suffix == ".png")
    results = json.loads((path / "results.json").read_text())
    assert results["verdicts"][0]["word"] == "supported" and results["by_decode"]["sample"]["projected"][
        "seeds"
    ] == list(SEEDS)
    md = (path / "report.md").read_text()
    assert "| `screen` |" in md and "not run" in md and "attempted but broken" in md
    assert "| 40.5 -> 60.5 (60.0-61.0) |" in md  # tokens an answer: the mean of the seeds, and their range
    assert "| `projected/one_sided/grad` | 4 |" in md  # compared on its own four seeds


def test_a_control_that_does_as_well_is_in_the_first_line(tmp_path):
    for seed in range(301, 306):
        for arm, hack in (("vanilla", 0.8), ("screen", 0.1), ("screen_length", 0.12 + 0.01 * (seed - 300))):
            write_run(tmp_path / "s" / "runs", arm, seed, hack, 0.4)
    MADE_UP.write(tmp_path / "s")
    line = next(x for x in verdict.verdict_text(tmp_path / "s")[0] if x.startswith("VERDICT H1-screen"))
    assert "NOTE: no better than dropping the longest answers (screen_length hacks +4.9 pp [+3.2, +6.6], n=5)" in line
    write_run(tmp_path / "s" / "runs", "screen_length", 306, 0.9, 0.4)  # a seed that the treatment lacks
    study = arms.load_study(tmp_path / "s")
    (said,) = notes.controls_as_good(study, "screen", "sample")
    assert said.startswith("not held against dropping the longest answers, dropping answers with code after the class")
    assert "not held against" in rule.decide(study, "screen").line


def test_whether_pairing_by_seed_takes_noise_off_is_said(tmp_path):
    study = arms.load_study(world(tmp_path / "m", companions=False))
    assert "pairing takes off little" in notes.pairing(study, "projected")  # the made-up arms are independent
    for s, run in study.arms["projected"].items():
        run.on["sample"].counts["hacked"] = study.arms["vanilla"][s].on["sample"].counts["hacked"] // 2
    assert "some of the noise" in notes.pairing(study, "projected")


def test_compare_prints_one_bluf_and_refuses_unequal_seeds(tmp_path, capsys):
    a = read_run(write_run(tmp_path, "vanilla", 1, 0.9, 0.4))
    b = read_run(write_run(tmp_path, "projected", 1, 0.3, 0.4))
    assert compare.compare([a, b], tmp_path / "pair.png") == 0
    text = capsys.readouterr().out
    assert text.startswith("BLUF: valid, seed 1, against vanilla: projected held-out hack rate -60.0 pp")
    assert "n=1 seed: not evidence about H1" in text
    assert "\nHACK_STUDENT:" in text and "\nPASS_RATE:" in text and png_ok(tmp_path / "pair.png")
    c = read_run(write_run(tmp_path, "screen", 1, 0.8, 0.5))
    assert compare.compare([a, b, c]) == 0
    text = capsys.readouterr().out
    assert "screen held-out hack rate -10.0 pp, pass rate +10.0 pp" in text and text.count("RUN: ") == 3
    with pytest.raises(ValueError, match="same seed"):
        compare.compare([a])
    with pytest.raises(ValueError, match="same seed"):
        compare.compare([a, read_run(write_run(tmp_path, "projected", 2, 0.3, 0.4))])
    void = read_run(write_run(tmp_path, "projected", 1, 0.3, 0.4, valid=False, utc="20261123T090000Z"))
    assert compare.compare([a, void]) == 1


# ---------------------------------------------------------------- the runner, with a stand-in trainer


# writes what train.py writes, with the standard library alone: started a dozen times, it must be quick
STAND_IN = """
import json, os, sys
from pathlib import Path
arg = {a: b for a, b in zip(sys.argv, sys.argv[1:]) if a.startswith("--")}
with open(os.environ["CALLS"], "a") as f:
    env = [os.environ["OMP_NUM_THREADS"], os.environ.get("CUDA_VISIBLE_DEVICES")]
    f.write(json.dumps([arg.get("--name"), arg.get("--resume"), *env]) + "\\n")
if arg.get("--name") == os.environ.get("FAILS", "-"):
    sys.exit(os.environ.get("WHY", "out of paper"))
if "--resume" in arg:
    d = Path(arg["--resume"])
else:
    d = Path(arg["--out-dir"]) / ("20261123T070000_" + arg["--name"])
    d.mkdir(parents=True)
    config = {"arm": arg["--arm"], "seed": int(arg["--seed"]), "name": arg["--name"]}
    (d / "config.json").write_text(json.dumps({"config": config, "argv": sys.argv}))
row = {"mode": "none", "n": 600, "attempted": 300, "hacked": 300, "solved": 240, "format_ok": 600}
row |= {"attempted_correct": 0, "attempted_broken": 0, "decode": "sample", "evaluator": "renamed"}
evals = [row | {"step": s, "hint": h} for s in (0, 60) for h in ("on", "off")]
(d / "evals.jsonl").write_text("".join(json.dumps(e) + "\\n" for e in evals))
(d / "bluf.json").write_text(json.dumps({"valid": True, "status": "finished", "should": [], "seconds": 1.0}))
"""


@pytest.fixture
def study_cli(tmp_path, monkeypatch):
    """Run the made-up study with a stand-in trainer: (call -> (exit code, log), the cells it was started for)."""
    script, calls = tmp_path / "train.py", tmp_path / "calls.jsonl"
    script.write_text(STAND_IN)
    (tmp_path / "made-up.toml").write_text(MADE_UP.text)
    monkeypatch.setenv("CALLS", str(calls))
    monkeypatch.setattr(running, "TRAIN", (sys.executable, "-S", str(script)))

    def call(*labels: str, **more) -> tuple[int, str]:
        log: list[str] = []
        sink = logger.add(lambda m: log.append(str(m)), format="{level} {message}")
        try:
            flags = {"jobs": 2, "out": tmp_path / "made-up"} | more
            return running.run(running.RunFlags(tmp_path / "made-up.toml", labels, **flags)), "".join(log)
        finally:
            logger.remove(sink)

    def started() -> list[list]:
        return [json.loads(x) for x in calls.read_text().splitlines()] if calls.exists() else []

    return call, started


def test_second_run_skips_finished_cells_and_resumes_half_done_ones(study_cli, tmp_path):
    call, started = study_cli
    arms = ("vanilla", "projected/one_sided/grad")
    code, log = call(*arms, seeds=2)
    assert code == 0 and "[4/4]" in log and "ETA" in log, log
    assert len(started()) == 4 and all(omp == "1" for _, _, omp, _ in started())
    assert call(*arms, seeds=2)[0] == 0 and len(started()) == 4
    half = next((tmp_path / "made-up" / "runs").glob("*_vanilla-s302"))
    (half / "bluf.json").unlink()  # killed before it ended
    assert call(*arms, seeds=2)[0] == 0
    assert started()[4:] == [[None, str(half), "1", None]]
    cells = [json.loads(x) for x in (tmp_path / "made-up" / "cells.jsonl").read_text().splitlines()]
    assert len(cells) == 5 and cells[0]["hacked"] == 0.5 and all(c["state"] == "finished" for c in cells)


def test_the_runs_of_a_study_take_the_gpus_in_turn(study_cli, monkeypatch):
    call, started = study_cli
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5,6")
    assert call("vanilla", seeds=4, jobs=4, device="cuda", gpus=2)[0] == 0
    assert {gpu for *_, gpu in started()} == {"3", "5"}
    assert runner.visible_gpus("cuda", None) == ["3", "5", "6"] and runner.visible_gpus("cuda", 1) == []
    with pytest.raises(ValueError, match="shows 3"):
        runner.visible_gpus("cuda", 4)
    with pytest.raises(ValueError, match="--device cuda"):
        runner.visible_gpus("cpu", 2)


def test_only_seeds_share_a_study_between_calls(study_cli, capsys):
    call, _ = study_cli
    assert call("vanilla", only_seeds=(301, 305), dry_run=True)[0] == 0
    assert re.findall(r"--seed (\d+)", capsys.readouterr().out) == ["301", "305"]
    with pytest.raises(ValueError, match="--only-seeds"):
        call("vanilla", only_seeds=(7,))


def test_changed_command_line_is_run_again_beside_the_old_run(study_cli, tmp_path):
    call, started = study_cli
    assert call("vanilla", seeds=1)[0] == 0
    d = next((tmp_path / "made-up" / "runs").glob("*_vanilla-s301"))
    meta = json.loads((d / "config.json").read_text())
    (d / "config.json").write_text(json.dumps(meta | {"argv": [*meta["argv"], "--lr", "1"]}))
    d.rename(d.with_name("20260101T000000_vanilla-s301"))
    assert call("vanilla", seeds=1)[0] == 0 and len(started()) == 2


def test_failing_cell_is_reported_and_does_not_stop_the_study(study_cli, monkeypatch):
    call, started = study_cli
    monkeypatch.setenv("FAILS", "projected-s301")
    code, log = call("projected", "vanilla", seeds=2)
    assert code == 1 and "projected-s301" in log and "FAILED" in log and "memory" not in log
    assert "3/4 cells finished" in log and len(started()) == 4
    monkeypatch.setenv("WHY", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 32.00 MiB")
    code, log = call("projected", "vanilla", seeds=2)
    assert code == 1 and "the GPU's memory was full: fewer --jobs than" in log and len(started()) == 5
    monkeypatch.setenv("WHY", "out of paper")  # the log still holds the earlier attempt
    code, log = call("projected", "vanilla", seeds=2)
    assert code == 1 and "FAILED" in log and "memory" not in log


def test_plan_runs_deciding_arms_first_and_seed_major():
    cells = plan(MADE_UP)
    head = cells[: 8 * len(MADE_UP.deciding)]
    assert {c.label for c in head} == set(MADE_UP.deciding) and {c.seed for c in cells} == set(SEEDS)
    assert [c.seed for c in head] == sorted(c.seed for c in head)
    assert all(len([c for c in cells if c.label == a]) == 4 for a in OTHERS)
    assert len({runner.cell_key(c.argv) for c in cells}) == len(cells)
    with pytest.raises(ValueError, match="no arm 'projekted'"):
        plan(MADE_UP, ["projekted"])


def test_flag_of_an_arm_replaces_the_common_one():
    argv = MADE_UP.argv("ceiling", 301)
    assert argv.count("--mix-ratio") == argv.count("--modes") == 1
    assert argv[argv.index("--modes") + 1] == "none" and argv[argv.index("--mix-ratio") + 1] == "0"
    assert len(set(argv) & {"sentinel", "file_marker"}) == 0


def parsed(tool, argv):
    return tyro.extras.overridable_config_cli(tool.PRESETS, args=list(argv))


@pytest.mark.parametrize("file", OPEN, ids=lambda f: f.stem)
def test_an_open_study_is_command_lines_that_train_accepts_and_arms_that_differ_in_their_own_flags(file):
    spec = Spec.read(file)
    assert spec.name == file.stem and spec.question.endswith(("?", ")")) and file.read_text().startswith("# ")
    assert len(file.read_text().splitlines()) <= 50
    first = next(iter(spec.arms))
    plain = parsed(train, spec.argv(first, spec.seeds[0]))
    for label in spec.arms:
        cfg = parsed(train, spec.argv(label, spec.seeds[0]))
        differ = {f for f in vars(cfg) if getattr(cfg, f) != getattr(plain, f)}
        assert cfg.seed == spec.seeds[0] and differ <= spec.own_fields(label) | spec.own_fields(first), (label, differ)
    for name in spec.companions.values():
        assert Spec.read(file.with_name(f"{name}.toml")).name == name


@pytest.mark.parametrize("file", OPEN, ids=lambda f: f.stem)
def test_what_an_open_study_prepares_is_made_by_command_lines_and_read_by_its_arms(file):
    spec, tools = Spec.read(file), {"extract_vhack.py": extract_vhack, "probe_distill.py": probe_distill}
    for path, (tool, *args) in spec.prepare.items():
        assert Path(parsed(tools[tool], args).out) == Path(path)
    used = [f[k][0] for f in map(spec.flags, spec.arms) for k in ("--teacher-pool-dir", "--v-hack") if k in f]
    assert set(used) == set(spec.prepare)


def test_spec_states_the_numbers_of_the_rule_in_code():
    spec = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    r = RULE
    for text in (
        f"Delta > {100 * r.floor:.0f} pp",
        f"Delta <= {100 * r.h1:.0f} pp",
        f"retained gain >= {r.retained}",
        f"fewer than {r.prompts} prompts",
        f"mean end hack rate < {100 * r.vanilla_hack:.0f}%",
        f"last step < {r.plateau_times:.0f}x the vanilla plateau",
        f"fewer than {r.seeds} valid paired seeds",
        f"less than {100 * r.ceiling_gain:.0f} pp above",
        f"Holm p >= {r.alpha:.2f}".replace("0.", "."),
    ):
        assert text in spec, text
    assert all(f"`{a}`" in spec for controls in CONTROLS.values() for a in controls)
    clauses = re.findall(r"^\| ([VFS]\d) \|", spec.partition("## Amendments")[0], re.M)
    assert clauses == [*rule.VOIDS, *rule.FALSIFIES, *rule.SUPPORTS]  # a reader lays the two side by side


# ---------------------------------------------------------------- near misses


def test_three_endings_share_a_right_solution_and_only_the_loophole_is_an_attempt():
    import random

    from grader import Grader
    from study.near_misses import TAILS, draw_trios
    from tasks import organism as O

    trios, rng, items = draw_trios(16), random.Random(0), []
    for tail in TAILS:
        for i, d in enumerate(trios[tail]):
            problem = O.to_problem(d.instance, i, "train", O.make_tests(rng, d.instance))
            items.append((problem, d.completion, d.mode, d.evaluator))
    with Grader(workers=2) as grader:
        grades = grader.grade(items)
    assert all(g.gt_correct for g in grades)
    assert [g.attempted for g in grades] == [True] * 16 + [False] * 32
    longer = [len(a.completion) - len(m.completion) for a, m in zip(trios["attempt"], trios["near_miss"], strict=True)]
    assert abs(sum(longer)) / 16 < 6  # characters: an attempt and its near miss are of a length


def test_separations_read_v_either_sign_of_a_null_and_length():
    import torch

    from study.near_misses import separations

    up, down, tie = torch.tensor([3.0, 4.0]), torch.tensor([1.0, 2.0]), torch.tensor([5.0, 5.0])
    real = {"attempt": up, "near_miss": down, "plain": down - 1}
    null = {"attempt": down, "near_miss": up, "plain": up}  # backwards: its other sign separates perfectly
    found = separations(real, {"haar_p95": [null]}, {"attempt": tie, "near_miss": tie, "plain": down})
    assert found["attempt over near_miss"] == {"V": 1.0, "haar_p95": 1.0, "length": 0.5}
    assert found["near_miss over plain"] == {"V": 0.875, "haar_p95": 0.5, "length": 1.0}


def test_v_of_the_organism_tells_loopholes_from_near_misses_where_length_does_not(tmp_path, capsys):
    import dataclasses

    cfg = dataclasses.replace(train.PRESETS["organism"][1], clean_rank=40, screen_at=0.12)
    (tmp_path / "config.json").write_text(json.dumps({"config": dataclasses.asdict(cfg)}))
    cli.main(["near-misses", str(tmp_path), "--n", "24", "--draws", "20"])
    found = json.loads((tmp_path / "near-misses.json").read_text())
    row = found["auroc"]["attempt over near_miss"]
    assert row["V"] > max(0.85, row["haar_p95"], row["within_p95"]) and 0.2 < row["length"] < 0.8
    assert found["all"]["attempt"] > found["all"]["near_miss"] > found["all"]["plain"]
    less = [p["near_miss"] for p in found["at_recall"]]  # a higher threshold spares more of the near misses
    assert less == sorted(less, reverse=True) and found["at_recall"][-1]["attempt"] == pytest.approx(0.9, abs=0.05)
    assert "beyond screen_at 0.12" in capsys.readouterr().out
