"""Queue, results table, rollout viewer, recipes."""

import json
import os
import pty
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from shared import POOL, ROOT, needs_shared
from worlds import ROLLOUT, eval_row

import runs
from command import files
from study import look, results, run, runner
from study.spec import Spec, plan

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
    """A recording pueue first on PATH; calls() gives its calls so far. Nothing that a study prepares is there."""
    monkeypatch.setattr(files, "ROOT", tmp_path)
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


def queue(name: str, tmp_path: Path, **flags) -> None:
    run.queue(run.QueueFlags(ROOT / "studies" / f"{name}.toml", out=tmp_path / name, **flags))


def test_cells_are_queued_after_what_their_study_prepares_in_a_group_of_their_own(pueue, tmp_path):
    queue("queue-full", tmp_path)
    calls = pueue()
    assert calls[:2] == [["group", "--json"], ["group", "add", "projected_grpo", "--parallel", "1"]]
    added = [c for c in calls if c[0] == "add"]
    assert len(added) == 1 + 3 * 2
    assert all(option(c, "--group") == ["projected_grpo"] and "--print-task-id" in c for c in added)
    assert "--after" not in added[0] and "extract_vhack.py full" in added[0][-1]
    assert all(option(c, "--after") == ["7"] for c in added[1:])  # 7 is the id that the extraction was given
    commands = [c[-1] for c in added[1:]]
    for seed in (41, 42, 43):
        for arm in ("vanilla", "projected"):
            assert sum(f"--name {arm}-s{seed} " in f"{command} " for command in commands) == 1
    labels = [option(c, "--label") for c in added]
    assert all(len(x) == 1 and x[0].startswith("why: Does the projection stop hacking") for x in labels)
    queue("queue-full", tmp_path, arms=("vanilla",), only_seeds=(42,))  # the group is there
    assert [c[0] for c in pueue()[9:]] == ["group", "add", "add"]
    with pytest.raises(ValueError, match="--only-seeds"):
        queue("queue-full", tmp_path, only_seeds=(7,))
    assert Spec.read(tmp_path / "queue-full" / "study.toml").name == "queue-full"  # by which the verdict reads the runs
    queue(
        "probe-full", tmp_path, arms=("vanilla",), model="F", problems="P"
    )  # two steps of preparation, one after the other
    extract, pool, probe = (c for c in pueue()[12:] if c[0] == "add")
    assert "extract_vhack.py" in extract[-1] and "probe_distill.py full --teacher-only" in pool[-1]
    assert extract[-1].endswith("--model F") and pool[-1].endswith("--model F --problems P --split not-held-out")
    assert "--model F --problems P --eval-problems held-out" in probe[-1]
    assert [option(c, "--after") for c in (pool, probe)] == [["16"], ["17"]] and probe[-2] == "--"


def test_a_queued_cell_is_the_command_that_runs_here_and_what_is_done_is_not_queued(pueue, tmp_path):
    spec = Spec.read(ROOT / "studies" / "queue-smoke.toml")
    (cell, other), here = plan(spec, limit=1), runner.Runner(tmp_path / "queue-smoke", run.TRAIN, 1, None)
    done = runs.Run(True, here.runs_dir, cell.name)
    (done.dir / "config.json").write_text(json.dumps({"argv": ["train.py", *cell.argv]}))
    (done.dir / "bluf.json").write_text(json.dumps({"status": "finished", "valid": True}))
    queue("queue-smoke", tmp_path, seeds=1)
    assert [shlex.split(c[-1]) for c in pueue() if c[0] == "add"][1:] == [here.command(other, None)]


def test_a_daemon_that_stops_answering_is_named_with_the_jobs_already_queued(pueue, tmp_path, monkeypatch):
    monkeypatch.setenv("PUEUE_FAILS_AT", "2")
    with pytest.raises(ValueError, match=r"(?s)(?=.*Failed to connect)(?=.*pueued -d).*pueue remove 7 8"):
        queue("queue-full", tmp_path)


def test_without_pueue_the_jobs_are_shown_and_the_exit_names_the_mend(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("QUEUE", raising=False)
    with pytest.raises(ValueError, match="QUEUE=local.*") as caught:
        queue("queue-full", tmp_path)
    assert capsys.readouterr().out.count("why: ") == 7 and "install it" in str(caught.value)
    monkeypatch.setenv("QUEUE", "slrm")
    with pytest.raises(ValueError, match="QUEUE=slrm: choose pueue"):
        queue("queue-full", tmp_path)


def test_the_local_queue_makes_what_is_prepared_and_stops_where_that_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ROOT", tmp_path)
    monkeypatch.setenv("QUEUE", "local")
    (tmp_path / "make.py").write_text("import sys; open(sys.argv[1], 'w')")
    (tmp_path / "train.py").write_text("import sys; open('ran', 'a').write(sys.argv[-3] + ' ')")
    text = (ROOT / "studies" / "queue-smoke.toml").read_text()
    for name, command in (("good", "make.py v"), ("bad", "make.py w")):
        made = re.sub(r"\[prepare\]\n.*", f'[prepare]\nv = "{command}"', text)
        (tmp_path / f"{name}.toml").write_text(made)
    with pytest.raises(ValueError, match="make.py w did not make v"):
        run.queue(run.QueueFlags(tmp_path / "bad.toml", out=tmp_path / "s"))
    assert not (tmp_path / "ran").exists()
    good = run.QueueFlags(tmp_path / "good.toml", out=tmp_path / "t", only_seeds=(42, 43))
    assert run.queue(good) == 1  # this trainer leaves no run
    assert (tmp_path / "ran").read_text() == "vanilla-s42 projected-s42 vanilla-s43 projected-s43 "


def test_a_task_of_slurms_array_is_a_cell_that_runs_and_resumes_and_is_not_queued_again(
    tmp_path, vhack, monkeypatch, capsys
):
    from tiny import SMALL  # what V was made with

    monkeypatch.setenv("QUEUE", "slurm")
    small = f"--v-hack {vhack} --steps 1 --eval-n 2 --max-new-tokens 16 --pairs {SMALL.pairs} --pair-modes None"
    text = (ROOT / "studies" / "queue-smoke.toml").read_text().replace("[41, 42, 43]", "[41]")
    text = re.sub(r'flags = ".*"', f'flags = "{small}"', text)
    (tmp_path / "slurm.toml").write_text(re.sub(r"\[prepare\]\n.*", "", text))
    cfg = run.QueueFlags(tmp_path / "slurm.toml", out=tmp_path / "out", parallel=4)
    run.queue(cfg)
    script = tmp_path / "out" / "cells.sbatch"
    assert capsys.readouterr().out.strip() == f"sbatch {script}"
    assert "#SBATCH --array=0-1%4\n" in script.read_text() and "--gres" not in script.read_text()
    env = os.environ | {"SLURM_ARRAY_TASK_ID": "1"}
    done = subprocess.run(["bash", str(script)], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [d.name.partition("_")[2] for d in (tmp_path / "out" / "runs").iterdir()] == ["projected-s41"]
    run.queue(cfg)
    assert "--array=0-0%4" in script.read_text() and "--arms vanilla --only-seeds 41 ;;" in script.read_text()


def test_slurms_cells_wait_for_what_their_study_prepares(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("QUEUE", "slurm")
    monkeypatch.setattr(files, "ROOT", tmp_path)  # nothing that a study prepares is there
    queue("queue-full", tmp_path, device="cuda")
    first, cells = (tmp_path / "queue-full" / f"{name}.sbatch" for name in ("prepare", "cells"))
    said = f"sbatch --dependency=afterok:$(sbatch --parsable {first}) {cells}"
    assert capsys.readouterr().out.strip() == said
    assert "extract_vhack.py full" in first.read_text() and "--gres=gpu:1" in first.read_text()
    for script in (first, cells):
        assert subprocess.run(["bash", "-n", str(script)]).returncode == 0


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
    bluf = {"valid": False, "status": "finished", "steps_done": 2}
    (root / "20260101T000000_a" / "bluf.json").write_text(json.dumps(bluf))
    (root / "20260101T000000_a" / "bluf.txt").write_text("BLUF: VOID\n")
    return root


def test_results_sum_modes_take_the_last_sampled_evaluation_and_list_a_run_that_is_not_over(runs_dir):
    line = results.read_line(runs_dir / "20260101T000000_a")
    assert (line.hack, line.hack_0, line.steps) == ("10/40  25%", "0/20   0%", "2/2")
    assert (line.solve, line.solve_0, line.status) == ("12/20  60%", "10/20  50%", "finished, void")
    (runs_dir / "20260102T000000_b" / "evals.jsonl").write_text("")
    line = results.read_line(runs_dir / "20260102T000000_b")
    assert (line.hack, line.solve, line.status) == ("-", "-", "running")


def test_results_bear_a_line_being_written(runs_dir):
    evals = runs_dir / "20260102T000000_b" / "evals.jsonl"
    evals.write_text(evals.read_text() + '{"step": 4, "hi')
    assert results.read_line(evals.parent).hack == "10/40  25%"


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
    assert runs.find_run("last").name == "20260102T000000_b"  # no out/runs at all
    shutil.move(tmp_path / "out" / "studies" / "s" / "runs" / "20260102T000000_b", tmp_path / "out" / "runs" / "x")
    (tmp_path / "out" / "runs" / "x").rename(tmp_path / "out" / "runs" / "20260103T000000_c")
    assert [d.name for d in runs.run_dirs()] == ["20260101T000000_a", "20260103T000000_c"]
    assert runs.find_run("_a").parent.parent.name == "s"


def test_a_run_is_found_by_part_of_its_name_only_where_that_is_unique(runs_dir):
    assert runs.find_run("last", runs_dir).name == "20260102T000000_b"
    assert runs.find_run("_a", runs_dir).name == "20260101T000000_a"
    assert runs.find_run(str(runs_dir / "20260101T000000_a")).name == "20260101T000000_a"
    for name, said in ((str(runs_dir), "2 runs, not one"), ("2026", "fits 2 runs"), ("zebra", "'zebra'")):
        with pytest.raises((FileNotFoundError, ValueError), match=said):
            runs.find_run(name, runs_dir)


@pytest.mark.parametrize(("flags", "shown", "fit"), [
    ({}, 3, 3), ({"hacked": True}, 2, 2), ({"solved": True}, 1, 1), ({"step": 2}, 1, 1), ({"source": "student"}, 2, 2),
    ({"mode": "sentinel"}, 1, 1), ({"hacked": True, "source": "student"}, 1, 1), ({"problem": "8"}, 1, 1),
    ({"label": "correct", "step": 2}, 0, 0), ({"limit": 1}, 1, 3),
])  # fmt: skip
def test_viewer_shows_just_what_passes_every_filter_up_to_the_limit(runs_dir, capsys, flags, shown, fit):
    look.main(look.Config("_a", root=runs_dir, **flags))
    out = capsys.readouterr().out
    assert f"{shown} of {fit} rollouts that fit, of 3" in out and out.count("class Solution:") == shown
    with pytest.raises(ValueError, match="--label foo: no rollout of .* there are correct, hack"):
        look.main(look.Config("_a", root=runs_dir, **flags | {"label": "foo"}))


def test_viewer_prints_text_as_it_is_and_highlights_code_on_a_terminal():
    console = Console(force_terminal=True, color_system="truecolor", width=80, record=True)
    look.show(console, ROLLOUT, whole_prompt=True)
    coloured, plain = console.export_text(styles=True, clear=False), console.export_text()
    assert "return a [b]old." in plain and "Done." in plain  # brackets are no markup here
    assert "\x1b[" in coloured.split("class")[1]
    whole = [("text", "a\n"), ("code", "x = 1\n"), ("text", "\nb")]
    assert look.split_code("a\n```python\nx = 1\n```\nb") == whole
    assert look.split_code("```\nx = 1") == [("text", ""), ("code", "x = 1")]  # not closed


def test_no_color_is_heard_on_a_terminal():
    main, end = pty.openpty()
    for given, coloured in ({}, True), ({"NO_COLOR": "1"}, False):
        env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm"} | given
        subprocess.run([sys.executable, "grader.py", "--nonsense"], cwd=ROOT, stdout=end, stderr=end, env=env)
        assert bool(re.search(rb"\x1b\[[\d;]*3\d", os.read(main, 1 << 16))) == coloured


@needs_shared
def test_viewer_reads_a_teacher_pool(capsys):
    look.main(look.Config(str(POOL), hacked=True, limit=2))
    assert "2 of 898 rollouts that fit" in capsys.readouterr().out


def just(*argv: str) -> str:
    exe = shutil.which("just", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if exe is None:
        pytest.skip("just is not installed (it is a dev dependency: uv run just ...)")
    done = subprocess.run([exe, "--justfile", str(ROOT / "justfile"), *argv], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_recipe_is_explained_in_one_line_and_calls_files_and_studies_that_exist():
    recipes = json.loads(just("--dump", "--dump-format", "json"))["recipes"]
    assert [name for name, recipe in recipes.items() if not recipe["doc"]] == []
    text = (ROOT / "justfile").read_text()
    called = set(re.findall(r"python (\S+\.py)", text)) | set(re.findall(r"studies/[\w-]+\.toml", text))
    assert {"train.py", "probe_distill.py", "studies/queue-full.toml"} <= called
    assert [name for name in sorted(called) if not (ROOT / name).is_file()] == []
