"""Statistics against brute force, resumption and failures of the runner, reports, plots, near misses."""

import dataclasses
import itertools
import json
import random
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch
import tyro
from adversarial import MALFORMED_STUDIES, STUDY
from loguru import logger
from scipy import stats
from worlds import MADE_UP, OTHERS, SEEDS, STEPS, world, write_run

import extract_vhack
import probe_distill
import train
from study import __main__ as cli
from study import arms, compare, near_misses, probe, report, runner, tables
from study import run as running
from study import stats as ss
from study.read import Run, read_run
from study.spec import Spec, plan
from tasks import organism as O

ROOT = Path(__file__).resolve().parents[1]
OPEN = sorted((ROOT / "studies").glob("*.toml"))


def test_a_rate_holds_no_training_name_evaluator_and_a_step_evaluated_twice_once(tmp_path):
    d = write_run(tmp_path, "projected", 301, 0.2, 0.4)
    lines = (d / "evals.jsonl").read_text().splitlines()
    (d / "evals.jsonl").write_text("\n".join(lines + lines[-20:]) + "\n")  # as a resumed run leaves it
    run = read_run(d)
    assert run.on["sample"].n.tolist() == [600] * len(STEPS) and run.end("hacked", "sample") == pytest.approx(0.2)
    assert run.end("pass", "sample") == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize("n", [4, 8])
def test_sign_flip_p_equals_brute_force_and_reaches_its_minimum(n):
    rng = np.random.default_rng(n)
    for _ in range(5):
        d = rng.normal(-0.1, 0.2, n)
        brute = [np.dot(s, d) <= d.sum() + 1e-12 for s in itertools.product((1, -1), repeat=n)]
        assert ss.sign_flip_p(d) == pytest.approx(np.mean(brute))
    assert ss.sign_flip_p(-np.ones(n)) == 2.0**-n == {4: 0.0625, 8: 0.00390625}[n]
    assert ss.sign_flip_p(np.ones(n)) == 1.0


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
    quick = lambda x: ss.bca_interval(x, resamples=999)  # noqa: E731
    bca, t = (np.mean([lo <= 0.3 <= hi for lo, hi in map(f, d)]) for f in (quick, ss.t_interval))
    assert 0.82 < bca < 0.99 and 0.90 < t < 0.99  # BCa is known to run short at n = 8: hence the t beside it
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


def png_ok(path: Path) -> bool:
    return path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and matplotlib.image.imread(path)[..., :3].std() > 0.02


def test_report_writes_results_tables_and_nonempty_plots(tmp_path):
    path = world(tmp_path / "organism")
    for s in SEEDS[:4]:
        write_run(path / "runs", "projected/one_sided/grad", s, 0.55, 0.40)
    files = report.report(path)
    plots = ("curves-projected.png", "forest.png", "plane-projected.png", "overlap-projected.png")
    assert {f.name for f in files} >= {"results.json", "report.md", *plots}
    assert all(png_ok(f) for f in files if f.suffix == ".png")
    results = json.loads((path / "results.json").read_text())
    assert results["verdicts"][0]["word"] == "supported"
    assert results["by_decode"]["sample"]["projected"]["seeds"] == list(SEEDS)
    md = (path / "report.md").read_text()
    assert "| 40.5 -> 60.5 (60.0-61.0) |" in md  # tokens an answer: the mean of the seeds, and their range
    assert "| `projected/one_sided/grad` | 4 |" in md  # compared on its own four seeds


def test_compare_prints_one_bluf_and_says_what_the_counts_say_and_refuses_unequal_seeds(tmp_path, capsys):
    a = read_run(write_run(tmp_path, "vanilla", 1, 0.9, 0.4))
    b = read_run(write_run(tmp_path, "projected", 1, 0.3, 0.4))
    assert compare.compare([a, b], tmp_path / "pair.png") == 0
    text = capsys.readouterr().out
    assert text.startswith("BLUF: valid, seed 1, against vanilla: projected held-out hack rate -60.0 pp")
    assert "n=1 seed: not evidence about H1" in text and png_ok(tmp_path / "pair.png")
    said = "SEEN: After 60 steps, plain GRPO tries the loophole on 90% of 600 held-out prompts, "
    assert f"{said}without the hack directions on 30%." in text
    c = read_run(write_run(tmp_path, "screen", 1, 0.8, 0.5))
    assert compare.compare([a, b, c]) == 0
    text = capsys.readouterr().out
    assert "screen held-out hack rate -10.0 pp, pass rate +10.0 pp" in text and text.count("RUN: ") == 3
    for unequal in ([a], [a, read_run(write_run(tmp_path, "projected", 2, 0.3, 0.4))]):
        with pytest.raises(ValueError, match="same seed"):
            compare.compare(unequal)
    void = read_run(write_run(tmp_path, "projected", 1, 0.3, 0.4, valid=False, utc="20261123T090000Z"))
    assert compare.compare([a, void]) == 1
    none = [read_run(write_run(tmp_path, x, 9, 0.0, 0.4)) for x in ("vanilla", "haar_v")]
    for runs, said in (([a, void], "without the hack directions ended void"), (none, "No run tries the loophole"),
                       ([b, a, c], "30% of 600 held-out prompts, plain GRPO on 90% and without hack")):  # fmt: skip
        assert said in compare.seen(runs)


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
    for device, n, said in (("cuda", 4, "shows 3"), ("cpu", 2, "--device cuda")):
        with pytest.raises(ValueError, match=said):
            runner.visible_gpus(device, n)


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
    full = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 32.00 MiB"
    for n, why in ((4, "out of paper"), (5, full), (6, "out of paper")):  # the log still holds the earlier attempts
        monkeypatch.setenv("WHY", why)
        code, log = call("projected", "vanilla", seeds=2)
        assert code == 1 and "projected-s301" in log and "3/4 cells finished" in log and len(started()) == n
        assert ("the GPU's memory was full: fewer --jobs than" in log) == (why == full) == ("memory" in log)


@pytest.mark.parametrize("key, text, said", MALFORMED_STUDIES)
def test_a_malformed_study_is_refused_by_its_file_and_key(tmp_path, key, text, said):
    keys = STUDY | {key: text}
    (tmp_path / "s.toml").write_text("".join(f"{k} = {v}\n" for k, v in keys.items() if v is not None))
    with pytest.raises(ValueError, match="s.toml: .*first lines show the format") as e:
        Spec.read(tmp_path / "s.toml")
    assert said in str(e.value) and "\n" not in str(e.value)


def test_plan_runs_deciding_arms_first_and_seed_major_and_an_arms_flag_replaces_the_common_one():
    cells = plan(MADE_UP)
    head = cells[: 8 * len(MADE_UP.deciding)]
    assert {c.label for c in head} == set(MADE_UP.deciding) and {c.seed for c in cells} == set(SEEDS)
    assert [c.seed for c in head] == sorted(c.seed for c in head)
    assert all(len([c for c in cells if c.label == a]) == 4 for a in OTHERS)
    assert len({runner.cell_key(c.argv) for c in cells}) == len(cells)
    with pytest.raises(ValueError, match="no arm 'projekted'"):
        plan(MADE_UP, ["projekted"])
    words = " ".join(MADE_UP.argv("ceiling", 301)) + " "
    assert words.count("--modes none ") == words.count("--modes") == 1
    assert words.count("--mix-ratio 0 ") == words.count("--mix-ratio") == 1


parsed = lambda tool, argv: tyro.extras.overridable_config_cli(tool.PRESETS, args=list(argv))  # noqa: E731


@pytest.mark.parametrize("file", OPEN, ids=lambda f: f.stem)
def test_an_open_study_is_command_lines_of_arms_that_differ_in_their_own_flags_and_read_what_it_prepares(file):
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
    tools = {"extract_vhack.py": extract_vhack, "probe_distill.py": probe_distill}
    for path, (tool, *args) in spec.prepare.items():
        assert Path(parsed(tools[tool], args).out) == Path(path)
    used = [f[k][0] for f in map(spec.flags, spec.arms) for k in ("--teacher-pool-dir", "--v-hack") if k in f]
    assert set(used) == set(spec.prepare)


@pytest.mark.parametrize(("change", "missed"), [
    ({}, ""), ({"hack_t": [0] * 9, "hack_s": [0] * 9}, "0/9 steps; student's hacks 0.0% -> 0.0%"),
    ({"hack_s": [0.5] * 9}, "50.0% -> 50.0%"), ({"auroc": [0.4] * 9}, "them in 0/9"), ({"valid": False}, "not valid"),
])  # fmt: skip
def test_a_probe_is_go_only_where_a_student_takes_up_the_teachers_hacks_and_v_sees_them(change, missed):
    rows = {"step": range(9), "hack_s": range(9), "hack_t": [1] * 9, "auroc": [0.6] * 9, "cin_s": [1], "cin_t": [1]}
    rows = {k: np.array(change.get(k, v), float) for k, v in rows.items()}
    run = Run("d", "vanilla", 41, {}, {}, "", "finished", change.get("valid", True), [], 1.0, rows=rows)
    go, line = probe.judge(run)
    assert go == (not missed) and line.startswith("NO-GO vanilla" if missed else "GO vanilla") and missed in line


def test_three_endings_share_a_right_solution_and_only_the_loophole_is_an_attempt(grader):
    trios, rng, items = near_misses.draw_trios(16), random.Random(0), []
    for tail in near_misses.TAILS:
        for i, d in enumerate(trios[tail]):
            problem = O.to_problem(d.instance, i, "train", O.make_tests(rng, d.instance))
            items.append((problem, d.completion, d.mode, d.evaluator))
    grades = grader.grade(items)
    assert all(g.gt_correct for g in grades)
    assert [g.attempted for g in grades] == [True] * 16 + [False] * 32
    longer = [len(a.completion) - len(m.completion) for a, m in zip(trios["attempt"], trios["near_miss"], strict=True)]
    assert abs(sum(longer)) / 16 < 6  # characters: an attempt and its near miss are of a length


def test_separations_read_v_either_sign_of_a_null_and_length():
    up, down, tie = torch.tensor([3.0, 4.0]), torch.tensor([1.0, 2.0]), torch.tensor([5.0, 5.0])
    real = {"attempt": up, "near_miss": down, "plain": down - 1}
    null = {"attempt": down, "near_miss": up, "plain": up}  # backwards: its other sign separates perfectly
    found = near_misses.separations(real, {"haar_p95": [null]}, {"attempt": tie, "near_miss": tie, "plain": down})
    assert found["attempt over near_miss"] == {"V": 1.0, "haar_p95": 1.0, "length": 0.5}
    assert found["near_miss over plain"] == {"V": 0.875, "haar_p95": 0.5, "length": 1.0}


def test_v_of_the_organism_tells_loopholes_from_near_misses_where_length_does_not(tmp_path, capsys):
    cfg = dataclasses.replace(train.PRESETS["organism"][1], screen_at=0.12)
    (tmp_path / "config.json").write_text(json.dumps({"config": dataclasses.asdict(cfg)}))
    cli.main(["near-misses", str(tmp_path), "--n", "24", "--draws", "20"])
    found = json.loads((tmp_path / "near-misses.json").read_text())
    row = found["auroc"]["attempt over near_miss"]
    assert row["V"] > max(0.85, row["haar_p95"], row["within_p95"]) and 0.2 < row["length"] < 0.8
    assert found["all"]["attempt"] > found["all"]["near_miss"] > found["all"]["plain"]
    less = [p["near_miss"] for p in found["at_recall"]]  # a higher threshold spares more of the near misses
    assert less == sorted(less, reverse=True) and found["at_recall"][-1]["attempt"] == pytest.approx(0.9, abs=0.05)
    assert "beyond screen_at 0.12" in capsys.readouterr().out
