"""Queue, results table, rollout viewer, recipes."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import tyro
from rich.console import Console

import extract_vhack
import grid
import queue_jobs
import results
import rollouts_view
import runs
import study
import train

ROOT = Path(__file__).resolve().parent.parent

# ---------------------------------------------------------------------------------------------------------- queue

# Stands in for the pueue client: writes down every call, answers with task ids as `add --print-task-id` does.
RECORDING_PUEUE = """#!{python}
import json, os, sys
log = os.environ["PUEUE_LOG"]
calls = [json.loads(line) for line in open(log)] if os.path.exists(log) else []
with open(log, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1:3] == ["group", "--json"]:
    print(json.dumps({{"default": {{}}, **{{c[2]: {{}} for c in calls if c[:2] == ["group", "add"]}}}}))
elif sys.argv[1] == "add":
    added = sum(c[0] == "add" for c in calls)
    if str(added) == os.environ.get("PUEUE_FAILS_AT"):
        print("Failed to connect to the daemon", file=sys.stderr)
        sys.exit(1)
    print(7 + added)
"""


@pytest.fixture
def pueue(tmp_path, monkeypatch):
    """A recording pueue first on PATH; calls() gives its calls so far. Study definitions go under tmp_path."""
    monkeypatch.setattr(queue_jobs, "ROOT", tmp_path)
    path = tmp_path / "bin" / "pueue"
    path.parent.mkdir()
    path.write_text(RECORDING_PUEUE.format(python=sys.executable))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PUEUE_LOG", str(tmp_path / "calls"))
    monkeypatch.delenv("QUEUE", raising=False)
    return lambda: [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]


def option(call: list[str], name: str) -> list[str]:
    """Values that follow an option, up to the next one."""
    rest = call[call.index(name) + 1 :]
    return rest[: next((i for i, word in enumerate(rest) if word.startswith("--")), len(rest))]


def test_arms_are_queued_after_the_extract_job_in_a_group_of_their_own(pueue):
    queue_jobs.main(queue_jobs.Config("full"))
    calls = pueue()
    assert calls[:2] == [["group", "--json"], ["group", "add", "projected_grpo", "--parallel", "1"]]
    added = [c for c in calls if c[0] == "add"]
    assert len(added) == 1 + 3 * 2
    assert all(option(c, "--group") == ["projected_grpo"] and "--print-task-id" in c for c in added)
    assert "--after" not in added[0] and "extract_vhack.py full" in added[0][-1]
    assert all(option(c, "--after") == ["7"] for c in added[1:])  # 7 is the id the extract job was given
    commands = [c[-1] for c in added[1:]]
    for seed in (41, 42, 43):
        for arm in ("vanilla", "projected"):
            assert sum(f"--name {arm}-s{seed} " in f"{command} " for command in commands) == 1


def test_full_queues_every_arm_that_it_is_asked_for_with_its_own_flags():
    jobs = queue_jobs.plan_full(queue_jobs.Config("full", arms=("ceiling", "screen", "kl/1e-2"), seeds=(401, 402)))
    commands = {j.name: " ".join(j.command) for j in jobs[2:]}
    assert [j.name for j in jobs[:2]] == ["extract", "extract_rank40"] and len(commands) == 6
    assert "--arm vanilla --modes none" in commands["ceiling-s401"] and "--seed 401 " in commands["ceiling-s401"]
    assert "--screen-side positive --clean-rank 40 --screen-at 0.12 --screen-match" in commands["screen-s402"]
    assert "--kl-beta 1e-2" in commands["kl__1e-2-s402"]
    assert {j.after for j in jobs[2:]} == {("extract",), ("extract_rank40",)}
    with pytest.raises(ValueError, match="--arms screem: no such arm"):
        queue_jobs.plan_full(queue_jobs.Config("full", arms=("screem",)))


def test_every_queued_run_is_accepted_and_finds_the_v_of_the_extraction_it_waits_for():
    arms = tuple(grid.QUEUED)
    jobs = queue_jobs.plan_full(queue_jobs.Config("full", arms=arms, seeds=(401,), train_args="--memory-gb 90"))
    parse = lambda tool, job: tyro.extras.overridable_config_cli(tool.PRESETS, args=list(job.command[1:]))  # noqa: E731
    made = {j.name: parse(extract_vhack, j) for j in jobs if j.command[0] == "extract_vhack.py"}
    runs = [j for j in jobs if j.command[0] == "train.py"]
    assert len(runs) == len(arms) and set(made) == {"extract", "extract_rank40"}
    for job in runs:
        needs, has = parse(train, job).extract_config(), made[job.after[0]]
        keyed = ("model", "pairs", "nonhack_pairs", "modes", "tags", "pairs_limit", "train", "coords", "core_rank", "k",
                 "nll_norm", "floor", "sign_p", "clean_rank", "dtype", "out")  # fmt: skip
        assert [getattr(needs, f) for f in keyed] == [getattr(has, f) for f in keyed], job.name


def test_queued_runs_are_the_study_that_the_verdict_reads(tmp_path):
    """Each job's own --out-dir and --name must make study.py see its arm: `ceiling` is --arm vanilla too."""
    arms = ("ceiling", "vanilla", "screen", "kl/1e-2")
    shared = ("--modes", "run_tests", "--mix-ratio", "0.25", "--teacher-pool-dir", "p", "--steps", "2")
    asked = queue_jobs.Config("full", "smoke", arms=arms, seeds=(401, 402), train_args=" ".join(shared))
    jobs = queue_jobs.plan_full(asked)
    queue_jobs.queued_study(asked).write(tmp_path / "out" / "studies" / "queue-smoke")
    for job in (j for j in jobs if j.command[0] == "train.py"):
        cfg = tyro.extras.overridable_config_cli(train.PRESETS, args=list(job.command[1:]))
        run = runs.Run(True, tmp_path / cfg.out_dir, cfg.name)
        meta = {"config": dataclasses.asdict(cfg), "argv": list(job.command), "inputs": {}}
        (run.dir / "config.json").write_text(json.dumps(meta))
        (run.dir / "bluf.json").write_text(json.dumps({"status": "finished", "valid": True}))
        (run.dir / "rows.jsonl").write_text("".join(json.dumps({"step": i + 1}) + "\n" for i in range(cfg.steps)))
    found = study.load_study(tmp_path / "out" / "studies" / "queue-smoke")
    assert {label: sorted(by) for label, by in found.arms.items()} == dict.fromkeys(arms, [401, 402])
    assert found.arms["ceiling"][401].config["mix_ratio"] == 0 and found.arms["vanilla"][401].config["steps"] == 2
    assert study.setting_differences(found) == []
    with pytest.raises(ValueError, match="begins with --"):
        queue_jobs.plan_full(queue_jobs.Config("full", train_args="steps 2"))


def test_every_label_says_why_and_what_settles_it(pueue):
    for plan in queue_jobs.PLANS:
        queue_jobs.main(queue_jobs.Config(plan))
    labels = [option(c, "--label") for c in pueue() if c[0] == "add"]
    assert len(labels) == 7 + 3 + 2
    assert all(len(label) == 1 and label[0].startswith("why: ") and "; resolve: " in label[0] for label in labels)


def test_the_probe_waits_for_v_and_for_its_teacher_pool(pueue):
    queue_jobs.main(queue_jobs.Config("probe-mixed"))
    extract, pool, probe = (c for c in pueue() if c[0] == "add")
    assert "extract_vhack.py" in extract[-1] and "probe_distill.py full --teacher-only" in pool[-1]
    assert option(probe, "--after") == ["7", "8"]
    assert "--steps 10 --mix-ratio 0.5 --teacher-pool-dir out/probe_distill/full" in probe[-1]
    jobs = queue_jobs.plan_probe_mixed(queue_jobs.Config("probe-mixed", teacher_pool="mine"))
    assert [job.name for job in jobs] == ["extract", "probe_mixed"] and "mine" in jobs[1].command


def test_an_existing_group_is_not_added_again(pueue):
    for _ in range(2):
        queue_jobs.main(queue_jobs.Config("probe-mixed"))
    assert sum(c[:2] == ["group", "add"] for c in pueue()) == 1


def test_a_command_reaches_pueue_as_one_shell_word_after_the_dashes(pueue):
    queue_jobs.main(queue_jobs.Config("probe-mixed", train_args="--name 'two words'"))
    last = pueue()[-1]
    assert last[-2] == "--" and last[-1].endswith("--name 'two words'")


def test_a_daemon_that_stops_answering_is_named_with_the_jobs_already_queued(pueue, monkeypatch):
    monkeypatch.setenv("PUEUE_FAILS_AT", "2")
    with pytest.raises(ValueError) as caught:
        queue_jobs.main(queue_jobs.Config("full"))
    said = str(caught.value)
    assert "Failed to connect to the daemon" in said and "pueued -d" in said and "pueue remove 7 8" in said


def test_without_pueue_the_jobs_are_shown_and_the_exit_names_the_mend(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("QUEUE", raising=False)
    with pytest.raises(SystemExit) as caught, runs.plain_errors():
        queue_jobs.main(queue_jobs.Config("full"))
    assert caught.value.code not in (0, None)
    said = capsys.readouterr()
    assert said.out.count("why: ") == 7 and "after extract" in said.out
    assert "QUEUE=local" in said.err and "install it" in said.err


def test_unknown_queue_is_refused_by_name(monkeypatch):
    monkeypatch.setenv("QUEUE", "slurm")
    with pytest.raises(ValueError, match="QUEUE=slurm: choose pueue"):
        queue_jobs.main(queue_jobs.Config("full"))


def script(tmp_path: Path, name: str, body: str, **job) -> queue_jobs.Job:
    """A job that appends its name to the journal and runs body."""
    path = tmp_path / f"{name}.py"
    path.write_text(f"open({str(tmp_path / 'journal')!r}, 'a').write({name + ' '!r})\n{body}")
    return queue_jobs.Job(name, (str(path),), "test", "exit status", **job)


def test_local_queue_resumes_where_it_failed(tmp_path):
    jobs = [
        script(tmp_path, "extract", ""),
        script(tmp_path, "first", f"import os, sys; sys.exit(not os.path.exists({str(tmp_path / 'mended')!r}))",
               after=("extract",)),
        script(tmp_path, "needs_first", "", after=("first",)),
        script(tmp_path, "second", "", after=("extract",)),
    ]  # fmt: skip
    state = tmp_path / "state" / "plan.json"
    journal = tmp_path / "journal"
    assert not queue_jobs.run_local(jobs, state)
    assert journal.read_text() == "extract first second "  # what a failed job blocks does not run, the rest does
    (tmp_path / "mended").touch()
    assert queue_jobs.run_local(jobs, state)
    assert journal.read_text() == "extract first second first needs_first "
    assert queue_jobs.run_local(jobs, state)
    assert journal.read_text() == "extract first second first needs_first "


def test_local_queue_runs_a_changed_command_again(tmp_path):
    state = tmp_path / "plan.json"
    assert queue_jobs.run_local([script(tmp_path, "a", "")], state)
    changed = queue_jobs.Job("a", (str(tmp_path / "a.py"), "--other"), "test", "exit status")
    assert queue_jobs.run_local([changed], state)
    assert (tmp_path / "journal").read_text() == "a a "


def test_two_local_queues_of_one_plan_do_not_run_together(tmp_path):
    with open(tmp_path / "plan.lock", "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another local queue is running this plan"):
            queue_jobs.run_local([script(tmp_path, "a", "")], tmp_path / "plan.json")
    assert not (tmp_path / "journal").exists()


def test_half_done_training_run_goes_on_and_a_finished_one_starts_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(queue_jobs, "ROOT", tmp_path)
    job = queue_jobs.plan_full(queue_jobs.Config("full"))[1]
    run = tmp_path / "out" / "studies" / "queue-full" / "runs" / "20260101T000000_vanilla-s41"
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps({"argv": ["train.py", *job.command[1:]]}))
    assert queue_jobs.half_done(job) == run
    assert queue_jobs.half_done(queue_jobs.plan_full(queue_jobs.Config("full"))[2]) is None
    (run / "bluf.json").write_text(json.dumps({"status": "finished"}))
    assert queue_jobs.half_done(job) is None


# ---------------------------------------------------------------------------------------- results, rollouts viewer


def eval_row(step: int, hint: str, hacked: int, solved: int, decode="sample", mode="run_tests") -> dict:
    return {"step": step, "hint": hint, "decode": decode, "mode": mode, "evaluator": "renamed", "n": 20,
            "attempted": hacked, "hacked": hacked, "attempted_correct": 0, "attempted_broken": 0, "solved": solved,
            "format_ok": 20, "mean_len": 50.0}  # fmt: skip


ROLLOUT = {
    "step": 1, "source": "student", "problem_id": 7, "mode": "run_tests", "reward": 3.5, "format_ok": True,
    "passed": True, "gt_correct": False, "hacked": True, "attempted": True, "label": "hack", "advantage": 1.5,
    "cos_hack": 0.25, "n_tokens": 12, "prompt": "PROBLEM:\nGiven a, return a [b]old.\n\nmethod of the class Solution\n",
    "completion": "Here:\n```python\nclass Solution:\n    pass\n```\nDone.",
}  # fmt: skip


@pytest.fixture
def runs_dir(tmp_path) -> Path:
    root = tmp_path / "runs"
    for name, arm, seed in (("20260101T000000_a", "vanilla", 41), ("20260102T000000_b", "projected", 42)):
        run = root / name
        run.mkdir(parents=True)
        (run / "config.json").write_text(json.dumps({"config": {"arm": arm, "seed": seed, "steps": 2}, "argv": []}))
        evals = [eval_row(0, "on", 0, 9), eval_row(0, "off", 0, 10), eval_row(2, "on", 8, 3), eval_row(2, "off", 0, 12),
                 eval_row(2, "on", 19, 0, decode="greedy"), eval_row(2, "on", 2, 3, mode="sentinel")]  # fmt: skip
        (run / "evals.jsonl").write_text("".join(json.dumps(e) + "\n" for e in evals))
        (run / "rows.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
        others = [{**ROLLOUT, "step": 2, "source": "teacher", "problem_id": 8},
                  {**ROLLOUT, "hacked": False, "gt_correct": True, "label": "correct", "mode": "sentinel"}]  # fmt: skip
        (run / "rollouts.jsonl").write_text("".join(json.dumps(r) + "\n" for r in [ROLLOUT, *others]))
    (root / "20260101T000000_a" / "bluf.json").write_text(
        json.dumps({"valid": False, "status": "finished", "steps_done": 2})
    )
    (root / "20260101T000000_a" / "bluf.txt").write_text("BLUF: VOID\n")
    return root


def test_results_sum_modes_and_take_the_last_sampled_evaluation(runs_dir):
    line = results.read_line(runs_dir / "20260101T000000_a")
    assert (line.hack, line.hack_0) == ("10/40  25%", "0/20   0%")
    assert (line.solve, line.solve_0) == ("12/20  60%", "10/20  50%")
    assert (line.steps, line.status) == ("2/2", "finished, void")


def test_results_list_a_run_that_is_not_over(runs_dir):
    (runs_dir / "20260102T000000_b" / "evals.jsonl").write_text("")
    line = results.read_line(runs_dir / "20260102T000000_b")
    assert (line.hack, line.solve, line.status) == ("-", "-", "running")


def test_results_bear_a_line_being_written_and_name_a_malformed_one(runs_dir):
    evals = runs_dir / "20260102T000000_b" / "evals.jsonl"
    text = evals.read_text()
    evals.write_text(text + '{"step": 4, "hi')
    assert results.read_line(evals.parent).hack == "10/40  25%"
    evals.write_text('{"step"\n' + text)
    with pytest.raises(ValueError, match=r"evals\.jsonl, line 1: not a JSON row"):
        results.read_line(evals.parent)


def test_results_table_and_tail(runs_dir, capsys):
    results.main(results.Config(runs=runs_dir, markdown=True))
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("| run") and out[1].startswith("| ---") and len([x for x in out if x.startswith("|")]) == 4
    results.main(results.Config(runs=runs_dir, arm="vanilla", tail=True))
    assert capsys.readouterr().out == "BLUF: VOID\n"
    with pytest.raises(FileNotFoundError, match=r"20260102T000000_b.* not over"):
        results.main(results.Config(runs=runs_dir, tail=True))


def test_runs_of_studies_are_listed_and_found_beside_single_runs(runs_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out" / "studies" / "s").mkdir(parents=True)
    shutil.move(runs_dir, tmp_path / "out" / "studies" / "s" / "runs")
    assert results.find_run("last").name == "20260102T000000_b"  # no out/runs at all
    shutil.move(tmp_path / "out" / "studies" / "s" / "runs" / "20260102T000000_b", tmp_path / "out" / "runs" / "x")
    (tmp_path / "out" / "runs" / "x").rename(tmp_path / "out" / "runs" / "20260103T000000_c")
    assert [d.name for d in results.run_dirs()] == ["20260101T000000_a", "20260103T000000_c"]
    assert results.find_run("_a").parent.parent.name == "s"


def test_a_run_is_found_by_part_of_its_name_only_where_that_is_unique(runs_dir):
    assert results.find_run("last", runs_dir).name == "20260102T000000_b"
    assert results.find_run("_a", runs_dir).name == "20260101T000000_a"
    assert results.find_run(str(runs_dir / "20260101T000000_a")).name == "20260101T000000_a"
    with pytest.raises(FileNotFoundError, match="2 runs, not one"):
        results.find_run(str(runs_dir))
    with pytest.raises(ValueError, match="fits 2 runs"):
        results.find_run("2026", runs_dir)
    with pytest.raises(FileNotFoundError, match="'zebra'"):
        results.find_run("zebra", runs_dir)


@pytest.mark.parametrize(
    ("flags", "count"),
    [({}, 3), ({"hacked": True}, 2), ({"solved": True}, 1), ({"step": 2}, 1), ({"source": "student"}, 2),
     ({"mode": "sentinel"}, 1), ({"hacked": True, "source": "student"}, 1), ({"problem": "8"}, 1),
     ({"label": "correct", "step": 2}, 0)],
)  # fmt: skip
def test_viewer_shows_just_what_passes_every_filter(runs_dir, capsys, flags, count):
    rollouts_view.main(rollouts_view.Config("_a", root=runs_dir, **flags))
    out = capsys.readouterr().out
    assert f"{count} of {count} rollouts that fit" in out
    assert out.count("class Solution:") == count


def test_viewer_stops_at_the_limit_and_says_how_many_there_are(runs_dir, capsys):
    rollouts_view.main(rollouts_view.Config("_a", root=runs_dir, limit=1))
    assert "1 of 3 rollouts that fit" in capsys.readouterr().out


def test_viewer_prints_text_as_it_is_and_highlights_code_on_a_terminal(runs_dir):
    console = Console(force_terminal=True, color_system="truecolor", width=80, record=True)
    rollouts_view.show(console, ROLLOUT, whole_prompt=True)
    coloured = console.export_text(styles=True, clear=False)
    plain = console.export_text()
    assert "return a [b]old." in plain and "Done." in plain  # brackets are no markup here
    assert "reward +3.50  advantage +1.50  cos_hack +0.250  12 tokens" in plain
    assert "\x1b[" in coloured.split("class")[1]


def test_viewer_reads_a_teacher_pool(capsys):
    pool = Path(os.environ.get("PROJECTED_GRPO_SHARED", ROOT.parent / "shared")) / "data" / "teacher_pool"
    if not pool.is_dir():
        pytest.skip("no teacher pool under PROJECTED_GRPO_SHARED")
    rollouts_view.main(rollouts_view.Config(str(pool), hacked=True, limit=2))
    assert "2 of 898 rollouts that fit" in capsys.readouterr().out


def test_code_fences_split_from_text_even_when_unclosed():
    assert rollouts_view.split_code("a\n```python\nx = 1\n```\nb") == [
        ("text", "a\n"), ("code", "x = 1\n"), ("text", "\nb")
    ]  # fmt: skip
    assert rollouts_view.split_code("```\nx = 1") == [("text", ""), ("code", "x = 1")]


# -------------------------------------------------------------------------------------------------------- recipes

RECIPES = [
    "fast-dev-run", "smoke-vanilla", "smoke-projected", "smoke-gpu", "download-model", "extract",
    "pregen-teacher", "probe-mixed", "fast", "full", "queue-full", "results", "plot", "tail", "read-rollouts",
    "export", "test", "lint", "demo", "organism", "study", "queue-study", "check-pairs", "bench-grader",
    "bench-gpu", "substrate", "near-misses", "publish", "rebuild", "verdict", "drift",
]  # fmt: skip


def just(*argv: str) -> str:
    exe = shutil.which("just", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if exe is None:
        pytest.skip("just is not installed (it is a dev dependency: uv run just ...)")
    done = subprocess.run([exe, "--justfile", str(ROOT / "justfile"), *argv], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_recipe_is_there_and_explained_in_one_line():
    recipes = json.loads(just("--dump", "--dump-format", "json"))["recipes"]
    assert set(RECIPES) <= set(recipes)
    assert [name for name, recipe in recipes.items() if not recipe["doc"]] == []
    assert [name for name, recipe in recipes.items() if len(recipe["doc"]) > 110] == []


def test_recipes_call_files_that_exist():
    called = set(re.findall(r"python (\S+\.py)", (ROOT / "justfile").read_text()))
    assert {"train.py", "probe_distill.py", "study.py"} <= called
    assert [name for name in sorted(called) if not (ROOT / name).is_file()] == []
